package service

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strconv"
	"sync"
)

// openAPI describes all requests (OpenAPI 3.1).
//
//go:embed openapi.json
var openAPI []byte

// buffers are used again: large answers one after the other would leave much garbage.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxBuffer is the largest buffer that is kept, in bytes.
const maxBuffer = 1 << 20

// writeJSON writes v as the whole answer, in one line.
func writeJSON(w http.ResponseWriter, status int, v any) error {
	body := buffers.Get().(*bytes.Buffer)
	defer func() {
		if body.Reset(); body.Cap() <= maxBuffer {
			buffers.Put(body)
		}
	}()
	if err := json.NewEncoder(body).Encode(v); err != nil {
		return err
	}
	return writeBytes(w, status, "application/json", plain(body.Bytes()))
}

func writeBytes(w http.ResponseWriter, status int, kind string, body []byte) error {
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, err := w.Write(body)
	return err
}

func (s *Server) getVersion(w http.ResponseWriter, r *http.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s.build())
}

func (s *Server) getOpenAPI(w http.ResponseWriter, r *http.Request) error {
	return writeBytes(w, http.StatusOK, "application/json", openAPI)
}

func (s *Server) getStatus(w http.ResponseWriter, r *http.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	if s.Status == nil {
		return missing("a status")
	}
	status, err := s.Status.Status(r.Context())
	if err != nil {
		return err
	}
	status.Version, status.Role, status.PID, status.Started = s.Build.Version, s.role(), os.Getpid(), s.start().started
	status.Expiring = notNil(status.Expiring)
	status.Warnings = notNil(status.Warnings)
	if status.Counts.ByState == nil {
		status.Counts.ByState = map[string]int{}
	}
	status.Source.State = cmp.Or(status.Source.State, "never")
	status.Keyring = nil
	if s.role() == RoleUser && s.Keyring != nil {
		// A keyring in trouble must not hide how the rest is.
		if k, err := s.Keyring.Status(r.Context()); err == nil {
			status.Keyring = &k
			status.Warnings = append(status.Warnings, k.Warnings...)
		} else {
			p, _ := problemOf(err)
			status.Warnings = append(status.Warnings, "keyring: "+p.Error())
		}
	}
	return writeJSON(w, http.StatusOK, status)
}

func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func (s *Server) getCheck(w http.ResponseWriter, r *http.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	if s.Checker == nil {
		return missing("files to check")
	}
	report, err := s.Checker.Check(r.Context())
	if err != nil {
		return err
	}
	report.Files = notNil(report.Files)
	return writeJSON(w, http.StatusOK, report)
}

func (s *Server) startSync(w http.ResponseWriter, r *http.Request) error {
	values, err := query(r, "full")
	if err != nil {
		return err
	}
	full, err := flag(values, "full")
	if err != nil {
		return err
	}
	if s.Syncer == nil {
		return missing("a source to synchronise with")
	}
	started, err := s.Syncer.Start(r.Context(), full)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusAccepted, Accepted{Started: started})
}

// watchSync streams NDJSON: one JSON object on each line.
func (s *Server) watchSync(w http.ResponseWriter, r *http.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	if s.Syncer == nil {
		return missing("a source to synchronise with")
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() {
		select {
		case <-s.start().stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	lines := &lineWriter{w: w}
	report, err := s.Syncer.Watch(ctx, func(p Progress) error {
		p.Event = "progress"
		return lines.write(p)
	})
	if errors.Is(err, ErrNotFound) {
		return NewProblem(CodeNotFound, "there was no synchronisation yet", "POST /v1/sync starts one")
	}
	if err != nil {
		return err
	}
	report.Event, report.Gaps = "report", notNil(report.Gaps)
	return lines.write(report)
}

// lineWriter writes and flushes one line at a time.
type lineWriter struct{ w http.ResponseWriter }

func (l *lineWriter) write(v any) error {
	line, err := marshal(v)
	if err != nil {
		return err
	}
	l.w.Header().Set("Content-Type", "application/x-ndjson")
	if _, err := l.w.Write(append(line, '\n')); err != nil {
		return err
	}
	return http.NewResponseController(l.w).Flush()
}

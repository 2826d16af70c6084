package exchangesim

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// ServeHTTP answers one request. NTLM needs the connections of Start; inside another server it always fails.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.counters.http.Add(1)
	w = &countingWriter{ResponseWriter: w, sent: &s.counters.bytes}
	w.Header().Set("Server", "Microsoft-IIS/10.0")
	if r.Header.Get("return-client-request-id") == "true" {
		w.Header().Set("client-request-id", r.Header.Get("client-request-id"))
	}
	if isAutodiscover(r) {
		s.serveAutodiscover(w, r)
		return
	}
	activeSync := strings.EqualFold(r.URL.Path, ActiveSyncPath)
	if !activeSync && !strings.EqualFold(r.URL.Path, Path) {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	if !s.auth.allow(w, r) {
		s.counters.unauthorized.Add(1)
		return
	}
	if only := s.options.UserAgent; only != "" && r.Header.Get("User-Agent") != only {
		http.Error(w, "403 - Forbidden: Access is denied.", http.StatusForbidden)
		return
	}
	if activeSync {
		s.activeSync(w, r)
		return
	}
	s.answer(w, r)
}

// answer serves an authenticated request.
func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		http.Error(w, "only POST is answered here", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		http.Error(w, "the request is too long or was cut off", http.StatusRequestEntityTooLarge)
		return
	}
	if !strings.HasPrefix(strings.ToLower(r.Header.Get("Content-Type")), "text/xml") {
		http.Error(w, "the content type of a request is text/xml", http.StatusUnsupportedMediaType)
		return
	}
	if !s.wait(r) {
		return
	}
	q, err := parseRequest(body)
	x := &exchange{server: s, w: w, r: r, body: body, query: q, err: err}
	if f, ok := s.faults.take(x.operation(), x.entry()); ok {
		s.counters.faults.Add(1)
		f.serve(x)
		return
	}
	status, answer := x.answer()
	x.send(status, answer)
}

// wait lets the latency pass; false when the client left meanwhile.
func (s *Server) wait(r *http.Request) bool {
	if s.options.Latency <= 0 {
		return true
	}
	timer := time.NewTimer(s.options.Latency)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	case <-s.stop.Done():
		return false
	}
}

// exchange is one authenticated request with its answer.
type exchange struct {
	server *Server
	w      http.ResponseWriter
	r      *http.Request
	body   []byte
	query  *query // nil when err is set
	err    error
	// command is set for ActiveSync, and query and err are not.
	command *command
}

// entry is the name that the request asks for.
func (x *exchange) entry() string {
	if x.err != nil {
		return ""
	}
	return x.query.entry
}

// operation is the operation of the request; ResolveNames for requests that could not be read.
func (x *exchange) operation() string {
	if x.err != nil {
		return "ResolveNames"
	}
	return x.query.operation
}

// answer is what the directory says.
func (x *exchange) answer() (status int, body []byte) {
	if x.command != nil {
		return x.server.run(x.command)
	}
	if x.err == nil {
		x.err = x.checkImpersonation()
	}
	if x.err != nil {
		var refused *requestError
		if !errors.As(x.err, &refused) {
			refused = &requestError{"ErrorInvalidRequest", x.err.Error()}
		}
		return http.StatusInternalServerError, refuse(refused)
	}
	body, err := x.server.answerQuery(x.query)
	if err != nil {
		return http.StatusInternalServerError, soapFault("ErrorInternalServerError", err.Error(), nil)
	}
	return http.StatusOK, body
}

// answerQuery answers a request that passed the schema.
func (s *Server) answerQuery(q *query) ([]byte, error) {
	c := &s.counters
	switch q.operation {
	case "ExpandDL":
		c.expand.Add(1)
		return s.dir.expandDL(q), nil
	case "FindItem":
		c.find.Add(1)
		return s.contacts.find(q), nil
	case "GetItem":
		c.get.Add(1)
		return s.contacts.get(q)
	}
	c.resolve.Add(1)
	if q.full && q.shape == "AllProperties" {
		c.full.Add(1)
	}
	return s.dir.resolveNames(q)
}

// send writes a complete answer, compressed when the client takes gzip.
func (x *exchange) send(status int, body []byte) {
	if x.command != nil {
		x.sendWBXML(status, body)
		return
	}
	h := x.w.Header()
	h.Set("Content-Type", "text/xml; charset=utf-8")
	h.Set("Vary", "Accept-Encoding")
	if !strings.Contains(x.r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Length", strconv.Itoa(len(body)))
		x.w.WriteHeader(status)
		x.w.Write(body)
		return
	}
	h.Set("Content-Encoding", "gzip")
	x.w.WriteHeader(status)
	z, _ := gzip.NewWriterLevel(x.w, gzip.BestSpeed)
	z.Write(body)
	z.Close()
}

// countingWriter counts the bytes of bodies.
type countingWriter struct {
	http.ResponseWriter
	sent *atomic.Int64
}

func (w *countingWriter) Write(p []byte) (int, error) {
	// Counted first: a client that has read the answer finds it in the counter.
	w.sent.Add(int64(len(p)))
	n, err := w.ResponseWriter.Write(p)
	w.sent.Add(int64(n - len(p)))
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (w *countingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

package service

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/galsyncd/galsyncd/smime"
)

// body is the body of a request: bounded, cut when it stands still, and remembering how it ended, because whoever reads
// it may lose that.
type body struct {
	r          io.Reader
	controller *http.ResponseController
	stall      time.Duration
	left       int64
	tooLarge   *Problem

	ended bool  // read to its proper end
	err   error // why it cannot be read any further
}

// openBody checks what the header of r says of its body. Limit is in bytes.
func (s *Server) openBody(w http.ResponseWriter, r *http.Request, limit int64, tooLarge Code) (*body, error) {
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == "multipart/form-data" {
		return nil, NewProblem(CodeUnsupportedMedia, "the body is a web form", "send the bytes themselves: curl --data-binary @FILE")
	}
	if r.Header.Get("Content-Encoding") != "" {
		return nil, NewProblem(CodeUnsupportedMedia, "the body has a Content-Encoding", "send it as it is")
	}
	problem := NewProblem(tooLarge, fmt.Sprintf("the limit is %d bytes", limit), "")
	if tooLarge == CodeMessageTooLarge {
		problem.Hint = "limits.max_message in the configuration sets the limit"
	}
	if r.ContentLength > limit {
		return nil, problem
	}
	return &body{
		r: r.Body, controller: http.NewResponseController(w), stall: s.start().limits.Stall,
		left: limit, tooLarge: problem,
	}, nil
}

func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.ended {
		return 0, io.EOF
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1] // one more shows that there is more
	}
	_ = b.controller.SetReadDeadline(time.Now().Add(b.stall))
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		b.err = b.tooLarge
		return 0, b.err
	}
	switch {
	case err == io.EOF:
		b.ended = true
		// The server listens on for the end of the connection while the request is worked on.
		_ = b.controller.SetReadDeadline(time.Time{})
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.err = NewProblem(CodeTimeout, fmt.Sprintf("nothing came for %v", b.stall), "")
		err = b.err
	case err != nil:
		b.err = NewProblem(CodeBadRequest, "the body was cut short or is malformed", "")
		err = b.err
	}
	return n, err
}

// verdict returns the error that decides about a request which read b: that of the body comes first, whatever its
// reader made of it; and nothing is right that did not read the body to its end.
func (b *body) verdict(err error) error {
	if b.err != nil {
		return b.err
	}
	if err == nil && !b.ended {
		return errUnread
	}
	return err
}

// openWrapped is openBody for a mail that is to be unwrapped: it may be larger than its content may be.
func (s *Server) openWrapped(w http.ResponseWriter, r *http.Request, most int64) (*body, error) {
	return s.openBody(w, r, min(most, smime.MaxWrapped(s.start().limits.MaxMessage)), CodeMessageTooLarge)
}

// discardBody reads the body of a request that takes none.
func (s *Server) discardBody(w http.ResponseWriter, r *http.Request) error {
	if r.Body == http.NoBody {
		return nil
	}
	b, err := s.openBody(w, r, maxJSON, CodeTooLarge)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, b)
	return b.verdict(err)
}

// readJSON reads the JSON body of r into v, whose unknown members are errors. The bytes are wiped after use: they may
// hold a passphrase.
func (s *Server) readJSON(w http.ResponseWriter, r *http.Request, v any) error {
	b, err := s.openBody(w, r, maxJSON, CodeTooLarge)
	if err != nil {
		return err
	}
	data, err := io.ReadAll(b)
	defer clear(data)
	if err != nil {
		return b.verdict(err)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return NewProblem(CodeBadRequest, "the body is not the JSON object that this request takes: "+jsonFault(err), "")
	}
	if _, err := d.Token(); err != io.EOF {
		return NewProblem(CodeBadRequest, "something follows the JSON object in the body", "")
	}
	return nil
}

// jsonFault says what is wrong with JSON without quoting it.
func jsonFault(err error) string {
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(err, &typ):
		return "member " + typ.Field + " is of the wrong type"
	case strings.HasPrefix(err.Error(), "json: unknown field"):
		return "it has an unknown member"
	}
	return "it is not valid"
}

// Secret is a passphrase of a request. It does not show itself in logs.
type Secret []byte

// UnmarshalText takes the bytes of a JSON string.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = bytes.Clone(text)
	return nil
}

// String hides the secret.
func (Secret) String() string { return "[secret]" }

// GoString hides the secret.
func (Secret) GoString() string { return "[secret]" }

// MarshalText hides the secret, from JSON logs too.
func (Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// wipe overwrites secrets that are not needed any more.
func wipe(secrets ...Secret) {
	for _, s := range secrets {
		clear(s)
	}
}

package service

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"

	"github.com/galsyncd/galsyncd/smime"
)

// Signer signs mails with the keys of the keyring.
type Signer interface {
	// Sign reads the message to its end and writes it signed to out. Nothing is written when it is refused.
	Sign(ctx context.Context, message io.Reader, out io.Writer, options SignOptions) error
}

// SignOptions are the wishes of the caller.
type SignOptions struct {
	// Identity is the SHA-256 fingerprint of the certificate to sign with, in hex; empty: the one for the From address.
	Identity string
	// Opaque wraps the mail, so that only S/MIME programs can show it.
	Opaque bool
	// Warn, when not nil, is given sentences about how readers will take the signature, before the first byte is written.
	Warn func(warnings []string)
}

// Verifier verifies signed mails.
type Verifier interface {
	// Verify reads the message to its end. When options.Unwrap is set and the mail is signed as a whole and not changed, it
	// is called, and the mail without its signatures is written to what it returns.
	Verify(ctx context.Context, message io.Reader, options VerifyOptions) (*smime.Verification, error)
}

// VerifyOptions are the wishes of the caller.
type VerifyOptions struct {
	// SHA1 examines signatures with SHA-1 further; the best that is said about them is "untrusted".
	SHA1   bool
	Unwrap func(*smime.Verification) (io.Writer, error)
}

func (s *Server) postSign(w http.ResponseWriter, r *http.Request) error {
	values, err := query(r, "identity", "opaque")
	if err != nil {
		return err
	}
	var options SignOptions
	if options.Identity, err = one(values, "identity"); err != nil {
		return err
	}
	if options.Opaque, err = flag(values, "opaque"); err != nil {
		return err
	}
	if accepted(r, "message/rfc822") == "" {
		return NewProblem(CodeNotAcceptable, "a signed mail comes as message/rfc822", "")
	}
	if s.Signer == nil {
		return missing("a keyring")
	}
	message, err := s.openBody(w, r, s.start().limits.MaxMessage, CodeMessageTooLarge)
	if err != nil {
		return err
	}
	// What waits is the caller's own plain mail: it stays in memory.
	room := &spools{left: 2*s.start().limits.MaxMessage + 1<<20}
	return s.stream(w, message, room, false, func(c *copies) error {
		out, err := c.open(Envelope{})
		if err != nil {
			return err
		}
		options.Warn = func(warnings []string) { c.warnings = warnings }
		if err := s.Signer.Sign(r.Context(), message, out, options); err != nil {
			return err
		}
		return out.Close()
	})
}

func (s *Server) postVerify(w http.ResponseWriter, r *http.Request) error {
	values, err := query(r, "sha1")
	if err != nil {
		return err
	}
	var options VerifyOptions
	if options.SHA1, err = flag(values, "sha1"); err != nil {
		return err
	}
	if accepted(r, "application/json", "message/rfc822") == "" {
		return NewProblem(CodeNotAcceptable, "findings come as application/json, with the mail as message/rfc822", "")
	}
	if s.Verifier == nil {
		return missing("verification")
	}
	message, err := s.openWrapped(w, r, math.MaxInt64)
	if err != nil {
		return err
	}
	var sink *mailWriter
	if accepted(r, "application/json", "message/rfc822") == "message/rfc822" {
		options.Unwrap = func(v *smime.Verification) (io.Writer, error) {
			if err := message.verdict(nil); err != nil || sink != nil {
				return nil, errors.Join(errUnread, err)
			}
			sink = &mailWriter{w: w, header: func(h http.Header) {
				h.Set("Content-Type", "message/rfc822")
				setFindings(h, v)
			}}
			return sink, nil
		}
	}
	findings, err := s.Verifier.Verify(r.Context(), message, options)
	if err = message.verdict(err); err != nil {
		return err
	}
	if sink != nil {
		_, err = sink.Write(nil) // the header, should the mail be empty
		return err
	}
	return writeJSON(w, http.StatusOK, findings)
}

// maxFindings bounds the findings in the header of an answer, in bytes of the header.
const maxFindings = 32 << 10

// setFindings puts what is known about the signatures of a decrypted mail into the header of the answer: the verdict, and
// the whole as base64 of JSON, unless it is too long for a header.
func setFindings(h http.Header, v *smime.Verification) {
	if v == nil {
		return
	}
	h.Set("Galsyncd-Verdict", string(v.Verdict))
	if text := headerJSON(v); len(text) <= maxFindings {
		h.Set("Galsyncd-Findings", text)
	}
}

// headerJSON is a value as JSON in a form that a header field can hold: base64url without padding (RFC 4648 section 5).
func headerJSON(v any) string {
	js, err := marshal(v)
	if err != nil { // no value of these types can fail to marshal
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(js)
}

// folded breaks a long value so that no line gets longer than a mail may have (RFC 5322 section 2.1.1).
func folded(text string) string {
	var lines []string
	for line := range slices.Chunk([]byte(text), 900) {
		lines = append(lines, string(line))
	}
	return strings.Join(lines, "\r\n ")
}

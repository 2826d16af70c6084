package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strings"
	"time"

	"github.com/galsyncd/galsyncd/internal/recipients"
)

// duplexPatience is how long an encrypted answer waits for a caller before it makes room elsewhere.
const duplexPatience = 200 * time.Millisecond

func (s *Server) postEncrypt(w http.ResponseWriter, r *http.Request) error {
	options, err := s.encryptOptions(r)
	if err != nil {
		return err
	}
	kind := accepted(r, "message/rfc822", "multipart/mixed")
	if kind == "" {
		return NewProblem(CodeNotAcceptable, "an encrypted mail comes as message/rfc822 or multipart/mixed", "")
	}
	several := kind == "multipart/mixed"
	if options.Explain != nil && !several {
		return NewProblem(CodeNotAcceptable, "the explanation comes beside the encrypted mail", "ask for both with Accept: multipart/mixed")
	}
	if s.Encrypter == nil {
		return missing("encryption")
	}
	message, err := s.openBody(w, r, s.start().limits.MaxMessage, CodeMessageTooLarge)
	if err != nil {
		return err
	}
	var explanation *recipients.Result
	if options.Explain != nil {
		options.Explain = func(result recipients.Result) { explanation = &result }
	}
	room := &spools{make: s.Spool, left: s.start().limits.MaxSpool}
	return s.stream(w, message, room, several, func(c *copies) error {
		err := s.Encrypter.Encrypt(r.Context(), message, options, c.open)
		if err == nil && explanation != nil {
			c.explanation, err = marshal(presentableResult(*explanation, true))
		}
		return err
	})
}

// encryptOptions reads the wishes of a caller. Explain is set when one is wished.
func (s *Server) encryptOptions(r *http.Request) (EncryptOptions, error) {
	options := EncryptOptions{Size: r.ContentLength}
	values, err := query(r, "to", "sign", "identity", "protect-headers", "to-self", "explain")
	if err != nil {
		return options, err
	}
	for name, target := range map[string]**bool{
		"sign": &options.Sign, "protect-headers": &options.ProtectHeaders, "to-self": &options.ToSelf,
	} {
		if *target, err = choice(values, name); err != nil {
			return options, err
		}
	}
	explain, err := flag(values, "explain")
	if err != nil {
		return options, err
	}
	if options.Identity, err = one(values, "identity"); err != nil {
		return options, err
	}
	if explain {
		options.Explain = func(recipients.Result) {}
	}
	if s.OnlineOnMiss {
		options.Recipients = func(_ context.Context, list []string) { _, _ = s.askOnline(r, false, list) } // not a wish: never refused
	}
	if (wished(options.Sign) || wished(options.ToSelf) || options.Identity != "") && s.role() == RoleSystem {
		return options, noKeysHere()
	}
	if values.Has("to") {
		list, err := addresses(values, "to", maxAddresses)
		if err != nil {
			return options, err
		}
		if options.To, err = parseAddresses(list); err != nil {
			return options, err
		}
	}
	return options, nil
}

// stream runs work, which reads the message and opens copies, in this goroutine, and the sending of what it made in
// another. What the caller does not take in time waits in room.
func (s *Server) stream(w http.ResponseWriter, message *body, room *spools, several bool, work func(*copies) error) (err error) {
	patience := s.patience
	if patience == 0 {
		patience = duplexPatience
	}
	out := newOutbox(room, patience)
	copies := newCopies(out, room, several)
	sent := make(chan error, 1)
	go func() { sent <- contained(func() error { return out.drain(&mailWriter{w: w, header: copies.header}) }) }()
	defer func() { // also when the Encrypter panics: w must not be used after this handler
		out.abandon()
		<-sent
		copies.release()
		out.release()
	}()
	err = message.verdict(work(copies))
	if err == nil {
		err = copies.finish()
	}
	if err == nil {
		err = out.Close()
	}
	if err != nil {
		out.abandon()
	}
	sending := <-sent
	sent <- sending // for the deferred function
	if err == nil {
		err = sending
	}
	return err
}

// contained makes an error of a panic in a goroutine of its own, which nobody else would catch.
func contained(work func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic of type %T", v)
		}
	}()
	return work()
}

// mailWriter writes an answer whose header is sent with the first byte.
type mailWriter struct {
	w      http.ResponseWriter
	header func(http.Header)
	began  bool
}

func (m *mailWriter) Write(p []byte) (int, error) {
	if !m.began {
		m.began = true
		m.header(m.w.Header())
		m.w.Header().Set("Cache-Control", "no-store")
		m.w.WriteHeader(http.StatusOK)
	}
	return m.w.Write(p)
}

// copies are the encrypted copies of one mail, as the Encrypter opens them. The first goes out as it is made; the others
// have to wait until it is complete.
type copies struct {
	out    io.Writer
	spools *spools
	// parts frames several copies; nil when only one is wanted.
	parts *multipart.Writer
	list  []*encryptedCopy
	// warnings are about a signature.
	warnings []string
	// explanation is JSON that follows the copies; nil when nobody asked.
	explanation []byte
}

// encryptedCopy is the copy for one envelope. Its spool is nil for the first.
type encryptedCopy struct {
	io.Writer
	envelope Envelope
	spool    *meteredSpool
	size     int64
	closed   bool
}

func newCopies(out io.Writer, spools *spools, several bool) *copies {
	c := &copies{out: out, spools: spools}
	if several {
		c.parts = multipart.NewWriter(out)
	}
	return c
}

func (c *copies) header(h http.Header) {
	kind := "message/rfc822"
	if c.parts != nil {
		kind = "multipart/mixed; boundary=" + c.parts.Boundary()
	} else if choice := c.list[0].envelope.Choice; choice != nil {
		h.Set("Galsyncd-Cipher", choice.Cipher)
		h.Set("Galsyncd-Choice", headerJSON(choice))
	}
	if c.warnings != nil {
		h.Set("Galsyncd-Warnings", headerJSON(c.warnings))
	}
	h.Set("Content-Type", kind)
}

// errCopies reports an Encrypter that does not keep its contract.
var errCopies = errors.New("encrypted copies are missing or unfinished")

// open begins a copy.
func (c *copies) open(e Envelope) (io.WriteCloser, error) {
	if c.parts == nil && !e.Blind && len(c.list) > 0 {
		return nil, NewProblem(CodeSplitNeedsMultipart, "the recipients have RSA and elliptic curve keys, and encryption.mixed gives each kind a copy of its own",
			"have a copy written for each kind: --bcc-dir DIR (over the socket: Accept: multipart/mixed)")
	}
	if c.parts == nil && e.Blind {
		return nil, NewProblem(CodeBccNeedsMultipart, "the mail has Bcc recipients, whose copies must differ from that of the others",
			"have a copy written for each of them: --bcc-dir DIR (over the socket: Accept: multipart/mixed), or remove the Bcc header")
	}
	if len(c.list) > maxAddresses {
		return nil, NewProblem(CodeTooLarge, "the mail has too many Bcc recipients", "")
	}
	made := &encryptedCopy{envelope: e, Writer: c.out}
	if len(c.list) > 0 {
		spool, err := c.spools.open()
		if err != nil {
			return nil, err
		}
		made.spool, made.Writer = spool, spool
	} else if c.parts != nil {
		part, err := c.part(e)
		if err != nil {
			return nil, err
		}
		made.Writer = part
	}
	c.list = append(c.list, made)
	return made, nil
}

// part begins a part. Each recipient stands on a line of its own, so that no line gets longer than a mail may have
// (RFC 5322 section 2.1.1).
func (c *copies) part(e Envelope) (io.Writer, error) {
	h := textproto.MIMEHeader{
		"Content-Type":        {"message/rfc822"},
		"Galsyncd-Recipients": {strings.Join(e.Recipients, ",\r\n ")},
	}
	if e.Blind {
		h.Set("Galsyncd-Blind", "1")
	}
	if e.Choice != nil {
		h.Set("Galsyncd-Cipher", e.Choice.Cipher)
		h.Set("Galsyncd-Choice", folded(headerJSON(e.Choice)))
	}
	return c.parts.CreatePart(h)
}

// finish sends the copies that waited, and the end.
func (c *copies) finish() error {
	if len(c.list) == 0 {
		return errCopies
	}
	for _, made := range c.list {
		if !made.closed {
			return errCopies
		}
	}
	if c.parts == nil {
		return nil
	}
	for _, made := range c.list[1:] {
		part, err := c.part(made.envelope)
		if err != nil {
			return err
		}
		if _, err := io.Copy(part, io.NewSectionReader(made.spool, 0, made.size)); err != nil {
			return err
		}
		_ = made.spool.Close()
		made.spool = nil
	}
	if c.explanation != nil {
		part, err := c.parts.CreatePart(textproto.MIMEHeader{"Content-Type": {"application/json"}})
		if err != nil {
			return err
		}
		if _, err := part.Write(c.explanation); err != nil {
			return err
		}
	}
	return c.parts.Close()
}

// release drops the copies that were not sent.
func (c *copies) release() {
	for _, made := range c.list {
		if made.spool != nil {
			_ = made.spool.Close()
			made.spool = nil
		}
	}
}

func (e *encryptedCopy) Write(p []byte) (int, error) {
	n, err := e.Writer.Write(p)
	e.size += int64(n)
	return n, err
}

func (e *encryptedCopy) Close() error {
	e.closed = true
	return nil
}

// maxFailuresPerMinute bounds the mails that one peer may have fail to decrypt. A person does not notice it; somebody who
// uses the answers as an oracle needs hundreds of thousands.
const maxFailuresPerMinute = 100

func (s *Server) postDecrypt(w http.ResponseWriter, r *http.Request) error {
	return s.boundFailures(r, func() error { return s.decrypt(w, r) })
}

// boundFailures does work that decrypts a mail, unless too many of the caller's could not be decrypted lately.
func (s *Server) boundFailures(r *http.Request, work func() error) error {
	peer, _ := r.Context().Value(peerKey{}).(Peer)
	failures := &s.start().failures
	if !failures.left(peer.UID) {
		return NewProblem(CodeBusy, "too many mails in a row could not be decrypted", "wait a minute")
	}
	err := work()
	if p, ok := errors.AsType[*Problem](err); ok && p.Code == CodeDecryptFailed {
		failures.spend(peer.UID, 1)
	}
	return err
}

func (s *Server) decrypt(w http.ResponseWriter, r *http.Request) error {
	values, err := query(r, "unwrap", "3des")
	if err != nil {
		return err
	}
	var options DecryptOptions
	if options.Unwrap, err = flag(values, "unwrap"); err != nil {
		return err
	}
	if options.TripleDES, err = flag(values, "3des"); err != nil {
		return err
	}
	if s.Decrypter == nil {
		return missing("a keyring")
	}
	if accepted(r, "message/rfc822") == "" {
		return NewProblem(CodeNotAcceptable, "a decrypted mail comes as message/rfc822", "")
	}
	message, err := s.openWrapped(w, r, math.MaxInt64)
	if err != nil {
		return err
	}
	var sink *mailWriter
	err = s.Decrypter.Decrypt(r.Context(), message, options, func(d Decrypted) (io.Writer, error) {
		if err := message.verdict(nil); err != nil || sink != nil {
			return nil, errors.Join(errUnread, err)
		}
		sink = &mailWriter{w: w, header: func(h http.Header) {
			h.Set("Content-Type", "message/rfc822")
			h.Set("Galsyncd-Protection", d.Protection)
			h.Set("Galsyncd-Cipher", d.Cipher)
			setFindings(h, d.Verification)
		}}
		return sink, nil
	})
	if err = message.verdict(err); err != nil {
		return err
	}
	if sink == nil {
		return errUnread
	}
	_, err = sink.Write(nil) // the header, should the plaintext be empty
	return err
}

// detached is for work that must not be left half done because a caller went away.
func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
}

package smime

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxSignedParts is how many signed parts of one unsigned mail are examined.
const maxSignedParts = 32

// Verify reads a mail from r, to its end, and judges its signatures: multipart/signed over the bytes as they were received,
// application/pkcs7-mime (or an octet-stream with a name that ends in .p7m) whose CMS content type is signed, either of them
// inside the other, compressed, or around an encrypted part, of which nothing more is known without a key (see Decrypt).
//
// A mail that is signed as a whole gets the verdict of its signatures. A mail that is not, but has signed parts, is Partial.
// The error says that the mail cannot be read: ErrHeader, cms.ErrTooLarge, or one of the reader. What is wrong with a
// signature or with the structure around it is no error but the verdict Invalid.
//
// A detached signature stands behind what it signs, so a multipart/signed mail is held in memory, like the content of an
// opaque one.
func Verify(ctx context.Context, r io.Reader, opts *VerifyOptions) (*Verification, error) {
	return Unwrap(ctx, r, nil, &UnwrapOptions{Verify: opts})
}

// UnwrapOptions say how the mail is judged and written.
type UnwrapOptions struct {
	// Verify says whom to trust; nil trusts nobody.
	Verify *VerifyOptions
	// LF writes lines that end in LF in place of CRLF, unless the content is binary.
	LF bool
}

// Unwrap is Verify that also writes the mail without its signatures and compression, for programs that cannot read
// application/pkcs7-mime, to what begin returns. Protected header fields take the place of those outside. An encrypted part
// inside stays as it is.
//
// begin is called once, when the whole mail was read, and only for a mail that is signed as a whole and not changed: the
// verdict is Valid, OtherAddress, ExpiredThen or Untrusted.
func Unwrap(ctx context.Context, r io.Reader, begin func(*Verification) (io.Writer, error), opts *UnwrapOptions) (*Verification, error) {
	in := bufio.NewReaderSize(&contextReader{ctx, r}, blockSize)
	h, err := readMailHeader(in)
	if err != nil {
		return nil, err
	}
	w := newWalker(ctx, h, opts.Verify)
	if err := w.entity(stream(h, in)); err != nil {
		return nil, err
	}
	v, err := w.verification(h)
	if err != nil || v.Verdict != Unsigned || len(w.layers) > 0 {
		if err == nil && begin != nil && v.intact() && w.payload.again {
			err = w.unwrapped(h, in, v, begin, opts.LF)
		}
		return v, err
	}
	scan := &partScan{walker: w}
	if err := scan.parts(w.payload, "", 0); err != nil {
		return nil, err
	}
	scan.conclude(v)
	// What was not looked at is read all the same, so that the writer of a pipe is not cut off.
	_, err = io.Copy(io.Discard, in)
	return v, err
}

// unwrapped writes what is signed.
func (w *walker) unwrapped(h header, rest io.Reader, v *Verification, begin func(*Verification) (io.Writer, error), lf bool) error {
	if _, err := io.Copy(io.Discard, rest); err != nil {
		return fmt.Errorf("read mail: %w", err)
	}
	out, err := begin(v)
	if err != nil {
		return err
	}
	content := w.payload
	if v.Headers != nil && v.Headers.mail != nil {
		content = v.Headers.mail
	}
	return (&plainMail{ctx: w.ctx, w: out, lf: lf, outer: v.Headers.merge(h), entity: content}).write()
}

func newWalker(ctx context.Context, h header, opts *VerifyOptions) *walker {
	if opts == nil {
		opts = &VerifyOptions{}
	}
	return &walker{ctx: ctx, judging: newJudging(h, opts)}
}

// verification sums up what was found on the way through the layers of a mail with this header.
func (w *walker) verification(h header) (*Verification, error) {
	v := &Verification{From: w.judging.from.String(), Layers: w.layers, Reasons: []string{}}
	v.conclude()
	if v.Verdict == Unsigned {
		v.Reasons = append(v.Reasons, w.whyUnsigned())
	} else if w.hint != "" {
		v.Warnings = append(v.Warnings, w.hint)
	}
	if w.judging.from.warning != "" {
		v.Warnings = append(v.Warnings, w.judging.from.warning)
	}
	if w.payload == nil || len(w.layers) == 0 || !w.payload.again {
		return v, nil
	}
	var err error
	if v.Headers, err = readProtected(h, w.payload); err != nil {
		return nil, fmt.Errorf("read mail: %w", err)
	}
	if why := v.Headers.fromDiffers(h); why != "" {
		v.lower(OtherAddress, why)
		v.Warnings = append(v.Warnings, why)
	}
	return v, nil
}

func (w *walker) whyUnsigned() string {
	for _, l := range w.layers {
		if l.Kind == SignedLayer {
			return l.Reasons[0]
		}
	}
	if w.hint != "" {
		return w.hint
	}
	return "the mail has no signature"
}

// partScan looks for signed parts in a mail that is not signed as a whole.
type partScan struct {
	walker *walker
	found  []Part
	seen   int
	more   bool // there were more than are examined
}

// parts looks through the parts of a multipart.
func (s *partScan) parts(e *entity, path string, depth int) error {
	kind, params, err := e.header.mediaType()
	if err != nil || !strings.HasPrefix(kind, "multipart/") || kind == "multipart/signed" {
		return nil
	}
	body, err := e.buffered()
	if err != nil {
		return err
	}
	parts, err := newSplitter(body, params["boundary"])
	if err != nil || depth == maxDepth {
		s.more = true
		return nil
	}
	for {
		more, err := parts.next()
		if errors.Is(err, ErrStructure) {
			s.more = true
			return nil
		}
		if err != nil || !more {
			return err
		}
		if s.seen++; s.seen > maxParts {
			s.more = true
			return nil
		}
		if err := s.part(parts, path, depth); err != nil {
			return err
		}
	}
}

func (s *partScan) part(parts *splitter, path string, depth int) error {
	in := bufio.NewReaderSize(parts, blockSize)
	h, err := readHeader(in)
	if errors.Is(err, ErrHeader) {
		return nil
	}
	if err != nil {
		return err
	}
	path = strings.TrimPrefix(fmt.Sprintf("%s.%d", path, parts.parts), ".")
	e := stream(h, in)
	kind, params, err := h.mediaType()
	switch {
	case err != nil:
		return nil
	case kind == "multipart/signed", isPKCS7(kind), kind == "application/octet-stream" && namesP7M(h, params):
		return s.signed(e, path)
	}
	return s.parts(e, path, depth+1)
}

func (s *partScan) signed(e *entity, path string) error {
	if len(s.found) == maxSignedParts {
		s.more = true
		return nil
	}
	w := &walker{ctx: s.walker.ctx, judging: s.walker.judging}
	if err := w.entity(e); err != nil {
		if errors.Is(err, ErrHeader) || errors.Is(err, ErrEncoding) {
			return nil
		}
		return err
	}
	s.more = s.more || w.hint == tooManyMessages
	v := &Verification{From: w.judging.from.String(), Layers: w.layers, Reasons: []string{}}
	if v.conclude(); v.Verdict != Unsigned {
		s.found = append(s.found, Part{Path: path, Verification: *v})
	}
	return nil
}

// conclude turns the verdict into Partial when something was found.
func (s *partScan) conclude(v *Verification) {
	if s.more {
		v.Warnings = append(v.Warnings, "the mail has more parts, or damaged ones, which were not examined")
	}
	if len(s.found) == 0 {
		return
	}
	v.Verdict, v.Parts, v.Reasons = Partial, s.found, []string{"only a part of the mail is signed; everything else in it may be anybody's"}
	for _, p := range s.found {
		v.Reasons = append(v.Reasons, fmt.Sprintf("part %s: %s", p.Path, p.Verification.Verdict))
	}
}

package smime

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/galsyncd/galsyncd/cms"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
)

// Outputs are the places that Encrypt writes to. It closes none of them.
type Outputs struct {
	// Main returns the place for a message to recipients of To and Cc; usually there is one, and one for each kind of key when
	// AlgorithmPolicy.Split divides them. It is called after everything was checked and before the first byte is written.
	Main func(*Choice) (io.Writer, error)
	// Blind returns the place for the own message of one Bcc recipient. Nil means that there is none: a mail with Bcc
	// recipients is then refused with ErrBcc. It is called after Main, once for each recipient.
	Blind func(*Choice) (io.Writer, error)
}

// To returns a function for Outputs.Main that always gives w.
func To(w io.Writer) func(*Choice) (io.Writer, error) {
	return func(*Choice) (io.Writer, error) { return w, nil }
}

// EncryptOptions say for whom and how.
type EncryptOptions struct {
	// Recipients finds the certificates; it must be set.
	Recipients RecipientSource
	// To, when not empty, are the recipients in place of those that the mail names. All get the main copy, and a Bcc
	// field is dropped.
	To []mailaddr.Address
	// Cipher of the content; the zero value is AES-256-CBC. It counts only without Algorithms.
	Cipher cms.Cipher
	// Algorithms, when not nil, chooses the cipher of each message, and whether there is one for each kind of key.
	Algorithms *AlgorithmPolicy
	// Sign, when not nil, signs the mail before it is encrypted (RFC 8551 section 3.7). The signature is made once for all
	// copies and is hidden in them.
	Sign *SignOptions
	// ToSelf, when not nil, returns the sender's own certificates by the From addresses of the mail: one, or none when they
	// cannot be told. The sender can then read the messages for To and Cc too; when there are none, those for Bcc.
	ToSelf func(from []mailaddr.Address) ([]*x509.Certificate, error)
	// ProtectHeaders puts the header fields of the mail inside and hides the subject outside (RFC 9788, policy
	// hcp_baseline). Programs that do not know this show "[...]" as the subject. A mail that is signed already, or whose
	// Content-Type cannot be read, is ErrUnprotectable.
	ProtectHeaders bool
	// LegacyDisplay, with ProtectHeaders, writes the subject at the top of the text, which such programs then show and others
	// hide. It is done only where it does not change the mail otherwise: for a mail that is a single text/plain part
	// without base64, in a character set that can write the subject.
	LegacyDisplay bool
	// AllowEncrypted encrypts mails that are encrypted already, or may be.
	AllowEncrypted bool
	// LF ends the lines of the output with LF, as a local sendmail wants them, in place of CRLF.
	LF bool
	// Decide, when not nil, is called once with the From addresses of the mail: one, or none when they cannot be told. It may
	// change what is done with this mail: Sign, ToSelf, ProtectHeaders and LegacyDisplay of a copy of the options.
	Decide func(from []mailaddr.Address, opts *EncryptOptions) error
}

// Encrypted says which copies were written.
type Encrypted struct {
	// Main are the recipients of the main copy, Blind those who got a copy of their own, each in the order of the mail.
	// They are the recipients for the envelope (RFC 5321) of each copy.
	Main, Blind []mailaddr.Address
	// Cipher is that of the first message.
	Cipher cms.Cipher
	// Messages are all that were written, in order, with how their algorithms were chosen.
	Messages []Choice
}

// Encrypt reads a mail (message/rfc822, lines ending in LF or CRLF) from r and writes it encrypted (RFC 8551 section 3.3).
//
// The outer header keeps every field as it is, in order, but Content-*, MIME-Version, Bcc and Resent-Bcc; after them stand
// the fields of the new application/pkcs7-mime part. Inside are the mail's Content-* fields and its body, with CRLF at the
// end of every line unless the transfer encoding is binary.
//
// Before the first byte is written the errors are: ErrHeader, ErrNoRecipients, ErrTooManyRecipients, ErrBcc,
// ErrAlreadyEncrypted, ErrNoOwnCertificate, ErrUnprotectable, a *RecipientsError, and those of the reader and the RecipientSource. What was
// written when a later error occurs, of the reader or of an output, is no mail and must be thrown away.
func Encrypt(ctx context.Context, r io.Reader, out Outputs, opts *EncryptOptions) (*Encrypted, error) {
	in := bufio.NewReaderSize(r, blockSize)
	h, err := readMailHeader(in)
	if err != nil {
		return nil, err
	}
	if opts, err = opts.decided(h); err != nil {
		return nil, err
	}
	if err := checkPlain(h, in, opts); err != nil {
		return nil, err
	}
	encoding, err := h.transferEncoding()
	if err != nil {
		return nil, err
	}
	who, err := whoReceives(h, opts.To)
	if err != nil {
		return nil, err
	}
	if len(who.blind) > 0 && out.Blind == nil {
		return nil, ErrBcc
	}
	certs, err := who.resolve(ctx, opts.Recipients)
	if err != nil {
		return nil, err
	}
	self, err := opts.ownKeys(h)
	if err != nil {
		return nil, err
	}
	var inside *signing
	if opts.Sign != nil {
		sign, err := opts.Sign.forMail(h)
		if err != nil {
			return nil, err
		}
		if inside, err = newSigning(sign); err != nil {
			return nil, err
		}
	}
	messages := opts.plan(who, certs, self)
	if inside != nil {
		for i := range messages {
			messages[i].Warnings = append(messages[i].Warnings, inside.warnings(h)...)
		}
	}
	h = h.described(in)
	inner, outer, first := h.contentOrText(), h, []byte(nil)
	if opts.ProtectHeaders {
		if inner, first, err = h.payload(opts.LegacyDisplay); err != nil {
			return nil, err
		}
		outer = h.obscured()
	}
	copies, err := makeCopies(ctx, out, messages, outer, opts)
	if err != nil {
		return nil, err
	}
	body := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(first), &contextReader{ctx, in}), blockSize)
	if inside != nil {
		err = copies.fillSigned(inside, inner, body)
	} else {
		err = copies.fill(ctx, append(inner.append(nil), "\r\n"...), body, encoding)
	}
	if err != nil {
		return nil, err
	}
	return &Encrypted{Main: who.main, Blind: who.blind, Cipher: messages[0].Cipher, Messages: messages}, nil
}

// decided are the options for a mail with this header.
func (opts *EncryptOptions) decided(h header) (*EncryptOptions, error) {
	if opts.Decide == nil {
		return opts, nil
	}
	own := *opts
	own.Decide = nil
	return &own, opts.Decide(readFrom(h).list(), &own)
}

// checkPlain refuses what is encrypted already. Without smime-type the content says whether it is; what cannot be told is refused.
func checkPlain(h header, body *bufio.Reader, opts *EncryptOptions) error {
	kind, params, err := h.mediaType()
	if err != nil || opts.AllowEncrypted || !isPKCS7(kind) && !(kind == "application/octet-stream" && namesP7M(h, params)) {
		return err
	}
	switch strings.ToLower(params["smime-type"]) {
	case "enveloped-data", "authenveloped-data":
		return ErrAlreadyEncrypted
	case "":
		if notEncrypted[beginning(h, body).String()] == "" {
			return ErrAlreadyEncrypted
		}
	}
	return nil
}

// beginning is the CMS content type of a body, of which nothing is consumed; nil when it cannot be told.
func beginning(h header, body *bufio.Reader) asn1.ObjectIdentifier {
	head, _ := body.Peek(256)
	message, err := encoded(h, bufio.NewReader(bytes.NewReader(head)))
	if err != nil {
		return nil
	}
	return contentType(message)
}

// receivers are the people who get a mail.
type receivers struct {
	main, blind []mailaddr.Address
	invalid     []Refusal // what stands in the fields and is no address
}

// whoReceives reads the recipients of a mail, or takes those that the caller names.
func whoReceives(h header, explicit []mailaddr.Address) (*receivers, error) {
	who := &receivers{}
	if len(explicit) > 0 {
		for _, a := range explicit {
			who.main = appendNew(who.main, a)
		}
		return who, who.check()
	}
	// A resent mail goes to those of the Resent- fields (RFC 5322 section 3.6.6), of which there may be several blocks.
	for _, f := range []string{"Resent-To", "Resent-Cc", "Resent-Bcc"} {
		if h.has(f) {
			return nil, fmt.Errorf("%w: %s leaves open who gets the mail now; name the recipients", ErrHeader, f)
		}
	}
	if err := who.read(h, &who.main, "To", "Cc"); err != nil {
		return nil, err
	}
	if err := who.read(h, &who.blind, "Bcc"); err != nil {
		return nil, err
	}
	who.blind = slices.DeleteFunc(who.blind, func(a mailaddr.Address) bool { return slices.Contains(who.main, a) })
	return who, who.check()
}

func (w *receivers) check() error {
	switch n := len(w.main) + len(w.blind) + len(w.invalid); {
	case n == 0:
		return ErrNoRecipients
	case n > MaxRecipients:
		return ErrTooManyRecipients
	}
	return nil
}

func appendNew(list []mailaddr.Address, a mailaddr.Address) []mailaddr.Address {
	if len(list) > MaxRecipients || slices.Contains(list, a) {
		return list
	}
	return append(list, a)
}

// resolve returns the certificates of the main and then the blind recipients, or names everybody without one.
func (w *receivers) resolve(ctx context.Context, source RecipientSource) ([][]*x509.Certificate, error) {
	all := slices.Concat(w.main, w.blind)
	certs, err := source.ForEncryption(ctx, all)
	var refused *RecipientsError
	if errors.As(err, &refused) || err == nil && len(w.invalid) > 0 {
		all := &RecipientsError{Refused: slices.Clone(w.invalid)}
		if refused != nil {
			all.Refused = append(slices.Clone(refused.Refused), all.Refused...)
		}
		return nil, all
	}
	if err != nil {
		return nil, fmt.Errorf("find certificates of the recipients: %w", err)
	}
	if len(certs) != len(all) {
		return nil, fmt.Errorf("find certificates of the recipients: answers for %d of %d addresses", len(certs), len(all))
	}
	for i, list := range certs {
		if len(list) == 0 || slices.Contains(list, nil) {
			return nil, fmt.Errorf("find certificates of the recipients: none for %s", all[i])
		}
	}
	return certs, nil
}

package smime

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"slices"
	"strings"

	"github.com/galsyncd/galsyncd/internal/mailaddr"
)

// ProtectedHeaders says which header fields of a mail were inside its signature or encryption. They are protected as far as
// that goes: fields inside of Malleable content prove nothing.
type ProtectedHeaders struct {
	// Form is "cipher" or "clear", the hp parameter of RFC 9788, or "message/rfc822", the older form of RFC 8551 section 3.1.
	Form string `json:"form"`
	// Fields are the names of the protected fields, in order.
	Fields []string `json:"fields"`
	// Confidential are the names of those that were not readable outside, as the sender says (HP-Outer).
	Confidential []string `json:"confidential,omitempty"`
	// Unprotected are the names of the fields that only stand outside, where anybody could have put them, and are shown all
	// the same, in order.
	Unprotected []string `json:"unprotected,omitempty"`

	fields header
	// mail is the entity inside of a message/rfc822; else nil.
	mail *entity
}

// readProtected reads the header protection of what is inside a mail; nil when there is none.
func readProtected(outer header, payload *entity) (*ProtectedHeaders, error) {
	kind, params, err := payload.header.mediaType()
	if err != nil {
		return nil, nil // without a type there is no hp parameter
	}
	p := &ProtectedHeaders{Form: params["hp"]}
	source := payload.header
	switch {
	case p.Form == "cipher", p.Form == "clear":
	case kind == "message/rfc822":
		mail, err := parse(payload.body)
		if errors.Is(err, ErrHeader) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if params["forwarded"] != "no" && !sameMail(outer, mail.header) {
			return nil, nil
		}
		p.Form, p.mail, source = kind, mail, mail.header
	default:
		return nil, nil
	}
	p.fields = source.without("MIME-Version", "HP-Outer", "Bcc", "Resent-Bcc")
	if payloads := source.values("HP-Outer"); p.Form == "cipher" {
		p.Confidential = confidential(p.fields, payloads)
	}
	for _, f := range p.fields {
		p.Fields = append(p.Fields, f.name)
	}
	p.Unprotected = p.unprotected(outer)
	return p, nil
}

// sameMail tells a wrapped mail from a forwarded one: the wrapped one has the author and the identifier of the outer one.
func sameMail(outer, inner header) bool {
	a, b := readFrom(outer), readFrom(inner)
	ids := [2][]string{outer.values("Message-ID"), inner.values("Message-ID")}
	return a.problem == "" && a.address == b.address && len(ids[0]) == 1 && slices.Equal(ids[0], ids[1])
}

// confidential are the fields of which the sender did not put the same into the outer header (RFC 9788 section 2.2).
func confidential(fields header, outside []string) (names []string) {
	for _, f := range fields {
		same := func(s string) bool {
			name, value, _ := strings.Cut(s, ":")
			return f.is(strings.TrimSpace(name)) && strings.TrimSpace(value) == f.value()
		}
		if !slices.ContainsFunc(outside, same) && !slices.Contains(names, f.name) {
			names = append(names, f.name)
		}
	}
	return names
}

// userFacing fields are what people see and answer to. Where fields are protected, those outside count for nothing.
var userFacing = []string{"From", "To", "Cc", "Subject", "Date", "Reply-To", "Sender", "Message-ID", "In-Reply-To", "References", "Followup-To",
	"Mail-Followup-To", "Comments", "Keywords"}

// merge returns the header of the mail with its protected fields in place of those outside. When the mail is from another
// address inside than outside the outer From stays, for that is what the way of the mail was checked against (RFC 9788
// section 4.4); fromDiffers then says so.
func (p *ProtectedHeaders) merge(outer header) header {
	if p == nil {
		return outer
	}
	return append(p.outside(outer), p.inside(outer)...)
}

// inside are the protected fields that count.
func (p *ProtectedHeaders) inside(outer header) header {
	if p.fromDiffers(outer) == "" {
		return p.fields
	}
	return slices.DeleteFunc(slices.Clone(p.fields), func(f field) bool { return f.is("From") })
}

// outside are the outer fields that count.
func (p *ProtectedHeaders) outside(outer header) (kept header) {
	inside := p.inside(outer)
	for _, f := range outer {
		hidden := slices.ContainsFunc(userFacing, f.is) && !f.is("From") || inside.has(f.name)
		if !hidden {
			kept = append(kept, f)
		}
	}
	return kept
}

// unprotected are the names of the outer fields that merge keeps, but those that belong to the way of the mail.
func (p *ProtectedHeaders) unprotected(outer header) (names []string) {
	for _, f := range p.outside(outer) {
		if !slices.ContainsFunc(trace, f.is) && !strings.HasPrefix(strings.ToLower(f.name), "content-") && !slices.Contains(names, f.name) {
			names = append(names, f.name)
		}
	}
	return names
}

// fromDiffers is a sentence when the protected From is not the outer one.
func (p *ProtectedHeaders) fromDiffers(outer header) string {
	if p == nil || !p.fields.has("From") {
		return ""
	}
	outside, inside := readFrom(outer), readFrom(p.fields)
	if inside.problem == "" && inside.address == outside.address {
		return ""
	}
	return fmt.Sprintf("inside the mail is from %s, outside from %s", orNobody(inside.address), orNobody(outside.address))
}

func orNobody(a mailaddr.Address) string {
	if a == "" {
		return "nobody in particular"
	}
	return string(a)
}

// trace fields belong to the way of a mail and not to its author.
var trace = []string{"Received", "Return-Path", "DKIM-Signature", "Authentication-Results", "Delivered-To", "Content-Length", "HP-Outer", "Bcc", "Resent-Bcc", "MIME-Version"}

const hiddenSubject = "Subject: [...]\r\n"

// obscured is the outer header under the policy hcp_baseline of RFC 9788 section 3.2.1: the subject is hidden, comments and
// keywords are taken out, and so is Thread-Topic, in which Outlook and Evolution repeat the subject.
func (h header) obscured() header {
	kept := slices.DeleteFunc(slices.Clone(h), func(f field) bool {
		return f.is("Comments") || f.is("Keywords") || f.is("Thread-Topic") || f.is("HP-Outer")
	})
	for i, f := range kept {
		if f.is("Subject") {
			kept[i].raw = []byte(hiddenSubject)
		}
	}
	return kept
}

// payload returns the header of the payload of a mail to be encrypted, and what is to be written before its body.
func (h header) payload(legacy bool) (inner header, first []byte, err error) {
	parameter := ""
	if legacy {
		if first = h.legacyDisplay(); first != nil {
			parameter = "; hp-legacy-display=\"1\""
		}
	}
	inner, err = h.protected(parameter)
	return inner, first, err
}

// protected is the header of the payload of a mail to be encrypted (RFC 9788 section 2.1 and 2.2): the mail's fields, what of
// them stands outside, and the Content- fields with the hp parameter. parameter is added to the Content-Type too.
func (h header) protected(parameter string) (header, error) {
	content := h.contentOrText()
	switch kind, params, err := content.mediaType(); {
	case err != nil:
		return nil, err
	case params["hp"] != "":
		return nil, fmt.Errorf("%w: they are protected already", ErrUnprotectable)
	case kind == "multipart/signed", isPKCS7(kind):
		// Readers look for them in what is innermost, which the signature does not let change.
		return nil, fmt.Errorf("%w: the mail is signed already", ErrUnprotectable)
	}
	inside := h.without(trace...)
	for _, f := range h.obscured().without(trace...) {
		inside = append(inside, field{"HP-Outer", append([]byte("HP-Outer: "), f.raw...)})
	}
	for i, f := range content {
		if f.is("Content-Type") {
			raw := bytes.TrimRight(bytes.Clone(f.raw), "; \t\r\n")
			content[i].raw = append(raw, ";\r\n hp=\"cipher\""+parameter+"\r\n"...)
		}
	}
	if _, params, err := content.mediaType(); err != nil || params["hp"] != "cipher" {
		return nil, fmt.Errorf("%w: its Content-Type cannot be read", ErrUnprotectable)
	}
	return append(inside, content...), nil
}

// legacyDisplay is what programs that know nothing of protected headers should show at the top of the text, in the encoding
// of the part; nil when it cannot be put there without changing the part otherwise: only a mail that is a single text/plain
// part, not in base64, in a character set that can write the subject (RFC 9788 section 2.1.2).
func (h header) legacyDisplay() []byte {
	kind, params, err := h.mediaType()
	subjects := h.values("Subject")
	if err != nil || kind != "text/plain" || len(subjects) != 1 {
		return nil
	}
	decoder := mime.WordDecoder{}
	subject, err := decoder.DecodeHeader(subjects[0])
	if err != nil {
		return nil
	}
	ascii := !strings.ContainsFunc(subject, func(r rune) bool { return r >= 0x80 })
	text := "Subject: " + subject + "\r\n\r\n"
	encoding, err := h.transferEncoding()
	switch charset := strings.ToLower(params["charset"]); {
	case err != nil, strings.ContainsAny(subject, "\r\n\x00"), len(text) > maxLine, !ascii && charset != "utf-8", ascii && strings.HasPrefix(charset, "utf-16"), ascii && strings.HasPrefix(charset, "utf-32"):
		return nil
	}
	switch {
	case encoding == "8bit", encoding == "7bit" && ascii:
		return []byte(text)
	case encoding == "quoted-printable":
		var b bytes.Buffer
		w := quotedprintable.NewWriter(&b)
		_, _ = io.WriteString(w, text) // a bytes.Buffer takes everything
		_ = w.Close()
		return b.Bytes()
	}
	return nil
}

package exchangesim

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/galsyncd/galsyncd/internal/wbxml"
)

// resolveRecipients answers ResolveRecipients (MS-ASCMD section 2.2.1.15).
func (s *Server) resolveRecipients(c *command) *wbxml.Element {
	var to []string
	for e := range c.root.All(wbxml.ResolveRecipientsTo) {
		to = append(to, e.Text)
	}
	most := s.options.ActiveSync.MaxTo
	if most == 0 {
		most = 100
	}
	status := func(v string) *wbxml.Element { return wbxml.NewText(wbxml.ResolveRecipientsStatus, v) }
	tooLong := func(text string) bool { return text == "" || len(text) > 256 }
	if len(to) == 0 || len(to) > most || slices.ContainsFunc(to, tooLong) {
		return wbxml.New(wbxml.ResolveRecipients, status("5"))
	}
	o := c.root.Child(wbxml.ResolveRecipientsOptions)
	r := &resolving{server: s, full: o.TextAt(wbxml.ResolveRecipientsCertificateRetrieval) == "2",
		suggestions: number(o.TextAt(wbxml.ResolveRecipientsMaxAmbiguousRecipients), 19), left: number(o.TextAt(wbxml.ResolveRecipientsMaxCertificates), 9999)}
	if cap := s.options.ActiveSync.MaxCertificates; cap > 0 {
		r.left = min(r.left, cap)
	}
	root := wbxml.New(wbxml.ResolveRecipients, status("1"))
	for _, text := range to {
		root.Children = append(root.Children, r.response(text))
	}
	return root
}

func number(text string, otherwise int) int {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return otherwise
	}
	return n
}

// resolving is one ResolveRecipients being answered.
type resolving struct {
	server      *Server
	full        bool
	suggestions int
	left        int // certificates that may still be given
}

// response answers for one To. An address that somebody has is his; other text is what names and addresses begin with. Where
// the directory has nobody, a contact of the account answers for its addresses.
func (r *resolving) response(text string) *wbxml.Element {
	answer := func(status string, count int, found []*entry, certificates bool) *wbxml.Element {
		e := wbxml.New(wbxml.ResolveRecipientsResponse, wbxml.NewText(wbxml.ResolveRecipientsTo, text), wbxml.NewText(wbxml.ResolveRecipientsStatus, status))
		if status != "4" {
			e.Children = append(e.Children, wbxml.NewText(wbxml.ResolveRecipientsRecipientCount, strconv.Itoa(count)))
		}
		for _, f := range found {
			e.Children = append(e.Children, r.recipient(f, certificates))
		}
		return e
	}
	found := r.server.dir.anr(text)
	if contact := r.server.contacts.lookup(text); len(found) == 0 && contact != nil {
		found = []*entry{contact}
	}
	switch {
	case len(found) == 0:
		return answer("4", 0, nil, false)
	case len(found) == 1:
		return answer("1", 1, found, r.full)
	case len(found) > r.suggestions:
		return answer("3", len(found), found[:r.suggestions], false)
	}
	return answer("2", len(found), found, false)
}

func (r *resolving) recipient(e *entry, certificates bool) *wbxml.Element {
	kind := "1"
	if r.server.options.ActiveSync.AllContacts || e.Kind == Contact && r.server.contacts.lookup(e.Primary) == e {
		kind = "2"
	}
	x := wbxml.New(wbxml.ResolveRecipientsRecipient, wbxml.NewText(wbxml.ResolveRecipientsType, kind),
		wbxml.NewText(wbxml.ResolveRecipientsDisplayName, e.DisplayName), wbxml.NewText(wbxml.ResolveRecipientsEmailAddress, e.Primary))
	if !certificates {
		return x
	}
	members := 0
	values := r.server.valid(e)
	if r.server.options.ActiveSync.CountPeople && e.Kind != PublicDL {
		members = 1
	}
	if e.Kind == PublicDL {
		for _, m := range e.Members {
			if of, ok := r.server.dir.lookup(m); ok {
				members++
				values = append(values, r.server.valid(of)...)
			}
		}
	}
	x.Children = append(x.Children, r.certificates(values, members))
	return x
}

// certificates makes the Certificates element; members is the size of a distribution list.
func (r *resolving) certificates(values [][]byte, members int) *wbxml.Element {
	status, count := "1", len(values)
	switch {
	case len(values) == 0:
		status = "7"
	case len(values) > r.left:
		status, count, values = "8", len(values)-r.left, values[:r.left]
	}
	r.left -= len(values)
	x := wbxml.New(wbxml.ResolveRecipientsCertificates, wbxml.NewText(wbxml.ResolveRecipientsStatus, status),
		wbxml.NewText(wbxml.ResolveRecipientsCertificateCount, strconv.Itoa(count)))
	if members > 0 {
		x.Children = append(x.Children, wbxml.NewText(wbxml.ResolveRecipientsRecipientCount, strconv.Itoa(members)))
	}
	for _, v := range values {
		x.Children = append(x.Children, wbxml.NewText(wbxml.ResolveRecipientsCertificate, base64.StdEncoding.EncodeToString(v)))
	}
	return x
}

// anr resolves a text: the owner of an address, else everybody whose names or addresses begin so.
func (d *Directory) anr(text string) []*entry {
	d.mu.RLock()
	defer d.mu.RUnlock()
	text = strings.TrimSpace(text)
	found := places(d.proxies.prefix(fold(text), true))
	if len(found) == 0 {
		found = append(d.matches(text), places(d.proxies.prefix(fold(text), false))...)
	}
	slices.Sort(found)
	found = slices.Compact(found)
	entries := make([]*entry, len(found))
	for i, place := range found {
		entries[i] = d.entries[place]
	}
	return entries
}

// valid are the certificates of an entry that Exchange shows over ActiveSync: bare, of an issuer that it trusts, and
// not outside of their validity.
func (s *Server) valid(e *entry) (values [][]byte) {
	c, err := s.dir.certificates(e)
	if err != nil {
		return nil
	}
	now := time.Now()
	for _, v := range append(append(slices.Clone(c.smime), c.exchange...), c.own) {
		cert, err := x509.ParseCertificate(v)
		if err != nil || now.Before(cert.NotBefore) || now.After(cert.NotAfter) || cert.CheckSignatureFrom(s.SMIMECA()) != nil {
			continue
		}
		if !slices.ContainsFunc(values, func(w []byte) bool { return bytes.Equal(v, w) }) {
			values = append(values, v)
		}
	}
	return values
}

// validateCert answers ValidateCert (MS-ASCMD section 2.2.1.22): an issuer that is trusted, and the dates.
func (s *Server) validateCert(c *command) *wbxml.Element {
	root := wbxml.New(wbxml.ValidateCert, wbxml.NewText(wbxml.ValidateCertStatus, "1"))
	for e := range c.root.Child(wbxml.ValidateCertCertificates).All(wbxml.ValidateCertCertificate) {
		root.Children = append(root.Children, wbxml.New(wbxml.ValidateCertCertificate, wbxml.NewText(wbxml.ValidateCertStatus, s.opinion(e.Text))))
	}
	if n := len(root.Children) - 1; n == 0 || n > 100 {
		return wbxml.New(wbxml.ValidateCert, wbxml.NewText(wbxml.ValidateCertStatus, "2"))
	}
	return root
}

func (s *Server) opinion(text string) string {
	der, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return "10"
	}
	cert, err := x509.ParseCertificate(der)
	switch now := time.Now(); {
	case err != nil:
		return "10"
	case cert.CheckSignatureFrom(s.SMIMECA()) != nil:
		return "4"
	case now.Before(cert.NotBefore) || now.After(cert.NotAfter):
		return "7"
	}
	return "1"
}

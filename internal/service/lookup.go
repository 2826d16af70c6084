package service

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/recipients"
	"github.com/galsyncd/galsyncd/trust"
)

func (s *Server) getRecipients(w http.ResponseWriter, r *http.Request) error {
	values, err := query(r, "address", "explain", "online", "from")
	if err != nil {
		return err
	}
	list, err := addresses(values, "address", maxAddresses)
	if err != nil {
		return err
	}
	explain, err := flag(values, "explain")
	if err != nil {
		return err
	}
	online, err := flag(values, "online")
	if err != nil {
		return err
	}
	if s.Recipients == nil {
		return missing("a directory")
	}
	byDefault, err := s.encryptByDefault(r.Context(), values)
	if err != nil {
		return err
	}
	asked, err := s.askOnline(r, online, list)
	if err != nil {
		return err
	}
	verdict, err := s.Recipients.Lookup(r.Context(), list)
	if err != nil {
		return err
	}
	for i := range verdict.Recipients {
		a := &verdict.Recipients[i]
		if text := asked.warning(a.Address); text != "" && a.State == trust.Unknown {
			a.Warnings = append(slices.Clip(a.Warnings), text)
		}
		if online {
			a.Hints = slices.DeleteFunc(slices.Clone(a.Hints), func(h string) bool { return h == recipients.HintOnline })
		}
	}
	return writeJSON(w, http.StatusOK, lookupAnswer{presentableResult(verdict, explain), byDefault, asked.unanswered, asked.unasked})
}

// lookupAnswer is the answer to a look-up.
type lookupAnswer struct {
	recipients.Result
	// EncryptByDefault is how the lock of a mail stands at first; nil when nobody said from whom it is.
	EncryptByDefault *bool `json:"encryptByDefault,omitempty"`
	// Unanswered reports that Exchange should have been asked and did not answer.
	Unanswered bool `json:"unanswered,omitempty"`
	// Unasked are addresses, in canonical form, about which Exchange was not asked because there were too many.
	Unasked []string `json:"unasked,omitempty"`
}

// encryptByDefault is the preference of the address in the parameter from; no is what nobody chose.
func (s *Server) encryptByDefault(ctx context.Context, values url.Values) (*bool, error) {
	if !values.Has("from") {
		return nil, nil
	}
	address, err := oneAddress(values, "from")
	switch {
	case err != nil:
		return nil, err
	case s.role() != RoleUser:
		return nil, noKeysHere()
	case s.Keyring == nil:
		return nil, missing("a keyring")
	}
	_, effective, err := s.preferencesFor(ctx, address)
	return cmp.Or(effective.Encrypt, new(bool)), err
}

// presentableResult drops explanations that nobody asked for, without touching the original.
func presentableResult(result recipients.Result, explain bool) recipients.Result {
	result.Blocking = notNil(result.Blocking)
	result.Recipients = presentable(notNil(result.Recipients), explain)
	return result
}

// presentable does so for answers and for the members of groups.
func presentable(answers []recipients.Answer, explain bool) []recipients.Answer {
	answers = slices.Clone(answers)
	for i := range answers {
		answer := &answers[i]
		answer.Reasons = notNil(answer.Reasons)
		answer.Members = presentable(answer.Members, explain)
		if !explain {
			answer.Explain = nil
		}
	}
	return answers
}

func (s *Server) getDirectory(w http.ResponseWriter, r *http.Request) error {
	values, err := query(r, "address")
	if err != nil {
		return err
	}
	list, err := addresses(values, "address", maxCandidates)
	if err != nil {
		return err
	}
	if s.Directory == nil {
		return missing("a directory")
	}
	parsed, err := parseAddresses(list)
	if err != nil {
		return err
	}
	// Asked before the entries: data is never called fresher than it is.
	fresh, err := s.Directory.Freshness(r.Context())
	if err != nil {
		return err
	}
	answer := Candidates{LastSuccess: fresh.Completed, LastWalk: fresh.Walked, Addresses: []AddressCandidates{}}
	for i, address := range parsed {
		known, err := s.Directory.Lookup(r.Context(), address)
		if err != nil {
			return err
		}
		found := AddressCandidates{Address: list[i], Sightings: []Sighting{}, Offers: notNil(known.Offers)}
		for _, sighting := range known.Sightings {
			sighting.Entry.Addresses = notNil(sighting.Entry.Addresses)
			found.Sightings = append(found.Sightings, Sighting(sighting))
		}
		answer.Addresses = append(answer.Addresses, found)
	}
	return writeJSON(w, http.StatusOK, answer)
}

// parseAddresses refuses the whole list for one that is no address.
func parseAddresses(list []string) ([]directory.Address, error) {
	parsed := make([]directory.Address, 0, len(list))
	for _, text := range list {
		address, err := directory.ParseAddress(text)
		if err != nil {
			return nil, NewProblem(CodeBadRequest, err.Error(), "give a bare address such as bob@example.com; in a URL, + is written %2B")
		}
		parsed = append(parsed, address)
	}
	return parsed, nil
}

func (s *Server) getEntries(w http.ResponseWriter, r *http.Request) error {
	values, err := query(r, "query", "limit")
	if err != nil {
		return err
	}
	text, err := one(values, "query")
	if err != nil {
		return err
	}
	if text = strings.TrimSpace(text); utf8.RuneCountInString(text) < minQuery {
		return NewProblem(CodeBadRequest, "the parameter query needs at least "+strconv.Itoa(minQuery)+" characters", "")
	}
	limit, err := entryLimit(one(values, "limit"))
	if err != nil {
		return err
	}
	if s.Directory == nil {
		return missing("a directory")
	}
	found, err := s.Directory.Search(r.Context(), text, limit+1)
	if err != nil {
		return err
	}
	answer := Entries{Entries: []EntrySummary{}, More: len(found) > limit}
	for _, entry := range found[:min(limit, len(found))] {
		answer.Entries = append(answer.Entries, summary(entry))
	}
	return writeJSON(w, http.StatusOK, answer)
}

func entryLimit(text string, err error) (int, error) {
	if text == "" || err != nil {
		return maxEntries, err
	}
	limit, err := strconv.Atoi(text)
	if err != nil || limit < 1 || limit > maxEntries {
		return 0, NewProblem(CodeBadRequest, "the parameter limit is a number from 1 to "+strconv.Itoa(maxEntries), "")
	}
	return limit, nil
}

func summary(e directory.Entry) EntrySummary {
	list := make([]string, 0, len(e.Addresses))
	for _, a := range e.Addresses {
		list = append(list, string(a))
	}
	return EntrySummary{
		Primary: string(e.Primary), Addresses: list, DisplayName: e.DisplayName, GivenName: e.GivenName, Surname: e.Surname,
		Kind: e.Kind, Certificates: len(e.Certificates),
	}
}

func (s *Server) getCertificate(w http.ResponseWriter, r *http.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	sum, err := certificateName(r)
	if err != nil {
		return err
	}
	kind := accepted(r, "application/json", "application/pkix-cert", "application/x-pem-file")
	if kind == "" {
		return NewProblem(CodeNotAcceptable, "a certificate comes as application/json, application/pkix-cert or application/x-pem-file", "")
	}
	der, entries, entry, err := s.anyCertificate(r.Context(), sum)
	if errors.Is(err, ErrNotFound) {
		return NewProblem(CodeNotFound, "no certificate has this fingerprint", "galsyncd cert list shows what is installed, galsyncd lookup --explain what the address book has")
	}
	if err != nil {
		return err
	}
	w.Header().Set("Vary", "Accept")
	switch kind {
	case "application/pkix-cert":
		return writeBytes(w, http.StatusOK, kind, der)
	case "application/x-pem-file":
		return writeBytes(w, http.StatusOK, kind, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	details, err := describe(der, entries)
	if err != nil {
		return err
	}
	details.Installed = entry
	return writeJSON(w, http.StatusOK, details)
}

// describe reads out a certificate for people and programs.
func describe(der []byte, entries []directory.Address) (*CertificateDetails, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read stored certificate: %w", err)
	}
	d := &CertificateDetails{
		Certificate: *recipients.Describe(cert), SignatureAlgorithm: cert.SignatureAlgorithm.String(),
		KeyUsage: keyUsages(cert.KeyUsage), ExtendedKeyUsage: extendedKeyUsages(cert),
		Entries: []string{}, Raw: der,
	}
	for _, e := range entries {
		d.Entries = append(d.Entries, string(e))
	}
	return d, nil
}

// keyUsages names the bits of the key usage extension as RFC 5280 section 4.2.1.3 does.
func keyUsages(usage x509.KeyUsage) []string {
	names := []string{"digitalSignature", "nonRepudiation", "keyEncipherment", "dataEncipherment", "keyAgreement",
		"keyCertSign", "cRLSign", "encipherOnly", "decipherOnly"}
	list := []string{}
	for i, name := range names {
		if usage&(1<<i) != 0 {
			list = append(list, name)
		}
	}
	return list
}

// extendedKeyUsages names the purposes, those that crypto/x509 does not know by their object identifier.
func extendedKeyUsages(cert *x509.Certificate) []string {
	list := []string{}
	for _, usage := range cert.ExtKeyUsage {
		list = append(list, usage.String())
	}
	for _, oid := range cert.UnknownExtKeyUsage {
		list = append(list, oid.String())
	}
	return list
}

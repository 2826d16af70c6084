package service

import (
	"cmp"
	"context"
	"net/http"
	"net/url"

	"github.com/galsyncd/galsyncd/internal/mailaddr"
)

// Preferences are what a person wants done with mails from an address. What is absent says nothing, which is not no.
type Preferences struct {
	// Sign signs every mail that is encrypted; Encrypt is the default of a mail program's lock.
	Sign    *bool `json:"sign,omitempty"`
	Encrypt *bool `json:"encrypt,omitempty"`
	// ToSelf encrypts to the sender too, ProtectHeaders hides the subject (RFC 9788).
	ToSelf         *bool `json:"toSelf,omitempty"`
	ProtectHeaders *bool `json:"protectHeaders,omitempty"`
	// Identity is the SHA-256 fingerprint of the certificate to sign with.
	Identity string `json:"identity,omitempty"`
}

// AddressPreferences are the preferences for mails from one address; an empty Address is the default of all.
type AddressPreferences struct {
	Address string `json:"address"`
	Preferences
}

// PreferenceList is every entry, and what counts for the address that was asked about.
type PreferenceList struct {
	Preferences []AddressPreferences `json:"preferences"`
	// Effective is what the entry of the address and the default come to; the default alone when no address was given.
	Effective AddressPreferences `json:"effective"`
}

func (s *Server) getPreferences(w http.ResponseWriter, r *http.Request) error {
	address, err := s.preferencesAddress(r)
	if err != nil {
		return err
	}
	return s.writePreferences(w, r, address)
}

func (s *Server) putPreferences(w http.ResponseWriter, r *http.Request) error {
	address, err := s.preferencesAddress(r)
	if err != nil {
		return err
	}
	var p Preferences
	if err := s.readJSON(w, r, &p); err != nil {
		return err
	}
	if err := s.Keyring.SetPreferences(r.Context(), AddressPreferences{Address: address, Preferences: p}); err != nil {
		return err
	}
	return s.writePreferences(w, r, address)
}

// preferencesAddress reads which address a request about preferences means; "" is the default of all.
func (s *Server) preferencesAddress(r *http.Request) (string, error) {
	values, err := query(r, "address")
	if err != nil {
		return "", err
	}
	if s.Keyring == nil {
		return "", missing("a keyring")
	}
	return oneAddress(values, "address")
}

// oneAddress reads a parameter that is the address that preferences are for; "" is the default.
func oneAddress(values url.Values, name string) (string, error) {
	text, err := one(values, name)
	if err != nil || text == "" {
		return "", err
	}
	a, err := mailaddr.Parse(text)
	if err != nil {
		return "", NewProblem(CodeBadRequest, err.Error(), "")
	}
	return string(a), nil
}

func (s *Server) writePreferences(w http.ResponseWriter, r *http.Request, address string) error {
	list, effective, err := s.preferencesFor(r.Context(), address)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, PreferenceList{Preferences: notNil(list), Effective: AddressPreferences{Address: address, Preferences: effective}})
}

// preferencesFor returns every entry, and what counts for an address.
func (s *Server) preferencesFor(ctx context.Context, address string) (list []AddressPreferences, effective Preferences, err error) {
	if list, err = s.Keyring.Preferences(ctx); err != nil {
		return nil, Preferences{}, err
	}
	var standard, own Preferences
	for _, p := range list {
		switch p.Address {
		case "":
			standard = p.Preferences
		case address:
			own = p.Preferences
		}
	}
	return list, own.over(standard), nil
}

// over fills what p does not say from the default.
func (p Preferences) over(standard Preferences) Preferences {
	return Preferences{
		Sign: cmp.Or(p.Sign, standard.Sign), Encrypt: cmp.Or(p.Encrypt, standard.Encrypt), ToSelf: cmp.Or(p.ToSelf, standard.ToSelf),
		ProtectHeaders: cmp.Or(p.ProtectHeaders, standard.ProtectHeaders), Identity: cmp.Or(p.Identity, standard.Identity),
	}
}

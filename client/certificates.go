package client

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"time"
)

// InstalledCertificates is everything that was installed by hand.
type InstalledCertificates struct {
	Certificates []InstalledCertificate `json:"certificates"`
	Issuers      []TrustedIssuer        `json:"issuers"`
}

// InstalledCertificate is a certificate that was installed by hand.
type InstalledCertificate struct {
	Certificate
	// Uses are "encryption" and "signature".
	Uses []string `json:"uses"`
	// For are the addresses that it is installed for.
	For []InstalledPlace `json:"for"`
	// Chain are the certificates that came with it.
	Chain []Certificate `json:"chain"`
	// How is "mail", "file" or "admin"; From is the sender of the mail or the name of the file.
	How       string    `json:"how"`
	From      string    `json:"from,omitempty"`
	Installed time.Time `json:"installed"`
	Updated   time.Time `json:"updated"`
}

// InstalledPlace is an address that a certificate is installed for.
type InstalledPlace struct {
	Address string `json:"address"`
	// Trusted is when the person decided that the certificate is the right one; zero without a decision.
	Trusted time.Time `json:"trusted,omitzero"`
	// Chosen reports that it goes before all others.
	Chosen bool `json:"chosen,omitempty"`
	// State is the verdict about encrypting to it; empty for a certificate that is for signatures only.
	State   string   `json:"state,omitempty"`
	Reasons []string `json:"reasons"`
	// Used reports that mail to the address is encrypted to it now.
	Used bool `json:"used,omitempty"`
}

// TrustedIssuer is an authority that the person trusts.
type TrustedIssuer struct {
	Certificate
	Trusted time.Time `json:"trusted"`
	From    string    `json:"from,omitempty"`
}

// InstallReport says what a file or mail holds and what installing it does, or did.
type InstallReport struct {
	// Format is "mail", "pem", "der", "pkcs7" or "vcard".
	Format string `json:"format"`
	// Signature is nil unless it is a mail.
	Signature    *InstallSignature `json:"signature,omitempty"`
	Certificates []InstallItem     `json:"certificates"`
	// Done is false for a dry run.
	Done    bool     `json:"done"`
	Remarks []Remark `json:"remarks"`
}

// InstallSignature is what verification says about a mail.
type InstallSignature struct {
	Verdict     string     `json:"verdict"`
	Reasons     []string   `json:"reasons"`
	Warnings    []string   `json:"warnings,omitempty"`
	From        string     `json:"from,omitempty"`
	SigningTime *time.Time `json:"signingTime,omitempty"`
}

// InstallItem is a certificate that can be installed.
type InstallItem struct {
	Certificate
	Uses []string `json:"uses"`
	// For are the addresses that it is installed for.
	For   []string      `json:"for"`
	Chain []Certificate `json:"chain"`
	// Chained reports that its chain is trusted.
	Chained bool `json:"chained"`
	// State is "new", "changed" or "unchanged".
	State     string            `json:"state"`
	Unusual   []Remark          `json:"unusual"`
	Obstacles []InstallObstacle `json:"obstacles"`
}

// Remark is something unusual: a stable code and a clause for people.
type Remark struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// InstallObstacle forbids installing a certificate. Hint says how to do it all the same; empty when there is no way.
type InstallObstacle struct {
	Remark
	Hint string `json:"hint,omitempty"`
}

// Install says what one can do with the certificate of somebody who signed a mail.
type Install struct {
	// Action is "remove" when it is installed, "install" when it can be, and empty when it cannot.
	Action string `json:"action,omitempty"`
	// Certificates are the fingerprints of what is, or would be, installed: the one to encrypt to first.
	Certificates []string `json:"certificates"`
	Addresses    []string `json:"addresses"`
	// Encryption reports that one can encrypt to one of them.
	Encryption bool `json:"encryption"`
	// Renewal reports that another certificate of the same person is installed, and this one is newer.
	Renewal bool `json:"renewal,omitempty"`
	// Used reports that mail to Addresses is encrypted to it already, because the address book or the contacts have it.
	Used bool `json:"used,omitempty"`
	// Own reports that it is the user's own: the keyring has the key for it.
	Own bool `json:"own,omitempty"`
	// Reasons say why it cannot be installed.
	Reasons []string `json:"reasons"`
}

// InstallOptions are wishes for InstallCertificate; the zero value has none.
type InstallOptions struct {
	// DryRun only says what would be done.
	DryRun bool
	// Addresses are those to install for; the certificate must name them.
	Addresses []string
	// Name is that of the file, for people.
	Name string
	// InvalidSignature installs from a mail whose signature is invalid.
	InvalidSignature bool
	// NoTrust records no decision to trust the certificate.
	NoTrust bool
	// Issuer takes certificates of authorities.
	Issuer bool
}

// TrustOptions are wishes for TrustCertificate; the zero value trusts a certificate for all addresses that it is
// installed for.
type TrustOptions struct {
	Addresses []string
	// Prefer lets it go before all others, those of the address book too.
	Prefer bool
	// Issuer means an authority.
	Issuer bool
}

// Certificates asks for the installed certificates.
func (c *Client) Certificates(ctx context.Context) (*InstalledCertificates, error) {
	return get[InstalledCertificates](ctx, c, "/v1/certificates", nil)
}

// InstallCertificate installs the certificates of a signed mail or a file. The error is an *Error with
// CodeCertificateRefused when something forbids it; a dry run lists all of that.
func (c *Client) InstallCertificate(ctx context.Context, file []byte, o InstallOptions) (*InstallReport, error) {
	query := url.Values{"address": o.Addresses}
	if o.Name != "" {
		query.Set("name", o.Name)
	}
	flags(query, map[string]bool{"dry-run": o.DryRun, "invalid-signature": o.InvalidSignature, "no-trust": o.NoTrust, "issuer": o.Issuer})
	return ask[InstallReport](ctx, c, request{method: http.MethodPost, path: "/v1/certificates", query: query,
		kind: "application/octet-stream", body: bytes.NewReader(file), size: int64(len(file)), stream: true})
}

// TrustCertificate records that a certificate (its SHA-256 in hex) is the right one for addresses, or that an issuer is to be
// trusted. The error is an *Error with CodeNotFound when the daemon does not know it.
func (c *Client) TrustCertificate(ctx context.Context, sha256 string, o TrustOptions) error {
	query := url.Values{"address": o.Addresses}
	flags(query, map[string]bool{"prefer": o.Prefer, "issuer": o.Issuer})
	return c.act(ctx, http.MethodPut, "/v1/certificates/"+sha256+"/trust", query)
}

// UntrustCertificate takes a decision back; without addresses for all of them.
func (c *Client) UntrustCertificate(ctx context.Context, sha256 string, addresses ...string) error {
	return c.act(ctx, http.MethodDelete, "/v1/certificates/"+sha256+"/trust", url.Values{"address": addresses})
}

// RemoveCertificate forgets an installed certificate, or an issuer that was trusted.
func (c *Client) RemoveCertificate(ctx context.Context, sha256 string) error {
	return c.act(ctx, http.MethodDelete, "/v1/certificates/"+sha256, nil)
}

// act sends a request whose answer is of no interest.
func (c *Client) act(ctx context.Context, method, path string, query url.Values) error {
	answer, err := c.do(ctx, request{method: method, path: path, query: query, accept: "application/json"})
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	_, err = readAll(answer.Body, maxAnswer)
	return err
}

// flags sets the parameters that are true.
func flags(query url.Values, values map[string]bool) {
	for name, value := range values {
		if value {
			query.Set(name, "1")
		}
	}
}

package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
)

// maxKeyring bounds a copy of the keyring.
const maxKeyring = 64 << 20

// Identities asks for the own keys, and for those that wait for their certificate.
func (c *Client) Identities(ctx context.Context) (*Identities, error) {
	return get[Identities](ctx, c, "/v1/identities", nil)
}

// ImportIdentity adds keys to the keyring, or the certificates that were issued for keys in it.
func (c *Client) ImportIdentity(ctx context.Context, r ImportRequest) (*Imported, error) {
	return post[Imported](ctx, c, "/v1/identities", r)
}

// RequestIdentity makes a key and a certificate request for it. RSA takes some seconds.
func (c *Client) RequestIdentity(ctx context.Context, r NewKeyRequest) (*IdentityRequest, error) {
	return post[IdentityRequest](ctx, c, "/v1/identities/requests", r)
}

// RemoveIdentity deletes an own key, for ever, and returns what it was. The error is an *Error with CodeNotFound when there
// is none.
func (c *Client) RemoveIdentity(ctx context.Context, sha256 string) (*Identity, error) {
	return ask[Identity](ctx, c, request{method: http.MethodDelete, path: "/v1/identities/" + sha256})
}

// RemoveRequest deletes a key that waits for its certificate, for ever.
func (c *Client) RemoveRequest(ctx context.Context, id string) error {
	answer, err := c.do(ctx, request{method: http.MethodDelete, path: "/v1/identities/requests/" + id, accept: "application/json"})
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

// Forms in which the certificate of an identity can be had.
const (
	FormDER   = "application/pkix-cert"  // the certificate alone
	FormPEM   = "application/x-pem-file" // with its chain
	FormPKCS7 = "application/pkcs7-mime" // the same, as .p7c files have it
)

// PublicIdentity asks for the certificate of an own key in one of the forms.
func (c *Client) PublicIdentity(ctx context.Context, sha256, form string) ([]byte, error) {
	return c.file(ctx, request{method: http.MethodGet, path: "/v1/identities/" + sha256, accept: form}, form, maxAnswer)
}

// ExportIdentity asks for an own key as a PFX file.
func (c *Client) ExportIdentity(ctx context.Context, sha256 string, r ExportRequest) ([]byte, error) {
	q, err := withJSON(request{method: http.MethodPost, path: "/v1/identities/" + sha256 + "/export", accept: "application/pkcs12"}, r)
	if err != nil {
		return nil, err
	}
	return c.file(ctx, q, "application/pkcs12", maxAnswer)
}

// Backup asks for a copy of the whole keyring.
func (c *Client) Backup(ctx context.Context) ([]byte, error) {
	const kind = "application/octet-stream"
	return c.file(ctx, request{method: http.MethodGet, path: "/v1/keyring/backup", accept: kind}, kind, maxKeyring)
}

// file reads an answer that is a file of a kind.
func (c *Client) file(ctx context.Context, q request, kind string, limit int64) ([]byte, error) {
	answer, err := c.do(ctx, q)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	if err := expectType(answer, kind); err != nil {
		return nil, err
	}
	data, err := readAll(answer.Body, limit)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("read answer to %s: %w", q.path, err)
	}
	return data, nil
}

// ChangePassphrase replaces the passphrase of the keyring.
func (c *Client) ChangePassphrase(ctx context.Context, old, new string) (*KeyringStatus, error) {
	return post[KeyringStatus](ctx, c, "/v1/keyring/passphrase", passphraseRequest{Old: old, New: new})
}

// Preferences asks for every entry, and what counts for mails from an address; "" is the default.
func (c *Client) Preferences(ctx context.Context, address string) (*PreferenceList, error) {
	return get[PreferenceList](ctx, c, "/v1/preferences", url.Values{"address": {address}})
}

// SetPreferences replaces the entry of an address, or the default for ""; preferences that say nothing remove it.
func (c *Client) SetPreferences(ctx context.Context, address string, p Preferences) (*PreferenceList, error) {
	q, err := withJSON(request{method: http.MethodPut, path: "/v1/preferences", query: url.Values{"address": {address}}}, p)
	if err != nil {
		return nil, err
	}
	return ask[PreferenceList](ctx, c, q)
}

package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Version asks which program answers.
func (c *Client) Version(ctx context.Context) (*Version, error) {
	return get[Version](ctx, c, "/v1/version", nil)
}

// Status asks how the daemon is.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	return get[Status](ctx, c, "/v1/status", nil)
}

// Sync starts a run, with full set one that asks for every prefix anew. The error is an *Error with CodeSyncRunning when
// one is under way.
func (c *Client) Sync(ctx context.Context, full bool) (*Accepted, error) {
	query := url.Values{}
	if full {
		query.Set("full", "1")
	}
	return ask[Accepted](ctx, c, request{method: http.MethodPost, path: "/v1/sync", query: query})
}

// WatchSync calls progress (which may be nil) until the run under way ends and returns its report; when none is under way
// it returns the last report at once. An error that wraps io.ErrUnexpectedEOF means that the daemon ended first.
func (c *Client) WatchSync(ctx context.Context, progress func(Progress)) (*Report, error) {
	answer, err := c.do(ctx, request{method: http.MethodGet, path: "/v1/sync", accept: "application/x-ndjson"})
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	if err := expectType(answer, "application/x-ndjson"); err != nil {
		return nil, err
	}
	report, err := readEvents(answer.Body, progress)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("watch synchronisation: %w", err)
	}
	return report, nil
}

// readEvents reads lines of JSON until the report. Events that it does not know are skipped.
func readEvents(r io.Reader, progress func(Progress)) (*Report, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var kind struct {
			Event string `json:"event"`
		}
		if err := json.Unmarshal(lines.Bytes(), &kind); err != nil {
			return nil, fmt.Errorf("%w: a line is not JSON: %w", ErrAnswer, err)
		}
		switch kind.Event {
		case "progress":
			var p Progress
			if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
				return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
			}
			if progress != nil {
				progress(p)
			}
		case "report":
			report := new(Report)
			if err := json.Unmarshal(lines.Bytes(), report); err != nil {
				return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
			}
			return report, nil
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	return nil, io.ErrUnexpectedEOF
}

// LookupOptions are wishes for a look-up; the zero value has none.
type LookupOptions struct {
	// Explain lists every candidate.
	Explain bool
	// Online has Exchange asked about addresses of which nothing is known, within a short time.
	Online bool
	// From is the address of the sender, whose preference is then in Result.EncryptByDefault; only a user's own daemon has it.
	From string
}

// Recipients asks whether a mail to these addresses, at most 1000, can be encrypted, and with which certificates.
func (c *Client) Recipients(ctx context.Context, addresses []string, options LookupOptions) (*Result, error) {
	query := url.Values{"address": addresses}
	if options.Explain {
		query.Set("explain", "1")
	}
	if options.Online {
		query.Set("online", "1")
	}
	if options.From != "" {
		query.Set("from", options.From)
	}
	return get[Result](ctx, c, "/v1/recipients", query)
}

// Directory asks for the raw candidates of at most 50 addresses.
func (c *Client) Directory(ctx context.Context, addresses ...string) (*Candidates, error) {
	return get[Candidates](ctx, c, "/v1/directory", url.Values{"address": addresses})
}

// Entries completes a name or address of at least two characters. Limit is at most 50; 0 means 50.
func (c *Client) Entries(ctx context.Context, text string, limit int) (*Entries, error) {
	query := url.Values{"query": {text}}
	if limit != 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	return get[Entries](ctx, c, "/v1/entries", query)
}

// Certificate asks for the certificate with this SHA-256 fingerprint (hex). The error is an *Error with CodeNotFound when
// the daemon has none.
func (c *Client) Certificate(ctx context.Context, sha256 string) (*CertificateDetails, error) {
	return get[CertificateDetails](ctx, c, "/v1/certificates/"+sha256, nil)
}

// Fingerprints asks which certificates, known from any source, have a SHA-256 fingerprint that begins with these hex digits, 8
// at least.
func (c *Client) Fingerprints(ctx context.Context, beginning string) (*Fingerprints, error) {
	return get[Fingerprints](ctx, c, "/v1/fingerprints", url.Values{"beginning": {beginning}})
}

// Check has the daemon verify its files.
func (c *Client) Check(ctx context.Context) (*CheckReport, error) {
	return get[CheckReport](ctx, c, "/v1/check", nil)
}

// Lock makes the daemon forget the keys.
func (c *Client) Lock(ctx context.Context) (*KeyringStatus, error) {
	return post[KeyringStatus](ctx, c, "/v1/lock", nil)
}

// Unlock gives the passphrase of the keyring. The keys stay open for that long, 24 hours at most; zero: as the daemon's
// configuration says.
func (c *Client) Unlock(ctx context.Context, passphrase string, period time.Duration) (*KeyringStatus, error) {
	r := unlockRequest{Passphrase: passphrase}
	if period != 0 {
		r.For = period.String()
	}
	return post[KeyringStatus](ctx, c, "/v1/unlock", r)
}

// get asks for JSON.
func get[T any](ctx context.Context, c *Client, path string, query url.Values) (*T, error) {
	return ask[T](ctx, c, request{method: http.MethodGet, path: path, query: query})
}

// post sends JSON, or nothing when body is nil, and reads JSON.
func post[T any](ctx context.Context, c *Client, path string, body any) (*T, error) {
	q, err := withJSON(request{method: http.MethodPost, path: path}, body)
	if err != nil {
		return nil, err
	}
	return ask[T](ctx, c, q)
}

// withJSON gives a request a body; none for nil.
func withJSON(q request, body any) (request, error) {
	if body == nil {
		return q, nil
	}
	data, err := json.Marshal(body)
	q.kind, q.body = "application/json", bytes.NewReader(data)
	return q, err
}

// ask sends a request and reads a JSON answer.
func ask[T any](ctx context.Context, c *Client, q request) (*T, error) {
	q.accept = "application/json"
	answer, err := c.do(ctx, q)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	if err := expectType(answer, "application/json"); err != nil {
		return nil, err
	}
	data, err := readAll(answer.Body, maxAnswer)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("read answer to %s: %w", q.path, err)
	}
	v := new(T)
	if err := json.Unmarshal(data, v); err != nil {
		return nil, fmt.Errorf("read answer to %s: %w: %w", q.path, ErrAnswer, err)
	}
	return v, nil
}

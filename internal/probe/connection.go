package probe

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/galsyncd/galsyncd/ews"
)

// connection looks at TLS.
func (r *run) connection(ctx context.Context) error {
	if r.Handshake == nil {
		r.report.TLS.Problem = "plain http"
		return nil
	}
	if err := r.wait(ctx); err != nil {
		return err
	}
	state, err := r.Handshake(ctx)
	if err != nil {
		r.report.TLS.Problem = trouble(err)
		return &errStop{"no connection: " + trouble(err)}
	}
	t := &r.report.TLS
	t.Verified, t.Version, t.Cipher = len(state.VerifiedChains) > 0, tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite)
	t.HTTP2 = state.NegotiatedProtocol == "h2"
	t.Chain = len(state.PeerCertificates)
	leaf := state.PeerCertificates[0] // there is one after every handshake
	t.Key, t.Signature = keyKind(leaf), leaf.SignatureAlgorithm.String()
	now := time.Now
	if r.Now != nil {
		now = r.Now
	}
	t.DaysLeft = int(leaf.NotAfter.Sub(now()).Hours() / 24)
	return nil
}

func keyKind(c *x509.Certificate) string {
	switch k := c.PublicKey.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", k.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA " + k.Curve.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return "another kind"
}

// offers reads what a request without a credential is told.
func (r *run) offers(ctx context.Context) error {
	if r.Anonymous == nil {
		r.notAsked("ways to sign in", "the server is asked over plain http")
		return nil
	}
	if err := r.wait(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL, nil)
	if err != nil {
		return &errStop{"the URL cannot be asked"}
	}
	req.Header.Set("User-Agent", r.UserAgent)
	began := time.Now()
	resp, err := r.Anonymous.Do(req)
	if err != nil {
		r.notAsked("ways to sign in", trouble(err))
		return nil
	}
	defer resp.Body.Close()
	n, _ := io.CopyN(io.Discard, resp.Body, 64<<10)
	r.report.Answers = append(r.report.Answers, Answer{Question: "without a credential", Outcome: fmt.Sprintf("http status %d", resp.StatusCode), Bytes: n, Millis: time.Since(began).Milliseconds()})
	r.noteHeader(resp.Header)
	for _, value := range resp.Header.Values("WWW-Authenticate") {
		for _, offer := range splitOffers(value) {
			if name := scheme(offer); !slices.Contains(r.report.Offers, name) {
				r.report.Offers = append(r.report.Offers, name)
			}
		}
	}
	return nil
}

// splitOffers separates several offers in one line: those that begin with the name of a known scheme.
func splitOffers(value string) []string {
	offers := []string{value}
	for _, part := range splitAtCommas(value)[1:] {
		if scheme(part) != "another one" {
			offers = append(offers, part)
		}
	}
	return offers
}

func splitAtCommas(s string) []string {
	var parts []string
	quoted, start := false, 0
	for i := range len(s) {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ',' && !quoted:
			parts, start = append(parts, s[start:i]), i+1
		}
	}
	return append(parts, s[start:])
}

// versions asks in the newest, the usual and the oldest version that has certificates.
func (r *run) versions(ctx context.Context) error {
	for _, v := range []string{"Exchange2016", "Exchange2013_SP1", "Exchange2010_SP2"} {
		c := r.NewClient(v, r.observe)
		_, result, err := r.resolveWith(ctx, c, "RequestServerVersion "+v, ews.ResolveNamesRequest{UnresolvedEntry: "smtp:zzqx", SearchScope: ews.ActiveDirectory})
		if result != "" {
			r.report.Versions = append(r.report.Versions, Fact{v, accepted(result)})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// accepted says whether a search with this outcome was carried out.
func accepted(result string) string {
	switch result {
	case ews.CodeNoError, ews.CodeNoResults, ews.CodeMultipleResults:
		return "accepted"
	}
	return result
}

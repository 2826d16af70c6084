package revocation_test

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/http"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/galsyncd/galsyncd/internal/revocation"
	"github.com/galsyncd/galsyncd/trust"
)

// respond signs an OCSP answer.
func (w *world) respond(t ocsp.Response, responder *x509.Certificate, key crypto.Signer) []byte {
	if t.ThisUpdate.IsZero() {
		t.ThisUpdate = w.now.Add(-time.Minute)
	}
	der, err := ocsp.CreateResponse(w.ca, responder, t, key)
	if err != nil {
		w.Error(err)
	}
	return der
}

// TestOCSP has a responder answer in every way.
func TestOCSP(t *testing.T) {
	w := newWorld(t, true)
	cert := w.leaf(person)
	delegate := newKey(t)
	entitled := func(change func(*x509.Certificate)) *x509.Certificate {
		template := &x509.Certificate{SerialNumber: big.NewInt(77), Subject: pkix.Name{CommonName: "Responder"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}}
		change(template)
		return w.issue(template, delegate)
	}
	responder := entitled(func(*x509.Certificate) {})
	stranger := newWorld(t, true)
	next := w.now.Add(24 * time.Hour)
	for _, tc := range []struct {
		name   string
		answer func(*ocsp.Request) []byte
		status trust.RevocationStatus // unknown: the CRL, which is fetched too, does not help
		want   string
	}{
		{"good", func(r *ocsp.Request) []byte {
			return w.respond(ocsp.Response{Status: ocsp.Good, SerialNumber: r.SerialNumber, NextUpdate: next}, w.ca, w.key)
		}, trust.StatusGood, ""},
		{"revoked", func(r *ocsp.Request) []byte {
			return w.respond(ocsp.Response{Status: ocsp.Revoked, RevokedAt: w.now.Add(-time.Hour), RevocationReason: 3, SerialNumber: r.SerialNumber, NextUpdate: next}, w.ca, w.key)
		}, trust.StatusRevoked, "affiliation"},
		{"delegated", func(r *ocsp.Request) []byte {
			return w.respond(ocsp.Response{Status: ocsp.Revoked, RevokedAt: w.now, SerialNumber: r.SerialNumber, NextUpdate: next, Certificate: responder}, responder, delegate)
		}, trust.StatusRevoked, ""},
		{"without an end", func(r *ocsp.Request) []byte {
			return w.respond(ocsp.Response{Status: ocsp.Good, SerialNumber: r.SerialNumber}, w.ca, w.key)
		}, trust.StatusGood, ""},
		{"not entitled", func(r *ocsp.Request) []byte {
			c := entitled(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection} })
			return w.respond(ocsp.Response{Status: ocsp.Good, SerialNumber: r.SerialNumber, NextUpdate: next, Certificate: c}, c, delegate)
		}, trust.StatusUnknown, "is not for OCSP answers"},
		{"expired responder", func(r *ocsp.Request) []byte {
			c := entitled(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = w.now.AddDate(-2, 0, 0), w.now.AddDate(-1, 0, 0) })
			return w.respond(ocsp.Response{Status: ocsp.Good, SerialNumber: r.SerialNumber, NextUpdate: next, Certificate: c}, c, delegate)
		}, trust.StatusUnknown, "is not valid now"},
		{"another authority's responder", func(r *ocsp.Request) []byte {
			c := stranger.issue(&x509.Certificate{SerialNumber: big.NewInt(77), Subject: pkix.Name{CommonName: "R"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}}, delegate)
			return w.respond(ocsp.Response{Status: ocsp.Good, SerialNumber: r.SerialNumber, NextUpdate: next, Certificate: c}, c, delegate)
		}, trust.StatusUnknown, "whose certificate is not by"},
		{"another key", func(r *ocsp.Request) []byte {
			return w.respond(ocsp.Response{Status: ocsp.Good, SerialNumber: r.SerialNumber, NextUpdate: next}, w.ca, delegate)
		}, trust.StatusUnknown, "its signature is not of the key of"},
		{"another number", func(*ocsp.Request) []byte {
			return w.respond(ocsp.Response{Status: ocsp.Good, SerialNumber: big.NewInt(thief), NextUpdate: next}, w.ca, w.key)
		}, trust.StatusUnknown, "no response matching"},
		{"another issuer", func(r *ocsp.Request) []byte {
			der, err := ocsp.CreateResponse(stranger.ca, w.ca, ocsp.Response{Status: ocsp.Good, SerialNumber: r.SerialNumber, ThisUpdate: w.now, NextUpdate: next}, w.key)
			w.check(err)
			return der
		}, trust.StatusUnknown, "about another certificate"},
		{"unknown", func(r *ocsp.Request) []byte {
			return w.respond(ocsp.Response{Status: ocsp.Unknown, SerialNumber: r.SerialNumber, NextUpdate: next}, w.ca, w.key)
		}, trust.StatusUnknown, "does not know the certificate"},
		{"ended", func(r *ocsp.Request) []byte {
			return w.respond(ocsp.Response{Status: ocsp.Good, SerialNumber: r.SerialNumber, ThisUpdate: w.now.Add(-9 * time.Hour), NextUpdate: w.now.Add(-time.Hour)}, w.ca, w.key)
		}, trust.StatusUnknown, "it held until"},
		{"of tomorrow", func(r *ocsp.Request) []byte {
			return w.respond(ocsp.Response{Status: ocsp.Good, SerialNumber: r.SerialNumber, ThisUpdate: w.now.Add(time.Hour), NextUpdate: next}, w.ca, w.key)
		}, trust.StatusUnknown, "has not come yet"},
		{"try later", func(*ocsp.Request) []byte { return ocsp.TryLaterErrorResponse }, trust.StatusUnknown, "the OCSP responder says: try later"},
		{"garbage", func(*ocsp.Request) []byte { return []byte("<html>") }, trust.StatusUnknown, "not an OCSP answer"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := &world{T: t, now: w.now, dir: t.TempDir(), ca: w.ca, key: w.key, server: w.server}
			v.open(true)
			v.expect(cert, trust.StatusUnknown, "was not fetched yet")
			w.mu.Lock()
			w.ocsp, w.answer = tc.answer, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusNotFound) }
			w.mu.Unlock()
			_, err := v.service.Run(t.Context(), true)
			v.check(err)
			v.expect(cert, tc.status, tc.want)
			// The list is what is fallen back on.
			w.serve(nil)
			_, err = v.service.Run(t.Context(), true)
			v.check(err)
			if tc.status == trust.StatusUnknown {
				v.expect(cert, trust.StatusGood, "")
			} else {
				v.expect(cert, tc.status, tc.want)
			}
		})
	}
}

// TestRevokedResponder: the answer of a responder whose own certificate is on the list counts for nothing, unless its
// authority says that nobody need look (id-pkix-ocsp-nocheck).
func TestRevokedResponder(t *testing.T) {
	w := newWorld(t, true)
	cert := w.leaf(person)
	delegate := newKey(t)
	template := x509.Certificate{SerialNumber: big.NewInt(77), Subject: pkix.Name{CommonName: "Responder"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}, CRLDistributionPoints: []string{w.server.URL + "/ca.crl"}}
	checked := w.issue(&template, delegate)
	template.ExtraExtensions = []pkix.Extension{{Id: []int{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}, Value: []byte{5, 0}}}
	unchecked := w.issue(&template, delegate)
	responder := checked
	w.ocsp = func(r *ocsp.Request) []byte {
		return w.respond(ocsp.Response{Status: ocsp.Revoked, RevokedAt: w.now, SerialNumber: r.SerialNumber, NextUpdate: w.now.Add(time.Hour), Certificate: responder}, responder, delegate)
	}
	w.publish(1, 77)
	w.expect(cert, trust.StatusUnknown, "")
	w.run(true, revocation.Report{Fetched: 1, Failed: 1})
	w.expect(cert, trust.StatusGood, "")
	responder = unchecked
	w.run(true, revocation.Report{Fetched: 2})
	w.expect(cert, trust.StatusRevoked, "")
}

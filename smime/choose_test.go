package smime

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/galsyncd/galsyncd/cms"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/testca"
)

// announcing makes a certificate with the capabilities extension of RFC 4262; no ciphers leave it out.
func announcing(t testing.TB, key crypto.Signer, ciphers ...cms.Cipher) *x509.Certificate {
	t.Helper()
	o := testca.Options{Addresses: []string{"x@corp.example"}, Key: key}
	if len(ciphers) > 0 {
		var list cms.Capabilities
		for _, c := range ciphers {
			list = append(list, cms.Capability{Algorithm: c.OID()})
		}
		o.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 15}, Value: list.Encode()}}
	}
	leaf, err := crowdAuthority().Leaf(o)
	if err != nil {
		t.Fatal(err)
	}
	return leaf.Certificate
}

func TestChoose(t *testing.T) {
	rsaKey := crowd()[alice].Key.(crypto.Signer)
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	silent, gcm := announcing(t, rsaKey), announcing(t, rsaKey, cms.AES256GCM, cms.AES256CBC)
	cbc, small, old := announcing(t, rsaKey, cms.AES256CBC, cms.AES128CBC), announcing(t, rsaKey, cms.AES128CBC), announcing(t, rsaKey, cms.DESEDE3CBC)
	ec, ecGCM := announcing(t, ecKey), announcing(t, ecKey, cms.AES256GCM)
	knows := func(mailaddr.Address, *x509.Certificate) cms.Capabilities {
		return cms.Capabilities{{Algorithm: cms.AES256GCM.OID()}}
	}
	for _, tc := range []struct {
		name     string
		policy   AlgorithmPolicy
		certs    []*x509.Certificate
		ciphers  []cms.Cipher
		reason   string
		warnings string
	}{
		{"silent", AlgorithmPolicy{}, []*x509.Certificate{silent}, []cms.Cipher{cms.AES256CBC}, "not announced to read AES-256-GCM: p0@corp.example", ""},
		{"all can", AlgorithmPolicy{Cipher: CipherAuto}, []*x509.Certificate{gcm, ecGCM}, []cms.Cipher{cms.AES256GCM}, "every recipient announces it", "share one message"},
		{"all but one", AlgorithmPolicy{}, []*x509.Certificate{gcm, cbc}, []cms.Cipher{cms.AES256CBC}, "p1@corp.example", ""},
		{"all but a silent one", AlgorithmPolicy{}, []*x509.Certificate{gcm, silent, gcm}, []cms.Cipher{cms.AES256CBC}, "p1@corp.example", ""},
		{"small", AlgorithmPolicy{}, []*x509.Certificate{cbc, small, silent}, []cms.Cipher{cms.AES128CBC}, "p1@corp.example announces", ""},
		{"old", AlgorithmPolicy{}, []*x509.Certificate{small, old}, []cms.Cipher{cms.AES256CBC}, "", "p0@corp.example, p1@corp.example may not"},
		{"policy GCM", AlgorithmPolicy{Cipher: CipherGCM}, []*x509.Certificate{gcm, silent}, []cms.Cipher{cms.AES256GCM}, "policy", "p1@corp.example may not"},
		{"policy CBC", AlgorithmPolicy{Cipher: CipherCBC}, []*x509.Certificate{gcm}, []cms.Cipher{cms.AES256CBC}, "policy", ""},
		{"known from mail", AlgorithmPolicy{Capabilities: knows}, []*x509.Certificate{silent, old}, []cms.Cipher{cms.AES256GCM}, "every recipient", ""},
		{"elliptic", AlgorithmPolicy{}, []*x509.Certificate{ec}, []cms.Cipher{cms.AES256CBC}, "stdDH-sha256kdf and AES-256 key wrap", ""},
		{"mixed", AlgorithmPolicy{}, []*x509.Certificate{ec, silent}, []cms.Cipher{cms.AES256CBC}, "RSA PKCS #1", "share one message"},
		{"mixed, divided", AlgorithmPolicy{Split: true}, []*x509.Certificate{ecGCM, silent}, []cms.Cipher{cms.AES256CBC, cms.AES256GCM}, "for each kind of key", ""},
		{"not mixed, divided", AlgorithmPolicy{Split: true}, []*x509.Certificate{silent, cbc}, []cms.Cipher{cms.AES256CBC}, "RSA", ""},
	} {
		var who []mailaddr.Address
		var lists [][]*x509.Certificate
		for i, c := range tc.certs {
			who = append(who, mailaddr.Address("p"+string(rune('0'+i))+"@corp.example"))
			lists = append(lists, []*x509.Certificate{c})
		}
		got := tc.policy.choose(who, lists, nil)
		if len(got) != len(tc.ciphers) {
			t.Errorf("%s: %d messages, want %d", tc.name, len(got), len(tc.ciphers))
			continue
		}
		reasons, warnings, recipients := "", "", 0
		for i, c := range got {
			reasons += strings.Join(c.Reasons, "; ")
			warnings += strings.Join(c.Warnings, "; ")
			recipients += len(c.Recipients)
			if c.Cipher != tc.ciphers[i] {
				t.Errorf("%s: message %d in %s, want %s", tc.name, i, c.Cipher, tc.ciphers[i])
			}
		}
		if !strings.Contains(reasons, tc.reason) || !strings.Contains(warnings, tc.warnings) || tc.warnings == "" && warnings != "" || recipients != len(tc.certs) {
			t.Errorf("%s: reasons %q, warnings %q, %d recipients", tc.name, reasons, warnings, recipients)
		}
	}
}

// A mail for both kinds of keys becomes two messages, each readable by its recipients, and one for the Bcc recipient.
func TestEncryptDivided(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := crowdAuthority().Leaf(testca.Options{Addresses: []string{"eve@corp.example"}, Key: key, KeyUsage: x509.KeyUsageKeyAgreement})
	if err != nil {
		t.Fatal(err)
	}
	everybody := people{"eve@corp.example": cms.Identity{Certificate: leaf.Certificate, Key: key}}
	for a, id := range crowd() {
		everybody[a] = id
	}
	copies := map[string]*strings.Builder{}
	place := func(to ...mailaddr.Address) (io.Writer, error) {
		b := &strings.Builder{}
		name := ""
		for _, a := range to {
			name += " " + string(a)
		}
		copies[name] = b
		return b, nil
	}
	each := func(m *Choice) (io.Writer, error) { return place(m.Recipients...) }
	out := Outputs{Main: each, Blind: each}
	const mail = "To: alice@corp.example, eve@corp.example, bob@corp.example\nBcc: carol@corp.example\n\nhello\n"
	result, err := Encrypt(t.Context(), strings.NewReader(mail), out, &EncryptOptions{Recipients: everybody, Algorithms: &AlgorithmPolicy{Split: true}})
	if err != nil || len(result.Messages) != 3 || len(copies) != 3 {
		t.Fatalf("%+v, %d copies, %v", result, len(copies), err)
	}
	for name, reader := range map[string]mailaddr.Address{" alice@corp.example bob@corp.example": bob, " eve@corp.example": "eve@corp.example", " carol@corp.example": carol} {
		text, how, err := decryptString(t, copies[name].String(), everybody.identities(reader))
		if err != nil || !strings.HasSuffix(text, "hello\r\n") || how.Cipher != cms.AES256CBC {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
}

// The sender reads the message for To and Cc, and that of a Bcc recipient only when there is no other; it is for nobody else.
func TestEncryptToSelf(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	own, err := crowdAuthority().Leaf(testca.Options{Addresses: []string{"eve@corp.example"}, Key: key, KeyUsage: x509.KeyUsageKeyAgreement})
	if err != nil {
		t.Fatal(err)
	}
	self := []cms.Identity{{Certificate: own.Certificate, Key: key}}
	for _, tc := range []struct {
		header   string
		split    bool
		readable []bool // of each copy, by the sender
		warnings int
	}{
		{"To: alice@corp.example\nBcc: bob@corp.example\n", false, []bool{true, false}, 1},
		{"To: alice@corp.example\n", true, []bool{true}, 1},
		{"Bcc: bob@corp.example, carol@corp.example\n", false, []bool{true, true}, 1},
	} {
		var written []*strings.Builder
		place := func(*Choice) (io.Writer, error) {
			written = append(written, &strings.Builder{})
			return written[len(written)-1], nil
		}
		out := Outputs{Main: place, Blind: place}
		opts := &EncryptOptions{Recipients: crowd(), Algorithms: &AlgorithmPolicy{Split: tc.split}, ToSelf: func(from []mailaddr.Address) ([]*x509.Certificate, error) {
			if len(from) != 1 || from[0] != "eve@corp.example" {
				return nil, nil
			}
			return []*x509.Certificate{own.Certificate}, nil
		}}
		result, err := Encrypt(t.Context(), strings.NewReader("From: eve@corp.example\n"+tc.header+"\nhello\n"), out, opts)
		if err != nil || len(written) != len(tc.readable) {
			t.Fatalf("%q: %d copies, %v", tc.header, len(written), err)
		}
		for i, w := range written {
			_, _, err := decryptString(t, w.String(), self)
			if m := result.Messages[i]; (err == nil) != tc.readable[i] || m.ToSelf != tc.readable[i] || len(m.Recipients) != 1 || m.ToSelf && len(m.Warnings) != tc.warnings {
				t.Errorf("%q, copy %d: %v, %+v", tc.header, i, err, m)
			}
		}
		if _, err := Encrypt(t.Context(), strings.NewReader("From: mallory@corp.example\n"+tc.header+"\nhello\n"), out, opts); !errors.Is(err, ErrNoOwnCertificate) {
			t.Errorf("%q, somebody else's: %v", tc.header, err)
		}
	}
}

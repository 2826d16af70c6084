package smime

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/galsyncd/galsyncd/cms"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/testca"
	"github.com/galsyncd/galsyncd/trust"
)

// people is a RecipientSource of identities.
type people map[mailaddr.Address]cms.Identity

func (p people) ForEncryption(_ context.Context, addresses []mailaddr.Address) ([][]*x509.Certificate, error) {
	var certs [][]*x509.Certificate
	refused := &RecipientsError{}
	for _, a := range addresses {
		if id, ok := p[a]; ok {
			certs = append(certs, []*x509.Certificate{id.Certificate})
		} else {
			refused.Refused = append(refused.Refused, Refusal{Address: string(a), State: trust.Unknown, Reasons: []string{"not in the address book"}})
		}
	}
	if len(refused.Refused) > 0 {
		return nil, refused
	}
	return certs, nil
}

// identities are those of the named people.
func (p people) identities(addresses ...mailaddr.Address) (ids []cms.Identity) {
	for _, a := range addresses {
		ids = append(ids, p[a])
	}
	return ids
}

var crowdAuthority = sync.OnceValue(func() *testca.CA {
	ca, err := testca.New("Test Root")
	if err != nil {
		panic(err)
	}
	return ca
})

// crowdRoot is the root certificate of the crowd.
func crowdRoot() *x509.Certificate { return crowdAuthority().Certificate }

var crowd = sync.OnceValue(func() people {
	ca := crowdAuthority()
	p := people{}
	for _, name := range []mailaddr.Address{"alice@corp.example", "bob@corp.example", "carol@corp.example", "dave@corp.example"} {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		leaf, err := ca.Leaf(testca.Options{Addresses: []string{string(name)}, Key: key})
		if err != nil {
			panic(err)
		}
		p[name] = cms.Identity{Certificate: leaf.Certificate, Key: key}
	}
	return p
})

// blind collects the copies of Bcc recipients.
type blind map[mailaddr.Address]*bytes.Buffer

func (b blind) open(m *Choice) (io.Writer, error) {
	w := &bytes.Buffer{}
	b[m.Recipients[0]] = w
	return w, nil
}

// encryptString encrypts a mail among the crowd; lines of the text may end in LF.
func encryptString(t testing.TB, mail string, opts EncryptOptions) (main string, copies blind, result *Encrypted, err error) {
	t.Helper()
	if opts.Recipients == nil {
		opts.Recipients = crowd()
	}
	var out bytes.Buffer
	copies = blind{}
	result, err = Encrypt(t.Context(), strings.NewReader(mail), Outputs{Main: To(&out), Blind: copies.open}, &opts)
	return out.String(), copies, result, err
}

func decryptString(t testing.TB, mail string, ids []cms.Identity) (string, *Decrypted, error) {
	t.Helper()
	var out bytes.Buffer
	result, err := Decrypt(t.Context(), strings.NewReader(mail), Into(&out), &DecryptOptions{Identities: ids})
	if err != nil && out.Len() > 0 {
		t.Errorf("%d bytes were written before the error %v", out.Len(), err)
	}
	return out.String(), result, err
}

func load(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// vectorIdentity is the recipient of the mails in testdata.
func vectorIdentity(t testing.TB) cms.Identity {
	t.Helper()
	return cms.Identity{Certificate: parseCertificate(t, load(t, "rsa.pem")), Key: parseKey(t, load(t, "rsa.key"))}
}

func parseCertificate(t testing.TB, data []byte) *x509.Certificate {
	t.Helper()
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			return cert
		}
	}
	t.Fatal("no certificate")
	return nil
}

func parseKey(t testing.TB, data []byte) crypto.PrivateKey {
	t.Helper()
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			return key
		}
	}
	t.Fatal("no key")
	return nil
}

// crlf makes the canonical line ends of a mail written with LF.
func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

// fieldNames lists the fields of a mail's header in order.
func fieldNames(t testing.TB, mail string) (names []string) {
	t.Helper()
	head, _, _ := strings.Cut(mail, "\r\n\r\n")
	for line := range strings.SplitSeq(head, "\r\n") {
		if name, _, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "\t") {
			names = append(names, name)
		}
	}
	return names
}

func addresses(s ...string) (all []mailaddr.Address) {
	for _, a := range s {
		all = append(all, mailaddr.Address(a))
	}
	slices.Sort(all)
	return all
}

func certificates(who ...mailaddr.Address) (certs []*x509.Certificate) {
	for _, id := range crowd().identities(who...) {
		certs = append(certs, id.Certificate)
	}
	return certs
}

func mustHeader(t testing.TB, s string) header {
	t.Helper()
	h, err := readHeader(bufio.NewReader(strings.NewReader(s)))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func bufioString(s string) *bufio.Reader { return bufio.NewReader(strings.NewReader(s)) }

package cms

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.mozilla.org/pkcs7"
)

// certsOnly builds a SignedData without signers, DER; signers and certificates are given as encoded.
func certsOnly(certs, signers [][]byte) []byte {
	return encodeElement(tagSequence, encodeOID(oidSignedData), encodeElement(tagContext0|constructed, encodeElement(tagSequence,
		encodeInt(1), encodeElement(tagSet), encodeElement(tagSequence, encodeOID(oidData)),
		encodeElement(tagContext0|constructed, certs...), encodeElement(tagSet, signers...))))
}

// signer builds a SignerInfo with signed attributes and a signature that nobody checks.
func unsignedSigner(id []byte, attrs ...[]byte) []byte {
	return encodeElement(tagSequence, encodeInt(1), id, encodeAlgorithm(hashOIDs[5], nil),
		encodeElement(tagContext0|constructed, attrs...), encodeAlgorithm(oidRSA, asn1Null), encodeOctets([]byte("signature")))
}

func attributeOf(oid asn1.ObjectIdentifier, values ...[]byte) []byte {
	return encodeElement(tagSequence, encodeOID(oid), encodeElement(tagSet, values...))
}

// toBER gives every constructed element of DER the indefinite form, long lengths to the others, and cuts OCTET STRINGs
// in two.
func toBER(der []byte) []byte {
	var out []byte
	for len(der) > 0 {
		e, err := parseElement(der)
		if err != nil {
			panic(err)
		}
		switch {
		case e.tag&constructed != 0:
			out = append(append(out, e.tag, indefinite), toBER(e.body)...)
			out = append(out, 0, 0)
		case e.tag == tagOctetString && len(e.body) > 1:
			half := len(e.body) / 2
			out = append(out, tagOctetString|constructed, indefinite)
			out = append(out, encodeOctets(e.body[:half])...)
			out = append(append(out, encodeOctets(e.body[half:])...), 0, 0)
		default:
			out = append(out, e.tag, 0x84, byte(len(e.body)>>24), byte(len(e.body)>>16), byte(len(e.body)>>8), byte(len(e.body)))
			out = append(out, e.body...)
		}
		der = e.rest
	}
	return out
}

func TestParseCertificatesPreference(t *testing.T) {
	signing, encryption := identityCertificate(t, "p256"), identityCertificate(t, "rsa")
	certs := [][]byte{signing.Raw, encryption.Raw}
	value := issuerAndSerial(encryption)
	implicit := bytes.Clone(value)
	implicit[0] = tagContext0 | constructed
	list := Capabilities{{Algorithm: AES256GCM.OID()}, {Algorithm: AES256CBC.OID()}, {Algorithm: DESEDE3CBC.OID()}, {Algorithm: asn1.ObjectIdentifier{1, 2, 3}, Parameters: asn1Null}}
	tests := map[string]struct {
		attrs     [][]byte
		preferred []byte
	}{
		"issuer and serial":    {[][]byte{attributeOf(oidKeyPreference, implicit)}, encryption.Raw},
		"Microsoft's":          {[][]byte{attributeOf(oidMSKeyPreference, value)}, encryption.Raw},
		"recipient key id":     {[][]byte{attributeOf(oidKeyPreference, encodeElement(tagContext1|constructed, encodeOctets(encryption.SubjectKeyId)))}, encryption.Raw},
		"subject key id":       {[][]byte{attributeOf(oidKeyPreference, encodeElement(tagContext2, encryption.SubjectKeyId))}, encryption.Raw},
		"none":                 {nil, nil},
		"names a stranger":     {[][]byte{attributeOf(oidMSKeyPreference, issuerAndSerial(identityCertificate(t, "p384")))}, nil},
		"two values":           {[][]byte{attributeOf(oidMSKeyPreference, value, value)}, nil},
		"damaged, then proper": {[][]byte{attributeOf(oidKeyPreference, []byte{5, 0}), attributeOf(oidMSKeyPreference, value)}, encryption.Raw},
	}
	for name, test := range tests {
		attrs := append([][]byte{attributeOf(oidCapabilities, list.Encode())}, test.attrs...)
		der := certsOnly(certs, [][]byte{unsignedSigner(issuerAndSerial(signing), attrs...)})
		for form, data := range map[string][]byte{"DER": der, "BER": toBER(der)} {
			set, err := ParseCertificates(data)
			if err != nil {
				t.Errorf("%s, %s: %v", name, form, err)
				continue
			}
			if len(set.Certificates) != 2 || !bytes.Equal(set.Certificates[0], signing.Raw) || !bytes.Equal(set.Certificates[1], encryption.Raw) {
				t.Errorf("%s, %s: wrong certificates", name, form)
			}
			if !bytes.Equal(set.Preferred, test.preferred) {
				t.Errorf("%s, %s: wrong preference", name, form)
			}
			if got := set.Capabilities.Ciphers(); len(got) != 2 || got[0] != AES256GCM || got[1] != AES256CBC {
				t.Errorf("%s, %s: ciphers %v", name, form, got)
			}
			if len(set.Capabilities) != 4 || !bytes.Equal(set.Capabilities[3].Parameters, asn1Null) || set.Capabilities[0].Parameters != nil {
				t.Errorf("%s, %s: capabilities %v", name, form, set.Capabilities)
			}
		}
	}
}

func TestParseCertificatesRefuses(t *testing.T) {
	cert := identityCertificate(t, "rsa").Raw
	good := certsOnly([][]byte{cert}, nil)
	many := make([][]byte, maxCertificates+1)
	for i := range many {
		many[i] = cert
	}
	tests := map[string]struct {
		data []byte
		err  error
	}{
		"nothing":            {nil, ErrNotSignedData},
		"text":               {[]byte("not at all"), ErrNotSignedData},
		"a certificate":      {cert, ErrNotSignedData},
		"another type":       {load(t, "made", "enc", "openssl.rsa.aes256-cbc.der"), ErrNotSignedData},
		"cut":                {good[:len(good)-30], ErrSyntax},
		"trailing byte":      {append(bytes.Clone(good), 0), ErrSyntax},
		"too many":           {certsOnly(many, nil), ErrSyntax},
		"too large":          {certsOnly([][]byte{encodeElement(tagSequence, make([]byte, maxCertificateSize))}, nil), ErrSyntax},
		"too many signers":   {certsOnly(nil, many), ErrSyntax},
		"garbage in the set": {certsOnly([][]byte{{0x30, 5, 1}}, nil), ErrSyntax},
	}
	for name, test := range tests {
		if set, err := ParseCertificates(test.data); !errors.Is(err, test.err) || set != nil {
			t.Errorf("%s: %v, %v", name, set, err)
		}
	}
	// Attribute certificates and others are passed over, what only looks like a certificate is kept for the caller to judge.
	set, err := ParseCertificates(certsOnly([][]byte{encodeElement(tagContext2|constructed, asn1Null), cert, encodeElement(tagSequence, asn1Null)}, nil))
	if err != nil || len(set.Certificates) != 2 || !bytes.Equal(set.Certificates[0], cert) {
		t.Errorf("%v, %v", set, err)
	}
	if set, err = ParseCertificates(certsOnly(nil, nil)); err != nil || len(set.Certificates) != 0 || set.Preferred != nil {
		t.Errorf("empty set: %v, %v", set, err)
	}
}

// signedDataFiles are all SignedData messages of testdata.
func signedDataFiles(t testing.TB) map[string][]byte {
	files := map[string][]byte{}
	for _, pattern := range []string{"made/sig/*.der", "made/neg/sig-*.der", "rustcrypto/*"} {
		paths, err := filepath.Glob(filepath.Join("testdata", filepath.FromSlash(pattern)))
		if err != nil || len(paths) == 0 {
			t.Fatal(pattern, err)
		}
		for _, p := range paths {
			data, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(data[:min(30, len(data))], encodeOID(oidSignedData)) {
				files[filepath.Base(p)] = data
			}
		}
	}
	return files
}

// TestParseCertificatesOracle compares with an independent parser on valid messages.
func TestParseCertificatesOracle(t *testing.T) {
	files := signedDataFiles(t)
	if len(files) < 30 {
		t.Fatalf("only %d files", len(files))
	}
	for name, data := range files {
		set, err := ParseCertificates(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		p7, oracleErr := oracleParse(data)
		if oracleErr != nil {
			t.Logf("%s: the oracle refuses it: %v", name, oracleErr) // signers by key identifier, Ed25519 keys
			continue
		}
		if len(p7.Certificates) != len(set.Certificates) {
			t.Errorf("%s: %d certificates, the oracle has %d", name, len(set.Certificates), len(p7.Certificates))
			continue
		}
		for i, cert := range p7.Certificates {
			if !bytes.Equal(cert.Raw, set.Certificates[i]) {
				t.Errorf("%s: certificate %d differs", name, i)
			}
		}
	}
}

// oracleParse keeps the oracle's panics away.
func oracleParse(data []byte) (p7 *pkcs7.PKCS7, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("the oracle panicked")
		}
	}()
	return pkcs7.Parse(data)
}

func TestCertificateCapabilities(t *testing.T) {
	cert := *identityCertificate(t, "rsa")
	if CertificateCapabilities(&cert) != nil {
		t.Error("capabilities out of nothing")
	}
	value := Capabilities{{Algorithm: AES128CBC.OID()}}.Encode()
	cert.Extensions = append(cert.Extensions[:len(cert.Extensions):len(cert.Extensions)], extension(value))
	if got := CertificateCapabilities(&cert).Ciphers(); len(got) != 1 || got[0] != AES128CBC {
		t.Errorf("%v", got)
	}
	for _, bad := range []string{"", "\x30\x01", "\x31\x00", "\x30\x00\x00", "\x30\x02\x30\x00", strings.Repeat("\x30", 40)} {
		if list, err := ParseCapabilities([]byte(bad)); err == nil {
			t.Errorf("%x: %v", bad, list)
		}
		cert.Extensions[len(cert.Extensions)-1] = extension([]byte(bad))
		if CertificateCapabilities(&cert) != nil {
			t.Errorf("%x: capabilities out of damage", bad)
		}
	}
}

func TestThunderbirdCertificates(t *testing.T) {
	for _, name := range []string{"alice.dsig.SHA256.multipart", "alice.sig.SHA256.opaque"} {
		data := shared(t, "thunderbird", name+".eml")
		set, err := ParseCertificates(messageBytes(t, lastPart(data)))
		if err != nil || len(set.Certificates) == 0 {
			t.Errorf("%s: %v", name, err)
			continue
		}
		cert, err := x509.ParseCertificate(set.Preferred)
		if err != nil || !strings.HasPrefix(strings.ToLower(cert.Subject.CommonName), "alice") {
			t.Errorf("%s: preferred certificate: %v", name, err)
		}
	}
}

// lastPart returns the last part of a multipart mail with an empty line before its body, or the mail itself.
func lastPart(mail []byte) []byte {
	mail = bytes.ReplaceAll(mail, []byte("\r\n"), []byte("\n"))
	if i := bytes.LastIndex(mail, []byte("Content-Type: application/pkcs7-signature")); i >= 0 {
		return mail[i:]
	}
	if i := bytes.LastIndex(mail, []byte("Content-Type: application/x-pkcs7-signature")); i >= 0 {
		return mail[i:]
	}
	return mail
}

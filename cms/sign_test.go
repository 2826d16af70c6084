package cms

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"go.mozilla.org/pkcs7"
)

// signingKey loads a made key.
func signingKey(t testing.TB, name string) SigningKey {
	t.Helper()
	id := identity(t, "made", "keys", name)
	return SigningKey{Certificate: id.Certificate, Key: id.Key.(crypto.Signer)}
}

func signAll(t testing.TB, content []byte, signers []SigningKey, opts *SignOptions) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := Sign(&out, signers, opts)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// signVariants are all ways of signing with the made keys, by name.
func signVariants(t testing.TB) map[string]SigningKey {
	variants := map[string]SigningKey{"ed25519": signingKey(t, "ed25519")}
	for _, name := range []string{"rsa", "p256", "p384", "p521"} {
		for _, digest := range []crypto.Hash{0, crypto.SHA256, crypto.SHA384, crypto.SHA512} {
			key := signingKey(t, name)
			key.Digest = digest
			variants[fmt.Sprintf("%s %v", name, digest)] = key
			if name == "rsa" {
				key.PSS = true
				variants[fmt.Sprintf("rsa-pss %v", digest)] = key
			}
		}
	}
	return variants
}

func TestSignRoundTrip(t *testing.T) {
	when := time.Date(2027, 2, 3, 4, 5, 6, 0, time.UTC)
	for name, key := range signVariants(t) {
		key.SigningTime = when
		key.Attributes = []Attribute{CapabilitiesAttribute(Capabilities{{Algorithm: AES256GCM.OID()}}), KeyPreferenceAttribute(key.Certificate)}
		for _, n := range []int{0, 1, 1000, writeChunk - 1, writeChunk, writeChunk + 1, 100000} {
			for _, detached := range []bool{false, true} {
				content := text(n)
				data := signAll(t, content, []SigningKey{key}, &SignOptions{Detached: detached, Certificates: []*x509.Certificate{identityCertificate(t, "ca"), key.Certificate}})
				var out bytes.Buffer
				opts := &VerifyOptions{Output: &out}
				if detached {
					opts = &VerifyOptions{Content: bytes.NewReader(content)}
					if der, err := toDER(data); err != nil || !bytes.Equal(der, data) {
						t.Errorf("%s: detached signature is not DER", name)
					}
				}
				s, err := Verify(bytes.NewReader(data), opts)
				if err != nil || len(s.Signers) != 1 || s.Signers[0].Err != nil {
					t.Errorf("%s, %d bytes, detached %v: %+v, %v", name, n, detached, s, err)
					continue
				}
				signer := s.Signers[0]
				if !signer.SigningTime.Equal(when) || len(signer.Capabilities.Ciphers()) != 1 || !bytes.Equal(signer.Preferred, key.Certificate.Raw) {
					t.Errorf("%s: attributes %+v", name, signer)
				}
				if s.Size != int64(n) || !detached && !bytes.Equal(out.Bytes(), content) || s.Detached != detached || len(s.Certificates) != 2 {
					t.Errorf("%s, %d bytes, detached %v: content differs", name, n, detached)
				}
				if trusted(t, s, signer) != nil {
					t.Errorf("%s: chain", name)
				}
			}
		}
	}
}

// TestSeveralSigners reports each on its own, also when one is not good.
func TestSeveralSigners(t *testing.T) {
	var keys []SigningKey
	for _, key := range signVariants(t) {
		keys = append(keys, key)
	}
	content := text(5000)
	data := signAll(t, content, keys, nil)
	s, err := Verify(bytes.NewReader(data), nil)
	if err != nil || len(s.Signers) != len(keys) {
		t.Fatalf("%v", err)
	}
	for i, signer := range s.Signers {
		if signer.Err != nil {
			t.Errorf("signer %d: %v", i, signer.Err)
		}
	}
	// The last byte of a signature, which Ed25519 puts at its end.
	infos := bytes.Index(data, ed25519Signature(t, data))
	data[infos+10] ^= 1
	s, err = Verify(bytes.NewReader(data), nil)
	if err != nil {
		t.Fatal(err)
	}
	bad := 0
	for _, signer := range s.Signers {
		if signer.Err == nil {
			continue
		}
		if bad++; !errors.Is(signer.Err, ErrSignature) || signer.Algorithm != Ed25519 {
			t.Errorf("%v: %v", signer.Algorithm, signer.Err)
		}
	}
	if bad != 1 {
		t.Errorf("%d signatures are bad", bad)
	}
}

func ed25519Signature(t *testing.T, data []byte) []byte {
	t.Helper()
	alg := encodeAlgorithm(oidEd25519, nil)
	i := bytes.LastIndex(data, append(alg, tagOctetString, ed25519.SignatureSize))
	if i < 0 {
		t.Fatal("no Ed25519 signature")
	}
	i += len(alg) + 2
	return data[i : i+ed25519.SignatureSize]
}

func TestSignRefuses(t *testing.T) {
	var out bytes.Buffer
	rsaKey, ec := signingKey(t, "rsa"), signingKey(t, "p256")
	ed := signingKey(t, "ed25519")
	ed.Digest = crypto.SHA256
	weak := rsaKey
	weak.Digest = crypto.SHA1
	reserved, nameless := rsaKey, rsaKey
	reserved.Attributes = []Attribute{{Type: oidMessageDigest, Values: [][]byte{{4, 0}}}}
	nameless.Attributes = []Attribute{{}}
	tests := map[string][]SigningKey{
		"no signers":         nil,
		"another's key":      {{Certificate: rsaKey.Certificate, Key: ec.Key}},
		"no key":             {{Certificate: rsaKey.Certificate}},
		"Ed25519 of SHA-256": {ed},
		"SHA-1":              {weak},
		"reserved attribute": {reserved},
		"nameless attribute": {nameless},
		"second is bad":      {rsaKey, weak},
	}
	for name, keys := range tests {
		if _, err := Sign(&out, keys, nil); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if out.Len() != 0 {
		t.Errorf("%d bytes were written", out.Len())
	}
	w, err := Sign(io.Discard, []SigningKey{ec}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte{1}); err == nil {
		t.Error("writing after Close is accepted")
	}
	if w.Close() == nil {
		t.Error("closing twice is accepted")
	}
	full := errors.New("disk is full")
	if _, err := Sign(failingWriter{full}, []SigningKey{ec}, nil); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
	broken := ec
	broken.Key = brokenSigner{ec.Key}
	w, _ = Sign(io.Discard, []SigningKey{broken}, &SignOptions{Detached: true})
	if err := w.Close(); !errors.Is(err, full) && err == nil {
		t.Error("a failing key is not reported")
	}
}

type brokenSigner struct{ crypto.Signer }

func (brokenSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("the card was pulled")
}

func TestSigningTimeForms(t *testing.T) {
	for _, year := range []int{1949, 1950, 2049, 2050, 9999} {
		key := signingKey(t, "p256")
		key.SigningTime = time.Date(year, 12, 31, 23, 59, 59, 999, time.FixedZone("", 0))
		s, err := Verify(bytes.NewReader(signAll(t, nil, []SigningKey{key}, nil)), nil)
		if err != nil || s.Signers[0].Err != nil || !s.Signers[0].SigningTime.Equal(key.SigningTime.Truncate(time.Second)) {
			t.Errorf("%d: %+v, %v", year, s, err)
		}
	}
}

// TestAttributeRules signs attribute sets that RFC 5652 section 11 forbids, with a proper signature.
func TestAttributeRules(t *testing.T) {
	key := signingKey(t, "p256")
	content := []byte("content")
	scheme, err := key.scheme()
	if err != nil {
		t.Fatal(err)
	}
	h := scheme.hash.New()
	h.Write(content)
	digest := encodeOctets(h.Sum(nil))
	contentType, data := attributeOf(oidContentType, encodeOID(oidData)), encodeOID(oidData)
	messageDigest := attributeOf(oidMessageDigest, digest)
	now, _ := encodeTime(time.Now())
	tests := map[string]struct {
		attrs [][]byte
		err   error
	}{
		"proper":                      {[][]byte{contentType, messageDigest}, nil},
		"proper, in another order":    {[][]byte{messageDigest, contentType}, nil},
		"no content-type":             {[][]byte{messageDigest}, ErrAttributes},
		"no message-digest":           {[][]byte{contentType}, ErrAttributes},
		"empty":                       {nil, ErrAttributes},
		"content-type twice":          {[][]byte{contentType, contentType, messageDigest}, ErrAttributes},
		"content-type of two values":  {[][]byte{attributeOf(oidContentType, data, data), messageDigest}, ErrAttributes},
		"content-type of no value":    {[][]byte{attributeOf(oidContentType), messageDigest}, ErrAttributes},
		"another content-type":        {[][]byte{attributeOf(oidContentType, encodeOID(oidSignedData)), messageDigest}, ErrAttributes},
		"content-type not an OID":     {[][]byte{attributeOf(oidContentType, asn1Null), messageDigest}, ErrAttributes},
		"message-digest twice":        {[][]byte{contentType, messageDigest, messageDigest}, ErrAttributes},
		"message-digest of two":       {[][]byte{contentType, attributeOf(oidMessageDigest, digest, digest)}, ErrAttributes},
		"message-digest and another":  {[][]byte{contentType, messageDigest, attributeOf(oidMessageDigest, encodeOctets([]byte("x")))}, ErrAttributes},
		"message-digest of the wrong": {[][]byte{contentType, attributeOf(oidMessageDigest, encodeOctets(make([]byte, 32)))}, ErrContentChanged},
		"message-digest too short":    {[][]byte{contentType, attributeOf(oidMessageDigest, encodeOctets(nil))}, ErrContentChanged},
		"message-digest not octets":   {[][]byte{contentType, attributeOf(oidMessageDigest, asn1Null)}, ErrAttributes},
		"signing-time twice":          {[][]byte{contentType, messageDigest, attributeOf(oidSigningTime, now), attributeOf(oidSigningTime, now)}, ErrAttributes},
		"signing-time not a time":     {[][]byte{contentType, messageDigest, attributeOf(oidSigningTime, asn1Null)}, ErrAttributes},
		"too many":                    {slices.Repeat([][]byte{contentType}, maxAttributes+1), ErrSyntax},
	}
	for name, test := range tests {
		set := encodeElement(tagSet, test.attrs...)
		h.Reset()
		h.Write(set)
		signature, err := scheme.sign(key.Key, set, h.Sum(nil))
		if err != nil {
			t.Fatal(err)
		}
		set[0] = tagContext0 | constructed
		info := encodeElement(tagSequence, encodeInt(1), issuerAndSerial(key.Certificate), digestAlgorithm(scheme.hash), set, scheme.algorithm(), encodeOctets(signature))
		s, err := Verify(bytes.NewReader(signedData(content, scheme.hash, key.Certificate, info)), nil)
		if err != nil || len(s.Signers) != 1 || !errors.Is(s.Signers[0].Err, test.err) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
}

// signedData builds an attached SignedData of given parts.
func signedData(content []byte, digest crypto.Hash, cert *x509.Certificate, info []byte) []byte {
	return encodeElement(tagSequence, encodeOID(oidSignedData), encodeElement(tagContext0|constructed, encodeElement(tagSequence,
		encodeInt(1), encodeElement(tagSet, digestAlgorithm(digest)),
		encodeElement(tagSequence, encodeOID(oidData), encodeElement(tagContext0|constructed, encodeOctets(content))),
		encodeElement(tagContext0|constructed, cert.Raw), encodeElement(tagSet, info))))
}

// TestSignatureConfusion: a signature is bound to its key's kind, its digest and its parameters.
func TestSignatureConfusion(t *testing.T) {
	pssSHA1 := encodeElement(tagSequence)
	tests := map[string]struct {
		alg    algorithm
		digest crypto.Hash
	}{
		"other digest":       {algorithm{oid: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}}, crypto.SHA512},
		"Ed25519 of SHA-256": {algorithm{oid: oidEd25519}, crypto.SHA256},
		"PSS of SHA-1":       {algorithm{oid: oidRSAPSS, parameters: pssSHA1}, crypto.SHA256},
		"unknown":            {algorithm{oid: asn1.ObjectIdentifier{1, 2, 3}}, crypto.SHA256},
	}
	for name, test := range tests {
		if _, err := parseSignatureScheme(test.alg, test.digest); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := parseSignatureScheme(algorithm{oid: oidRSAPSS}, crypto.SHA256); !errors.Is(err, ErrSyntax) {
		t.Errorf("PSS without parameters: %v", err)
	}
	message := []byte("message")
	digest := crypto.SHA256.New()
	digest.Write(message)
	sum := digest.Sum(nil)
	for name, key := range signVariants(t) {
		own, err := key.scheme()
		if err != nil {
			t.Fatal(err)
		}
		if own.hash != crypto.SHA256 && own.kind != Ed25519 {
			continue
		}
		signature, err := own.sign(key.Key, message, sum)
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range []signatureScheme{{RSAPKCS1v15, crypto.SHA256, 0}, {RSAPSS, crypto.SHA256, 32}, {RSAPSS, crypto.SHA256, 20}, {ECDSA, crypto.SHA256, 0}, {Ed25519, crypto.SHA512, 0}} {
			if got := other.verify(key.Certificate.PublicKey, message, sum, signature); got != (other == own) {
				t.Errorf("%s as %+v: %v", name, other, got)
			}
		}
	}
}

// TestSignOracle: go.mozilla.org/pkcs7 verifies what it can, and this package verifies what it signs.
func TestSignOracle(t *testing.T) {
	content := text(1000)
	for name, key := range signVariants(t) {
		if key.PSS || name == "ed25519" {
			continue // unknown to the oracle
		}
		p7, err := oracleParse(signAll(t, content, []SigningKey{key}, nil))
		if err != nil || p7.Verify() != nil || !bytes.Equal(p7.Content, content) {
			t.Errorf("%s: the oracle refuses it: %v", name, err)
		}
		if p7, err = oracleParse(signAll(t, content, []SigningKey{key}, &SignOptions{Detached: true})); err == nil {
			p7.Content = content
			err = p7.Verify()
		}
		if err != nil {
			t.Errorf("%s, detached: the oracle refuses it: %v", name, err)
		}
		theirs, err := pkcs7.NewSignedData(content)
		if err != nil {
			t.Fatal(err)
		}
		theirs.SetDigestAlgorithm(hashOIDs[crypto.SHA256])
		if err := theirs.AddSigner(key.Certificate, key.Key, pkcs7.SignerInfoConfig{}); err != nil {
			t.Fatal(err)
		}
		data, err := theirs.Finish()
		if err != nil {
			t.Fatal(err)
		}
		s, err := Verify(bytes.NewReader(data), nil)
		if err != nil || len(s.Signers) != 1 || s.Signers[0].Err != nil {
			t.Errorf("%s: the oracle's signature: %+v, %v", name, s, err)
		}
	}
}

// TestVerifyOracle compares verdicts on every SignedData of testdata and explains each disagreement.
func TestVerifyOracle(t *testing.T) {
	explained := map[string]string{
		"sig-attr-as-content.der":   "the oracle does not ask for signed attributes",
		"rsa.noattr.opaque.der":     "the oracle does not ask for signed attributes",
		"rsa.sha1.opaque.der":       "the oracle accepts SHA-1",
		"rsa.ski.opaque.der":        "the oracle does not know signers by key identifier",
		"sig-ed25519-ok.der":        "the oracle does not know Ed25519",
		"sig-unsorted-attrs.der":    "the oracle sorts the attributes and does not try them as sent",
		"rsa-pss.sha256.opaque.der": "the oracle does not know PSS",
		"sig-forged-cert.der":       "the oracle holds the claimed time against the certificate; here that is the caller's part",
		"expired.opaque.der":        "the oracle holds the claimed time against the certificate; here that is the caller's part",
	}
	for name, data := range signedDataFiles(t) {
		opts := VerifyOptions{}
		if bytes.Contains([]byte(name), []byte("detached")) {
			opts.Content = bytes.NewReader(load(t, "made", "msg"))
		}
		ours := false
		if s, err := Verify(bytes.NewReader(data), &opts); err == nil && len(s.Signers) > 0 {
			ours = !slices.ContainsFunc(s.Signers, func(signer Signer) bool { return signer.Err != nil })
		}
		theirs := oracleVerify(data, opts.Content != nil, load(t, "made", "msg")) == nil
		if ours != theirs && explained[name] == "" {
			t.Errorf("%s: %v here, %v there", name, ours, theirs)
		}
		if ours == theirs && explained[name] != "" {
			t.Errorf("%s: %v in both, but a disagreement is explained", name, ours)
		}
	}
}

func oracleVerify(data []byte, detached bool, content []byte) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the oracle panicked: %v", r)
		}
	}()
	p7, err := pkcs7.Parse(data)
	if err != nil {
		return err
	}
	if detached {
		p7.Content = content
	}
	return p7.Verify()
}

package cms

import (
	"crypto"
	"crypto/ecdh"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// encryptedKey is a content key that one of the identities may be able to decrypt.
type encryptedKey interface {
	// contentKey returns a key of the given size, whatever happens. fits is false when it is known not to be the
	// message's key; the caller then does the same work and fails at the end.
	contentKey(size int) (key []byte, fits bool)
	identity() int
}

// readRecipientInfo returns the encrypted keys in one RecipientInfo that are for one of the identities. Kinds that are not
// known (passwords, shared keys, key encapsulation) have none (RFC 5652 section 6.2: implementations must handle them
// gracefully). An error is a reason why the identity that is meant cannot use the info.
func readRecipientInfo(der []byte, identities []Identity) ([]encryptedKey, error) {
	s := cryptobyte.String(der)
	var body cryptobyte.String
	switch {
	case s.PeekASN1Tag(cryptobyte_asn1.SEQUENCE):
		if !s.ReadASN1(&body, cryptobyte_asn1.SEQUENCE) {
			return nil, syntaxError("key transport recipient")
		}
		return readTransport(body, identities)
	case s.PeekASN1Tag(cryptobyte_asn1.Tag(1).ContextSpecific().Constructed()):
		if !s.ReadASN1(&body, cryptobyte_asn1.Tag(1).ContextSpecific().Constructed()) {
			return nil, syntaxError("key agreement recipient")
		}
		return readAgreement(body, identities)
	}
	return nil, nil
}

// transportedKey is from a KeyTransRecipientInfo (RFC 5652 section 6.2.1).
type transportedKey struct {
	index     int
	key       crypto.Decrypter
	pub       *rsa.PublicKey
	encrypted []byte
	oaep      *rsa.OAEPOptions // nil: PKCS #1 v1.5
}

func readTransport(s cryptobyte.String, identities []Identity) ([]encryptedKey, error) {
	var version int
	if !s.ReadASN1Integer(&version) {
		return nil, syntaxError("key transport recipient: version")
	}
	id, err := readKeyIdentifier(&s)
	if err != nil {
		return nil, err
	}
	alg, err := readAlgorithm(&s)
	if err != nil {
		return nil, err
	}
	var encrypted cryptobyte.String
	if !s.ReadASN1(&encrypted, cryptobyte_asn1.OCTET_STRING) || !s.Empty() {
		return nil, syntaxError("key transport recipient: encrypted key")
	}
	var keys []encryptedKey
	for i := range identities {
		if !id.names(identities[i].Certificate) {
			continue
		}
		key, err := newTransportedKey(i, &identities[i], alg, encrypted)
		if err != nil {
			return keys, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func newTransportedKey(index int, id *Identity, alg algorithm, encrypted []byte) (*transportedKey, error) {
	pub, okPub := id.Certificate.PublicKey.(*rsa.PublicKey)
	key, okKey := id.Key.(crypto.Decrypter)
	if !okPub || !okKey {
		return nil, unsupported("key transport for a key that is not RSA")
	}
	t := &transportedKey{index: index, key: key, pub: pub, encrypted: encrypted}
	switch {
	case alg.oid.Equal(oidRSA):
		if err := requireAllowed(false, "encryption with RSA PKCS #1 v1.5"); err != nil {
			return nil, err
		}
		return t, nil
	case alg.oid.Equal(oidOAEP):
		o, err := parseOAEP(alg.parameters)
		if err != nil {
			return nil, err
		}
		t.oaep = &rsa.OAEPOptions{Hash: o.hash, MGFHash: o.mgf, Label: o.label}
		return t, nil
	}
	return nil, unsupported("key encryption algorithm %v", alg.oid)
}

func (t *transportedKey) identity() int { return t.index }

func (t *transportedKey) contentKey(size int) ([]byte, bool) {
	block, regular := t.block()
	if t.oaep != nil {
		key, err := t.key.Decrypt(rand.Reader, block, t.oaep)
		if err != nil || len(key) != size {
			return randomKey(size), false
		}
		return key, regular
	}
	key := t.pkcs1(block, size)
	if !regular {
		return randomKey(size), false
	}
	return key, true
}

// block returns the encrypted key as a block that RSA accepts. One of the wrong length or above the modulus, which anybody can
// see, is replaced, so that it takes as long as any other.
func (t *transportedKey) block() (block []byte, regular bool) {
	size := t.pub.Size()
	if len(t.encrypted) == size && new(big.Int).SetBytes(t.encrypted).Cmp(t.pub.N) < 0 {
		return t.encrypted, true
	}
	block = make([]byte, size)
	copy(block, t.encrypted)
	block[0] = 0
	block[size-1] |= 2
	return block, false
}

// pkcs1 decrypts a PKCS #1 v1.5 block. When its padding or its length is wrong, the result is a substitute that nobody else
// can predict, and nothing tells the two cases apart (RFC 3218 section 2.3.2). With a key in memory the substitute depends on
// key and block alone, so that sending a block twice does not tell either.
func (t *transportedKey) pkcs1(block []byte, size int) []byte {
	private, ok := t.key.(*rsa.PrivateKey)
	if !ok {
		// A card is asked for the same in crypto/rsa's terms.
		//lint:ignore SA1019 as below
		key, err := t.key.Decrypt(rand.Reader, block, &rsa.PKCS1v15DecryptOptions{SessionKeyLen: size})
		if err != nil || len(key) != size {
			return randomKey(size)
		}
		return key
	}
	secret := sha256.Sum256(private.D.Bytes())
	h := hmac.New(sha256.New, secret[:])
	h.Write([]byte{byte(size)})
	h.Write(block)
	key := h.Sum(nil)[:size]
	//lint:ignore SA1019 mail is still encrypted with PKCS #1 v1.5; this is the function with implicit rejection
	if err := rsa.DecryptPKCS1v15SessionKey(nil, private, block, key); err != nil {
		return randomKey(size)
	}
	return key
}

func randomKey(size int) []byte {
	key := make([]byte, size)
	rand.Read(key)
	return key
}

// agreedKey is from a KeyAgreeRecipientInfo (RFC 5652 section 6.2.2).
type agreedKey struct {
	index      int
	key        KeyAgreement
	curve      curve
	originator []byte // public key
	scheme     agreementScheme
	wrap       algorithm
	wrapSize   int
	ukm        []byte // nil when absent
	encrypted  []byte
}

func readAgreement(s cryptobyte.String, identities []Identity) ([]encryptedKey, error) {
	var version int
	if !s.ReadASN1Integer(&version) {
		return nil, syntaxError("key agreement recipient: version")
	}
	var originator cryptobyte.String
	if !s.ReadASN1(&originator, cryptobyte_asn1.Tag(0).ContextSpecific().Constructed()) {
		return nil, syntaxError("key agreement recipient: originator")
	}
	ukm, err := readUKM(&s)
	if err != nil {
		return nil, err
	}
	alg, err := readAlgorithm(&s)
	if err != nil {
		return nil, err
	}
	var list cryptobyte.String
	if !s.ReadASN1(&list, cryptobyte_asn1.SEQUENCE) || !s.Empty() {
		return nil, syntaxError("key agreement recipient: encrypted keys")
	}
	var keys []encryptedKey
	for !list.Empty() {
		matches, encrypted, err := readRecipientEncryptedKey(&list, identities)
		if err != nil {
			return keys, err
		}
		for _, i := range matches {
			key, err := newAgreedKey(i, &identities[i], originator, alg)
			if err != nil {
				return keys, err
			}
			key.ukm, key.encrypted = ukm, encrypted
			keys = append(keys, key)
		}
	}
	return keys, nil
}

func readUKM(s *cryptobyte.String) ([]byte, error) {
	var inner, ukm cryptobyte.String
	var present bool
	if !s.ReadOptionalASN1(&inner, &present, cryptobyte_asn1.Tag(1).ContextSpecific().Constructed()) {
		return nil, syntaxError("key agreement recipient: ukm")
	}
	if !present {
		return nil, nil
	}
	if !inner.ReadASN1(&ukm, cryptobyte_asn1.OCTET_STRING) || !inner.Empty() {
		return nil, syntaxError("key agreement recipient: ukm")
	}
	return append([]byte{}, ukm...), nil // not nil, even when empty
}

// readRecipientEncryptedKey returns the indices of the identities that the next key is for.
func readRecipientEncryptedKey(list *cryptobyte.String, identities []Identity) (matches []int, encrypted []byte, err error) {
	var seq, key cryptobyte.String
	if !list.ReadASN1(&seq, cryptobyte_asn1.SEQUENCE) {
		return nil, nil, syntaxError("key agreement recipient: encrypted key")
	}
	id, err := readAgreementIdentifier(&seq)
	if err != nil {
		return nil, nil, err
	}
	if !seq.ReadASN1(&key, cryptobyte_asn1.OCTET_STRING) || !seq.Empty() {
		return nil, nil, syntaxError("key agreement recipient: encrypted key")
	}
	for i := range identities {
		if id.names(identities[i].Certificate) {
			matches = append(matches, i)
		}
	}
	return matches, key, nil
}

// readAgreementIdentifier reads KeyAgreeRecipientIdentifier, whose second form is [0] SEQUENCE { subjectKeyIdentifier, ... }.
func readAgreementIdentifier(s *cryptobyte.String) (keyIdentifier, error) {
	if s.PeekASN1Tag(cryptobyte_asn1.SEQUENCE) {
		return readIssuerAndSerial(s, cryptobyte_asn1.SEQUENCE)
	}
	var seq, ski cryptobyte.String
	if !s.ReadASN1(&seq, cryptobyte_asn1.Tag(0).ContextSpecific().Constructed()) || !seq.ReadASN1(&ski, cryptobyte_asn1.OCTET_STRING) || ski.Empty() {
		return keyIdentifier{}, syntaxError("recipient key identifier")
	}
	return keyIdentifier{ski: ski}, nil
}

func newAgreedKey(index int, id *Identity, originator cryptobyte.String, alg algorithm) (*agreedKey, error) {
	key, c, ok := id.agreement()
	if !ok {
		return nil, unsupported("key agreement with the key of %q", id.Certificate.Subject)
	}
	k := &agreedKey{index: index, key: key, curve: c}
	if k.scheme, ok = agreementSchemeByOID(alg.oid); !ok {
		return nil, unsupported("key agreement algorithm %v", alg.oid)
	}
	if err := requireAllowed(approvedHash(k.scheme.hash) && c.oid != nil, "key agreement with X25519 or SHA-1"); err != nil {
		return nil, err
	}
	var err error
	if k.wrap, err = readAlgorithm(&alg.parameters); err != nil {
		return nil, err
	}
	if k.wrapSize, ok = keyWrapSize(k.wrap.oid); !ok {
		return nil, unsupported("key wrap algorithm %v", k.wrap.oid)
	}
	k.originator, err = readOriginatorKey(originator)
	return k, err
}

// readOriginatorKey reads [1] OriginatorPublicKey; a certificate in its place would be static-static agreement, which RFC 5753
// section 3.1 does not have.
func readOriginatorKey(s cryptobyte.String) ([]byte, error) {
	var seq cryptobyte.String
	if !s.ReadASN1(&seq, cryptobyte_asn1.Tag(1).ContextSpecific().Constructed()) || !s.Empty() {
		return nil, unsupported("key agreement without the originator's public key")
	}
	alg, err := readAlgorithm(&seq)
	if err != nil {
		return nil, err
	}
	var bits asn1.BitString
	if !seq.ReadASN1BitString(&bits) || !seq.Empty() || bits.BitLength%8 != 0 {
		return nil, syntaxError("originator's public key")
	}
	if !alg.oid.Equal(oidECPublicKey) && !alg.oid.Equal(oidX25519) {
		return nil, unsupported("originator's key algorithm %v", alg.oid)
	}
	return bits.Bytes, nil
}

func (k *agreedKey) identity() int { return k.index }

// contentKey can tell openly that it failed: the key wrap proves itself, so nothing is learnt that the sender of the message did
// not know.
func (k *agreedKey) contentKey(size int) ([]byte, bool) {
	key, err := k.unwrap()
	if err != nil || len(key) != size {
		return randomKey(size), false
	}
	return key, true
}

func (k *agreedKey) unwrap() ([]byte, error) {
	remote, err := k.curve.publicKey(k.originator)
	if err != nil {
		return nil, err
	}
	secret, err := k.key.ECDH(remote)
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	kek, err := k.scheme.derive(leftPad(secret, k.curve.size), k.wrap.raw, k.ukm, k.wrapSize)
	if err != nil {
		return nil, err
	}
	defer clear(kek)
	return unwrapKey(kek, k.encrypted)
}

// publicKey decodes a point, compressed or not.
func (c curve) publicKey(point []byte) (*ecdh.PublicKey, error) {
	if c.oid != nil && len(point) == 1+c.size && (point[0] == 2 || point[0] == 3) {
		x, y := elliptic.UnmarshalCompressed(c.elliptic(), point)
		if x == nil {
			return nil, errKeyWrap
		}
		point = append([]byte{4}, append(x.FillBytes(make([]byte, c.size)), y.FillBytes(make([]byte, c.size))...)...)
	}
	return c.ecdh.NewPublicKey(point)
}

func (c curve) elliptic() elliptic.Curve {
	switch c.ecdh {
	case ecdh.P384():
		return elliptic.P384()
	case ecdh.P521():
		return elliptic.P521()
	}
	return elliptic.P256()
}

// leftPad restores the leading zeros of a shared secret, which is a field element of fixed length (SEC 1 section 2.3.5).
func leftPad(b []byte, size int) []byte {
	if len(b) >= size {
		return b
	}
	return append(make([]byte, size-len(b), size), b...)
}

package cms

import (
	"bytes"
	"crypto/x509"
	"errors"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Limits of a SignedData around its content.
const (
	maxCertificates    = 64
	maxCertificateSize = 64 << 10
	maxSigners         = 32
)

// CertificateSet is what a SignedData says about its sender's certificates. Nothing of it was verified.
type CertificateSet struct {
	// Certificates are the X.509 certificates in the order of the message, each DER. Those that cannot be parsed
	// are among them; other kinds of certificates are left out.
	Certificates [][]byte
	// Preferred is the element of Certificates that the signed attributes name for encryption to this sender (RFC
	// 8551 section 2.5.3, or Microsoft's attribute 1.3.6.1.4.1.311.16.4); nil if none does.
	Preferred []byte
	// Capabilities are those of the first signer that has any, in order of preference.
	Capabilities Capabilities
}

// ParseCertificates reads the certificates out of a SignedData, as directories and certs-only messages (.p7b, .p7c) hold
// them, and ignores signatures and content. BER is accepted. At most 64 certificates of 64 KiB each are taken; more is
// [ErrSyntax], like any damage. What is not a ContentInfo with SignedData is [ErrNotSignedData].
func ParseCertificates(data []byte) (*CertificateSet, error) {
	b := newReader(bytes.NewReader(data), maxLength)
	oid, err := b.readContentInfo()
	if err != nil || !oid.Equal(oidSignedData) {
		return nil, ErrNotSignedData
	}
	certs, signers, err := b.readCertificatesOnly()
	if errors.Is(err, ErrTooLarge) {
		return nil, syntaxError("an element claims to be larger than anything")
	}
	if err != nil {
		return nil, err
	}
	set := &CertificateSet{Certificates: certs}
	set.readSigners(signers)
	return set, nil
}

// readCertificatesOnly reads a SignedData and passes over its content.
func (b *reader) readCertificatesOnly() (certs, signers [][]byte, err error) {
	if err := b.readSignedDataStart(); err != nil {
		return nil, nil, err
	}
	if err := b.skip(); err != nil { // EncapsulatedContentInfo
		return nil, nil, err
	}
	if certs, err = b.readCertificates(); err != nil {
		return nil, nil, err
	}
	signers, err = b.readSignerInfos()
	return certs, signers, err
}

// readSignedDataStart opens SignedData and reads version and digest algorithms (RFC 5652 section 5.1).
func (b *reader) readSignedDataStart() error {
	if err := b.enter(tagSequence, "SignedData"); err != nil {
		return err
	}
	if err := b.version(); err != nil {
		return err
	}
	_, err := b.element(maxElement, "digest algorithms")
	return err
}

// readCertificates reads the optional [0] CertificateSet and passes over the optional [1] crls.
func (b *reader) readCertificates() ([][]byte, error) {
	var certs [][]byte
	present, err := b.next(tagContext0 | constructed)
	if err != nil {
		return nil, err
	}
	if present {
		if certs, err = b.readCertificateSet(); err != nil {
			return nil, err
		}
	}
	return certs, b.optional(tagContext1 | constructed)
}

func (b *reader) readCertificateSet() ([][]byte, error) {
	if err := b.enter(tagContext0|constructed, "certificates"); err != nil {
		return nil, err
	}
	var certs [][]byte
	for count := 0; ; count++ {
		tag, ok, err := b.peek()
		if err != nil {
			return nil, err
		}
		if !ok {
			return certs, b.leave("certificates")
		}
		if count == maxCertificates {
			return nil, syntaxError("more than %d certificates", maxCertificates)
		}
		if tag != tagSequence { // an attribute certificate or another kind
			if err := b.skip(); err != nil {
				return nil, err
			}
			continue
		}
		cert, err := b.element(maxCertificateSize, "certificate")
		if err != nil {
			return nil, err
		}
		certs = append(certs, cert)
	}
}

// readSignerInfos reads the SET of SignerInfo and the end of the message.
func (b *reader) readSignerInfos() ([][]byte, error) {
	if err := b.enter(tagSet, "SignerInfos"); err != nil {
		return nil, err
	}
	var signers [][]byte
	for {
		_, ok, err := b.peek()
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		if len(signers) == maxSigners {
			return nil, syntaxError("more than %d signers", maxSigners)
		}
		signer, err := b.element(maxElement, "SignerInfo")
		if err != nil {
			return nil, err
		}
		signers = append(signers, signer)
	}
	for _, what := range []string{"SignerInfos", "SignedData", "content", "ContentInfo"} {
		if err := b.leave(what); err != nil {
			return nil, err
		}
	}
	return signers, b.end()
}

// readSigners takes preference and capabilities out of the signed attributes. A signer that cannot be read has none.
func (set *CertificateSet) readSigners(signers [][]byte) {
	known := newKnownCertificates(set.Certificates)
	for _, der := range signers {
		s, err := parseSignerInfo(der)
		if err != nil {
			continue
		}
		if set.Preferred == nil {
			set.Preferred = known.preferred(s.attributes)
		}
		if set.Capabilities == nil {
			set.Capabilities = attributeCapabilities(s.attributes)
		}
	}
}

// knownCertificates are the certificates of a message, each parsed once however many signers there are.
type knownCertificates []knownCertificate

type knownCertificate struct {
	der    []byte
	parsed *x509.Certificate // nil when it cannot be parsed
	issuer []byte
	serial *big.Int // nil when not even that can be read
}

func newKnownCertificates(ders [][]byte) knownCertificates {
	var known knownCertificates
	for _, der := range ders {
		k := knownCertificate{der: der}
		if cert, err := x509.ParseCertificate(der); err == nil {
			k.parsed = cert
		}
		k.issuer, k.serial = rawIssuerAndSerial(der)
		known = append(known, k)
	}
	return known
}

// preferred returns the certificate that the attributes name for encryption, nil when there is none.
func (known knownCertificates) preferred(attrs []attribute) []byte {
	id, ok := keyPreference(attrs)
	if !ok {
		return nil
	}
	for _, k := range known {
		if k.namedBy(id) {
			return k.der
		}
	}
	return nil
}

// namedBy needs only issuer and serial number of a certificate that is named by them.
func (k *knownCertificate) namedBy(id keyIdentifier) bool {
	if id.ski != nil {
		return id.names(k.parsed)
	}
	return k.serial != nil && id.serial.Cmp(k.serial) == 0 && (bytes.Equal(id.issuer, k.issuer) || sameName(id.issuer, k.issuer))
}

// keyPreference reads SMIMEEncryptionKeyPreference (RFC 8551 section 2.5.3), and Microsoft's attribute, whose value is a plain
// IssuerAndSerialNumber.
func keyPreference(attrs []attribute) (keyIdentifier, bool) {
	for _, a := range attrs {
		if len(a.values) != 1 {
			continue
		}
		value := cryptobyte.String(a.values[0])
		var id keyIdentifier
		err := errors.ErrUnsupported
		switch {
		case a.oid.Equal(oidMSKeyPreference):
			id, err = readIssuerAndSerial(&value, cryptobyte_asn1.SEQUENCE)
		case a.oid.Equal(oidKeyPreference):
			id, err = readKeyPreference(&value)
		}
		if err == nil {
			return id, true
		}
	}
	return keyIdentifier{}, false
}

// readKeyPreference reads the choice of three implicitly tagged identifiers.
func readKeyPreference(s *cryptobyte.String) (keyIdentifier, error) {
	context := func(n uint8) cryptobyte_asn1.Tag { return cryptobyte_asn1.Tag(n).ContextSpecific() }
	var ski, seq cryptobyte.String
	switch {
	case s.PeekASN1Tag(context(0).Constructed()):
		return readIssuerAndSerial(s, context(0).Constructed())
	case s.PeekASN1Tag(context(1).Constructed()):
		if s.ReadASN1(&seq, context(1).Constructed()) && seq.ReadASN1(&ski, cryptobyte_asn1.OCTET_STRING) && !ski.Empty() {
			return keyIdentifier{ski: ski}, nil
		}
	case s.PeekASN1Tag(context(2)):
		if s.ReadASN1(&ski, context(2)) && !ski.Empty() {
			return keyIdentifier{ski: ski}, nil
		}
	}
	return keyIdentifier{}, syntaxError("encryption key preference")
}

// rawIssuerAndSerial reads as far into a TBSCertificate as needed (RFC 5280 section 4.1); serial is nil on damage.
func rawIssuerAndSerial(der []byte) (issuer []byte, serial *big.Int) {
	s := cryptobyte.String(der)
	var cert, tbs, name cryptobyte.String
	serial = new(big.Int)
	if s.ReadASN1(&cert, cryptobyte_asn1.SEQUENCE) && cert.ReadASN1(&tbs, cryptobyte_asn1.SEQUENCE) &&
		tbs.SkipOptionalASN1(cryptobyte_asn1.Tag(0).ContextSpecific().Constructed()) && tbs.ReadASN1Integer(serial) &&
		tbs.SkipASN1(cryptobyte_asn1.SEQUENCE) && tbs.ReadASN1Element(&name, cryptobyte_asn1.SEQUENCE) {
		return name, serial
	}
	return nil, nil
}

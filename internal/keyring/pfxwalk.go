package keyring

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"hash"
	"math/big"

	"software.sslmate.com/src/go-pkcs12"
)

// Object identifiers of PKCS #5 (RFC 8018), #7, #9 and #12 (RFC 7292).
var (
	oidData          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidEncryptedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 6}
	oidKeyBag        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 1}
	oidShroudedBag   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 2}
	oidCertBag       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 3}
	oidSafeBag       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 6}
	oidX509          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 22, 1}
	oidPBE           = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 1}
	oidPBES2         = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oidPBMAC1        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 14}
	oidHMACSHA1      = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 7}
	oidHMACSHA256    = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}
	oidHMACSHA512    = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 11}
	oidSHA1          = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
	oidSHA256        = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidSHA512        = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}
)

type (
	pbeParams struct {
		Salt       []byte
		Iterations *big.Int
	}
	pbes2Params struct{ KDF, Scheme pkix.AlgorithmIdentifier }
	pbmac1Param struct{ KDF, MAC pkix.AlgorithmIdentifier }
	pbkdf2Param struct {
		Salt       []byte
		Iterations *big.Int
		KeyLength  int                      `asn1:"optional"`
		PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
	}
)

// unmarshal reads one DER value and accepts nothing after it.
func unmarshal(der []byte, v any) error {
	rest, err := asn1.Unmarshal(der, v)
	if err == nil && len(rest) > 0 {
		err = errBER
	}
	return err
}

// walkPFX reads the structure of a PFX file and counts the iterations of everything that can be seen.
func walkPFX(data []byte) (*pfxFile, error) {
	notPFX := errors.New("it is not a PFX file (PKCS #12)")
	der, err := toDER(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", notPFX, err)
	}
	f := new(pfxFile)
	if err := unmarshal(der, &f.pdu); err != nil || f.pdu.Version != 3 {
		return nil, notPFX
	}
	if !f.pdu.AuthSafe.Type.Equal(oidData) {
		return nil, errors.New("the file is protected by a signature instead of a passphrase, which is not supported")
	}
	if err := unmarshal(f.pdu.AuthSafe.Content.Bytes, &f.content); err != nil {
		return nil, notPFX
	}
	if f.hasMAC = len(f.pdu.MacData.Mac.Algorithm.Algorithm) > 0; f.hasMAC {
		if f.macWork, err = macWork(&f.pdu.MacData); err != nil {
			return nil, err
		}
	}
	return f, f.walkSafes()
}

// walkSafes reads the AuthenticatedSafe (RFC 7292 section 4.1).
func (f *pfxFile) walkSafes() error {
	var infos []contentInfo
	if err := unmarshalBER(f.content, &infos); err != nil {
		return err
	}
	for _, info := range infos {
		var err error
		switch {
		case info.Type.Equal(oidData):
			err = f.walkPlain(info.Content.Bytes)
		case info.Type.Equal(oidEncryptedData):
			err = f.walkEncrypted(info)
		default:
			err = errors.New("a part of the file is encrypted with a public key, which is not supported")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// walkPlain reads the bags of a safe that is not encrypted.
func (f *pfxFile) walkPlain(content []byte) error {
	var octets []byte
	var bags []asn1.RawValue
	if err := unmarshal(content, &octets); err != nil {
		return errBER
	}
	if err := unmarshalBER(octets, &bags); err != nil {
		return err
	}
	for _, raw := range bags {
		var bag safeBag
		if err := unmarshal(raw.FullBytes, &bag); err != nil {
			return errBER
		}
		if err := f.walkBag(&bag); err != nil {
			return err
		}
	}
	return nil
}

// walkBag keeps keys and certificates; revocation lists and other secrets are passed over.
func (f *pfxFile) walkBag(bag *safeBag) error {
	plain, err := asn1.Marshal(safeBag{ID: bag.ID, Value: asn1.RawValue{FullBytes: bag.Value.FullBytes}, Attributes: asn1.RawValue{}})
	if err != nil {
		return errBER
	}
	switch {
	case bag.ID.Equal(oidCertBag):
		f.certs = append(f.certs, plain)
	case bag.ID.Equal(oidKeyBag):
		if len(bag.Value.Bytes) > maxKey {
			return errKeyTooLarge
		}
		f.keys = append(f.keys, pfxKey{bag: plain})
	case bag.ID.Equal(oidShroudedBag):
		var info encryptedPrivateKeyInfo
		if err := unmarshal(bag.Value.Bytes, &info); err != nil {
			return errBER
		}
		if len(info.Data) > maxKey {
			return errKeyTooLarge
		}
		work, err := encryptionWork(info.Algorithm)
		if err != nil {
			return err
		}
		f.keys = append(f.keys, pfxKey{plain, work})
	case bag.ID.Equal(oidSafeBag):
		return errReexport
	}
	return nil
}

// walkEncrypted keeps an encrypted safe, with its content in one piece.
func (f *pfxFile) walkEncrypted(info contentInfo) error {
	var data encryptedData
	if err := unmarshal(info.Content.Bytes, &data); err != nil {
		return errBER
	}
	work, err := encryptionWork(data.Content.Algorithm)
	if err != nil {
		return err
	}
	// EncryptedContent is [0] IMPLICIT OCTET STRING: in pieces the tag is constructed and holds strings.
	content := data.Content.Content
	if content.IsCompound {
		whole, err := octetsOf(content.Bytes)
		if err != nil {
			return err
		}
		data.Content.Content = asn1.RawValue{Class: asn1.ClassContextSpecific, Bytes: whole}
	}
	inner, err := asn1.Marshal(data)
	if err != nil {
		return errBER
	}
	der, err := asn1.Marshal(contentInfo{Type: oidEncryptedData, Content: explicit(inner)})
	if err != nil {
		return errBER
	}
	f.safes = append(f.safes, pfxSafe{der, work})
	return nil
}

// octetsOf joins the DER strings that follow each other in der.
func octetsOf(der []byte) (joined []byte, err error) {
	for len(der) > 0 {
		var piece []byte
		if der, err = asn1.Unmarshal(der, &piece); err != nil {
			return nil, errBER
		}
		joined = append(joined, piece...)
	}
	return joined, nil
}

func unmarshalBER(ber []byte, v any) error {
	der, err := toDER(ber)
	if err != nil {
		return err
	}
	if err := unmarshal(der, v); err != nil {
		return errBER
	}
	return nil
}

// encryptionWork returns the iterations of PBES2 (RFC 8018 section 6.2) and of PKCS #12's own schemes (RFC 7292 appendix
// C). The latter derive a key and an initialisation vector apart.
func encryptionWork(algorithm pkix.AlgorithmIdentifier) (int, error) {
	if algorithm.Algorithm.Equal(oidPBES2) {
		var params pbes2Params
		if err := unmarshal(algorithm.Parameters.FullBytes, &params); err != nil {
			return 0, errBER
		}
		kdf, n, err := pbkdf2Work(params.KDF)
		if err != nil || kdf.KeyLength > 64 {
			return 0, errors.Join(err, errUnsupportedKDF)
		}
		return n, nil
	}
	if id := algorithm.Algorithm; len(id) != len(oidPBE)+1 || !id[:len(oidPBE)].Equal(oidPBE) {
		return 0, fmt.Errorf("the encryption algorithm %v is not supported", id)
	}
	var params pbeParams
	if err := unmarshal(algorithm.Parameters.FullBytes, &params); err != nil {
		return 0, errBER
	}
	n, err := iterations(params.Iterations, params.Salt)
	return 2 * n, err
}

var errUnsupportedKDF = errors.New("a key derivation of the file is not supported")

// pbkdf2Work reads the parameters of PBKDF2 (RFC 8018 appendix A.2), the only derivation that go-pkcs12 has beside PKCS
// #12's own.
func pbkdf2Work(algorithm pkix.AlgorithmIdentifier) (*pbkdf2Param, int, error) {
	if !algorithm.Algorithm.Equal(oidPBKDF2) {
		return nil, 0, fmt.Errorf("the key derivation %v is not supported", algorithm.Algorithm)
	}
	params := new(pbkdf2Param)
	if err := unmarshal(algorithm.Parameters.FullBytes, params); err != nil {
		return nil, 0, errUnsupportedKDF
	}
	n, err := iterations(params.Iterations, params.Salt)
	return params, n, err
}

// macWork returns the iterations of the MAC: those of PBMAC1 (RFC 9579) are in its parameters.
func macWork(mac *macData) (int, error) {
	if !mac.Mac.Algorithm.Algorithm.Equal(oidPBMAC1) {
		if mac.Iterations == nil {
			mac.Iterations = big.NewInt(1) // the default of RFC 7292
		}
		return iterations(mac.Iterations, mac.Salt)
	}
	var params pbmac1Param
	if err := unmarshal(mac.Mac.Algorithm.Parameters.FullBytes, &params); err != nil {
		return 0, errBER
	}
	_, n, err := pbkdf2Work(params.KDF)
	return n, err
}

// iterations bounds an iteration count and its salt.
func iterations(n *big.Int, salt []byte) (int, error) {
	if len(salt) > maxSalt {
		return 0, fmt.Errorf("a salt of the file is longer than %d bytes", maxSalt)
	}
	if n == nil || n.Sign() <= 0 {
		return 0, errors.New("an iteration count of the file is not above 0")
	}
	if n.Cmp(big.NewInt(maxIterations)) > 0 {
		return 0, fmt.Errorf("an iteration count of the file is above %d; export it again with fewer: openssl pkcs12 -export -iter 600000", maxIterations)
	}
	return int(n.Int64()), nil
}

// verifyMAC checks the passphrase and that the file is whole. A file without a MAC is accepted with an empty passphrase
// only, which goes with keys that are not encrypted.
func (f *pfxFile) verifyMAC(passphrase string) error {
	mac := &f.pdu.MacData
	id := mac.Mac.Algorithm.Algorithm
	switch {
	case !f.hasMAC && passphrase == "":
		return nil
	case !f.hasMAC:
		return errors.New("the file has a passphrase but no MAC, so nobody can tell whether it is whole")
	case id.Equal(oidPBMAC1):
		sum, err := pbmac1(mac.Mac.Algorithm, passphrase, f.content)
		if err == nil && !hmac.Equal(sum, mac.Mac.Digest) {
			err = ErrPFXPassphrase
		}
		return err
	case !id.Equal(oidSHA1) && !id.Equal(oidSHA256) && !id.Equal(oidSHA512):
		return fmt.Errorf("the MAC algorithm %v is not supported", id)
	}
	return f.verifyClassicMAC(passphrase)
}

// verifyClassicMAC has go-pkcs12 verify the MAC of RFC 7292 section 4. Read as a trust store, the file is refused after its
// MAC was verified and before a key bag is looked at; with the algorithms that are let through here the MAC itself fails
// only by not matching.
func (f *pfxFile) verifyClassicMAC(passphrase string) error {
	content, err := asn1.Marshal(f.content)
	if err != nil {
		return errBER
	}
	pdu := f.pdu
	pdu.AuthSafe.Content = explicit(content)
	der, err := asn1.Marshal(pdu)
	if err != nil {
		return errBER
	}
	if _, err := pkcs12.DecodeTrustStore(der, passphrase); errors.Is(err, pkcs12.ErrIncorrectPassword) {
		return ErrPFXPassphrase
	}
	return nil
}

// pbmac1 computes the MAC of RFC 9579 over content.
func pbmac1(algorithm pkix.AlgorithmIdentifier, passphrase string, content []byte) ([]byte, error) {
	var params pbmac1Param
	if err := unmarshal(algorithm.Parameters.FullBytes, &params); err != nil {
		return nil, errBER
	}
	kdf, n, err := pbkdf2Work(params.KDF)
	if err != nil {
		return nil, err
	}
	prf, mac := hashOf(kdf.PRF.Algorithm), hashOf(params.MAC.Algorithm)
	if kdf.PRF.Algorithm == nil {
		prf = sha1.New // the default of RFC 8018
	}
	if prf == nil || mac == nil || kdf.KeyLength < 20 || kdf.KeyLength > 64 {
		return nil, errUnsupportedKDF
	}
	key, err := pbkdf2.Key(prf, passphrase, kdf.Salt, n, kdf.KeyLength)
	if err != nil {
		return nil, errUnsupportedKDF
	}
	h := hmac.New(mac, key)
	h.Write(content)
	return h.Sum(nil), nil
}

// hashOf returns the hash of an HMAC, nil for an unknown one.
func hashOf(id asn1.ObjectIdentifier) func() hash.Hash {
	switch {
	case id.Equal(oidHMACSHA1):
		return sha1.New
	case id.Equal(oidHMACSHA256):
		return sha256.New
	case id.Equal(oidHMACSHA512):
		return sha512.New
	}
	return nil
}

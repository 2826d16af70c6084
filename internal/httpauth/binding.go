package httpauth

import (
	"crypto"
	"crypto/md5"
	_ "crypto/sha256" // the hashes of endPoint
	_ "crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
)

// endPoint is the application data of the channel binding tls-server-end-point (RFC 5929 section 4): the name of its type
// and a hash of the server's certificate. It is nil without TLS, and for a certificate whose signature has no hash of its
// own (Ed25519), for which the RFC defines none: a wrong binding is refused everywhere, an absent one only where it is
// required.
func endPoint(state *tls.ConnectionState) []byte {
	if state == nil || len(state.PeerCertificates) == 0 {
		return nil
	}
	leaf := state.PeerCertificates[0]
	hash := endPointHash(leaf.SignatureAlgorithm)
	if hash == 0 {
		return nil
	}
	h := hash.New()
	h.Write(leaf.Raw)
	return h.Sum([]byte("tls-server-end-point:"))
}

// endPointHash is the hash of a certificate's signature, SHA-256 in place of MD5 and SHA-1; 0 when there is none.
func endPointHash(a x509.SignatureAlgorithm) crypto.Hash {
	switch a {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1,
		x509.SHA256WithRSA, x509.SHA256WithRSAPSS, x509.DSAWithSHA256, x509.ECDSAWithSHA256:
		return crypto.SHA256
	case x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384:
		return crypto.SHA384
	case x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512:
		return crypto.SHA512
	}
	return 0
}

// bindingHash is MD5 over the gss_channel_bindings_struct that holds the application data and no addresses: what NTLM
// (MS-NLMP section 2.2.2.1, MsvAvChannelBindings) and Kerberos (RFC 4121 section 4.1.1.2) carry.
func bindingHash(applicationData []byte) [md5.Size]byte {
	b := make([]byte, 16, 20+len(applicationData)) // types and lengths of the two addresses
	b = binary.LittleEndian.AppendUint32(b, uint32(len(applicationData)))
	return md5.Sum(append(b, applicationData...))
}

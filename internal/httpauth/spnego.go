package httpauth

import (
	"bytes"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/go-krb5/krb5/crypto"
	"github.com/go-krb5/krb5/gssapi"
	"github.com/go-krb5/krb5/iana/chksumtype"
	"github.com/go-krb5/krb5/iana/flags"
	"github.com/go-krb5/krb5/iana/keyusage"
	"github.com/go-krb5/krb5/messages"
	"github.com/go-krb5/krb5/spnego"
	"github.com/go-krb5/krb5/types"
	"golang.org/x/crypto/cryptobyte"
)

// tokenAPReq is the identifier before an AP-REQ (RFC 4121 section 4.1).
var tokenAPReq = []byte{1, 0}

// contextFlags are those of the context that the client asks for: the server proves itself too, and nothing is delegated.
const contextFlags = gssapi.ContextFlagMutual | gssapi.ContextFlagInteg

// spnegoProof is one token for the server, and what its answer must show.
type spnegoProof struct {
	token         []byte
	key           types.EncryptionKey
	authenticator types.Authenticator
}

// newSPNEGO makes a NegTokenInit (RFC 4178 section 4.2.1) with the AP-REQ of Kerberos in it. The library makes one as
// well, but leaves the channel binding out; here it goes into the authenticator's checksum.
func newSPNEGO(t *ticket, endPoint []byte) (*spnegoProof, error) {
	auth, err := types.NewAuthenticator(t.client.realm, t.client.name)
	if err != nil {
		return nil, err
	}
	auth.Cksum = types.Checksum{CksumType: chksumtype.GSSAPI, Checksum: gssChecksum(endPoint)}
	req, err := messages.NewAPReq(t.ticket, t.key, auth)
	if err != nil {
		return nil, err
	}
	types.SetFlag(&req.APOptions, flags.APOptionMutualRequired)
	apReq, err := req.Marshal()
	if err != nil {
		return nil, err
	}
	inner, err := mechToken(asn1.ObjectIdentifier(gssapi.OIDKRB5.OID()), append(bytes.Clone(tokenAPReq), apReq...))
	if err != nil {
		return nil, err
	}
	init := spnego.NegTokenInit{MechTokenBytes: inner}
	init.MechTypes = append(init.MechTypes, gssapi.OIDKRB5.OID())
	b, err := init.Marshal()
	if err != nil {
		return nil, err
	}
	token, err := mechToken(asn1.ObjectIdentifier(gssapi.OIDSPNEGO.OID()), b)
	return &spnegoProof{token: token, key: t.key, authenticator: auth}, err
}

// gssChecksum is the checksum field of the authenticator (RFC 4121 section 4.1.1): the hash of the channel binding, zero
// without one, and the flags.
func gssChecksum(endPoint []byte) []byte {
	var hash [16]byte
	if endPoint != nil {
		hash = bindingHash(endPoint)
	}
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(hash)))
	b = append(b, hash[:]...)
	return binary.LittleEndian.AppendUint32(b, contextFlags)
}

// mechToken frames a token of a mechanism (RFC 2743 section 3.1).
func mechToken(oid asn1.ObjectIdentifier, inner []byte) ([]byte, error) {
	const application0 = 0x60
	var b cryptobyte.Builder
	b.AddASN1(application0, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		b.AddBytes(inner)
	})
	return b.Bytes()
}

// errMutual reports a server that could not prove that it knows the key of its service.
var errMutual = errors.New("the server's answer to the Kerberos sign-in does not prove that it is the service it was taken for")

// verify checks the token that came with the answer, when it holds one of Kerberos: only the service can have read the
// authenticator whose time it repeats (RFC 4120 section 3.2.4). No token is no proof against the server, which TLS has
// identified already.
func (p *spnegoProof) verify(token []byte) error {
	if len(token) == 0 {
		return nil
	}
	return guarded(func() error {
		if token[0] == 0xa1 { // NegTokenResp; else the bare token of the mechanism
			var resp spnego.NegTokenResp
			if err := resp.Unmarshal(token); err != nil {
				return fmt.Errorf("%w: %w", errMutual, errDamaged)
			}
			if resp.State() == spnego.NegStateReject {
				return fmt.Errorf("%w: it rejects the token", errMutual)
			}
			if token = resp.ResponseToken; len(token) == 0 {
				return nil
			}
		}
		return p.verifyReply(token)
	})
}

func (p *spnegoProof) verifyReply(token []byte) error {
	var t spnego.KRB5Token
	if err := t.Unmarshal(token); err != nil || !t.IsAPRep() {
		return fmt.Errorf("%w: no AP-REP", errMutual)
	}
	b, err := crypto.DecryptEncPart(t.APRep.EncPart, p.key, keyusage.AP_REP_ENCPART)
	if err != nil {
		return fmt.Errorf("%w: another key", errMutual)
	}
	var part messages.EncAPRepPart
	if err := part.Unmarshal(b); err != nil {
		return fmt.Errorf("%w: %w", errMutual, errDamaged)
	}
	if part.CTime.Unix() != p.authenticator.CTime.Unix() || part.Cusec != p.authenticator.Cusec {
		return fmt.Errorf("%w: another time", errMutual)
	}
	return nil
}

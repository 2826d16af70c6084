package httpauth

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"strings"
	"time"
	"unicode/utf16"

	"golang.org/x/crypto/md4" //lint:ignore SA1019 NTLM is defined with MD4 (MS-NLMP section 3.3.2)
)

// Messages of NTLM (MS-NLMP section 2.2.1). The last one proves knowledge of the password.
const (
	negotiateMessage    = 1
	challengeMessage    = 2
	authenticateMessage = 3
)

// Flags of a message (MS-NLMP section 2.2.2.5). Key exchange, signing and sealing are not asked for: HTTP has no use for
// a session key, and the MIC takes the one that both sides have.
const (
	flagUnicode          = 1 << 0
	flagRequestTarget    = 1 << 2
	flagLMKey            = 1 << 7
	flagNTLM             = 1 << 9
	flagAlwaysSign       = 1 << 15
	flagExtendedSecurity = 1 << 19
	flagTargetInfo       = 1 << 23
	flagVersion          = 1 << 25
	flag128              = 1 << 29
	flag56               = 1 << 31

	flagsOfClient = flagUnicode | flagRequestTarget | flagNTLM | flagAlwaysSign | flagExtendedSecurity | flagTargetInfo |
		flagVersion | flag128 | flag56
)

// Attributes of the target information (MS-NLMP section 2.2.2.1).
const (
	avEOL             = 0
	avFlags           = 6
	avTimestamp       = 7
	avTargetName      = 9
	avChannelBindings = 10
)

// avFlagMIC says that the third message carries a MIC.
const avFlagMIC = 2

// Places in the third message (MS-NLMP section 2.2.1.3).
const (
	micAt     = 72
	payloadAt = micAt + md5.Size
)

// maxTargetInfo bounds the target information, in bytes; a domain's is some hundred. The proof repeats it, in a field
// of at most 64 KiB.
const maxTargetInfo = 16 << 10

var ntlmSignature = []byte("NTLMSSP\x00")

// ntlmVersion is the VERSION structure of Windows 10; servers write it to logs (MS-NLMP section 2.2.2.10).
var ntlmVersion = []byte{10, 0, 0x61, 0x4a, 0, 0, 0, 15}

// errChallenge reports a challenge that was not answered, so that the credential was not shown.
var errChallenge = errors.New("the server's NTLM challenge is damaged, or asks for what is not supported (NTLM version 1, LAN Manager)")

// ntlmMessageType tells which message of NTLM this is; 0 is none.
func ntlmMessageType(b []byte) byte {
	if len(b) < 12 || !bytes.Equal(b[:8], ntlmSignature) {
		return 0
	}
	return b[8]
}

// newNegotiate makes the first message (MS-NLMP section 2.2.1.1). It names neither domain nor machine.
func newNegotiate() []byte {
	m := bytes.Clone(ntlmSignature)
	m = binary.LittleEndian.AppendUint32(m, negotiateMessage)
	m = binary.LittleEndian.AppendUint32(m, flagsOfClient)
	m = append(m, make([]byte, 16)...)
	return append(m, ntlmVersion...)
}

// ntlmChallenge is the second message (MS-NLMP section 2.2.1.2).
type ntlmChallenge struct {
	raw   []byte
	flags uint32
	nonce []byte // 8 bytes
	info  []avPair
}

// avPair is one attribute of the target information.
type avPair struct {
	id    uint16
	value []byte
}

// parseChallenge reads the second message. One without target information, or for LAN Manager, leads to NTLM version 1
// and is refused.
func parseChallenge(b []byte) (*ntlmChallenge, error) {
	if len(b) < 48 || ntlmMessageType(b) != challengeMessage {
		return nil, errChallenge
	}
	c := &ntlmChallenge{raw: b, flags: binary.LittleEndian.Uint32(b[20:]), nonce: b[24:32]}
	if c.flags&flagUnicode == 0 || c.flags&flagLMKey != 0 || c.flags&flagTargetInfo == 0 {
		return nil, errChallenge
	}
	n, at := int64(binary.LittleEndian.Uint16(b[40:])), int64(binary.LittleEndian.Uint32(b[44:]))
	if at < 48 || n > maxTargetInfo || at+n > int64(len(b)) {
		return nil, errChallenge
	}
	var ok bool
	if c.info, ok = parsePairs(b[at : at+n]); !ok {
		return nil, errChallenge
	}
	return c, nil
}

// parsePairs reads attributes up to the end mark, which must be there.
func parsePairs(b []byte) ([]avPair, bool) {
	var pairs []avPair
	for len(b) >= 4 {
		id, n := binary.LittleEndian.Uint16(b), int(binary.LittleEndian.Uint16(b[2:]))
		if id == avEOL {
			return pairs, len(pairs) > 0
		}
		if len(b) < 4+n {
			return nil, false
		}
		pairs, b = append(pairs, avPair{id, b[4 : 4+n]}), b[4+n:]
	}
	return nil, false
}

func (c *ntlmChallenge) value(id uint16) []byte {
	for _, p := range c.info {
		if p.id == id {
			return p.value
		}
	}
	return nil
}

// ntlmAnswer is what the third message is made from, beside the two before it.
type ntlmAnswer struct {
	username, password string
	// endPoint is the application data of the channel binding; nil leaves the binding out.
	endPoint []byte
	// target is the service principal name that the client means; empty leaves it out.
	target string
	nonce  [8]byte // of the client
	now    time.Time
}

// message makes the third message: the NTLMv2 proof over both nonces, the time, the channel binding and the target, no
// LAN Manager proof, and a MIC over the three messages where the server knows it, which it says by naming its time
// (MS-NLMP section 3.1.5.1.2).
func (a ntlmAnswer) message(negotiate []byte, c *ntlmChallenge) []byte {
	user, domain := splitUsername(a.username)
	stamp := c.value(avTimestamp)
	mic := len(stamp) == 8
	if !mic {
		stamp = binary.LittleEndian.AppendUint64(nil, fileTime(a.now))
	}
	key := ntlmKey(user, domain, a.password)
	response := ntlmv2Response(key, c.nonce, a.nonce[:], stamp, a.info(c, mic))
	m := appendAuthenticate(c.flags&flagsOfClient, response, domain, user)
	if mic {
		sessionKey := hmacMD5(key, response[:md5.Size])
		copy(m[micAt:payloadAt], hmacMD5(sessionKey, negotiate, c.raw, m))
	}
	return m
}

// info is the target information that the proof covers: the server's, and what the client adds.
func (a ntlmAnswer) info(c *ntlmChallenge, mic bool) []byte {
	var b []byte
	var flags uint32
	for _, p := range c.info {
		switch p.id {
		case avFlags:
			if len(p.value) == 4 {
				flags = binary.LittleEndian.Uint32(p.value)
			}
		case avChannelBindings, avTargetName: // for the client to say
		default:
			b = appendPair(b, p.id, p.value)
		}
	}
	if mic {
		flags |= avFlagMIC
	}
	if flags != 0 {
		b = appendPair(b, avFlags, binary.LittleEndian.AppendUint32(nil, flags))
	}
	if a.endPoint != nil {
		hash := bindingHash(a.endPoint)
		b = appendPair(b, avChannelBindings, hash[:])
	}
	if a.target != "" {
		b = appendPair(b, avTargetName, utf16LE(a.target))
	}
	return appendPair(b, avEOL, nil)
}

// ntlmKey is NTOWFv2 (MS-NLMP section 3.3.2).
func ntlmKey(user, domain, password string) []byte {
	h := md4.New()
	h.Write(utf16LE(password))
	return hmacMD5(h.Sum(nil), utf16LE(strings.ToUpper(user)+domain))
}

// ntlmv2Response is the proof of 16 bytes and what it covers (MS-NLMP sections 2.2.2.7 and 3.3.2).
func ntlmv2Response(key, serverNonce, clientNonce, stamp, info []byte) []byte {
	covered := append([]byte{1, 1, 0, 0, 0, 0, 0, 0}, stamp...)
	covered = append(covered, clientNonce...)
	covered = append(covered, 0, 0, 0, 0)
	covered = append(covered, info...)
	covered = append(covered, 0, 0, 0, 0)
	return append(hmacMD5(key, serverNonce, covered), covered...)
}

// appendAuthenticate lays the third message out (MS-NLMP section 2.2.1.3), with room for the MIC.
func appendAuthenticate(flags uint32, response []byte, domain, user string) []byte {
	m := bytes.Clone(ntlmSignature)
	m = binary.LittleEndian.AppendUint32(m, authenticateMessage)
	noLM := make([]byte, 24)
	fields := [][]byte{noLM, response, utf16LE(domain), utf16LE(user), nil, nil} // no workstation, no session key
	at := payloadAt
	for _, f := range fields {
		m = binary.LittleEndian.AppendUint16(m, uint16(len(f)))
		m = binary.LittleEndian.AppendUint16(m, uint16(len(f)))
		m = binary.LittleEndian.AppendUint32(m, uint32(at))
		at += len(f)
	}
	m = binary.LittleEndian.AppendUint32(m, flags|flagVersion)
	m = append(m, ntlmVersion...)
	m = append(m, make([]byte, md5.Size)...)
	return append(m, bytes.Join(fields, nil)...)
}

func appendPair(b []byte, id uint16, value []byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, id)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(value)))
	return append(b, value...)
}

// splitUsername takes DOMAIN\user apart; another form is the user as a whole.
func splitUsername(name string) (user, domain string) {
	if domain, user, ok := strings.Cut(name, `\`); ok {
		return user, domain
	}
	return name, ""
}

// fileTime counts units of 100 ns since 1601 (MS-DTYP section 2.3.3).
func fileTime(t time.Time) uint64 {
	const seconds1601To1970 = 11644473600
	return uint64(t.Unix()+seconds1601To1970)*10_000_000 + uint64(t.Nanosecond()/100)
}

func hmacMD5(key []byte, parts ...[]byte) []byte {
	h := hmac.New(md5.New, key)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

func utf16LE(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

package exchangesim

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/rc4"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"strings"
	"time"
	"unicode/utf16"

	"golang.org/x/crypto/md4" //lint:ignore SA1019 NTLM is defined with MD4 (MS-NLMP section 3.3.2)
)

// Message types of NTLM (MS-NLMP section 2.2.1).
const (
	ntlmNegotiate    = 1
	ntlmChallenge    = 2
	ntlmAuthenticate = 3
)

// Negotiate flags (MS-NLMP section 2.2.2.5).
const (
	flagUnicode          = 1 << 0
	flagOEM              = 1 << 1
	flagRequestTarget    = 1 << 2
	flagNTLM             = 1 << 9
	flagAlwaysSign       = 1 << 15
	flagTargetTypeDomain = 1 << 16
	flagExtendedSecurity = 1 << 19
	flagTargetInfo       = 1 << 23
	flagVersion          = 1 << 25
	flag128              = 1 << 29
	flagKeyExchange      = 1 << 30
	flag56               = 1 << 31
)

// AvIds (MS-NLMP section 2.2.2.1).
const (
	avEOL             = 0
	avComputer        = 1
	avDomain          = 2
	avDNSComputer     = 3
	avDNSDomain       = 4
	avFlags           = 6
	avTimestamp       = 7
	avChannelBindings = 10
)

// avFlagMIC says that the third message carries a MIC.
const avFlagMIC = 2

// micOffset is where the MIC stands in the third message, behind flags and version.
const micOffset = 72

var ntlmSignature = []byte("NTLMSSP\x00")

// errNTLM reports a message that is not well-formed.
var errNTLM = errors.New("malformed NTLM message")

// messageType is the type of a message, 0 when it is none.
func messageType(message []byte) uint32 {
	if len(message) < 12 || !bytes.Equal(message[:8], ntlmSignature) {
		return 0
	}
	return binary.LittleEndian.Uint32(message[8:])
}

// ntlmServer verifies NTLMv2 for one account.
type ntlmServer struct {
	user, domain, password string
	// binding is the hash of the channel binding of this server's certificate.
	binding        [16]byte
	requireBinding bool
	now            func() time.Time
}

func newNTLMServer(o Options, leaf *x509.Certificate) *ntlmServer {
	s := &ntlmServer{user: o.User, domain: "CORP", password: o.Password, binding: channelBinding(leaf), requireBinding: o.RequireChannelBinding, now: time.Now}
	if domain, _, ok := strings.Cut(o.User, `\`); ok {
		s.domain = strings.ToUpper(domain)
	}
	return s
}

// channelBinding is MD5 over a gss_channel_bindings_struct that holds tls-server-end-point (RFC 5929 section 4, MS-NLMP
// section 2.2.2.1). The stand-in's certificate is signed with SHA-256, so that is its hash.
func channelBinding(leaf *x509.Certificate) [16]byte {
	digest := sha256.Sum256(leaf.Raw)
	data := append([]byte("tls-server-end-point:"), digest[:]...)
	structure := binary.LittleEndian.AppendUint32(make([]byte, 16), uint32(len(data)))
	return md5.Sum(append(structure, data...))
}

// challenge answers the first message; nil when it is not one that this server takes.
func (s *ntlmServer) challenge(c *connection, negotiate []byte) []byte {
	if len(negotiate) < 16 || len(negotiate) > 4096 {
		return nil
	}
	asked := binary.LittleEndian.Uint32(negotiate[12:])
	encoding, name := uint32(flagUnicode), utf16LE(s.domain)
	if asked&flagUnicode == 0 { // curl asks for the OEM character set
		encoding, name = flagOEM, []byte(s.domain)
	}
	flags := encoding | uint32(flagRequestTarget|flagNTLM|flagAlwaysSign|flagTargetTypeDomain|flagExtendedSecurity|flagTargetInfo|flagVersion)
	flags |= asked & (flag128 | flag56 | flagKeyExchange)
	info := s.targetInfo()
	const header = 56
	m := append([]byte(nil), ntlmSignature...)
	m = binary.LittleEndian.AppendUint32(m, ntlmChallenge)
	m = appendField(m, len(name), header)
	m = binary.LittleEndian.AppendUint32(m, flags)
	var nonce [8]byte
	rand.Read(nonce[:])
	m = append(m, nonce[:]...)
	m = append(m, make([]byte, 8)...)
	m = appendField(m, len(info), header+len(name))
	m = append(m, 10, 0, 0x7c, 0x4f, 0, 0, 0, 15)
	m = append(append(m, name...), info...)

	c.mu.Lock()
	defer c.mu.Unlock()
	c.negotiate, c.challenge, c.authenticated = bytes.Clone(negotiate), m, false
	return m
}

func (s *ntlmServer) targetInfo() []byte {
	var b []byte
	add := func(id uint16, value []byte) {
		b = binary.LittleEndian.AppendUint16(b, id)
		b = binary.LittleEndian.AppendUint16(b, uint16(len(value)))
		b = append(b, value...)
	}
	add(avDomain, utf16LE(s.domain))
	add(avComputer, utf16LE("EXCHANGESIM"))
	add(avDNSDomain, utf16LE(dnsDomain(s.domain)))
	add(avDNSComputer, utf16LE("exchangesim."+dnsDomain(s.domain)))
	add(avTimestamp, binary.LittleEndian.AppendUint64(nil, fileTime(s.now())))
	add(avEOL, nil)
	return b
}

// fileTime counts units of 100 ns since 1601.
func fileTime(t time.Time) uint64 {
	const seconds1601To1970 = 11644473600
	return uint64(t.Unix()+seconds1601To1970)*10_000_000 + uint64(t.Nanosecond()/100)
}

// authenticate verifies the third message against the challenge that this connection was given. One challenge is good for
// one try.
func (s *ntlmServer) authenticate(c *connection, message []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	negotiate, challenge := c.negotiate, c.challenge
	c.negotiate, c.challenge, c.authenticated = nil, nil, false
	if challenge == nil {
		return false
	}
	m, err := parseAuthenticate(message)
	if err != nil {
		return false
	}
	c.authenticated = s.verify(negotiate, challenge, message, m)
	return c.authenticated
}

// verify checks user, NTLMv2 proof, channel binding and MIC.
func (s *ntlmServer) verify(negotiate, challenge, message []byte, m *authenticateMessage) bool {
	sent := m.user
	if m.domain != "" {
		sent = m.domain + `\` + m.user
	}
	// 24 bytes are an NTLMv1 response; NTLMv2 has a proof of 16 bytes and at least 28 of what it covers.
	if len(m.ntResponse) < 16+28 || !sameUser(sent, s.user) {
		return false
	}
	proof, covered := m.ntResponse[:16], m.ntResponse[16:]
	key := hmacMD5(ntHash(s.password), utf16LE(strings.ToUpper(m.user)+m.domain))
	if !hmac.Equal(proof, hmacMD5(key, challenge[24:32], covered)) {
		return false
	}
	pairs, err := avPairs(covered[28:])
	if covered[0] != 1 || covered[1] != 1 || err != nil {
		return false
	}
	if binding, ok := pairs[avChannelBindings]; ok && !hmac.Equal(binding, s.binding[:]) || !ok && s.requireBinding {
		return false
	}
	if flags := pairs[avFlags]; len(flags) == 4 && binary.LittleEndian.Uint32(flags)&avFlagMIC != 0 {
		return verifyMIC(negotiate, challenge, message, m, hmacMD5(key, proof))
	}
	return true
}

// verifyMIC checks the MIC over the three messages (MS-NLMP section 3.1.5.1.2).
func verifyMIC(negotiate, challenge, message []byte, m *authenticateMessage, sessionKey []byte) bool {
	if len(message) < micOffset+16 {
		return false
	}
	if m.flags&flagKeyExchange != 0 {
		cipher, err := rc4.NewCipher(sessionKey)
		if err != nil || len(m.sessionKey) != 16 {
			return false
		}
		sessionKey = make([]byte, 16)
		cipher.XORKeyStream(sessionKey, m.sessionKey)
	}
	without := bytes.Clone(message)
	clear(without[micOffset : micOffset+16])
	return hmac.Equal(message[micOffset:micOffset+16], hmacMD5(sessionKey, negotiate, challenge, without))
}

// authenticateMessage is what the third message says (MS-NLMP section 2.2.1.3).
type authenticateMessage struct {
	user, domain           string
	ntResponse, sessionKey []byte
	flags                  uint32
}

func parseAuthenticate(b []byte) (*authenticateMessage, error) {
	if len(b) < 64 || len(b) > 16<<10 || messageType(b) != ntlmAuthenticate {
		return nil, errNTLM
	}
	m := &authenticateMessage{flags: binary.LittleEndian.Uint32(b[60:])}
	var domain, user []byte
	for at, into := range map[int]*[]byte{20: &m.ntResponse, 28: &domain, 36: &user, 52: &m.sessionKey} {
		field, err := payload(b, at)
		if err != nil {
			return nil, err
		}
		*into = field
	}
	if m.flags&flagUnicode == 0 {
		m.domain, m.user = string(domain), string(user)
		return m, nil
	}
	var err1, err2 error
	m.domain, err1 = fromUTF16LE(domain)
	m.user, err2 = fromUTF16LE(user)
	return m, errors.Join(err1, err2)
}

// payload reads the field whose length and offset stand at the given place.
func payload(b []byte, at int) ([]byte, error) {
	length, offset := int(binary.LittleEndian.Uint16(b[at:])), int64(binary.LittleEndian.Uint32(b[at+4:]))
	if length == 0 {
		return nil, nil
	}
	if offset < 64 || offset+int64(length) > int64(len(b)) {
		return nil, errNTLM
	}
	return b[offset : offset+int64(length)], nil
}

// avPairs reads attribute-value pairs up to the end mark.
func avPairs(b []byte) (map[uint16][]byte, error) {
	pairs := map[uint16][]byte{}
	for len(b) >= 4 {
		id, length := binary.LittleEndian.Uint16(b), int(binary.LittleEndian.Uint16(b[2:]))
		if id == avEOL {
			return pairs, nil
		}
		if len(b) < 4+length {
			return nil, errNTLM
		}
		pairs[id], b = b[4:4+length], b[4+length:]
	}
	return nil, errNTLM
}

func appendField(m []byte, length, offset int) []byte {
	m = binary.LittleEndian.AppendUint16(m, uint16(length))
	m = binary.LittleEndian.AppendUint16(m, uint16(length))
	return binary.LittleEndian.AppendUint32(m, uint32(offset))
}

func ntHash(password string) []byte {
	h := md4.New()
	h.Write(utf16LE(password))
	return h.Sum(nil)
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

func fromUTF16LE(b []byte) (string, error) {
	if len(b)%2 != 0 {
		return "", errNTLM
	}
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units)), nil
}

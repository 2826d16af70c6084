package smime

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"github.com/galsyncd/galsyncd/cms"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
)

// CipherPolicy is which content cipher a site wants.
type CipherPolicy string

// Policies for ciphers.
const (
	// CipherAuto, like "", takes AES-256-GCM when every recipient of a message announces it, else AES-256-CBC, or
	// AES-128-CBC when somebody announces that and not AES-256-CBC.
	CipherAuto CipherPolicy = "auto"
	CipherCBC  CipherPolicy = "aes-256-cbc"
	CipherGCM  CipherPolicy = "aes-256-gcm"
)

// AlgorithmPolicy chooses algorithms. The zero value is CipherAuto, with what certificates announce, and one message for
// all.
type AlgorithmPolicy struct {
	Cipher CipherPolicy
	// Capabilities is what is known of a recipient from elsewhere, such as verified mail; nil when nothing is. It counts
	// more than what the certificate announces (RFC 4262), which may be older. Nil asks nobody.
	Capabilities func(mailaddr.Address, *x509.Certificate) cms.Capabilities
	// Split makes one message for recipients with RSA keys and one for those with elliptic curves when a mail has both:
	// some programs cannot read a message that has one recipient of a kind that they do not know.
	Split bool
}

// Choice says how one message is encrypted.
type Choice struct {
	// Recipients of the message, those of its envelope.
	Recipients []mailaddr.Address
	// Blind marks the message of a Bcc recipient, ToSelf one that its sender can read too.
	Blind, ToSelf bool
	Cipher        cms.Cipher
	// KeyManagement is how the content key gets to the recipients, one for each kind of key.
	KeyManagement []string
	// Reasons explain the choice in sentences; Warnings say who may not be able to read the message.
	Reasons, Warnings []string

	keys []recipientKey
}

// recipientKey is one certificate that a message is encrypted to. A group has those of its members.
type recipientKey struct {
	who  mailaddr.Address
	cert *x509.Certificate
}

// certificates are those of all keys, each once.
func (c *Choice) certificates() (certs []*x509.Certificate) {
	for _, k := range c.keys {
		certs = append(certs, k.cert)
	}
	return certs
}

// add adds a certificate of a recipient. One that is there already, of a person in a group and beside it, is not repeated.
func (c *Choice) add(who mailaddr.Address, cert *x509.Certificate) {
	c.Recipients = appendNew(c.Recipients, who)
	if !slices.ContainsFunc(c.keys, func(k recipientKey) bool { return k.cert.Equal(cert) }) {
		c.keys = append(c.keys, recipientKey{who, cert})
	}
}

// addSelf adds the sender, who is no recipient of the envelope.
func (c *Choice) addSelf(own recipientKey) {
	c.ToSelf = true
	c.Reasons = append(c.Reasons, fmt.Sprintf("encrypted to the sender %s too: %s", own.who, own.cert.Subject))
	if !slices.ContainsFunc(c.keys, func(k recipientKey) bool { return k.cert.Equal(own.cert) }) {
		c.keys = append(c.keys, own)
	}
}

// choose makes the choices for one mail to these recipients, each with all certificates to encrypt to: one message, or one
// for each kind of key. Cipher, key management (RSA PKCS #1 v1.5; ECDH with stdDH-sha256kdf and a wrap of the cipher's
// strength) and their reasons follow from the policy and from what each recipient announces; who announces nothing is taken
// to read AES-CBC and no AEAD cipher (RFC 8551 section 2.7.1). The sender's own certificates, if any, go into the message
// with their kind of key, else into the first: they make no message of their own.
func (p *AlgorithmPolicy) choose(recipients []mailaddr.Address, certs [][]*x509.Certificate, self []recipientKey) []Choice {
	together := Choice{}
	kinds := [2]Choice{}
	for i, list := range certs {
		for _, cert := range list {
			together.add(recipients[i], cert)
			kinds[kindOf(cert)].add(recipients[i], cert)
		}
	}
	messages := []Choice{together}
	divided := p.Split && len(kinds[0].keys) > 0 && len(kinds[1].keys) > 0
	if divided {
		messages = kinds[:]
	}
	for _, own := range self {
		to := 0
		if divided {
			to = kindOf(own.cert)
		}
		messages[to].addSelf(own)
	}
	for i := range messages {
		p.cipher(&messages[i])
		messages[i].keyManagement(divided)
	}
	return messages
}

// kindOf is 0 for RSA keys and 1 for those on elliptic curves.
func kindOf(c *x509.Certificate) int {
	if isRSA(c) {
		return 0
	}
	return 1
}

func isRSA(c *x509.Certificate) bool { _, ok := c.PublicKey.(*rsa.PublicKey); return ok }

func isEC(c *x509.Certificate) bool { _, ok := c.PublicKey.(*ecdsa.PublicKey); return ok }

// announced is what is known of one recipient's ciphers.
type announced struct {
	who     mailaddr.Address
	ciphers []cms.Cipher
	known   bool
}

func (p *AlgorithmPolicy) announced(c *Choice) (list []announced) {
	for _, k := range c.keys {
		var capabilities cms.Capabilities
		if p.Capabilities != nil {
			capabilities = p.Capabilities(k.who, k.cert)
		}
		if capabilities == nil {
			capabilities = cms.CertificateCapabilities(k.cert)
		}
		list = append(list, announced{k.who, capabilities.Ciphers(), capabilities != nil})
	}
	return list
}

// without are those who do not announce a cipher; with silent, also those who announce nothing.
func without(list []announced, cipher cms.Cipher, silent bool) (who []string) {
	for _, a := range list {
		if a.known && !slices.Contains(a.ciphers, cipher) || !a.known && silent {
			who = append(who, string(a.who))
		}
	}
	return who
}

func (p *AlgorithmPolicy) cipher(c *Choice) {
	list := p.announced(c)
	noGCM := without(list, cms.AES256GCM, true)
	switch {
	case p.Cipher == CipherGCM:
		c.choose(cms.AES256GCM, "the policy says so")
		if len(noGCM) > 0 {
			c.warn("%s may not be able to read AES-256-GCM, having not announced it", noGCM)
		}
	case p.Cipher == CipherCBC:
		c.choose(cms.AES256CBC, "the policy says so")
	case len(noGCM) == 0 && len(list) > 0:
		c.choose(cms.AES256GCM, "every recipient announces it")
	case len(without(list, cms.AES256CBC, false)) > 0 && len(without(list, cms.AES128CBC, false)) == 0:
		c.choose(cms.AES128CBC, "that is what "+few(without(list, cms.AES256CBC, false))+" announces, and not AES-256-CBC")
	default:
		c.choose(cms.AES256CBC, "not announced to read AES-256-GCM: "+few(noGCM))
	}
	if c.Cipher == cms.AES256CBC {
		if old := without(list, cms.AES256CBC, false); len(old) > 0 {
			c.warn("%s may not be able to read AES-256-CBC, having announced other ciphers only", old)
		}
	}
}

func (c *Choice) choose(cipher cms.Cipher, why string) {
	c.Cipher = cipher
	c.Reasons = append(c.Reasons, fmt.Sprintf("%s: %s", cipher, why))
}

func (c *Choice) warn(format string, who []string) {
	c.Warnings = append(c.Warnings, fmt.Sprintf(format, few(who)))
}

// keyManagement says and explains how the content key gets to the recipients.
func (c *Choice) keyManagement(divided bool) {
	rsa, ec := slices.ContainsFunc(c.certificates(), isRSA), slices.ContainsFunc(c.certificates(), isEC)
	if rsa {
		c.KeyManagement = append(c.KeyManagement, "RSA PKCS #1 v1.5")
		c.Reasons = append(c.Reasons, "RSA PKCS #1 v1.5 for RSA keys: every program reads it")
	}
	if ec {
		wrap := fmt.Sprintf("ECDH with stdDH-sha256kdf and AES-%d key wrap", 8*c.Cipher.KeySize())
		c.KeyManagement = append(c.KeyManagement, wrap)
		c.Reasons = append(c.Reasons, wrap+" for elliptic curve keys")
	}
	switch {
	case divided:
		c.Reasons = append(c.Reasons, "a message of its own for each kind of key: the policy says so")
	case rsa && ec:
		c.Warnings = append(c.Warnings, "RSA and elliptic curve keys share one message, which some older programs cannot read")
	}
}

// few lists some names.
func few(who []string) string {
	const shown = 5
	if more := len(who) - shown; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(who[:shown], ", "), more)
	}
	return strings.Join(who, ", ")
}

// plan says which messages a mail becomes: those for To and Cc, then one for each Bcc recipient. The sender can read those
// for To and Cc; when there are none, those of the Bcc recipients.
func (o *EncryptOptions) plan(who *receivers, certs [][]*x509.Certificate, self []recipientKey) (messages []Choice) {
	policy := AlgorithmPolicy{}
	if o.Algorithms != nil {
		policy = *o.Algorithms
	}
	n := len(who.main)
	if n > 0 {
		messages = policy.choose(who.main, certs[:n], self)
		self = nil
	}
	policy.Split = false // one copy for one Bcc recipient
	for i, to := range who.blind {
		one := policy.choose([]mailaddr.Address{to}, certs[n+i:n+i+1], self)
		one[0].Blind = true
		messages = append(messages, one...)
	}
	if o.Algorithms == nil {
		for i := range messages {
			messages[i].Cipher, messages[i].Reasons, messages[i].Warnings = o.Cipher, nil, nil
		}
	}
	return messages
}

// ownKeys are the sender's, whom the From field names.
func (o *EncryptOptions) ownKeys(h header) (self []recipientKey, err error) {
	if o.ToSelf == nil {
		return nil, nil
	}
	from := readFrom(h).list()
	certs, err := o.ToSelf(from)
	if err != nil {
		return nil, err
	}
	if len(certs) == 0 || len(from) == 0 {
		return nil, ErrNoOwnCertificate
	}
	for _, c := range certs {
		self = append(self, recipientKey{from[0], c})
	}
	return self, nil
}

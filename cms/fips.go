package cms

import (
	"crypto"
	"crypto/fips140"
)

// FIPSMode says how this process uses Go's FIPS 140-3 module, which GODEBUG=fips140 sets at its start:
//
//   - "off": not at all.
//   - "on": the module checks itself at the start; every algorithm of this package works.
//   - "only": what the module does not approve of is refused as well, with [ErrUnsupported] when reading. That is most of
//     today's mail.
func FIPSMode() string {
	switch {
	case fips140.Enforced():
		return "only"
	case fips140.Enabled():
		return "on"
	}
	return "off"
}

// requireAllowed is the error for an algorithm that GODEBUG=fips140=only forbids. Go's packages would panic there or answer as to
// a wrong key.
func requireAllowed(approved bool, algorithm string) error {
	if approved || !fips140.Enforced() {
		return nil
	}
	return unsupported("%s is not allowed with GODEBUG=fips140=only", algorithm)
}

// approvedHash reports whether a hash may be used for more than a name.
func approvedHash(h crypto.Hash) bool { return h != crypto.SHA1 && h != crypto.MD5 }

// approved reports whether Go's packages allow the cipher with GODEBUG=fips140=only. GCM is not among them, because messages carry
// nonces that the module did not make.
func (c Cipher) approved() bool { return !c.AEAD() && c != DESEDE3CBC }

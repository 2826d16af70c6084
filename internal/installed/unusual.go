package installed

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/smime"
	"github.com/galsyncd/galsyncd/trust"
)

// longValidity is what is longer than any public authority may issue for: 1185 days (CA/Browser Forum, S/MIME Baseline
// Requirements section 6.3.2, legacy generation), with room for private ones.
const longValidity = 5 * 366 * 24 * time.Hour

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

func (item *Item) remark(code, format string, args ...any) {
	item.Unusual = append(item.Unusual, Remark{code, fmt.Sprintf(format, args...)})
}

func (item *Item) forbid(hint, code, format string, args ...any) {
	item.Obstacles = append(item.Obstacles, Obstacle{Remark{code, fmt.Sprintf(format, args...)}, hint})
}

// codes are what findings of package trust are called here.
var codes = map[trust.State]string{
	trust.Expired: CodeExpired, trust.NotYetValid: CodeNotYetValid, trust.WeakKey: CodeWeakKey, trust.Revoked: CodeRevoked, trust.Untrusted: CodeUnknownIssuer,
}

// oddities says what a person should know about a certificate before installing it.
func (item *Item) oddities(m *material, findings []trust.Finding, now time.Time) {
	c := item.X509
	for _, f := range findings {
		code, ok := codes[f.State]
		switch {
		case !ok: // usage and addresses are spoken of elsewhere
		case f.State == trust.Untrusted && bytes.Equal(c.RawIssuer, c.RawSubject):
			item.remark(CodeSelfSigned, "it is self-signed: nobody but its owner vouches for it")
		default:
			item.remark(code, "it is %s", clause(f.Reason))
		}
	}
	if len(item.Uses) == 1 && item.Uses[0] == Signing && len(m.people) == 1 {
		item.remark(CodeSigningOnly, "it is for signatures only: one cannot encrypt to it")
	}
	if c.NotAfter.Sub(c.NotBefore) > longValidity {
		item.remark(CodeLongValidity, "it is valid for %d years, longer than authorities issue mail certificates for", int(c.NotAfter.Sub(c.NotBefore).Hours()/24/365))
	}
	others := slices.DeleteFunc(slices.Clone(item.Addresses), func(a mailaddr.Address) bool { return slices.Contains(item.For, a) })
	if len(others) > 0 && len(item.For) > 0 {
		item.remark(CodeOtherAddresses, "it also names %s, for which it is not installed", list(others))
	} else if len(item.For) > 1 {
		item.remark(CodeOtherAddresses, "it names several addresses: %s", list(item.For))
	}
}

// clause fits the reason of a finding into a sentence that begins with "it is".
func clause(reason string) string {
	for _, article := range []string{"an RSA key", "an EC key", "a DSA key", "a key"} {
		if strings.HasPrefix(reason, article) {
			return "made with " + reason
		}
	}
	return reason
}

// maxTargets is for how many addresses one certificate is installed.
const maxTargets = 50

// obstruct says why a certificate is not installed.
func (item *Item) obstruct(m *material, findings []trust.Finding, o Options) {
	for _, f := range findings {
		if f.State == trust.Revoked {
			item.forbid("", CodeRevoked, "it is %s", f.Reason)
		}
	}
	switch {
	case isAuthority(item.X509):
		item.forbid("to trust the certificates that this authority issues: galsyncd cert install --issuer", CodeAuthority, "it is the certificate of an authority, not of a person")
	case len(item.Uses) == 0:
		item.forbid("", CodeWrongUsage, "it is neither for encrypting nor for signing mail")
	case len(item.Addresses) == 0:
		item.forbid("", CodeNoAddress, "it names no mail address, so nothing ties it to anybody")
	case len(item.For) > maxTargets:
		item.forbid("say for which with --address", CodeOtherAddresses, "it names %d addresses, more than a certificate is installed for", len(item.For))
	case len(item.For) == 0 && m.signature != nil && m.signature.From == "":
		item.forbid("say for which address with --address", CodeOtherAddress, "the mail does not have exactly one From address, and the certificate names %s", list(item.Addresses))
	case len(item.For) == 0:
		item.forbid("if that is right, say so with --address "+string(item.Addresses[0]), CodeOtherAddress, "it names %s, not %s", list(item.Addresses), list(m.addresses))
	}
	item.obstructSignature(m, o)
}

// obstructSignature says why nothing is installed from a mail.
func (item *Item) obstructSignature(m *material, o Options) {
	if m.signature == nil || o.AnySignature {
		return
	}
	switch m.signature.Verdict {
	case smime.Invalid:
		item.forbid("when you know better: --invalid-signature", CodeInvalidSignature, "the signature of the mail is not valid: %s", strings.Join(m.signature.Reasons, "; "))
	case smime.Unsigned:
		item.forbid("", CodeNoSignature, "the mail is not signed")
	}
}

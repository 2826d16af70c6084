package main

import (
	"crypto/sha1"
	"crypto/x509"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/galsyncd/galsyncd/client"
)

func (a *app) certList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "list installed certificates and trusted issuers",
		Args:  positional(0, 0, "nothing but options"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return failed(err)
			}
			list, err := c.Certificates(cmd.Context())
			if err != nil {
				return failed(err)
			}
			return failed(a.print(list, func(w io.Writer) {
				printInstalled(w, list)
				if len(list.Certificates)+len(list.Issuers) == 0 {
					a.say("hint: there is none yet: galsyncd cert install FILE")
				}
			}))
		},
	}
}

func printInstalled(w io.Writer, list *client.InstalledCertificates) {
	for _, c := range list.Certificates {
		for _, p := range c.For {
			printf(w, "%s: %s\n", p.Address, placeText(c, p))
			lines(w, "    ", p.Reasons)
		}
		printf(w, "  %s, %s, valid %s to %s\n  issued by: %s\n  sha256: %s\n  installed on %s from %s\n",
			c.Subject, c.Key, day(c.NotBefore), day(c.NotAfter), c.Issuer, c.SHA256, day(c.Installed), originText(c.How, c.From))
	}
	for _, i := range list.Issuers {
		printf(w, "trusted issuer: %s\n  valid %s to %s\n  sha256: %s\n", i.Subject, day(i.NotBefore), day(i.NotAfter), i.SHA256)
	}
}

// placeText says what is known about a certificate and an address in a few words.
func placeText(c client.InstalledCertificate, p client.InstalledPlace) string {
	words := []string{strings.Join(c.Uses, " and ")}
	if p.State != "" {
		words = append(words, p.State)
	}
	if !p.Trusted.IsZero() {
		words = append(words, "trusted")
	}
	if p.Chosen {
		words = append(words, "preferred")
	}
	if p.Used {
		words = append(words, "used now")
	}
	return strings.Join(words, ", ")
}

func originText(how, from string) string {
	switch {
	case how == "mail" && from != "":
		return "a mail of " + from
	case how == "admin" && from != "":
		return from + ", by an administrator for everyone"
	case how == "admin":
		return "an administrator, for everyone"
	case from != "":
		return from
	}
	return "a " + how
}

// printInstallReport says what a file or mail holds.
func printInstallReport(w io.Writer, r *client.InstallReport) {
	if s := r.Signature; s != nil {
		printf(w, "signature: %s\n", s.Verdict)
		if s.From != "" {
			printf(w, "  from: %s\n", s.From)
		}
		if s.SigningTime != nil {
			printf(w, "  claims to have signed on %s\n", clock(*s.SigningTime))
		}
		lines(w, "  ", s.Reasons)
		lines(w, "  warning: ", s.Warnings)
	}
	for _, m := range r.Remarks {
		printf(w, "warning: %s\n", m.Text)
	}
	for _, c := range r.Certificates {
		printItem(w, c)
	}
}

func printItem(w io.Writer, c client.InstallItem) {
	what := "authority"
	if len(c.Uses) > 0 {
		what = strings.Join(c.Uses, " and ")
	}
	printf(w, "certificate: %s\n", what)
	printf(w, "  subject: %s\n  issued by: %s\n  valid: %s to %s\n  key: %s\n  sha256: %s\n",
		c.Subject, c.Issuer, day(c.NotBefore), day(c.NotAfter), c.Key, c.SHA256)
	lines(w, "  names: ", c.Addresses)
	for _, issuer := range c.Chain {
		printf(w, "  came with its issuer: %s (sha256 %s…)\n", issuer.Subject, issuer.SHA256[:16])
	}
	lines(w, "  for: ", c.For)
	if len(c.For) > 0 {
		printf(w, "  chain: %s\n", map[bool]string{true: "trusted", false: "not trusted"}[c.Chained])
	}
	for _, m := range c.Unusual {
		printf(w, "  unusual: %s\n", m.Text)
	}
	for _, o := range c.Obstacles {
		printf(w, "  refused: %s\n", o.Text)
		if o.Hint != "" {
			printf(w, "    hint: %s\n", o.Hint)
		}
	}
}

// printDetails shows a certificate in the manner of openssl x509 -text.
func printDetails(w io.Writer, d *client.CertificateDetails, cert *x509.Certificate) {
	show := func(name, format string, args ...any) {
		printf(w, "    %s: %s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintln(w, "Certificate:")
	show("Version", "%d", cert.Version)
	show("Serial Number", "%s", d.Serial)
	show("Signature Algorithm", "%s", d.SignatureAlgorithm)
	show("Issuer", "%s", d.Issuer)
	show("Not Before", "%s", cert.NotBefore.UTC().Format(time.RFC1123))
	show("Not After", "%s", cert.NotAfter.UTC().Format(time.RFC1123))
	show("Subject", "%s", d.Subject)
	show("Public Key", "%s", d.Key)
	printExtensions(show, d, cert)
	show("SHA-256 Fingerprint", "%s", colons(d.SHA256))
	show("SHA-1 Fingerprint", "%s", colons(fmt.Sprintf("%x", sha1.Sum(d.Raw))))
	if len(d.Entries) > 0 {
		printf(w, "In the address book for: %s\n", strings.Join(d.Entries, ", "))
	}
	if in := d.Installed; in != nil {
		printf(w, "Installed on %s from %s\n", day(in.Installed), originText(in.How, in.From))
		for _, p := range in.For {
			printf(w, "    %s: %s\n", p.Address, placeText(*in, p))
			lines(w, "        ", p.Reasons)
		}
		for _, issuer := range in.Chain {
			printf(w, "    came with: %s (sha256 %s)\n", issuer.Subject, issuer.SHA256)
		}
	}
}

func printExtensions(show func(name, format string, args ...any), d *client.CertificateDetails, cert *x509.Certificate) {
	list := func(name string, values []string) {
		if len(values) > 0 {
			show(name, "%s", oneLine(strings.Join(values, ", ")))
		}
	}
	if cert.BasicConstraintsValid {
		show("Basic Constraints", "CA:%s", strings.ToUpper(fmt.Sprint(cert.IsCA)))
	}
	list("Key Usage", d.KeyUsage)
	list("Extended Key Usage", d.ExtendedKeyUsage)
	list("Subject Alternative Name", d.Addresses)
	if len(cert.SubjectKeyId) > 0 {
		show("Subject Key Identifier", "%s", colons(fmt.Sprintf("%x", cert.SubjectKeyId)))
	}
	if len(cert.AuthorityKeyId) > 0 {
		show("Authority Key Identifier", "%s", colons(fmt.Sprintf("%x", cert.AuthorityKeyId)))
	}
	list("CRL Distribution Points", cert.CRLDistributionPoints)
	list("OCSP", cert.OCSPServer)
	list("CA Issuers", cert.IssuingCertificateURL)
	for _, p := range cert.Policies {
		show("Policy", "%s", p)
	}
}

// colons writes a fingerprint as people compare it.
func colons(digits string) string {
	var out strings.Builder
	for i := 0; i < len(digits); i += 2 {
		if i > 0 {
			out.WriteByte(':')
		}
		out.WriteString(strings.ToUpper(digits[i:min(i+2, len(digits))]))
	}
	return out.String()
}

package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/galsyncd/galsyncd/client"
	"github.com/galsyncd/galsyncd/cms"
)

// maxInstall is the largest mail or file that certificates are installed from, in bytes; the daemon takes no more either.
const maxInstall = 32 << 20

func (a *app) cert() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cert",
		Short: "certificates of people outside the organisation: install, trust, remove",
		Long: "Somebody who is not in the address book sends a signed mail, or a file with a certificate. cert install shows what\n" +
			"is in it and what is unusual, asks, and stores it; from then on one can encrypt to that person. Nothing is stored by\n" +
			"itself, and an installed certificate never goes before a usable one of the address book unless that is wished (cert\n" +
			"trust --prefer). In the user's own daemon they are the user's; in the system's, administrators install for everyone.\n\n" +
			"CERT is a SHA-256 fingerprint, the beginning of one (8 digits at least), or an address for which one is installed.\n" +
			"A certificate of the address book goes by its fingerprint, or 8 digits of it, as lookup --explain shows it; cert show\n" +
			"and cert export take the address too.",
		RunE: needsCommand,
	}
	cmd.AddCommand(a.certList(), a.certShow(), a.certInstall(), a.certTrust(), a.certUntrust(), a.certRemove(), a.certExport())
	return cmd
}

func (a *app) certInstall() *cobra.Command {
	var o client.InstallOptions
	var yes bool
	cmd := &cobra.Command{
		Use:   "install FILE",
		Short: "install the certificate of a signed mail, or of a file",
		Long: "FILE is a signed mail, also one that is encrypted to a key of the unlocked keyring, or a file with certificates: PEM,\n" +
			"DER, PKCS #7 (.p7b, .p7c, .p7s) or a vCard; - is standard input. What is in it is shown, with the verdict about the\n" +
			"signature, the chain and everything unusual; then the command asks. A sender with one certificate for signatures and\n" +
			"another for encryption gets both. A certificate without a trusted chain is trusted from then on for the addresses it\n" +
			"is installed for, and for nothing else. To install the same again changes nothing.\n\n" +
			"It is refused, with exit status 65, when the signature is invalid (see --invalid-signature) or the certificate does\n" +
			"not name the sender (see --address).",
		Example: "  galsyncd cert install --dry-run mail.eml\n  galsyncd cert install mail.eml\n  galsyncd cert install --yes carol.p7b",
		Args:    positional(1, 1, "one FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return failed(a.runCertInstall(cmd.Context(), args[0], o, yes))
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.DryRun, "dry-run", false, "only show what would be done")
	flags.BoolVar(&yes, "yes", false, "do not ask")
	flags.StringSliceVar(&o.Addresses, "address", nil, "install for this `ADDRESS`, which the certificate must name; may be repeated")
	flags.BoolVar(&o.InvalidSignature, "invalid-signature", false, "install from a mail whose signature is invalid")
	flags.BoolVar(&o.NoTrust, "no-trust", false, "store it without trusting it: its chain has to do")
	flags.BoolVar(&o.Issuer, "issuer", false, "the file holds certificates of authorities: trust the mail certificates that they issue")
	return cmd
}

func (a *app) runCertInstall(ctx context.Context, path string, o client.InstallOptions, yes bool) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	data, err := a.certFile(path)
	if err != nil {
		return err
	}
	if o.Name = filepath.Base(path); path == "-" {
		o.Name = ""
	}
	dry := o
	dry.DryRun = true
	report, err := c.InstallCertificate(ctx, data, dry)
	if err != nil {
		return err
	}
	if refusal := refusalOf(report); refusal != nil && !o.DryRun {
		printInstallReport(a.talk(), report)
		return refusal
	}
	if o.DryRun {
		show := func(w io.Writer) {
			printInstallReport(w, report)
			fmt.Fprintln(w, "nothing was stored")
		}
		if err := a.print(report, show); err != nil {
			return err
		}
		return quiet(refusalOf(report))
	}
	if !allInstalled(report) {
		if err := a.confirm(ctx, yes, installQuestion(report, o), func(w io.Writer) { printInstallReport(w, report) }); err != nil {
			return err
		}
	}
	done, err := c.InstallCertificate(ctx, data, o)
	if err != nil {
		return err
	}
	return a.print(done, func(w io.Writer) {
		if yes || allInstalled(report) {
			printInstallReport(w, done) // otherwise it was shown with the question
		}
		if allInstalled(report) {
			fmt.Fprintln(w, "it was installed before; nothing was changed")
		} else {
			fmt.Fprintln(w, "installed")
		}
	})
}

// installQuestion says what is about to happen.
func installQuestion(r *client.InstallReport, o client.InstallOptions) string {
	var addresses []string
	for _, c := range r.Certificates {
		addresses = append(addresses, c.For...)
	}
	slices.Sort(addresses)
	addresses = slices.Compact(addresses)
	switch {
	case o.Issuer:
		return "it will be trusted to issue certificates for mail"
	case len(addresses) == 0 || len(addresses) > 5:
		return "it will be installed"
	case o.NoTrust:
		return "it will be installed for " + strings.Join(addresses, ", ") + ", without being trusted"
	}
	return "it will be installed, and trusted for " + strings.Join(addresses, ", ")
}

// certFile reads a file or standard input.
func (a *app) certFile(path string) ([]byte, error) {
	if path != "-" {
		return readBounded(path, maxInstall)
	}
	data, err := io.ReadAll(io.LimitReader(a.in, maxInstall+1))
	if err == nil && len(data) > maxInstall {
		err = &exitError{status: exitData, err: fmt.Errorf("read standard input: more than %d bytes", maxInstall)}
	}
	return data, err
}

// refusalOf is the error of a report with obstacles, or without anything to install; nil for others.
func refusalOf(r *client.InstallReport) *exitError {
	for _, c := range r.Certificates {
		for _, o := range c.Obstacles {
			return &exitError{status: exitData, err: fmt.Errorf("install the certificate: %s", o.Text), hint: o.Hint}
		}
	}
	if len(r.Certificates) == 0 {
		return &exitError{status: exitData, err: errors.New("install the certificate: there is none that a signature of the mail vouches for")}
	}
	return nil
}

// quiet keeps the exit status of what was shown already.
func quiet(e *exitError) error {
	if e == nil {
		return nil
	}
	return &exitError{status: e.status}
}

// allInstalled reports whether everything in a report is installed just so.
func allInstalled(r *client.InstallReport) bool {
	return !slices.ContainsFunc(r.Certificates, func(c client.InstallItem) bool { return c.State != "unchanged" })
}

func (a *app) certTrust() *cobra.Command {
	var o client.TrustOptions
	cmd := &cobra.Command{
		Use:         "trust CERT",
		Annotations: map[string]string{silent: ""},
		Short:       "decide that a certificate is the right one for its addresses",
		Long: "The decision stands in for the chain of the certificate, and for nothing else: it still has to be valid, fit for\n" +
			"mail and to name the address. A certificate of the address book is installed for that. With --issuer CERT is the\n" +
			"certificate of an authority: installed certificates and signatures below it are trusted.",
		Args: positional(1, 1, "one CERT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return failed(a.onCert(cmd.Context(), args[0], func(c *client.Client, sha256 string) error {
				return c.TrustCertificate(cmd.Context(), sha256, o)
			}))
		},
	}
	cmd.Flags().StringSliceVar(&o.Addresses, "address", nil, "for this `ADDRESS` only, which the certificate must name; may be repeated")
	cmd.Flags().BoolVar(&o.Prefer, "prefer", false, "use it before all other certificates of these addresses, those of the address book too")
	cmd.Flags().BoolVar(&o.Issuer, "issuer", false, "CERT is an authority: trust the mail certificates that it issues")
	return cmd
}

func (a *app) certUntrust() *cobra.Command {
	var addresses []string
	cmd := &cobra.Command{
		Use:         "untrust CERT",
		Annotations: map[string]string{silent: ""},
		Short:       "take back the decision to trust a certificate or an issuer",
		Long:        "The certificate stays installed; its chain decides again. A preference (cert trust --prefer) goes with the decision.",
		Args:        positional(1, 1, "one CERT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return failed(a.onCert(cmd.Context(), args[0], func(c *client.Client, sha256 string) error {
				return c.UntrustCertificate(cmd.Context(), sha256, addresses...)
			}))
		},
	}
	cmd.Flags().StringSliceVar(&addresses, "address", nil, "for this `ADDRESS` only; may be repeated")
	return cmd
}

func (a *app) certRemove() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:         "remove CERT",
		Annotations: map[string]string{silent: ""},
		Short:       "forget an installed certificate",
		Long:        "With it go the decisions about it. A trusted issuer is forgotten the same way.",
		Args:        positional(1, 1, "one CERT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return failed(a.onCert(cmd.Context(), args[0], func(c *client.Client, sha256 string) error {
				details, err := c.Certificate(cmd.Context(), sha256)
				if err != nil {
					return err
				}
				show := func(w io.Writer) { printf(w, "%s\n  sha256: %s\n", details.Subject, details.SHA256) }
				if err := a.confirm(cmd.Context(), yes, "it will be forgotten", show); err != nil {
					return err
				}
				return c.RemoveCertificate(cmd.Context(), sha256)
			}))
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func (a *app) certShow() *cobra.Command {
	var asPEM bool
	cmd := &cobra.Command{
		Use:   "show CERT",
		Short: "show a certificate, installed or of the address book",
		Args:  positional(1, 1, "one CERT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return failed(a.onAnyCert(cmd.Context(), args[0], func(c *client.Client, sha256 string) error {
				d, err := c.Certificate(cmd.Context(), sha256)
				if err != nil {
					return err
				}
				cert, err := x509.ParseCertificate(d.Raw)
				if err != nil {
					return fmt.Errorf("read the certificate: %w", err)
				}
				if asPEM {
					return pem.Encode(a.out, &pem.Block{Type: "CERTIFICATE", Bytes: d.Raw})
				}
				return a.print(d, func(w io.Writer) { printDetails(w, d, cert) })
			}))
		},
	}
	cmd.Flags().BoolVar(&asPEM, "pem", false, "print it in PEM")
	return cmd
}

func (a *app) certExport() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:         "export CERT [OUT]",
		Annotations: map[string]string{contentAt: "1"},
		Short:       "write a certificate to a file",
		Long:        "p7c holds the chain that came with the certificate, too.",
		Args:        positional(1, 2, "CERT and OUT at most"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return failed(a.onAnyCert(cmd.Context(), args[0], func(c *client.Client, sha256 string) error {
				return a.runCertExport(cmd.Context(), c, sha256, format, args[1:])
			}))
		},
	}
	cmd.Flags().StringVar(&format, "format", "pem", "the `FORMAT`: pem, der or p7c")
	return cmd
}

func (a *app) runCertExport(ctx context.Context, c *client.Client, sha256, format string, args []string) error {
	d, err := c.Certificate(ctx, sha256)
	if err != nil {
		return err
	}
	var data []byte
	switch format {
	case "pem":
		data = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: d.Raw})
	case "der":
		data = d.Raw
	case "p7c":
		if data, err = withChain(ctx, c, d); err != nil {
			return err
		}
	default:
		return usageError(fmt.Errorf("%q is no format: it is pem, der or p7c", format))
	}
	files := &outputs{}
	defer files.discard()
	out, err := a.output(append([]string{""}, args...), files)
	if err == nil {
		_, err = out.Write(data)
	}
	if err != nil {
		return err
	}
	return files.keep()
}

// withChain is a certificate with those that came with it.
func withChain(ctx context.Context, c *client.Client, d *client.CertificateDetails) ([]byte, error) {
	ders := [][]byte{d.Raw}
	if d.Installed != nil {
		for _, issuer := range d.Installed.Chain {
			more, err := c.Certificate(ctx, issuer.SHA256)
			if err != nil {
				return nil, err
			}
			ders = append(ders, more.Raw)
		}
	}
	var certs []*x509.Certificate
	for _, der := range ders {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("read the certificate: %w", err)
		}
		certs = append(certs, cert)
	}
	return cms.MarshalCertificates(certs), nil
}

// onCert finds out which certificate is meant, and works on it.
func (a *app) onCert(ctx context.Context, name string, work func(c *client.Client, sha256 string) error) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	sha256, err := fingerprintOf(ctx, c, name)
	if err != nil {
		return err
	}
	return work(c, sha256)
}

// onAnyCert is onCert for work that changes nothing: an address for which none is installed is one of the address book.
func (a *app) onAnyCert(ctx context.Context, name string, work func(c *client.Client, sha256 string) error) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	sha256, err := fingerprintOf(ctx, c, name)
	if errors.Is(err, errNotInstalled) && strings.Contains(name, "@") {
		sha256, err = listedFor(ctx, c, name)
	}
	if err != nil {
		return err
	}
	return work(c, sha256)
}

// listedFor is the fingerprint of the certificate that is used for an address; of the only one when none can be used.
func listedFor(ctx context.Context, c *client.Client, address string) (string, error) {
	found, err := c.Recipients(ctx, []string{address}, client.LookupOptions{Explain: true})
	if err != nil {
		return "", err
	}
	var list []string
	for _, candidate := range found.Recipients[0].Explain {
		switch {
		case candidate.Certificate == nil:
		case candidate.Chosen:
			return candidate.Certificate.SHA256, nil
		case !slices.Contains(list, candidate.Certificate.SHA256):
			list = append(list, candidate.Certificate.SHA256)
		}
	}
	switch len(list) {
	case 0:
		return "", &exitError{status: exitNotFound, err: fmt.Errorf("neither an installed certificate nor the address book has one for %s", address), hint: "galsyncd lookup says what is known"}
	case 1:
		return list[0], nil
	}
	return "", &exitError{status: exitUsage, err: fmt.Errorf("%s has %d certificates, and none can be used", address, len(list)), hint: "give the fingerprint of one: " + strings.Join(list, ", ")}
}

// errNotInstalled reports an address for which nothing is installed.
var errNotInstalled = errors.New("nothing is installed")

// fingerprintOf makes a fingerprint of the beginning of one, or of an address for which one is installed.
func fingerprintOf(ctx context.Context, c *client.Client, name string) (string, error) {
	digits := strings.ToLower(strings.ReplaceAll(name, ":", ""))
	isHex := strings.Trim(digits, "0123456789abcdef") == ""
	switch {
	case isHex && len(digits) == 64:
		return digits, nil
	case isHex && len(digits) >= 8 && len(digits) < 64:
		return completeFingerprint(ctx, c, name)
	case strings.Contains(name, "@"):
		return installedFor(ctx, c, name)
	}
	return "", usageError(fmt.Errorf("%q is neither a fingerprint, nor 8 digits or more of one, nor an address", name))
}

// completeFingerprint finds the certificate, from whatever source, whose fingerprint begins so.
func completeFingerprint(ctx context.Context, c *client.Client, beginning string) (string, error) {
	found, err := c.Fingerprints(ctx, beginning)
	if err != nil {
		return "", err
	}
	switch len(found.SHA256) {
	case 0:
		return "", &exitError{status: exitNotFound, err: fmt.Errorf("find the certificate: no fingerprint begins with %s", beginning),
			hint: "galsyncd cert list shows what is installed, galsyncd lookup --explain what the address book has"}
	case 1:
		return found.SHA256[0], nil
	}
	return "", ambiguous(ctx, c, beginning, found)
}

// ambiguous names the certificates that a short fingerprint, or an address, may mean.
func ambiguous(ctx context.Context, c *client.Client, name string, found *client.Fingerprints) error {
	var lines []string
	for _, sum := range found.SHA256 {
		d, err := c.Certificate(ctx, sum)
		if err != nil {
			return err
		}
		lines = append(lines, sum+" is that of "+d.Subject)
	}
	count := strconv.Itoa(len(lines))
	if found.More {
		count = "more than " + count
	}
	return &exitError{status: exitUsage, err: fmt.Errorf("%s names %s certificates", name, count),
		hint: "give more of the fingerprint of one\n" + strings.Join(lines, "\n")}
}

// installedFor is the fingerprint of the certificate that is installed for an address.
func installedFor(ctx context.Context, c *client.Client, address string) (string, error) {
	list, err := c.Certificates(ctx)
	if err != nil {
		return "", err
	}
	var found client.Fingerprints
	for _, cert := range list.Certificates {
		if slices.ContainsFunc(cert.For, func(p client.InstalledPlace) bool { return strings.EqualFold(p.Address, address) }) {
			found.SHA256 = append(found.SHA256, cert.SHA256)
		}
	}
	switch len(found.SHA256) {
	case 0:
		return "", &exitError{status: exitNotFound, err: fmt.Errorf("find the certificate: %w for %s", errNotInstalled, address),
			hint: "galsyncd cert list shows what is installed; one of the address book is named by its fingerprint, which galsyncd lookup --explain shows"}
	case 1:
		return found.SHA256[0], nil
	}
	return "", ambiguous(ctx, c, address, &found)
}

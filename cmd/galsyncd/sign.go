package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/galsyncd/galsyncd/client"
)

func (a *app) sign() *cobra.Command {
	var opts client.SignOptions
	cmd := &cobra.Command{
		Use:         "sign [IN [OUT]]",
		Annotations: map[string]string{contentAt: "1"},
		Short:       "sign a mail with one's own key",
		Long: "Reads a mail and writes it signed. The key is that of the identity whose certificate names the From address; of\n" +
			"several the newest valid one. The keyring must be unlocked. To sign and encrypt, use encrypt --sign.",
		Example: "  galsyncd sign draft.eml signed.eml",
		Args:    positional(0, 2, "IN and OUT at most"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return failed(a.runSign(cmd.Context(), args, opts))
		},
	}
	cmd.Flags().StringVar(&opts.Identity, "identity", "", "sign with the identity of this `SHA256` fingerprint, or its first digits")
	cmd.Flags().BoolVar(&opts.Opaque, "opaque", false, "wrap the mail, so that only S/MIME programs can show it")
	return cmd
}

func (a *app) runSign(ctx context.Context, args []string, opts client.SignOptions) error {
	return a.transform(args, func(m *mailWork) error {
		opts.Size = m.size
		var err error
		if opts.Identity, err = identityNamed(ctx, m.client, opts.Identity); err != nil {
			return err
		}
		warnings, err := m.client.Sign(ctx, m.in, m.out, opts)
		if err == nil {
			lines(a.talk(), "warning: ", warnings)
		}
		return err
	})
}

func (a *app) verify() *cobra.Command {
	var opts client.VerifyOptions
	cmd := &cobra.Command{
		Use:         "verify [IN [OUT]]",
		Annotations: map[string]string{contentAt: "1", contentWanted: "yes"},
		Short:       "say who signed a mail, whether that is its sender, and whether the signer is trusted",
		Long: "The verdict is one of: valid; invalid (the mail was changed, or the signature is no good); untrusted (nobody\n" +
			"trusted vouches for the signer); valid-but-other-address (somebody else than the From address signed);\n" +
			"expired-then (the certificate has expired since); unsigned; partial (only a part of the mail is signed). The\n" +
			"exit status is 0 when the verdict is valid, and 1 otherwise.\n\n" +
			"OUT gets the mail without its signatures, for programs that cannot show them. It is written only when the mail is\n" +
			"signed as a whole and was not changed since; whether the signer is who you think is still for the verdict to say.",
		Example: "  galsyncd verify mail.eml\n  galsyncd --json verify <mail.eml\n  galsyncd verify opaque.eml readable.eml",
		Args:    positional(0, 2, "IN and OUT at most"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return failed(a.runVerify(cmd.Context(), args, opts))
		},
	}
	cmd.Flags().BoolVar(&opts.SHA1, "sha1", false, "look further into signatures with SHA-1, which can be forged: untrusted at best, in place of invalid")
	return cmd
}

func (a *app) runVerify(ctx context.Context, args []string, opts client.VerifyOptions) error {
	var v *client.Verification
	work := func(m *mailWork) (err error) { v, err = m.client.Verify(ctx, m.in, opts); return err }
	if len(args) == 2 {
		work = func(m *mailWork) (err error) {
			var written bool
			if v, written, err = m.client.Unwrap(ctx, m.in, m.out, opts); !written {
				m.files.drop(m.out)
			}
			return err
		}
	}
	if err := a.transform(args, work); err != nil {
		return err
	}
	if len(args) == 2 && args[1] == "-" { // standard output is the mail's
		printVerification(a.talk(), v)
	} else if err := a.print(v, func(w io.Writer) { printVerification(w, v) }); err != nil {
		return err
	}
	if v.Verdict != "valid" {
		return &exitError{status: exitNotFound}
	}
	return nil
}

func printVerification(w io.Writer, v *client.Verification) {
	printf(w, "signature: %s\n", v.Verdict)
	lines(w, "  ", v.Reasons)
	lines(w, "  warning: ", v.Warnings)
	for _, layer := range v.Layers {
		for _, s := range layer.Signatures {
			s.Reasons = slices.DeleteFunc(slices.Clone(s.Reasons), func(r string) bool { return slices.Contains(v.Reasons, r) })
			printSignature(w, s)
		}
	}
	for _, p := range v.Parts {
		printf(w, "  part %s: %s\n", p.Path, p.Verification.Verdict)
	}
	printInstall(w, v.Install)
	if v.Headers != nil && len(v.Headers.Fields) > 0 {
		printf(w, "  protected header fields: %s\n", strings.Join(v.Headers.Fields, ", "))
		if len(v.Headers.Unprotected) > 0 {
			printf(w, "  unprotected header fields: %s\n", strings.Join(v.Headers.Unprotected, ", "))
		}
	}
}

// printInstall says what one can do with the signer's certificate.
func printInstall(w io.Writer, in *client.Install) {
	if in == nil {
		return
	}
	use := "its signatures can then be verified"
	if in.Encryption {
		use = "one can then encrypt to " + strings.Join(in.Addresses, ", ")
	}
	switch {
	case in.Action == "remove":
		fmt.Fprintln(w, "  the certificate is installed (galsyncd cert remove forgets it)")
	case in.Own:
		fmt.Fprintln(w, "  the certificate is your own")
	case in.Action == "install" && in.Used:
		printf(w, "  mail to %s is encrypted to the certificate already: it need not be installed\n", strings.Join(in.Addresses, ", "))
	case in.Action == "install" && in.Renewal:
		fmt.Fprintln(w, "  the certificate is newer than the one installed for the sender: galsyncd cert install takes it")
	case in.Action == "install":
		printf(w, "  the certificate can be installed with galsyncd cert install: %s\n", use)
	}
}

func printSignature(w io.Writer, s client.Signature) {
	who := "an unknown signer"
	if s.Certificate != nil {
		who = s.Certificate.Subject
		if len(s.Certificate.Addresses) > 0 {
			who += " <" + strings.Join(s.Certificate.Addresses, ", ") + ">"
		}
	}
	printf(w, "  signed by: %s (%s)\n", who, s.Verdict)
	if s.Certificate != nil {
		printf(w, "    issued by: %s\n    sha256: %s\n", s.Certificate.Issuer, s.Certificate.SHA256)
	}
	if s.SigningTime != nil {
		printf(w, "    claims to have signed on %s\n", clock(*s.SigningTime))
	}
	lines(w, "    ", s.Reasons)
	lines(w, "    warning: ", s.Warnings)
}

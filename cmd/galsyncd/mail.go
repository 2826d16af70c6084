package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/galsyncd/galsyncd/client"
)

func (a *app) encrypt() *cobra.Command {
	var job encryptJob
	cmd := &cobra.Command{
		Use:         "encrypt [IN [OUT]]",
		Annotations: map[string]string{contentAt: "1"},
		Short:       "encrypt a mail to all of its recipients",
		Long: "Reads a mail (message/rfc822) and writes it encrypted. The recipients are those of the To, Cc and Bcc headers, or\n" +
			"those given with --to. When one of them has no usable certificate, nothing is written and all of these are named;\n" +
			"the exit status is then 67. IN and OUT are files; - or nothing is standard input and output.\n\n" +
			"The copy in OUT is for To and Cc. Each Bcc recipient needs a copy of his own, so that nobody sees him in the\n" +
			"others: with --bcc-dir it is written there as ADDRESS.eml; without, a mail with Bcc is refused. A mail with\n" +
			"nobody in To and Cc has no copy in OUT. With --to the Bcc header is dropped. Where the daemon's policy is\n" +
			"encryption.mixed = \"split\", recipients with elliptic curve keys get their copies there too, when others in To and\n" +
			"Cc have RSA keys: send each file there to the address in its name, and OUT to everybody else.\n\n" +
			"Who may not be able to read the mail is said as a warning. With --json and OUT, standard output is one document\n" +
			"about what was written; standard error else says it.\n\n" +
			"What galsyncd preferences says for the From address is done; --sign and --no-sign and the like say otherwise for one\n" +
			"mail.",
		Example: "  galsyncd encrypt draft.eml encrypted.eml\n  galsyncd encrypt --to bob@corp.example <draft.eml | /usr/sbin/sendmail bob@corp.example",
		Args:    positional(0, 2, "IN and OUT at most"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return failed(a.runEncrypt(cmd.Context(), args, job))
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&job.to, "to", nil, "encrypt to this `ADDRESS`, or a list of them with commas (may be repeated), instead of the recipients in the header")
	flags.StringVar(&job.bccDir, "bcc-dir", "", "write the copy of each recipient who does not get OUT into this `DIR`, which must be there")
	choiceVar(flags, &job.toSelf, "to-self", "let the sender read the mail too, with the own key for the From address")
	choiceVar(flags, &job.sign, "sign", "sign the mail before it is encrypted, with one's own key")
	flags.StringVar(&job.identity, "identity", "", "sign, with the identity of this `SHA256` fingerprint (or its first digits), not the one for the From address")
	choiceVar(flags, &job.protectHeaders, "protect-headers", "put the header inside the encryption and hide the subject outside (RFC 9788)")
	flags.BoolVar(&job.explain, "explain", false, "say which certificates and algorithms were chosen and why, on standard error")
	return cmd
}

// encryptJob is what encrypt was asked to do.
type encryptJob struct {
	to               []string
	bccDir, identity string
	explain          bool
	// Nil: as the preferences say.
	sign, protectHeaders, toSelf *bool
}

func (a *app) runEncrypt(ctx context.Context, args []string, job encryptJob) error {
	if err := a.keepPreferences(); err != nil {
		return err
	}
	return a.transform(args, func(m *mailWork) error { return a.encryptMail(ctx, m, job) })
}

// mailWork is a mail to be worked on: where it comes from, where the result goes, and who does it.
type mailWork struct {
	client *client.Client
	in     io.Reader
	size   int64 // 0 when it is not known
	out    io.Writer
	// name of out; empty for standard output.
	name  string
	files *outputs
	// tell says what was done, once it is there; nil: nothing.
	tell func() error
}

// transform opens IN and OUT, has the work done, keeps what was written only when all of it went well, and tells of it.
func (a *app) transform(args []string, work func(*mailWork) error) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	in, size, err := a.input(args)
	if err != nil {
		return err
	}
	defer in.Close()
	files := &outputs{}
	defer files.discard()
	out, err := a.output(args, files)
	if err != nil {
		return err
	}
	job := &mailWork{client: c, in: in, size: size, out: out, files: files}
	if len(args) == 2 && args[1] != "-" {
		job.name = args[1]
	}
	if err := work(job); err != nil {
		return err
	}
	if err := files.keep(); err != nil || job.tell == nil {
		return err
	}
	return job.tell()
}

func (a *app) encryptMail(ctx context.Context, m *mailWork, job encryptJob) error {
	identity, err := identityNamed(ctx, m.client, job.identity)
	if err != nil {
		return err
	}
	opts := client.EncryptOptions{To: bareAddresses(job.to), Size: m.size, Sign: job.sign, Identity: identity, ProtectHeaders: job.protectHeaders, ToSelf: job.toSelf}
	if job.bccDir == "" && !job.explain && !(a.json && m.name != "") {
		choice, err := m.client.Encrypt(ctx, m.in, m.out, opts)
		if err == nil && choice != nil {
			lines(a.talk(), "warning: ", choice.Warnings)
		}
		return err
	}
	opts.Explain = job.explain
	report, err := a.encryptCopies(ctx, m, opts, job.bccDir)
	if err != nil {
		return err
	}
	m.tell = func() error { return a.reportEncryption(m, report) }
	return nil
}

// encryptCopies writes the first copy for To and Cc to OUT and the others into bccDir. What goes to OUT waits in a file
// without a name until all is well, so that a refusal leaves nothing on standard output. A mail with nobody but Bcc
// recipients has nothing in OUT.
func (a *app) encryptCopies(ctx context.Context, m *mailWork, opts client.EncryptOptions, bccDir string) (*encryption, error) {
	held, err := os.CreateTemp("", "galsyncd-*")
	if err != nil {
		return nil, fmt.Errorf("make room for the encrypted mail: %w", err)
	}
	defer held.Close()
	if err := os.Remove(held.Name()); err != nil {
		return nil, fmt.Errorf("make room for the encrypted mail: %w", err)
	}
	made, main := &encryption{}, false
	explanation, err := m.client.EncryptCopies(ctx, m.in, opts, func(copy client.Copy) error {
		places := []io.Writer{held}
		names := []string{m.name}
		if main || copy.Blind {
			var err error
			if places, names, err = ownFiles(m.files, bccDir, copy); err != nil {
				return err
			}
		}
		main = main || !copy.Blind
		made.Messages = append(made.Messages, encryptedMessage{Files: names, Recipients: copy.Recipients, Blind: copy.Blind, Choice: copy.Choice})
		_, err := io.Copy(io.MultiWriter(places...), copy.Message)
		return err
	})
	if err != nil {
		return nil, err
	}
	if explanation != nil {
		made.Recipients, made.explained = explanation.Recipients, explanation
	}
	if !main {
		m.files.drop(m.out)
		return made, nil
	}
	if _, err := held.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	_, err = io.Copy(m.out, held)
	return made, err
}

// ownFiles makes a file for each recipient of a copy that does not go to OUT.
func ownFiles(files *outputs, dir string, copy client.Copy) (places []io.Writer, names []string, err error) {
	if dir == "" {
		what := "the mail has Bcc recipients, who need copies of their own"
		if !copy.Blind {
			what = "the recipients have RSA and elliptic curve keys, and encryption.mixed gives each kind a copy of its own"
		}
		return nil, nil, &exitError{status: exitUsage, err: errors.New(what), hint: "give a folder for them with --bcc-dir"}
	}
	for _, address := range copy.Recipients {
		w, err := files.createIn(dir, address+".eml")
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil, &exitError{status: exitData, err: err, hint: "the folder of --bcc-dir must be there: mkdir " + dir}
		}
		if err != nil {
			return nil, nil, err
		}
		places, names = append(places, w), append(names, filepath.Join(dir, address+".eml"))
	}
	return places, names, nil
}

func (a *app) decrypt() *cobra.Command {
	var opts client.DecryptOptions
	cmd := &cobra.Command{
		Use:         "decrypt [IN [OUT]]",
		Annotations: map[string]string{contentAt: "1"},
		Short:       "decrypt a mail with one's own keys",
		Long: "Reads an encrypted mail and writes it decrypted. Nothing is written before all of it was checked. Standard error\n" +
			"says how well it was protected: \"authenticated\" content is what the sender encrypted; \"malleable\" content may have\n" +
			"been changed on the way, so do not let it load anything from outside. The keyring must be unlocked.\n\n" +
			"With --json and OUT, standard output is one document with what is known about protection and signatures.",
		Example: "  galsyncd decrypt encrypted.eml mail.eml\n  galsyncd --json decrypt --unwrap encrypted.eml mail.eml",
		Args:    positional(0, 2, "IN and OUT at most"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return failed(a.runDecrypt(cmd.Context(), args, opts))
		},
	}
	cmd.Flags().BoolVar(&opts.Unwrap, "unwrap", false, "take the signatures inside off too, for programs that cannot show them")
	cmd.Flags().BoolVar(&opts.TripleDES, "3des", false, "accept mails encrypted with Triple-DES, as some old ones are")
	return cmd
}

func (a *app) runDecrypt(ctx context.Context, args []string, opts client.DecryptOptions) error {
	return a.transform(args, func(m *mailWork) error {
		how, err := m.client.Decrypt(ctx, m.in, m.out, opts)
		if err != nil {
			return err
		}
		m.tell = func() error { return a.tellDecrypted(m, how) }
		return nil
	})
}

func (a *app) tellDecrypted(m *mailWork, how *client.Decrypted) error {
	if a.json && m.name != "" {
		return a.print(how, nil)
	}
	a.say("decrypted: %s (%s)", how.Protection, how.Cipher)
	switch v := how.Verification; {
	case v != nil && v.Verdict != "unsigned":
		printVerification(a.talk(), v)
	case v == nil && how.Verdict != "" && how.Verdict != "unsigned":
		a.say("signature: %s", how.Verdict)
	}
	return nil
}

// input opens the first argument, or standard input. The size is 0 when it is not known.
func (a *app) input(args []string) (io.ReadCloser, int64, error) {
	if len(args) == 0 || args[0] == "-" {
		return io.NopCloser(a.in), 0, nil
	}
	f, err := os.Open(args[0])
	if err != nil {
		return nil, 0, fmt.Errorf("read the mail: %w", err)
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = &exitError{status: exitData, err: fmt.Errorf("read the mail: %s is a folder", args[0])}
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return f, 0, nil
	}
	return f, info.Size(), nil
}

// output opens the second argument, or standard output.
func (a *app) output(args []string, files *outputs) (io.Writer, error) {
	if len(args) < 2 || args[1] == "-" {
		return a.out, nil
	}
	return files.create(args[1])
}

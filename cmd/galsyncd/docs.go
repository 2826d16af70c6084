package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/galsyncd/galsyncd/internal/config"
)

// manualDate is the date of the manual pages; set it when their content changes.
var manualDate = time.Date(2026, time.November, 22, 0, 0, 0, 0, time.UTC)

// docs writes the manual pages from the commands and the configuration themselves.
func (a *app) docs() *cobra.Command {
	return &cobra.Command{
		Use:    "docs DIR",
		Short:  "write the manual pages",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var commands, settings bytes.Buffer
			writeCommands(&commands, cmd.Root())
			if err := config.WriteManual(&settings, manualDate); err != nil {
				return failed(err)
			}
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return failed(err)
			}
			for name, page := range map[string][]byte{"galsyncd.1": commands.Bytes(), "galsyncd.toml.5": settings.Bytes()} {
				if err := os.WriteFile(filepath.Join(args[0], name), page, 0o644); err != nil {
					return failed(err)
				}
			}
			return nil
		},
	}
}

// writeCommands writes galsyncd(1) as mdoc(7).
func writeCommands(w *bytes.Buffer, root *cobra.Command) {
	fmt.Fprintf(w, ".Dd %s\n.Dt GALSYNCD 1\n.Os\n.Sh NAME\n.Nm galsyncd\n.Nd %s\n", manualDate.Format("January 2, 2006"), mdoc(root.Short))
	w.WriteString(".Sh SYNOPSIS\n.Nm galsyncd\n.Op Fl Fl config Ar FILE\n.Op Fl Fl socket Ar PATH\n.Op Fl Fl json\n.Ar COMMAND\n.Op Ar argument ...\n")
	w.WriteString(".Sh DESCRIPTION\n" + strings.TrimPrefix(paragraphs(root.Long), ".Pp\n"))
	w.WriteString(".Pp\nThe global options are:\n")
	writeFlags(w, root.PersistentFlags())
	w.WriteString(".Sh COMMANDS\n.Bl -tag -width Ds\n")
	for _, cmd := range root.Commands() {
		writeCommand(w, cmd)
	}
	w.WriteString(".El\n")
	w.WriteString(manualTail)
}

func writeCommand(w *bytes.Buffer, cmd *cobra.Command) {
	if cmd.Hidden || cmd.Name() == "help" || cmd.Name() == "completion" {
		return
	}
	if cmd.HasSubCommands() {
		fmt.Fprintf(w, ".It Nm %s Ar COMMAND\n%s.\n", cmd.Name(), mdoc(strings.ToUpper(cmd.Short[:1])+cmd.Short[1:]))
		if cmd.Long != "" {
			w.WriteString(paragraphs(cmd.Long))
		}
		for _, sub := range cmd.Commands() {
			writeCommand(w, sub)
		}
		return
	}
	use := strings.TrimPrefix(cmd.UseLine(), "galsyncd ")
	fmt.Fprintf(w, ".It Nm %s\n%s.\n", mdoc(strings.TrimSuffix(use, " [flags]")), mdoc(strings.ToUpper(cmd.Short[:1])+cmd.Short[1:]))
	if cmd.Long != "" {
		w.WriteString(paragraphs(cmd.Long))
	}
	writeFlags(w, cmd.LocalNonPersistentFlags())
	if cmd.Example != "" {
		w.WriteString(".Bd -literal -offset indent\n" + mdoc(strings.TrimRight(cmd.Example, "\n")) + "\n.Ed\n")
	}
}

func writeFlags(w *bytes.Buffer, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	w.WriteString(".Bl -tag -width Ds\n")
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		fmt.Fprintf(w, ".It Fl Fl %s", f.Name)
		if value != "" && f.Value.Type() != "bool" {
			fmt.Fprintf(w, " Ar %s", value)
		}
		fmt.Fprintf(w, "\n%s.\n", mdoc(strings.ToUpper(usage[:1])+usage[1:]))
	})
	w.WriteString(".El\n")
}

// paragraphs turns text with empty lines into mdoc paragraphs, each sentence on a line of its own. What is indented stays as it is.
func paragraphs(text string) string {
	var b strings.Builder
	for _, p := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if strings.HasPrefix(p, "  ") {
			b.WriteString(".Bd -literal\n" + mdoc(p) + "\n.Ed\n")
			continue
		}
		p = strings.ReplaceAll(p, "\n", " ")
		b.WriteString(".Pp\n" + mdoc(strings.ReplaceAll(p, ". ", ".\n")) + "\n")
	}
	return b.String()
}

// mdoc escapes text: no backslash and no dot or quote at the beginning of a line may be taken for a request.
func mdoc(text string) string {
	text = strings.ReplaceAll(text, `\`, `\e`)
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}

const manualTail = `.Sh ENVIRONMENT
.Bl -tag -width Ds
.It Ev GALSYNCD_CONFIG
The configuration file, when
.Fl Fl config
is not given.
.It Ev GALSYNCD_SOCKET
The socket, when
.Fl Fl socket
is not given.
.It Ev CREDENTIALS_DIRECTORY
Where a password file with a relative name is looked for first; systemd sets it.
.It Ev HTTPS_PROXY , Ev NO_PROXY
The proxy for the authorization server of method oauth2, and for nothing else: Exchange is asked without a proxy, and servers of authorities as
.Cm trust.proxy
of
.Xr galsyncd.toml 5
says.
.El
.Sh FILES
.Bl -tag -width Ds
.It Pa /etc/galsyncd/config.toml
Configuration of the system's daemon.
.It Pa $XDG_CONFIG_HOME/galsyncd/config.toml
Configuration of a user's daemon.
.It Pa /run/galsyncd/galsyncd.sock
Socket of the system's daemon.
.It Pa $XDG_RUNTIME_DIR/galsyncd/galsyncd.sock
Socket of a user's daemon.
Commands prefer it when it answers.
.It Pa /var/lib/galsyncd/cache.db
The copy of the address book.
It can be deleted; it is fetched again.
.It Pa ~/.local/share/galsyncd/keyring.db
The user's own keys, encrypted.
Keep a copy.
.El
.Sh JSON
With
.Fl Fl json
standard output is one document; where there is nothing to show it is
.Li {"ok": true} .
A command that fails prints the same text on standard error as without it, and when it has no document of its own to show, this one:
.Bd -literal -offset indent
{
  "error": {
    "status": 69,
    "code": "not-available",
    "message": "connect to /run/galsyncd/galsyncd.sock: galsyncd is not running (no such file or directory)",
    "hints": ["start it: systemctl --user start galsyncd, or sudo systemctl start galsyncd"]
  }
}
.Ed
.Pp
.Va status
is the exit status.
.Va code
is stable: that of the daemon's refusal (the OpenAPI document lists them), else
.Cm usage ,
.Cm bad-input ,
.Cm not-found ,
.Cm recipients-unusable ,
.Cm not-available ,
.Cm internal ,
.Cm try-again ,
.Cm keyring-locked ,
.Cm not-allowed
or
.Cm configuration .
.Va message
has a line for each thing that is wrong,
.Va hints
say what to do, and
.Va recipients ,
where there are some, who stands in the way of a mail and why.
.Pp
What shows facts shows them also when the exit status is not 0:
.Cm lookup ,
.Cm verify ,
.Cm check
and
.Cm sync
have their documents then.
Where standard output is for a mail or a file, no document is written to it, also when something goes wrong.
.Sh EXIT STATUS
.Bl -tag -width Ds -compact
.It 0
All went well.
.It 1
Not found, or no such key; the verdict about a signature is not
.Dq valid ;
.Nm Cm check
found damage; a sync was held back by its guard.
.It 64
The command line is wrong.
.It 65
The input is not what it should be.
.It 67
An address has no usable certificate.
.It 69
The daemon or Exchange cannot be reached, or the keyring is damaged.
.It 70
An error of the program itself.
.It 75
Try again later.
.It 76
The keyring is locked.
.It 77
Not allowed.
.It 78
The configuration is wrong.
.El
.Sh EXAMPLES
Ask whether two people can read an encrypted mail, then encrypt it:
.Bd -literal -offset indent
galsyncd lookup bob@corp.example carol@corp.example
galsyncd encrypt draft.eml encrypted.eml
.Ed
.Pp
The same over the socket:
.Bd -literal -offset indent
curl --unix-socket /run/galsyncd/galsyncd.sock \e
    'http://localhost/v1/recipients?address=bob@corp.example'
curl --unix-socket /run/galsyncd/galsyncd.sock --data-binary @draft.eml \e
    -H 'Content-Type: message/rfc822' http://localhost/v1/encrypt
.Ed
.Sh SEE ALSO
.Xr galsyncd.toml 5
.Pp
The socket's requests are described by the OpenAPI document it serves at
.Pa /v1/openapi.json .
`

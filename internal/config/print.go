package config

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Print writes the effective configuration as TOML that Load reads again, each key with what it does and where its value
// came from. Passwords are in no configuration, so none is printed.
func (c *Config) Print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Effective configuration, %s role. See galsyncd.toml(5).\n", c.Role)
	section := ""
	for _, d := range definitions() {
		if s := sectionOf(d.key); s != section {
			section = s
			fmt.Fprintf(&b, "\n[%s]\n", section)
		}
		for _, line := range wrap(d.doc+d.note(), 100) {
			fmt.Fprintf(&b, "# %s\n", line)
		}
		fmt.Fprintf(&b, "%s = %s  # %s\n", d.key[len(section)+1:], literal(d.target(c)), c.Origin(d.key))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Origin says where the value of a key came from: "default", "config.toml:12" or the source given to Override.
func (c *Config) Origin(key string) string {
	o, set := c.origins[key]
	switch {
	case !set:
		return "default"
	case o.line == 0:
		return strings.Map(printable, o.source)
	}
	return fmt.Sprintf("%s:%d", strings.Map(printable, o.source), o.line)
}

// printable keeps a file name from ending the comment it stands in.
func printable(r rune) rune {
	if isControl(r) {
		return '?'
	}
	return r
}

// note says what of a key this version does not have, with a space before it.
func (d *definition) note() string {
	switch {
	case d.fixed:
		return " This version accepts the default only."
	case len(d.later) > 0:
		return fmt.Sprintf(" This version does not have %s yet.", strings.Join(quoteAll(d.later), ", "))
	}
	return ""
}

func quoteAll(texts []string) []string {
	quoted := make([]string, len(texts))
	for i, t := range texts {
		quoted[i] = quote(t)
	}
	return quoted
}

// wrap breaks text at spaces into lines of at most width bytes where words allow.
func wrap(text string, width int) []string {
	var lines []string
	for word := range strings.FieldsSeq(text) {
		if n := len(lines); n > 0 && len(lines[n-1])+1+len(word) <= width {
			lines[n-1] += " " + word
			continue
		}
		lines = append(lines, word)
	}
	return lines
}

// WriteManual writes the manual page galsyncd.toml(5) as mdoc(7), dated with date.
func WriteManual(w io.Writer, date time.Time) error {
	var b strings.Builder
	fmt.Fprintf(&b, manualHead, date.Format("January 2, 2006"))
	section := ""
	for _, d := range definitions() {
		if s := sectionOf(d.key); s != section {
			if section != "" {
				b.WriteString(".El\n")
			}
			section = s
			fmt.Fprintf(&b, ".Ss [%s]\n.Bl -tag -width Ds\n", roff(section))
		}
		d.manual(&b, d.key[len(section)+1:])
	}
	b.WriteString(".El\n" + manualTail)
	_, err := io.WriteString(w, b.String())
	return err
}

// manual writes the entry of one key.
func (d *definition) manual(b *strings.Builder, name string) {
	fmt.Fprintf(b, ".It Cm %s Pq %s\n", roff(name), d.kind)
	for sentence := range strings.SplitSeq(d.doc+d.note(), ". ") {
		for _, line := range wrap(strings.TrimSuffix(sentence, ".")+".", 72) {
			fmt.Fprintf(b, "%s\n", roff(line))
		}
	}
	fmt.Fprintf(b, ".Pp\nDefault: %s", roff(d.standard))
	if d.user != "" && d.user != d.standard {
		fmt.Fprintf(b, "; in the user role: %s", roff(d.user))
	}
	b.WriteString(".\n")
	if d.example != "" {
		fmt.Fprintf(b, ".Pp\nExample: %s\n", roff(d.example))
	}
}

// roff keeps text from being read as markup: backslashes, and dots and quotes that begin a line.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, `"`, `\(dq`, `'`, `\(aq`, "-", `\-`).Replace(s)
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	return s
}

const manualHead = `.Dd %s
.Dt GALSYNCD.TOML 5
.Os
.Sh NAME
.Nm galsyncd.toml
.Nd configuration of galsyncd
.Sh DESCRIPTION
The file is TOML.
The system role reads
.Pa /etc/galsyncd/config.toml ,
the user role
.Pa $XDG_CONFIG_HOME/galsyncd/config.toml .
Unknown keys, values of the wrong type and settings that this version does not have are errors;
.Ql galsyncd check-config
reports all of them with their lines, and with
.Fl \-print
shows the configuration as it takes effect.
.Pp
A duration is a number with a unit, such as 90s, 12h or 7d.
A size is a whole number with B, kB, MB, GB (powers of 1000), KiB, MiB or GiB (powers of 1024).
A percentage is a number with a percent sign.
All three are written in quotes.
A path that begins with ~/ counts from the home directory.
.Sh KEYS
`

const manualTail = `.Sh EXAMPLES
The system's daemon, with a service account that has a mailbox; everything else has defaults:
.Bd -literal -offset indent
[exchange]
url     = "https://mail.example.com/EWS/Exchange.asmx"
ca_file = "/etc/galsyncd/exchange-ca.pem"
[exchange.auth]
method        = "ntlm"
username      = \(aqEXAMPLE\esvc\-galsync\(aq
password_file = "exchange-password"
.Ed
.Pp
.Li exchange.ca_file
is for a server whose certificate is not from a public authority.
The roots that issued the certificates of people are put into
.Pa /etc/galsyncd/ca.d .
.Pp
A user's daemon that takes the address book from the system's needs no file.
.Sh SEE ALSO
.Xr galsyncd 1 ,
.Xr systemd.exec 5
`

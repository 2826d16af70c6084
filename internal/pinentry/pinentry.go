// Package pinentry asks a person for a passphrase with a pinentry program, as GnuPG does: a small program of its own with a
// window or a terminal dialogue, spoken to in the Assuan protocol (GnuPG's "Developing with Assuan", Pinentry manual,
// chapter "Pinentry's Assuan protocol"). Everything that comes from the program is bounded.
package pinentry

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// maxLine is the longest line of Assuan, with its end, in bytes; maxLines is how many one answer may have.
	maxLine  = 1002
	maxLines = 200
	// maxPassphrase is the longest passphrase, in bytes.
	maxPassphrase = 1024
	// patience is how long the window stays open, startTime how long the program may take to say hello.
	patience  = 3 * time.Minute
	startTime = 20 * time.Second
)

var (
	// ErrCancelled reports that the person closed the window or let its time run out.
	ErrCancelled = errors.New("no passphrase was given")
	// ErrProtocol reports a program that does not speak the protocol.
	ErrProtocol = errors.New("the program is no pinentry")
)

// Error is a refusal of the program: a code of libgpg-error with its text.
type Error struct {
	Code int
	Text string
}

func (e *Error) Error() string {
	return fmt.Sprintf("the pinentry program says: %s (%d)", e.Text, e.Code)
}

// Codes of libgpg-error in the lower 16 bits of an error.
const (
	codeTimeout   = 62
	codeCancelled = 99
	codeClosed    = 198 // fully cancelled
)

// Prompt is what the person sees.
type Prompt struct {
	// Title is that of the window, Description a sentence, Label stands before the field.
	Title, Description, Label string
	// Repeat, when not empty, has the passphrase typed twice; it is the Label of the second time.
	Repeat string
	// TTY is the terminal to use when there is no display, such as /dev/tty; empty for none.
	TTY string
}

// Ask runs the program and returns what the person typed, which may be empty. The error wraps ErrCancelled, ErrProtocol, an
// *Error, or is that of starting the program. A Repeat that differs is asked again, three times at most.
func Ask(ctx context.Context, program string, p Prompt) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience+time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program)
	// One on a terminal puts that in order when it is asked to end; after some seconds it is ended.
	cmd.Cancel, cmd.WaitDelay = func() error { return cmd.Process.Signal(syscall.SIGTERM) }, 5*time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", fmt.Errorf("run %s: %w", program, err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", fmt.Errorf("run %s: %w", program, err)
	}
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("run %s: %w", program, err)
	}
	s, hello := newSession(out, in), time.AfterFunc(startTime, cancel)
	if _, err = s.answer(); err == nil {
		hello.Stop()
	}
	var passphrase string
	if err == nil {
		passphrase, err = s.ask(p)
	}
	in.Close()
	if err != nil {
		cancel() // it may not notice that nobody listens
	}
	_ = cmd.Wait() // its status says nothing beyond its answers
	if err != nil {
		return "", fmt.Errorf("ask with %s: %w", program, err)
	}
	return passphrase, nil
}

// session is a conversation.
type session struct {
	in  *bufio.Reader
	out io.Writer
}

func newSession(r io.Reader, w io.Writer) *session {
	return &session{in: bufio.NewReaderSize(r, maxLine), out: w}
}

// ask is what follows the greeting.
func (s *session) ask(p Prompt) (string, error) {
	for _, option := range options(p) {
		// What a program does not know it need not obey.
		if _, err := s.command("OPTION", option); err != nil && !refused(err) {
			return "", err
		}
	}
	for _, c := range [][2]string{{"SETTIMEOUT", strconv.Itoa(int(patience.Seconds()))}, {"SETTITLE", p.Title}, {"SETDESC", p.Description}} {
		if _, err := s.command(c[0], c[1]); err != nil && !refused(err) {
			return "", err
		}
	}
	for range 3 {
		first, err := s.pin(p.Label)
		if err != nil || p.Repeat == "" {
			return first, err
		}
		again, err := s.pin(p.Repeat)
		if err != nil || first == again {
			return first, err
		}
		if _, err := s.command("SETERROR", "The two were not the same."); err != nil && !refused(err) {
			return "", err
		}
	}
	return "", fmt.Errorf("%w: the two were not the same", ErrCancelled)
}

func (s *session) pin(label string) (string, error) {
	if _, err := s.command("SETPROMPT", label); err != nil {
		return "", err
	}
	return s.command("GETPIN", "")
}

// options are the settings of the environment that programs cannot find out themselves.
func options(p Prompt) (list []string) {
	if p.TTY == "" {
		return nil
	}
	list = append(list, "ttyname="+p.TTY)
	if t := os.Getenv("TERM"); t != "" {
		list = append(list, "ttytype="+t)
	}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := os.Getenv(name); v != "" {
			return append(list, "lc-ctype="+v)
		}
	}
	return list
}

func refused(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && !e.cancelled()
}

func (e *Error) cancelled() bool {
	code := e.Code & 0xffff
	return code == codeCancelled || code == codeTimeout || code == codeClosed
}

// command sends a command and returns the data of the answer.
func (s *session) command(name, argument string) (string, error) {
	line := name
	if argument != "" {
		line += " " + escape(argument)
	}
	if len(line) > maxLine-2 {
		line = line[:maxLine-2]
	}
	if _, err := io.WriteString(s.out, line+"\n"); err != nil {
		return "", fmt.Errorf("%w: it ended", ErrProtocol)
	}
	return s.answer()
}

// escape writes what must not stand in a line as %XX.
func escape(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(s)
}

// answer reads lines up to OK or ERR.
func (s *session) answer() (string, error) {
	var data strings.Builder
	for range maxLines {
		line, err := s.in.ReadSlice('\n')
		if err != nil {
			return "", fmt.Errorf("%w: it ended, or a line of it has no end", ErrProtocol)
		}
		word, rest, _ := strings.Cut(strings.TrimRight(string(line), "\r\n"), " ")
		switch {
		case word == "OK":
			return data.String(), nil
		case word == "ERR":
			return "", refusal(rest)
		case word == "D":
			text, err := unescape(rest)
			if err != nil {
				return "", err
			}
			if data.Len()+len(text) > maxPassphrase {
				return "", fmt.Errorf("%w: a passphrase has at most %d bytes", ErrProtocol, maxPassphrase)
			}
			data.WriteString(text)
		case word == "INQUIRE":
			if _, err := io.WriteString(s.out, "END\n"); err != nil {
				return "", fmt.Errorf("%w: it ended", ErrProtocol)
			}
		case word == "S" || strings.HasPrefix(word, "#") || word == "":
		default:
			return "", fmt.Errorf("%w: it says something else", ErrProtocol)
		}
	}
	return "", fmt.Errorf("%w: it does not stop", ErrProtocol)
}

// refusal reads what follows ERR. The text is the program's own and is cut short.
func refusal(rest string) error {
	number, text, _ := strings.Cut(rest, " ")
	code, err := strconv.ParseUint(number, 10, 32)
	if err != nil {
		return fmt.Errorf("%w: its error has no number", ErrProtocol)
	}
	e := &Error{Code: int(code), Text: strings.ToValidUTF8(strings.Map(printable, text[:min(len(text), 200)]), "")}
	if e.cancelled() {
		return fmt.Errorf("%w (%w)", ErrCancelled, e)
	}
	return e
}

func printable(r rune) rune {
	if r < ' ' || r == 0x7f {
		return -1
	}
	return r
}

// unescape is the inverse of escape; it takes every %XX.
func unescape(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", fmt.Errorf("%w: an escape is cut short", ErrProtocol)
		}
		v, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", fmt.Errorf("%w: an escape is no number", ErrProtocol)
		}
		b.WriteByte(byte(v))
		i += 2
	}
	return b.String(), nil
}

// Command exchangesim is an Exchange server to try things out with: it answers ResolveNames, ExpandDL, FindItem and
// GetItem from a made-up address book and contacts, over TLS with an authority of its own, to this machine only. See package internal/exchangesim for what
// is in the address book and how its answers can be spoilt.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/galsyncd/galsyncd/internal/exchangesim"
)

// Exit statuses (sysexits).
const (
	exitOK          = 0
	exitUsage       = 64
	exitUnavailable = 69
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// settings is the command line.
type settings struct {
	options      exchangesim.Options
	passwordFile string
	caFile       string
	smimeCAFile  string
	identities   string
	readyFile    string
	fault        string
	duration     time.Duration
}

func parse(args []string, stderr io.Writer) (*settings, error) {
	s := &settings{}
	f := flag.NewFlagSet("exchangesim", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.IntVar(&s.options.Entries, "entries", 1000, "number of ordinary `entries`, besides those at fixed addresses")
	f.Uint64Var(&s.options.Seed, "seed", 1, "which people: the same `number` makes the same directory")
	f.IntVar(&s.options.Contacts, "contacts", 0, "`number` of personal contacts in the mailbox of the account, contactN@"+exchangesim.OutsideDomain)
	f.StringVar(&s.options.Listen, "listen", "127.0.0.1:0", "loopback `address` and port; port 0 picks one")
	auth := f.String("auth", "ntlm", "`method`: ntlm, basic or none")
	f.StringVar(&s.options.User, "user", `CORP\svc-galsync`, "the `account` that may ask")
	f.StringVar(&s.passwordFile, "password-file", "", "`file` with its password; made when it is not there (default: a file that goes when the program ends)")
	f.DurationVar(&s.options.Latency, "latency", 0, "`time` to wait before every answer")
	f.BoolVar(&s.options.Plain, "plain", false, "http without TLS; needs -auth none")
	f.BoolVar(&s.options.HTTP2, "http2", false, "offer HTTP/2 as well, over which NTLM never succeeds")
	f.BoolVar(&s.options.ActiveSync.Policy, "policy", false, "ActiveSync demands that devices acknowledge a policy first")
	f.BoolVar(&s.options.RequireChannelBinding, "require-channel-binding", false, "refuse NTLM without channel binding")
	f.StringVar(&s.caFile, "ca", "", "`file` to write the TLS authority to, PEM (default: a file that goes when the program ends)")
	f.StringVar(&s.smimeCAFile, "smime-ca", "", "`file` to write the authority of the people's certificates to, PEM")
	f.StringVar(&s.identities, "identities", "", "`folder` to write the people at fixed addresses to, NAME.crt and NAME.key, PEM")
	f.StringVar(&s.readyFile, "ready-file", "", "`file` to write the address to when the server listens")
	f.StringVar(&s.fault, "fault", "", fmt.Sprintf("spoil every answer; `name` is one of %v", exchangesim.FaultKinds()))
	f.DurationVar(&s.duration, "for", 0, "end after this `time`; 0 runs until interrupted")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q: everything is an option", f.Arg(0))
	}
	s.options.Auth = exchangesim.Auth(*auth)
	return s, nil
}

// run is the program; it returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintln(stderr, "exchangesim:", err)
		return exitUsage
	}
	err = s.serve(ctx, stdout, stderr)
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(stderr, "exchangesim:", err)
	if errors.Is(err, exchangesim.ErrOptions) {
		return exitUsage
	}
	return exitUnavailable
}

// serve writes the files, serves until the end, and takes its own temporary files away.
func (s *settings) serve(ctx context.Context, stdout, stderr io.Writer) error {
	temporary, err := os.MkdirTemp("", "exchangesim-")
	if err != nil {
		return fmt.Errorf("make a folder for the authority and the password: %w", err)
	}
	defer os.RemoveAll(temporary)
	server, err := s.prepare(temporary)
	if err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return err
	}
	fmt.Fprintln(stdout, server.URL())
	s.tell(stderr, server)
	if s.readyFile != "" {
		if err := replaceFile(s.readyFile, []byte(server.URL()+"\n"), 0o644); err != nil {
			return errors.Join(fmt.Errorf("write the ready file: %w", err), server.Close())
		}
	}
	if s.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.duration)
		defer cancel()
	}
	<-ctx.Done()
	return server.Close()
}

// prepare makes the server and writes everything that a client needs before it listens.
func (s *settings) prepare(temporary string) (*exchangesim.Server, error) {
	if err := s.password(temporary); err != nil {
		return nil, err
	}
	server, err := exchangesim.New(s.options)
	if err != nil {
		return nil, err
	}
	if s.fault != "" {
		kind, err := exchangesim.ParseFault(s.fault)
		if err != nil {
			return nil, err
		}
		server.Fault(exchangesim.Fault{Kind: kind})
	}
	return server, s.writeFiles(server, temporary)
}

// tell says what a user needs to connect.
func (s *settings) tell(w io.Writer, server *exchangesim.Server) {
	fmt.Fprintln(w, "activesync at", server.ActiveSyncURL())
	fmt.Fprintf(w, "%d entries, seed %d, authentication %s\n", server.Directory().Len(), s.options.Seed, s.options.Auth)
	if s.options.Auth != exchangesim.AuthNone {
		fmt.Fprintf(w, "user %s, password in %s\n", s.options.User, s.passwordFile)
	}
	if !s.options.Plain {
		fmt.Fprintf(w, "tls authority in %s\n", s.caFile)
	}
	if s.smimeCAFile != "" {
		fmt.Fprintf(w, "authority of the people's certificates in %s\n", s.smimeCAFile)
	}
	if s.identities != "" {
		fmt.Fprintf(w, "keys of people in %s\n", s.identities)
	}
}

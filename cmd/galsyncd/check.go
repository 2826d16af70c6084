package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/galsyncd/galsyncd/cache"
	"github.com/galsyncd/galsyncd/client"
	"github.com/galsyncd/galsyncd/internal/config"
	rooms "github.com/galsyncd/galsyncd/internal/daemon"
	"github.com/galsyncd/galsyncd/internal/httpauth"
	"github.com/galsyncd/galsyncd/internal/keyring"
)

func (a *app) checkConfig() *cobra.Command {
	var show, user bool
	cmd := &cobra.Command{
		Use:         "check-config",
		Annotations: map[string]string{silent: ""},
		Short:       "validate the configuration without starting anything",
		Long: "Reads the configuration as serve does, opens the files it names (secrets, keytab or credential cache, certificates and\n" +
			"their keys), and prints everything that is wrong, without asking any server.",
		Args: positional(0, 0, "nothing but options"),
		RunE: func(*cobra.Command, []string) error {
			cfg, err := a.load(a.role(user))
			if cfg == nil {
				return err
			}
			if a.sayAll(err, filesOf(cfg, err)) {
				return &exitError{status: exitConfig}
			}
			if n, _ := anchorCount(cfg); n == 0 && cfg.Trust.GAL != "accept" {
				a.say("warning: trust.anchors names no certificate (%s), so nobody would be trusted: put the root that issued your people's certificates there",
					cmp.Or(strings.Join(cfg.Trust.Anchors, ", "), "it is empty"))
			}
			if show {
				a.printed = true
				return failed(cfg.Print(a.out))
			}
			if cfg.Path == "" {
				a.say("there is no %s: the default configuration is in order", a.configPath(cfg.Role))
			} else {
				a.say("%s is in order", cfg.Path)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&show, "print", false, "print the effective configuration, with where each value comes from")
	cmd.Flags().BoolVar(&user, "user", false, "the user's configuration")
	return cmd
}

// filesOf opens what the configuration names, as far as found wrong does not stand in the way, and returns all that is wrong
// there.
func filesOf(cfg *config.Config, found error) (errs []error) {
	problems, _ := errors.AsType[config.Problems](found)
	if !problems.Concern("trust.anchors") {
		if _, err := anchorCount(cfg); err != nil {
			errs = append(errs, err)
		}
	}
	opts, err := httpOptions(cfg)
	if cfg.Exchange.URL == "" || problems.Concern("exchange.") {
		errs = append(errs, httpauth.CheckFiles(opts)...)
	} else {
		errs = append(errs, httpauth.Check(opts)...)
	}
	errs = addNew(errs, err)
	return append(errs, keyringFiles(cfg)...)
}

// addNew adds what is not in one of the errors already: a secret that is read twice is wrong twice.
func addNew(errs []error, err error) []error {
	if err == nil {
		return errs
	}
	for text := range strings.Lines(err.Error()) {
		text = strings.TrimSpace(text)
		if !slices.ContainsFunc(errs, func(e error) bool { return strings.Contains(e.Error(), text) }) {
			errs = append(errs, errors.New(text))
		}
	}
	return errs
}

// keyringFiles opens what the section [keyring] names.
func keyringFiles(cfg *config.Config) (errs []error) {
	const key = "keyring.passphrase_file"
	if name := cfg.Keyring.PassphraseFile; name != "" {
		if _, err := secret(cfg, key, name); err != nil {
			errs = append(errs, err)
		}
	}
	if p := cfg.Keyring.Pinentry; strings.HasPrefix(p, "/") {
		if _, err := exec.LookPath(p); err != nil {
			errs = append(errs, cfg.Problem("keyring.pinentry", "%v", err))
		}
	}
	return errs
}

func anchorCount(cfg *config.Config) (int, error) {
	_, n, err := cfg.Anchors()
	return n, err
}

// sayAll prints every error with its hint, and reports whether there was one.
func (a *app) sayAll(first error, others []error) bool {
	for _, err := range append([]error{first}, others...) {
		if err != nil {
			a.report(&exitError{err: err, hint: hintOf(err)})
		}
	}
	return first != nil || len(others) > 0
}

func (a *app) check() *cobra.Command {
	var user bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "verify the files: the cache and the keyring",
		Long: "Has the daemon verify every page and record of its files; without a daemon, verifies them itself. The exit\n" +
			"status is 1 when a file is damaged.",
		Args: positional(0, 0, "nothing but options"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			report, err := a.runCheck(cmd.Context(), user)
			if err != nil {
				return failed(err)
			}
			if err := a.print(report, func(w io.Writer) { printCheck(w, report) }); err != nil {
				return failed(err)
			}
			if !report.OK {
				return &exitError{status: exitNotFound}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&user, "user", false, "the user's own daemon and files, also when only the system's daemon answers")
	return cmd
}

func (a *app) runCheck(ctx context.Context, user bool) (*client.CheckReport, error) {
	c, err := a.client()
	if err == nil && user && a.socket == "" {
		c, err = a.userClient()
	}
	if err != nil {
		return nil, err
	}
	answer, err := c.Check(ctx)
	if !errors.Is(err, client.ErrNotRunning) {
		return answer, err
	}
	role := a.role(user)
	cfg, err := a.load(role)
	if err != nil {
		return nil, err
	}
	report := &fileReport{client.CheckReport{OK: true}}
	cachePath, keysPath := filepath.Join(cfg.Cache.Dir, "cache.db"), keyringPath(cfg)
	if err := report.add("cache", cachePath, cache.Verify(cachePath), "it is set aside and fetched again when galsyncd starts"); err != nil {
		return nil, err
	}
	if err := report.add(preciousName(role), keysPath, checkKeyring(cfg), ""); err != nil {
		return nil, err
	}
	return &report.CheckReport, nil
}

// fileReport is a client.CheckReport that is being made.
type fileReport struct{ client.CheckReport }

// add notes what was found. A file that could not be looked into is an error: it is not known to be damaged.
func (r *fileReport) add(name, path string, found error, hint string) error {
	switch {
	case errors.Is(found, cache.ErrInUse), errors.Is(found, keyring.ErrInUse):
		return &exitError{status: exitTryAgain, err: fmt.Errorf("check the %s %s: %w", name, path, found), hint: "wait until that process ends, or ask it: --socket says where"}
	case errors.Is(found, os.ErrPermission):
		return fmt.Errorf("check the %s: %w", name, found)
	case isExit(found):
		return found
	}
	f := client.FileCheck(rooms.FileCheck(name, path, found, hint))
	r.Files = append(r.Files, f)
	r.OK = r.OK && (f.State == "ok" || f.State == "missing")
	return nil
}

func isExit(err error) bool {
	_, ok := errors.AsType[*exitError](err)
	return ok
}

func checkKeyring(cfg *config.Config) error {
	info, err := os.Stat(keyringPath(cfg))
	if err != nil {
		return err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != os.Geteuid() {
		return &exitError{status: exitNotAllowed, err: fmt.Errorf("check %s: it belongs to another user", keyringPath(cfg)), hint: "run galsyncd check as that user, or start its daemon, which checks its files itself"}
	}
	k, err := openKeyring(cfg)
	if err != nil {
		return err
	}
	return errors.Join(k.Check(), k.Close())
}

func printCheck(w io.Writer, report *client.CheckReport) {
	for _, f := range report.Files {
		printf(w, "%s: %s (%s)\n", f.Name, f.State, f.Path)
		if f.Detail != "" {
			printf(w, "  %s\n", f.Detail)
		}
		if f.Hint != "" {
			printf(w, "  hint: %s\n", f.Hint)
		}
	}
}

func (a *app) version() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "print the version of this program",
		Args:  positional(0, 0, "nothing but options"),
		RunE: func(*cobra.Command, []string) error {
			return failed(a.printVersion())
		},
	}
}

func (a *app) printVersion() error {
	v := map[string]string{"version": version, "go": runtime.Version()}
	return a.print(v, func(w io.Writer) { printf(w, "galsyncd %s (%s)\n", version, runtime.Version()) })
}

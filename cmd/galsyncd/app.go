package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/galsyncd/galsyncd/client"
	"github.com/galsyncd/galsyncd/eas"
	"github.com/galsyncd/galsyncd/internal/autodiscover"
	"github.com/galsyncd/galsyncd/internal/config"
	"github.com/galsyncd/galsyncd/internal/revocation"
	"github.com/galsyncd/galsyncd/schedule"
)

// app is what all commands share.
type app struct {
	in       io.Reader
	out, err io.Writer

	config string // --config, or GALSYNCD_CONFIG
	socket string // --socket, or GALSYNCD_SOCKET
	json   bool

	printed bool           // the one document of --json was
	failure failureDetails // what was told to people meanwhile

	verbose bool

	network network
	// fetchEvery is how often a daemon looks whether revocation data or certificates of authorities are to be fetched; zero
	// means once a minute.
	fetchEvery time.Duration
}

// network is how discover and probe reach other machines. The zero value is the network of this machine.
type network struct {
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
	resolver autodiscover.Resolver
}

const systemConfig = "/etc/galsyncd/config.toml"

func (a *app) command() *cobra.Command {
	var showVersion bool
	root := &cobra.Command{
		Use:   "galsyncd",
		Short: "S/MIME certificates from the Exchange address book, for every mail client of this machine",
		Long: "galsyncd fetches the certificates of Exchange's address book on a schedule, and answers whether and with which\n" +
			"certificates a mail can be encrypted, also when Exchange cannot be reached.",
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if showVersion {
				return failed(a.printVersion())
			}
			return cmd.Help()
		},
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.config, "config", os.Getenv("GALSYNCD_CONFIG"), "configuration `FILE`")
	flags.StringVar(&a.socket, "socket", os.Getenv("GALSYNCD_SOCKET"), "socket of the daemon, a `PATH`")
	flags.BoolVar(&a.json, "json", false, "print one JSON document instead of text, of an error too")
	root.Flags().BoolVar(&showVersion, "version", false, "print the version of this program")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError(err) })
	root.AddCommand(a.serve(), a.sync(), a.status(), a.lookup(), a.search(), a.encrypt(), a.decrypt(), a.sign(), a.verify(), a.cert(), a.identity(), a.preferences(), a.keyringCommand(),
		a.unlock(), a.lock(), a.auth(), a.discover(), a.probe(), a.checkConfig(), a.check(), a.version(), a.docs())
	root.SetHelpCommand(helpCommand())
	root.InitDefaultCompletionCmd()
	tidyCompletion(root)
	return root
}

// helpCommand is cobra's, with an exit status for what is no command.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND...]",
		Short: "say how a command is used",
		RunE: func(help *cobra.Command, args []string) error {
			cmd, rest, err := help.Root().Find(args)
			if err != nil {
				return err
			}
			if len(rest) > 0 {
				return needsCommand(cmd, rest)
			}
			return cmd.Help()
		},
	}
}

// tidyCompletion fits cobra's command for shell completion to the others.
func tidyCompletion(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		if cmd.Name() != "completion" {
			continue
		}
		cmd.Short, cmd.Long = "print the completion script for a shell", ""
		cmd.Args, cmd.RunE = nil, needsCommand
		for _, shell := range cmd.Commands() {
			shell.Short = "for " + shell.Name()
			if shell.Name() == "powershell" {
				cmd.RemoveCommand(shell)
			}
		}
	}
}

// client returns a client of the daemon.
func (a *app) client() (*client.Client, error) {
	path, err := a.socketPath()
	if err != nil {
		return nil, err
	}
	return &client.Client{Socket: path}, nil
}

// userClient returns a client of the user's own daemon, whether it answers or not.
func (a *app) userClient() (*client.Client, error) {
	c, err := a.load(config.RoleUser)
	if err != nil {
		return nil, err
	}
	return &client.Client{Socket: c.Socket.Path}, nil
}

// socketPath is --socket or GALSYNCD_SOCKET, else what a configuration named with --config says, else the user's daemon
// if it answers, else the system's. The last is where the system's configuration puts it.
func (a *app) socketPath() (string, error) {
	switch {
	case a.socket != "":
		return a.socket, nil
	case a.config != "":
		return a.namedSocket()
	}
	path := client.DefaultSocket()
	if path != client.SystemSocket {
		return path, nil
	}
	if c, err := config.Load(systemConfig, config.RoleSystem, checks()...); err == nil {
		return c.Socket.Path, nil
	}
	return path, nil
}

// namedSocket is the socket of the configuration that was named. The file does not say for which role it is: one that makes sense
// in one role only is for that; else an ordinary user names his own, and root the system's.
func (a *app) namedSocket() (string, error) {
	role, other := config.RoleSystem, config.RoleUser
	if os.Geteuid() != 0 && a.config != systemConfig {
		role, other = other, role
	}
	c, err := a.load(role)
	if err != nil {
		if c, otherErr := a.load(other); otherErr == nil {
			return c.Socket.Path, nil
		}
		return "", err
	}
	return c.Socket.Path, nil
}

// keepPreferences refuses to have the system's daemon encrypt for a user who has a keyring and named no daemon: only the own
// one, which does not answer, knows the preferences and the certificates in it.
func (a *app) keepPreferences() error {
	if a.socket != "" || a.config != "" || client.DefaultSocket() != client.SystemSocket {
		return nil
	}
	cfg, err := a.load(config.RoleUser)
	if err != nil {
		return err
	}
	if _, err := os.Stat(keyringPath(cfg)); err != nil {
		return nil // there is nothing to keep
	}
	system, err := a.socketPath()
	if err != nil {
		return err
	}
	return &exitError{status: exitNoService, err: errors.New("encrypt the mail: your own galsyncd, which knows your preferences and certificates, does not answer"),
		hint: "systemctl --user start galsyncd; to do without them: --socket " + system}
}

// role is the role of the configuration: the user's with --user, and for an ordinary user who names no file.
func (a *app) role(user bool) config.Role {
	if user || os.Geteuid() != 0 && a.config == "" {
		return config.RoleUser
	}
	return config.RoleSystem
}

// configPath is the file for a role.
func (a *app) configPath(role config.Role) string {
	switch {
	case a.config != "":
		return a.config
	case role == config.RoleSystem:
		return systemConfig
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "galsyncd", "config.toml")
}

// load reads the configuration of a role. Beside an error there may be a configuration to look for more errors in. A user needs no file: then the defaults hold and nothing is fetched.
func (a *app) load(role config.Role) (*config.Config, error) {
	path := a.configPath(role)
	c, err := config.Load(path, role, checks()...)
	if errors.Is(err, config.ErrNotFound) && role == config.RoleUser && a.config == "" {
		c, err = config.Default(role), nil
	}
	if err != nil {
		return c, &exitError{status: exitConfig, err: err, hint: configHint(err, path)}
	}
	if a.socket != "" {
		if err := c.Override("socket.path", a.socket, "--socket"); err != nil {
			return nil, &exitError{status: exitUsage, err: err}
		}
	}
	return c, nil
}

// sourceHint says where to name the server for a command; an ordinary user may have meant the system's.
func (a *app) sourceHint(c *config.Config, command string) string {
	hint := "set exchange.url in " + a.configPath(c.Role)
	if c.Role == config.RoleUser && a.config == "" {
		hint += ", or ask for the system's: sudo galsyncd " + command
	}
	return hint
}

func configHint(err error, path string) string {
	if errors.Is(err, config.ErrNotFound) {
		return "write " + path + ", or name another file with --config; galsyncd.toml(5) has an example"
	}
	return ""
}

// checks are for values whose syntax package config does not know.
func checks() []config.Check {
	return []config.Check{
		{Key: "sync.schedule", Verify: func(text string) error {
			_, err := schedule.Parse(text)
			return err
		}},
		{Key: "trust.proxy", Verify: func(text string) error {
			if text == "" {
				return nil
			}
			_, err := revocation.ParseProxy(text)
			return err
		}},
		{Key: "exchange.eas.policy_met", Verify: func(name string) error {
			if !eas.IsDemand(name) {
				return fmt.Errorf("has %q, which is no demand of a policy (MS-ASPROV section 2.2.2)", name)
			}
			return nil
		}},
	}
}

// print writes v as the one JSON document with --json, and calls text otherwise.
func (a *app) print(v any, text func(io.Writer)) error {
	if !a.json {
		text(plain{a.out})
		return nil
	}
	a.printed = true
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// say writes talk for people.
func (a *app) say(format string, args ...any) { printf(a.talk(), format+"\n", args...) }

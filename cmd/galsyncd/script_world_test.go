package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/galsyncd/galsyncd/internal/exchangesim"
)

// world is what one script has around it.
type world struct {
	*testscript.TestScript // of the command that runs

	exchange *exchangesim.Server
	web      *web
	options  exchangesim.Options
	before   exchangesim.Requests
	daemons  map[string]*daemonProcess
	stranger *strangerProcess
	held     *heldConn
}

type worldKey struct{}

// nobody is a user who owns nothing and runs nothing of the tests.
const nobody = 65534

// passed are the variables that programs get from the script.
var passed = []string{"PATH", "HOME", "TMPDIR", "GORACE", "GOCOVERDIR", "GOTRACEBACK", "GALSYNCD_CONFIG", "GALSYNCD_SOCKET",
	"XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "CREDENTIALS_DIRECTORY", "HOSTS", "SRV"}

// setUpScript gives each script its configuration at $WORK/config.toml, a socket at $SOCKET and a home of its own.
func setUpScript(env *testscript.Env) error {
	w := &world{daemons: map[string]*daemonProcess{}}
	env.Values[worldKey{}] = w
	env.Defer(w.close)
	for name, value := range map[string]string{
		"GALSYNCD_CONFIG": "config.toml", "SOCKET": "run/galsyncd.sock", "HOME": "home", "XDG_CONFIG_HOME": "home/.config",
		"XDG_CACHE_HOME": "home/.cache", "XDG_DATA_HOME": "home/.local/share", "XDG_RUNTIME_DIR": "home/run",
	} {
		env.Setenv(name, filepath.Join(env.WorkDir, value))
	}
	env.Setenv("GORACE", "atexit_sleep_ms=0") // else every race-enabled child sleeps for a second
	env.Setenv("USER_SOCKET", filepath.Join(env.WorkDir, "home/run/galsyncd/galsyncd.sock"))
	for _, dir := range []string{"home/.config/galsyncd", "home/run"} {
		if err := os.MkdirAll(filepath.Join(env.WorkDir, dir), 0o700); err != nil {
			return err
		}
	}
	return nil
}

// close ends what a script left running.
func (w *world) close() {
	for _, d := range w.daemons {
		d.cmd.Process.Kill()
		<-d.ended
	}
	if w.held != nil {
		w.held.Close()
	}
	if w.stranger != nil {
		w.stranger.cmd.Process.Kill()
		w.stranger.cmd.Wait()
	}
	if w.web != nil {
		w.web.server.Close()
	}
	if w.exchange != nil {
		w.exchange.Close()
	}
}

// Users of the scripts: @nobody and @other.
var userIDs = map[string]uint32{"@nobody": nobody, "@other": nobody - 1}

// asUser takes a user off the arguments; "" is the one who runs the tests.
func asUser(args []string) (user string, rest []string) {
	if _, ok := userIDs[args[0]]; ok {
		return args[0], args[1:]
	}
	return "", args
}

// command makes a child process with the environment of the script. As another user it runs the program through a
// descriptor, because that user cannot enter the folder of the test binary.
func (w *world) command(user, program string, args ...string) *exec.Cmd {
	path := program
	if !strings.Contains(program, "/") {
		var err error
		path, err = exec.LookPath(program)
		w.Check(err)
	}
	cmd := &exec.Cmd{Path: path, Args: append([]string{program}, args...), Dir: w.MkAbs(".")}
	for _, name := range passed {
		if value := w.Getenv(name); value != "" {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	if id, ok := userIDs[user]; ok {
		f, err := os.Open(path)
		w.Check(err)
		cmd.ExtraFiles, cmd.Path = []*os.File{f}, "/proc/self/fd/3"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: id, Gid: id}}
	}
	return cmd
}

// cmdExits runs a program, wants this exit status and reads what galsyncd says aloud.
func cmdExits(w *world, neg bool, args []string) {
	if neg || len(args) < 2 {
		w.Fatalf("usage: exits STATUS [<INPUT] [@nobody|@other] PROGRAM ARG...")
	}
	want, err := strconv.Atoi(args[0])
	w.Check(err)
	args = args[1:]
	var input []byte
	if file, ok := strings.CutPrefix(args[0], "<"); ok {
		input, args = []byte(w.ReadFile(file)), args[1:]
	}
	user, args := asUser(args)
	cmd := w.command(user, args[0], args[1:]...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, &errs
	got := exitStatus(w, cmd.Run())
	for _, f := range cmd.ExtraFiles {
		f.Close()
	}
	w.Stdout().Write(out.Bytes())
	w.Stderr().Write(errs.Bytes())
	if got != want {
		w.Fatalf("exit status %d, not %d", got, want)
	}
	if args[0] == "galsyncd" || args[0] == "townsman" {
		for _, complaint := range readAloud(errs.String(), got) {
			w.Fatalf("%s", complaint)
		}
		if got != 0 && wantsJSON(args) && out.Len() > 0 && !json.Valid(out.Bytes()) {
			w.Fatalf("with --json, standard output is not one document:\n%s", out.Bytes())
		}
	}
}

func exitStatus(w *world, err error) int {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	w.Check(err)
	return 0
}

// cmdMode wants a file to have these permissions.
func cmdMode(w *world, neg bool, args []string) {
	if neg || len(args) != 2 {
		w.Fatalf("usage: mode FILE OCTAL")
	}
	info, err := os.Stat(w.MkAbs(args[0]))
	w.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[1] {
		w.Fatalf("%s has mode %s, not %s", args[0], got, args[1])
	}
}

// cmdHolds wants that a folder holds these files, in the order of their names, and nothing else.
func cmdHolds(w *world, neg bool, args []string) {
	if neg || len(args) == 0 {
		w.Fatalf("usage: holds FOLDER [FILE...]")
	}
	entries, err := os.ReadDir(w.MkAbs(args[0]))
	w.Check(err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if fmt.Sprint(names) != fmt.Sprint(args[1:]) {
		w.Fatalf("%s holds %q, not %q", args[0], names, args[1:])
	}
}

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// unhurried is the program, whose daemons fetch nothing by themselves within a script, so that no check depends on how fast
// this machine is.
func unhurried() {
	os.Exit(start(&app{in: os.Stdin, out: os.Stdout, err: os.Stderr, fetchEvery: 24 * time.Hour}))
}

// The program runs as a real child process: it is this test binary under its own name.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"galsyncd": unhurried, "strangerd": stranger, "pinentry": fakePinentry, "townsman": townsman})
}

// TestScripts runs testdata/script: what users rely on, one script each. The commands that the scripts have on top of
// testscript's own are in scriptCommands.
func TestScripts(t *testing.T) {
	syscall.Umask(0o022) // other users read what scripts lay out
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		WorkdirRoot:         socketRoot(t),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setUpScript,
		Condition:           scriptCondition,
		Cmds:                scriptCommands(),
	})
}

func scriptCommands() map[string]func(*testscript.TestScript, bool, []string) {
	commands := map[string]func(*world, bool, []string){
		"exits":        cmdExits,        // exits STATUS [<INPUT] [@nobody|@other] PROGRAM ARG...
		"exchange":     cmdExchange,     // exchange start|again|stop [OPTION...]
		"fault":        cmdFault,        // fault KIND [OPTION...] | fault clear
		"people":       cmdPeople,       // people add|remove|recipe|certificate|hide|keep-share ...
		"contacts":     cmdContacts,     // contacts add|remove|recipe|unreadable|clear ...
		"web":          cmdWeb,          // web start|again FOLDER | web stop | web asked OP NUMBER | web reset
		"requests":     cmdRequests,     // requests COUNTER OP NUMBER | requests reset
		"configure":    cmdConfigure,    // configure FILE [KEY=TOML...]
		"daemon":       cmdDaemon,       // daemon start|idle|stop|kill NAME [@nobody] [ARG...]
		"json":         cmdJSON,         // json PATH OP VALUE, of the last standard output
		"damage":       cmdDamage,       // damage flip|truncate|overwrite|schema FILE [NUMBER]
		"mode":         cmdMode,         // mode FILE OCTAL
		"holds":        cmdHolds,        // holds FOLDER [FILE...]
		"stranger":     cmdStranger,     // stranger start SOCKET | stranger stop
		"autodiscover": cmdAutodiscover, // autodiscover [KEY=VALUE...]
		"hosts":        cmdHosts,        // hosts NAME[:PORT]...
		"hold":         cmdHold,         // hold open SOCKET PATH | hold ask PATH
		"traces":       cmdTraces,       // traces FOLDER... -- NEEDLES...
		"readable":     cmdReadable,     // [!] readable MAIL NAME TEXT
	}
	out := map[string]func(*testscript.TestScript, bool, []string){}
	for name, f := range commands {
		out[name] = func(ts *testscript.TestScript, neg bool, args []string) {
			w := ts.Value(worldKey{}).(*world)
			w.TestScript = ts
			f(w, neg, args)
		}
	}
	return out
}

// socketRoot makes a folder for the scripts in which sockets may be, which is neither in /tmp nor in /var/tmp, with a short
// name, and which other users can enter when root runs the tests.
func socketRoot(t *testing.T) string {
	home, _ := os.UserHomeDir()
	candidates := []string{os.Getenv("XDG_RUNTIME_DIR"), home, "/dev/shm", "."}
	if os.Geteuid() == 0 {
		candidates = []string{"/run", "/var/lib", home, "/dev/shm"}
	}
	for _, parent := range slices.DeleteFunc(candidates, func(s string) bool { return s == "" }) {
		parent, err := filepath.Abs(parent)
		if err != nil || len(parent) > 36 || strings.HasPrefix(parent+"/", "/tmp/") || strings.HasPrefix(parent+"/", "/var/tmp/") {
			continue
		}
		root, err := os.MkdirTemp(parent, "gstest-")
		if err != nil {
			continue
		}
		t.Cleanup(func() {
			if err := os.RemoveAll(root); err != nil {
				t.Errorf("clean up: %v", err)
			}
		})
		if err := os.Chmod(root, 0o755); err != nil {
			t.Fatal(err)
		}
		return root
	}
	t.Fatalf("no folder for sockets can be made in any of %q", candidates)
	return ""
}

// scriptCondition knows "root", and "peer:NAME" for a program of others, which must be there with CI=true.
func scriptCondition(name string) (bool, error) {
	var ok bool
	peer, isPeer := strings.CutPrefix(name, "peer:")
	switch {
	case isPeer:
		_, err := exec.LookPath(peer)
		ok = err == nil
	case name == "root":
		ok = os.Geteuid() == 0
	default:
		return false, fmt.Errorf("unknown condition %q", name)
	}
	if isPeer && !ok && os.Getenv("CI") == "true" {
		return false, fmt.Errorf("CI must have %s", name)
	}
	return ok, nil
}

// TestRunWithoutProcess holds that the program can be run without touching the process.
func TestRunWithoutProcess(t *testing.T) {
	var out, errs strings.Builder
	if status := (&app{in: strings.NewReader(""), out: &out, err: &errs}).run(context.Background(), []string{"version"}); status != 0 || !strings.HasPrefix(out.String(), "galsyncd ") || errs.String() != "" {
		t.Errorf("version: status %d, output %q, talk %q", status, out.String(), errs.String())
	}
	out.Reset()
	if status := (&app{in: strings.NewReader(""), out: &out, err: &errs}).run(context.Background(), []string{"lookup"}); status != exitUsage || out.String() != "" {
		t.Errorf("lookup without an address: status %d, output %q", status, out.String())
	}
}

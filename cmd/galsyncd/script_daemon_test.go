package main

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// patience is how long a script waits for something that must happen.
const patience = 5 * time.Minute

// daemonProcess is a galsyncd serve that runs.
type daemonProcess struct {
	cmd    *exec.Cmd
	log    string
	socket string
	ended  chan struct{} // closed when the process is gone; err is set then
	err    error
}

// cmdDaemon starts, stops and kills a daemon. Its log is NAME.log; "user" runs as serve --user on $USER_SOCKET, any
// other name on $SOCKET.
func cmdDaemon(w *world, neg bool, args []string) {
	if neg || len(args) < 2 {
		w.Fatalf("usage: daemon start|idle|reload|stop|kill NAME [@nobody] [ARG...]")
	}
	name := args[1]
	switch args[0] {
	case "start":
		w.startDaemon(name, args[2:])
		return
	case "idle":
		w.awaitIdle()
		return
	}
	d := w.daemons[name]
	if d == nil {
		w.Fatalf("no daemon %q was started", name)
	}
	if args[0] == "reload" {
		w.reload(d)
		return
	}
	delete(w.daemons, name)
	switch args[0] {
	case "stop":
		w.Check(d.cmd.Process.Signal(syscall.SIGTERM))
		w.await(d, "stop")
		if d.err != nil {
			w.Fatalf("the daemon ended with %v:\n%s", d.err, w.ReadFile(d.log))
		}
		if _, err := os.Lstat(d.socket); err == nil {
			w.Fatalf("the daemon left its socket behind")
		}
	case "kill":
		w.Check(d.cmd.Process.Kill())
		w.await(d, "die")
	default:
		w.Fatalf("daemon %s: not one of start, idle, reload, stop, kill", args[0])
	}
	for _, complaint := range readAloud(w.ReadFile(d.log), 1) {
		w.Fatalf("%s: %s", d.log, complaint)
	}
}

func (w *world) startDaemon(name string, args []string) {
	d := &daemonProcess{log: w.MkAbs(name + ".log"), socket: w.Getenv("SOCKET"), ended: make(chan struct{})}
	if slices.Contains(args, "--user") {
		d.socket = w.Getenv("USER_SOCKET")
	}
	log, err := os.Create(d.log)
	w.Check(err)
	defer log.Close()
	user, args := asUser(append(args, ""))
	d.cmd = w.command(user, "galsyncd", append([]string{"serve"}, args[:len(args)-1]...)...)
	d.cmd.Stdout, d.cmd.Stderr = log, log
	w.Check(d.cmd.Start())
	for _, f := range d.cmd.ExtraFiles {
		f.Close()
	}
	go func() {
		d.err = d.cmd.Wait()
		close(d.ended)
	}()
	w.daemons[name] = d
	deadline := time.After(patience)
	for {
		if conn, err := net.Dial("unix", d.socket); err == nil {
			conn.Close()
			return
		}
		select {
		case <-d.ended:
			w.Fatalf("the daemon ended with %v:\n%s", d.err, w.ReadFile(d.log))
		case <-deadline:
			w.Fatalf("the daemon does not answer:\n%s", w.ReadFile(d.log))
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// reload sends SIGHUP, and waits until the log says what became of it and, if the daemon starts again, until it answers.
func (w *world) reload(d *daemonProcess) {
	before := len(w.ReadFile(d.log))
	w.Check(d.cmd.Process.Signal(syscall.SIGHUP))
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		said := w.ReadFile(d.log)[before:]
		if strings.Contains(said, "going on with the configuration as it was") || strings.Contains(said, "msg=serving") {
			return
		}
	}
	w.Fatalf("the daemon does not reload:\n%s", w.ReadFile(d.log))
}

// awaitIdle waits until the daemon has had a run, which it begins by itself, and has none any more.
func (w *world) awaitIdle() {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		out, err := w.command("", "galsyncd", "--json", "status").Output()
		w.Check(err)
		var status struct {
			Source struct{ State, LastError any }
		}
		w.Check(json.Unmarshal(out, &status))
		if status.Source.State != "running" && status.Source.LastError != nil {
			return
		}
	}
	w.Fatalf("the daemon does not come to rest")
}

func (w *world) await(d *daemonProcess, what string) {
	select {
	case <-d.ended:
	case <-time.After(patience):
		w.Fatalf("the daemon does not %s:\n%s", what, w.ReadFile(d.log))
	}
}

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
)

// strangerProcess is a server that another user runs.
type strangerProcess struct {
	cmd   *exec.Cmd
	stdin io.Closer
	out   *bufio.Reader
}

// cmdStranger starts and stops a server that nobody (the user) runs. After stop, standard output has what it was sent.
func cmdStranger(w *world, neg bool, args []string) {
	if neg || len(args) == 0 {
		w.Fatalf("usage: stranger start SOCKET | stranger stop")
	}
	if args[0] == "start" {
		w.startStranger(w.MkAbs(args[1]))
		return
	}
	s := w.stranger
	w.stranger = nil
	w.Check(s.stdin.Close())
	text, err := io.ReadAll(s.out)
	w.Check(err)
	w.Check(s.cmd.Wait())
	w.Stdout().Write(text)
}

func (w *world) startStranger(socket string) {
	dir := filepath.Dir(socket)
	w.Check(os.MkdirAll(dir, 0o755))
	w.Check(os.Chown(dir, nobody, nobody))
	cmd := w.command("@nobody", "strangerd", socket)
	stdin, err := cmd.StdinPipe()
	w.Check(err)
	stdout, err := cmd.StdoutPipe()
	w.Check(err)
	cmd.Stderr = os.Stderr
	w.Check(cmd.Start())
	w.stranger = &strangerProcess{cmd: cmd, stdin: stdin, out: bufio.NewReader(stdout)}
	line, err := w.stranger.out.ReadString('\n')
	if err != nil || line != "listening\n" {
		w.Fatalf("the stranger does not listen: %q, %v", line, err)
	}
}

// stranger is the program: it listens on the socket that it is given and says what it is sent, until its standard input
// ends.
func stranger() {
	l, err := net.Listen("unix", os.Args[1])
	if err == nil {
		err = os.Chmod(os.Args[1], 0o666)
	}
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println("listening")
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				b := make([]byte, 1<<16)
				for n, err := conn.Read(b); err == nil; n, err = conn.Read(b) {
					fmt.Printf("received %q\n", b[:n])
				}
			}()
		}
	}()
	io.Copy(io.Discard, os.Stdin)
}

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// heldConn is a connection that a script holds open.
type heldConn struct {
	net.Conn
	answers *bufio.Reader
}

// cmdHold connects to a socket and asks for a path, or asks for another path over the connection that it still holds. What
// it is answered goes to standard output: a status, or "ended".
func cmdHold(w *world, neg bool, args []string) {
	switch {
	case !neg && len(args) == 3 && args[0] == "open":
		conn, err := net.Dial("unix", args[1])
		w.Check(err)
		w.held = &heldConn{conn, bufio.NewReader(conn)}
	case !neg && len(args) == 2 && args[0] == "ask" && w.held != nil:
	default:
		w.Fatalf("usage: hold open SOCKET PATH | hold ask PATH")
	}
	fmt.Fprintln(w.Stdout(), w.held.ask(args[len(args)-1]))
}

func (h *heldConn) ask(path string) string {
	h.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintf(h, "GET %s HTTP/1.1\r\nHost: galsyncd\r\n\r\n", path); err != nil {
		return "ended"
	}
	answer, err := http.ReadResponse(h.answers, nil)
	if err != nil {
		return "ended"
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return "ended"
	}
	return fmt.Sprint(answer.StatusCode)
}

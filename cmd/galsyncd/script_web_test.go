package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
)

// web is a web server for the files of a folder, on 127.0.0.1. What is posted to it is answered by the script answer.sh of
// the folder, which reads request and writes answer.
type web struct {
	server *httptest.Server
	asked  atomic.Int64
	mu     sync.Mutex // one run of answer.sh at a time
}

// cmdWeb starts and stops the web server, and counts its requests. Start sets $WEB; again takes the same port.
func cmdWeb(w *world, neg bool, args []string) {
	if neg || len(args) == 0 {
		w.Fatalf("usage: web start|again FOLDER | web stop | web asked OP NUMBER | web reset")
	}
	switch {
	case (args[0] == "start" || args[0] == "again") && len(args) == 2:
		address := w.freeAddress()
		if args[0] == "again" {
			address = w.web.server.Listener.Addr().String()
		}
		listener, err := net.Listen("tcp", address)
		w.Check(err)
		w.web = &web{}
		w.web.server = &httptest.Server{Listener: listener, Config: &http.Server{Handler: w.web.handler(w.MkAbs(args[1]), w.command("", "sh", "answer.sh"))}}
		w.web.server.Start()
		w.Setenv("WEB", w.web.server.URL)
	case args[0] == "stop":
		w.web.server.Close()
	case args[0] == "asked" && len(args) == 3:
		w.compare("requests to the web server", float64(w.web.asked.Load()), args[1], args[2])
	case args[0] == "reset":
		w.web.asked.Store(0)
	default:
		w.Fatalf("web %q: not known", args)
	}
}

func (s *web) handler(folder string, answer *exec.Cmd) http.Handler {
	files := http.FileServer(http.Dir(folder))
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		if r.Method != http.MethodPost {
			files.ServeHTTP(rw, r)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, "request"), body, 0o600)
		}
		if err == nil {
			cmd := exec.Cmd{Path: answer.Path, Args: answer.Args, Env: answer.Env, Dir: folder}
			err = cmd.Run()
		}
		if err != nil {
			http.Error(rw, err.Error(), http.StatusInternalServerError)
			return
		}
		http.ServeFile(rw, r, filepath.Join(folder, "answer"))
	})
}

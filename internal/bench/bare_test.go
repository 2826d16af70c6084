package bench

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

var bareBucket = []byte("answers")

// serveBare is the floor of a look-up: net/http on a Unix socket, which answers a query with the bytes that a bbolt
// bucket holds for it, and does nothing else. It ends when its standard input does.
func serveBare(dir string) error {
	db, err := bbolt.Open(filepath.Join(dir, "bare.db"), 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer db.Close()
	l, err := net.Listen("unix", filepath.Join(dir, "bare"))
	if err != nil {
		return err
	}
	go func() {
		os.Stdin.Read(make([]byte, 1))
		l.Close()
	}()
	err = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := db.View(func(tx *bbolt.Tx) error {
			w.Header().Set("Content-Type", "application/json")
			_, err := w.Write(tx.Bucket(bareBucket).Get([]byte(r.URL.RawQuery)))
			return err
		})
		if err != nil {
			panic(http.ErrAbortHandler)
		}
	}))
	if _, ended := err.(*net.OpError); ended {
		return nil
	}
	return err
}

// startBare runs the bare server with these answers in a process of its own and returns its socket.
func startBare(b *testing.B, answers map[string][]byte) string {
	b.Helper()
	dir := b.TempDir()
	db, err := bbolt.Open(filepath.Join(dir, "bare.db"), 0o600, nil)
	check(b, err)
	check(b, db.Update(func(tx *bbolt.Tx) error {
		bucket, err := tx.CreateBucket(bareBucket)
		for query, answer := range answers {
			if err == nil {
				err = bucket.Put([]byte(query), answer)
			}
		}
		return err
	}))
	check(b, db.Close())
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), bareVar+"="+dir)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	check(b, err)
	check(b, cmd.Start())
	b.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
	})
	socket := filepath.Join(dir, "bare")
	for range 1000 {
		if conn, err := net.Dial("unix", socket); err == nil {
			conn.Close()
			return socket
		}
		time.Sleep(10 * time.Millisecond)
	}
	b.Fatal(fmt.Errorf("the bare server does not answer on %s", socket))
	return ""
}

package daemon

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/cms"
	"github.com/galsyncd/galsyncd/internal/keyring"
	"github.com/galsyncd/galsyncd/internal/service"
	"github.com/galsyncd/galsyncd/internal/testca"
)

// TestFailureTiming measures over the socket that decryptions which fail for different reasons cannot be told apart by their
// time: samples of each class in random order, Welch's t between any two below 4.5. It needs a quiet machine and some
// minutes, so it runs when GALSYNCD_TIMING is the number of samples of each class. GALSYNCD_TIMING_DOC is the page to write.
//
// Everything is as in a user's daemon (socket, service, keyring, files for ciphertext) but the clock of the bound on
// failures, which would stretch the measurement over hours.
func TestFailureTiming(t *testing.T) {
	var wanted int
	if _, err := fmt.Sscan(os.Getenv("GALSYNCD_TIMING"), &wanted); err != nil {
		t.Skip("set GALSYNCD_TIMING=10000 to measure")
	}
	wanted = max(wanted, 100)
	ask, cert := timedDaemon(t)
	var page strings.Builder
	for _, c := range []cms.Cipher{cms.AES256CBC, cms.AES256GCM} {
		classes := failingMails(t, cert, c, ask)
		var samples [][]float64
		for range classes {
			samples = append(samples, make([]float64, 0, wanted))
		}
		for n := 0; n < wanted*len(classes); n++ {
			i := mathrand.IntN(len(classes))
			began := time.Now()
			code := ask(classes[i].mail)
			took := time.Since(began)
			if code != service.CodeDecryptFailed {
				t.Fatalf("%s: %q", classes[i].name, code)
			}
			samples[i] = append(samples[i], float64(took.Nanoseconds())/1e3)
		}
		page.WriteString(timingTables(t, c, classes, samples))
	}
	if name := os.Getenv("GALSYNCD_TIMING_DOC"); name != "" {
		writeTiming(t, name, page.String())
	}
}

// timedDaemon serves a keyring with one key, and returns a function that asks for the decryption of a mail.
func timedDaemon(t *testing.T) (ask func(mail []byte) service.Code, cert *x509.Certificate) {
	ca, err := testca.New("Root")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Leaf(testca.Options{Addresses: []string{"alice@corp.example"}})
	if err != nil {
		t.Fatal(err)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(home, "galsyncd-timing-") // not where everybody may write
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	keys, err := keyring.Open(filepath.Join(dir, "keyring", "keyring.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keys.Close() })
	key, err := leaf.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(keys.SetPassphrase([]byte("open sesame")), keys.Unlock(t.Context(), []byte("open sesame"), time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.ImportPEM(append(key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Certificate.Raw})...), ""); err != nil {
		t.Fatal(err)
	}
	var minutes atomic.Int64
	spool := Spool(dir)
	server := &service.Server{
		Role: service.RoleUser, Now: func() time.Time { return time.Unix(60*minutes.Add(1), 0) },
		Decrypter: Decrypter{Keys: &Keys{Keyring: keys, Now: time.Now}, Spool: spool, Verifier: Verifier{Now: time.Now}},
		Spool:     func() (service.Spool, error) { return spool() },
	}
	socket := filepath.Join(dir, "s")
	listener, err := service.Listen(socket, service.UserMode)
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(listener)
	t.Cleanup(func() { server.Shutdown(context.Background()) })
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}}
	return func(mail []byte) service.Code {
		answer, err := client.Post("http://localhost/v1/decrypt", "message/rfc822", bytes.NewReader(mail))
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		var p service.Problem
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		if answer.StatusCode != http.StatusOK && json.Unmarshal(body, &p) != nil {
			t.Fatalf("%d %s", answer.StatusCode, body)
		}
		return p.Code
	}, leaf.Certificate
}

// failingMail is a mail of a class of failures.
type failingMail struct {
	name string
	mail []byte
}

// failingMails makes mails that fail for different reasons. A damaged padding and a wrong key are right by chance in one of
// 256 messages: then another is made.
func failingMails(t *testing.T, cert *x509.Certificate, c cms.Cipher, ask func([]byte) service.Code) (classes []failingMail) {
	last := "damaged padding"
	if c.AEAD() {
		last = "damaged tag"
	}
	public := cert.PublicKey.(*rsa.PublicKey)
	transport := []byte("\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00\x04\x82\x01\x00") // rsaEncryption, NULL, OCTET STRING of 256 bytes
	for _, name := range []string{"damaged RSA block", "wrong content key", "content key of the wrong size", last} {
		for {
			var der bytes.Buffer
			content := slices.Concat([]byte("Content-Type: text/plain\r\n\r\n"), bytes.Repeat([]byte("0123456789abcde\n"), 60))
			w, err := cms.Encrypt(&der, []*x509.Certificate{cert}, &cms.EncryptOptions{Cipher: c, SizeKnown: true, Size: int64(len(content))})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(content); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			data := der.Bytes()
			block := data[bytes.Index(data, transport)+len(transport):][:256]
			switch name {
			case "damaged RSA block":
				rand.Read(block[1:])
			case "wrong content key", "content key of the wrong size":
				key := make([]byte, map[string]int{"wrong content key": 32, "content key of the wrong size": 24}[name])
				rand.Read(key)
				//lint:ignore SA1019 this is what is attacked
				sealed, err := rsa.EncryptPKCS1v15(rand.Reader, public, key)
				if err != nil {
					t.Fatal(err)
				}
				copy(block, sealed)
			default:
				data[len(data)-1] ^= 0x55
			}
			mail := []byte("From: bob@corp.example\r\nTo: alice@corp.example\r\nMIME-Version: 1.0\r\nContent-Type: application/pkcs7-mime; name=smime.p7m\r\n" +
				"Content-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString(data) + "\r\n")
			if ask(mail) == service.CodeDecryptFailed {
				classes = append(classes, failingMail{name, mail})
				break
			}
		}
	}
	return classes
}

// timingTables compares every two classes. What took three times the median was the scheduler's doing and is left out.
func timingTables(t *testing.T, c cms.Cipher, classes []failingMail, samples [][]float64) string {
	page := &strings.Builder{}
	var all []float64
	for _, s := range samples {
		all = append(all, s...)
	}
	slices.Sort(all)
	limit := 3 * all[len(all)/2]
	fmt.Fprintf(page, "\n## %v\n\n| failure | samples | left out | mean, µs | standard deviation, µs |\n| --- | ---: | ---: | ---: | ---: |\n", c)
	for i, s := range samples {
		n, mean, variance := moments(s, limit)
		fmt.Fprintf(page, "| %s | %d | %d | %.1f | %.1f |\n", classes[i].name, len(s), len(s)-int(n), mean, math.Sqrt(variance))
	}
	n, _, variance := moments(samples[0], limit)
	fmt.Fprintf(page, "\nA difference of %.0f µs would show.\n\n| between | and | t |\n| --- | --- | ---: |\n", 4.5*math.Sqrt(2*variance/n))
	for i := range samples {
		for j := range i {
			na, ma, va := moments(samples[i], limit)
			nb, mb, vb := moments(samples[j], limit)
			welch := (ma - mb) / math.Sqrt(va/na+vb/nb)
			fmt.Fprintf(page, "| %s | %s | %.2f |\n", classes[i].name, classes[j].name, welch)
			if math.Abs(welch) > 4.5 {
				t.Errorf("%v, %s and %s: t = %.2f", c, classes[i].name, classes[j].name, welch)
			}
		}
	}
	t.Logf("%s", page)
	return page.String()
}

func moments(s []float64, limit float64) (n, mean, variance float64) {
	for _, v := range s {
		if v <= limit {
			n++
			mean += v
		}
	}
	mean /= n
	for _, v := range s {
		if v <= limit {
			variance += (v - mean) * (v - mean) / (n - 1)
		}
	}
	return n, mean, variance
}

func writeTiming(t *testing.T, name, tables string) {
	const head = `# Decryptions that fail take the same time

Whoever can have mails decrypted and learns why one failed can read mail without the key (Bleichenbacher's and Vaudenay's
attacks). galsyncd gives one answer for all of these failures, to the last byte, takes a random content key where the RSA block
is damaged, and lets a caller fail a hundred times in a minute. This page says that the time of the answer tells nothing either.

It is written by a test, which asks a user's daemon over its socket, POST /v1/decrypt, with mails of a kilobyte that fail for
different reasons, in random order. Two classes count as told apart when Welch's t between them is beyond 4.5. Measure again, on
a quiet machine, in about five minutes:

    make timing

The same is measured for package cms alone, without a socket: GALSYNCD_TIMING=1 go test -run TestFailureTiming -v ./cms
`
	if err := os.WriteFile(name, []byte(head+tables), 0o644); err != nil {
		t.Fatal(err)
	}
}

//go:build interop

package horde

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
)

// request asks for the certificates of two people (WBXML, MS-ASCMD section 2.2.1.15).
const request = "\x03\x01\x6a\x00\x00\x0a\x45" +
	"\x50\x03ada@corp.example\x00\x01" + "\x50\x03bob@corp.example\x00\x01" +
	"\x4f\x51\x032\x00\x01\x53\x039999\x00\x01\x54\x030\x00\x01\x01" + "\x01"

func ask(t *testing.T, s *Server) (int, string, []byte) {
	t.Helper()
	r, err := http.NewRequest("POST", s.URL+"?Cmd=ResolveRecipients&User="+User+"&DeviceId=abcdef0123456789&DeviceType=galsyncd", strings.NewReader(request))
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(User, Password)
	r.Header.Set("MS-ASProtocolVersion", "14.1")
	r.Header.Set("Content-Type", "application/vnd.ms-sync.wbxml")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Header.Get("Content-Type"), body
}

// TestInteropHordeRuns: what the tests of others build on.
func TestInteropHordeRuns(t *testing.T) {
	people := []Person{{Name: "Ada", Alias: "ada", Address: "ada@corp.example", PEM: []byte("-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n")}, {Name: "Bob", Alias: "bob", Address: "bob@corp.example"}}
	s := Start(t, people, Options{})
	if status, kind, body := ask(t, s); status != 200 || kind != "application/vnd.ms-sync.wbxml" || !bytes.Contains(body, []byte("QUJD")) || !bytes.Contains(body, []byte("bob@corp.example")) {
		t.Errorf("answer %d %s %q", status, kind, body)
	}
	s.StopDirectory()
	status, kind, body := ask(t, s)
	t.Logf("without the directory: %d %s %q", status, kind, body)
	if bytes.Contains(body, []byte("QUJD")) {
		t.Errorf("a certificate without a directory: %q", body)
	}
	s.StartDirectory()
	if _, _, body := ask(t, s); !bytes.Contains(body, []byte("QUJD")) {
		t.Errorf("after the directory came back: %q", body)
	}
}

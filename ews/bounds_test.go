package ews

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/galsyncd/galsyncd/directory"
)

// beginning is an answer up to where a Resolution may stand.
var beginning, _, _ = strings.Cut(string(message("Success", "NoError", `<m:ResolutionSet IncludesLastItemInRange="true">@`)), "@")

// endless gives its head and then the same again and again.
type endless struct {
	head, again string
	at          int
}

func (e *endless) Read(p []byte) (n int, err error) {
	if e.head != "" {
		n = copy(p, e.head)
		e.head = e.head[n:]
		return n, nil
	}
	for n < len(p) {
		c := copy(p[n:], e.again[e.at:])
		n, e.at = n+c, (e.at+c)%len(e.again)
	}
	return n, nil
}

// measured counts what is read, and measures the live heap every 512 KiB.
type measured struct {
	io.Reader
	read, next int64
	base, peak uint64
}

func newMeasured(r io.Reader) *measured { return &measured{Reader: r, base: liveHeap()} }

func (m *measured) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	if m.read += int64(n); m.read >= m.next {
		m.next += 512 << 10
		m.measure()
	}
	return n, err
}

func (m *measured) measure() {
	if live := liveHeap(); live > m.base {
		m.peak = max(m.peak, live-m.base)
	}
}

func liveHeap() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

// ignored is where elements that nobody knows are passed over.
var ignored = beginning + "<t:Resolution><t:Contact>"

func TestHostileAnswers(t *testing.T) {
	entry := "<t:Resolution><t:Mailbox><t:EmailAddress>a@corp.example</t:EmailAddress></t:Mailbox></t:Resolution>"
	value := beginning + "<t:Resolution><t:Contact><t:UserSMIMECertificate>"
	attributes := strings.Repeat(` xmlns:a="b"`, 1000)
	for name, tc := range map[string]struct{ head, again, reason string }{
		"white space":            {beginning, " ", "one element of the answer is longer than 1048576 bytes"},
		"white space before":     {"<?xml version='1.0'?>", " ", "one element"},
		"a comment":              {beginning + "<!--", "<x>", "one element"},
		"CDATA":                  {beginning + "<![CDATA[", "<x>", "one element"},
		"a processing part":      {beginning + "<?x ", "y", "one element"},
		"a tag":                  {beginning + "<x ", `a="" `, "one element"},
		"an attribute":           {beginning + "<x a='", "y", "one element"},
		"a name":                 {beginning + "<", "y", "one element"},
		"a value":                {value + "<t:Base64Binary>", "AAAA", "one element"},
		"a photo":                {beginning + "<t:Resolution><t:Contact><t:Photo>", "AAAA", "one element of the answer is longer than 1048576 bytes"},
		"photos":                 {beginning + "<t:Resolution><t:Contact>", "<t:Photo>" + strings.Repeat("AAAA", 200_000) + "</t:Photo>", "longer than 8388608 bytes"},
		"a folded value":         {value + "<t:Base64Binary>", "AAAA<!-- -->", "elements and texts"},
		"entries":                {beginning, entry, "more than 1000 entries"},
		"values":                 {value, "<t:Base64Binary>AAAA</t:Base64Binary>", "elements and texts"},
		"long values":            {value, "<t:Base64Binary>" + strings.Repeat("AAAA", 100_000) + "</t:Base64Binary>", "longer than 8388608 bytes"},
		"elements":               {ignored, "<x/>", "elements and texts"},
		"elements in each other": {ignored, "<x>", "more than 64 elements inside each other"},
		"tags of 12 KB":          {ignored, "<x" + attributes + "/>", "longer than 8388608 bytes"},
		"tags of 24 KB":          {beginning, "<x" + attributes + attributes + "/>", "a tag of the answer is longer than 16384 bytes"},
		"long texts":             {ignored, strings.Repeat(" ", 1<<19) + "<x/>", "longer than 8388608 bytes"},
		"headers":                {"<s:Envelope xmlns:s='" + nsSOAP + "'>", "<s:Header/>", "elements and texts"},
		"bodies":                 {"<s:Envelope xmlns:s='" + nsSOAP + "'>", "<s:Body/>", "elements and texts"},
		"references":             {ignored + "<x>", "&#1;", "one element"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMeasured(&endless{head: tc.head, again: tc.again})
			started := time.Now()
			in := newInput(m)
			in.maxBytes, in.maxTokens = in.maxBytes/8, in.maxTokens/8 // keeps the test short
			_, err := readAnswer(in)
			if !errors.Is(err, errRefused) || !strings.Contains(err.Error(), tc.reason) {
				t.Errorf("error %v, want %q", err, tc.reason)
			}
			if m.peak > 24<<20 {
				t.Errorf("%d KiB of live heap", m.peak>>10)
			}
			t.Logf("cut after %d KiB, %s, %d KiB of live heap", m.read>>10, time.Since(started).Round(time.Millisecond), m.peak>>10)
		})
	}
}

func TestXMLBomb(t *testing.T) {
	bomb := `<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol">`
	for i := range 10 {
		bomb += fmt.Sprintf(`<!ENTITY lol%d "%s">`, i+1, strings.Repeat("&lol;", 10))
	}
	body := strings.Replace(string(message("Success", "NoError", one)), "a@", "&lol9;@", 1)
	body = bomb + "]>" + body[strings.Index(body, "?>")+2:]
	_, err := replay(t, 200, []byte(body)).Search(t.Context(), "a", true)
	var retry directory.RetryError
	if err == nil || !strings.Contains(err.Error(), "document type declaration") || errors.As(err, &retry) {
		t.Errorf("error %v", err)
	}
}

func TestDeep(t *testing.T) {
	body := strings.Replace(string(message("Success", "NoError", one)), "<m:ResolutionSet", strings.Repeat("<x>", 10_000)+strings.Repeat("</x>", 10_000)+"<m:ResolutionSet", 1)
	_, err := replay(t, 200, []byte(body)).Search(t.Context(), "a", true)
	if err == nil || !strings.Contains(err.Error(), "inside each other") {
		t.Errorf("error %v", err)
	}
}

// TestGzipBomb sends 1 GiB of spaces as 1 MB.
func TestGzipBomb(t *testing.T) {
	c := handle(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
		_, _ = io.WriteString(z, beginning)
		for spaces, n := bytes.Repeat([]byte(" "), 1<<20), 0; n < 1<<10 && r.Context().Err() == nil; n++ {
			_, _ = z.Write(spaces)
		}
		_ = z.Close()
	})
	_, err := c.Search(t.Context(), "a", true)
	if err == nil || !strings.Contains(err.Error(), "one element of the answer is longer") {
		t.Errorf("error %v", err)
	}
}

// TestCutOff reads an answer that ends after each of its bytes: never as an answer, never as none.
func TestCutOff(t *testing.T) {
	all := samples(t)
	for _, name := range []string{"synthetic-multiple-mixed-types.xml", "resolvenames-noresults-msdocs.xml", "synthetic-fault-serverbusy.xml"} {
		body := bytes.TrimRight(all[name], " \t\r\n")
		for n := range len(body) {
			in := newInput(bytes.NewReader(body[:n]))
			err := in.sniff(false)
			if err == nil {
				_, err = readAnswer(in)
			}
			if err == nil {
				t.Fatalf("%s: read without an error after %d of %d bytes", name, n, len(body))
			}
		}
	}
}

// fullAnswer is an answer of a hundred people with photos and two certificates each, and the bytes of the certificates.
func fullAnswer(photo, certificate int) (body []byte, kept int) {
	var b bytes.Buffer
	b.WriteString(beginning)
	encoded := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0x30, 0x82, 0x55}, photo/3))
	cert := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0x30, 0x82, 0x55}, certificate/3))
	for i := range 100 {
		fmt.Fprintf(&b, "<t:Resolution><t:Mailbox><t:Name>User %03d</t:Name><t:EmailAddress>user%03d@corp.example</t:EmailAddress><t:RoutingType>SMTP</t:RoutingType>"+
			"<t:MailboxType>Mailbox</t:MailboxType></t:Mailbox><t:Contact><t:DisplayName>User %03d</t:DisplayName><t:ContactSource>ActiveDirectory</t:ContactSource>"+
			"<t:Photo>%s</t:Photo><t:UserSMIMECertificate><t:Base64Binary>%s</t:Base64Binary></t:UserSMIMECertificate>"+
			"<t:MSExchangeCertificate><t:Base64Binary>%s</t:Base64Binary></t:MSExchangeCertificate></t:Contact></t:Resolution>", i, i, i, encoded, cert, cert)
		kept += 2 * (certificate / 3 * 3)
	}
	b.WriteString("</m:ResolutionSet></m:ResolveNamesResponseMessage></m:ResponseMessages></m:ResolveNamesResponse></s:Body></s:Envelope>")
	return b.Bytes(), kept
}

// TestPhotosCostNoMemory measures the live heap while an answer with photos is read, next to one without.
func TestPhotosCostNoMemory(t *testing.T) {
	peak := func(photo int) (uint64, int, int) {
		body, kept := fullAnswer(photo, 1500)
		m := newMeasured(bytes.NewReader(body))
		a, err := readAnswer(newInput(m))
		if err != nil || len(a.set.resolutions) != 100 || len(a.set.resolutions[99].Contact.Values) != 2 {
			t.Fatal(err)
		}
		m.measure() // with all that is kept
		runtime.KeepAlive(a)
		runtime.KeepAlive(body)
		return m.peak, kept, len(body)
	}
	without, kept, _ := peak(0)
	with, _, size := peak(20_000)
	t.Logf("100 entries, answer of %d KiB: %d KiB of live heap with photos of 20 KB, %d KiB without, of which %d KiB are certificates", size>>10, with>>10, without>>10, kept>>10)
	if with > without+256<<10 || with > uint64(kept)+1<<20 {
		t.Errorf("photos cost %d KiB", (with-without)>>10)
	}
}

func BenchmarkReadAnswer(b *testing.B) {
	body, _ := fullAnswer(20_000, 1500)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := readAnswer(newInput(bytes.NewReader(body))); err != nil {
			b.Fatal(err)
		}
	}
}

// pipeServer answers over a pipe inside a bubble of fake time.
func pipeServer(t *testing.T, answer func(net.Conn)) *Client {
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			if _, err := http.ReadRequest(bufio.NewReader(server)); err == nil {
				go func() { _, _ = io.Copy(io.Discard, server) }()
				answer(server)
			}
		}()
		return client, nil
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &Client{URL: "http://127.0.0.1/EWS/Exchange.asmx", HTTP: &http.Client{Transport: transport}}
}

// TestSlowAnswers measures on a fake clock how long a request may last.
func TestSlowAnswers(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 1000000\r\n\r\n"
	for name, answer := range map[string]func(net.Conn){
		"nothing": func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) },
		"the header drips": func(c net.Conn) {
			for i := 0; ; i++ {
				if _, err := c.Write([]byte(head[i%len(head) : i%len(head)+1])); err != nil {
					return
				}
				time.Sleep(20 * time.Second)
			}
		},
		"the body drips": func(c net.Conn) {
			_, _ = io.WriteString(c, head+ignored)
			for {
				if _, err := c.Write([]byte("<x/>")); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := pipeServer(t, answer)
				started := time.Now()
				_, err := c.Search(t.Context(), "a", true)
				var retry directory.RetryError
				if !errors.As(err, &retry) || !strings.Contains(err.Error(), "no complete answer within 1m0s") {
					t.Errorf("error %v", err)
				}
				if d := time.Since(started); d != DefaultTimeout {
					t.Errorf("it took %s", d)
				}
				c.HTTP.CloseIdleConnections()
				time.Sleep(time.Minute) // on the fake clock: the server sees that the client left
			})
		})
	}
}

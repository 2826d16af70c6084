package exchangesim

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestOptionsAreChecked(t *testing.T) {
	for name, o := range map[string]Options{
		"no password":    {Auth: AuthNTLM, User: testUser},
		"no user":        {Auth: AuthBasic, Password: "x"},
		"unknown auth":   {Auth: "kerberos"},
		"plain password": {Auth: AuthBasic, User: testUser, Password: "x", Plain: true},
		"all addresses":  {Listen: "0.0.0.0:0"},
		"no host":        {Listen: ":443"},
		"other machine":  {Listen: "192.0.2.1:443"},
		"name":           {Listen: "mail.example.com:443"},
		"no port":        {Listen: "127.0.0.1"},
		"negative":       {Entries: -1},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestTLS(t *testing.T) {
	one, two := start(t, Options{}), start(t, Options{})
	if one.TLSCA().Equal(two.TLSCA()) {
		t.Error("two starts share a TLS authority")
	}
	if !one.SMIMECA().Equal(two.SMIMECA()) {
		t.Error("two starts have two S/MIME authorities")
	}
	for _, host := range []string{"localhost", "127.0.0.1", "[::1]"} {
		if err := one.leaf.Certificate.VerifyHostname(strings.Trim(host, "[]")); err != nil {
			t.Error(err)
		}
	}
	if _, err := client(t, two).Post(one.URL(), "text/xml", strings.NewReader(briefRequest(Alice))); err == nil {
		t.Error("a client that trusts another authority was served")
	}
}

func TestPlain(t *testing.T) {
	s := start(t, Options{Plain: true})
	if !strings.HasPrefix(s.URL(), "http://127.0.0.1:") {
		t.Fatal(s.URL())
	}
	if _, body := post(t, http.DefaultClient, s.URL(), briefRequest(Alice)); len(body) == 0 {
		t.Error("no answer")
	}
}

func TestHTTPRefusals(t *testing.T) {
	s := start(t, Options{Plain: true})
	base := strings.TrimSuffix(s.URL(), Path)
	for _, tt := range []struct {
		method, url, contentType, body string
		want                           int
	}{
		{"POST", base + "/ews/exchange.ASMX", "text/xml; charset=utf-8", briefRequest(Alice), 200},
		{"POST", base + "/", "text/xml", briefRequest(Alice), 404},
		{"GET", s.URL(), "", "", 405},
		{"POST", s.URL(), "application/json", "{}", 415},
		{"POST", s.URL(), "text/xml", strings.Repeat(" ", maxRequest+1), 413},
		{"POST", s.URL(), "text/xml", "<", 500},
	} {
		r, err := http.NewRequestWithContext(t.Context(), tt.method, tt.url, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", tt.contentType)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != tt.want {
			t.Errorf("%s %s: status %d, want %d", tt.method, tt.url, answer.StatusCode, tt.want)
		}
	}
}

func TestGzipAndCounters(t *testing.T) {
	s := start(t, Options{})
	c := client(t, s)
	c.Transport.(*http.Transport).DisableCompression = true
	get := func(encoding string) *http.Response {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL(), strings.NewReader(resolveRequest("smtp:"+Alice)))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "text/xml")
		r.Header.Set("return-client-request-id", "true")
		r.Header.Set("client-request-id", "one")
		if encoding != "" {
			r.Header.Set("Accept-Encoding", encoding)
		}
		answer, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	plain := get("")
	body, err := io.ReadAll(plain.Body)
	plain.Body.Close()
	if err != nil || plain.Header.Get("Content-Encoding") != "" || plain.Header.Get("client-request-id") != "one" {
		t.Fatalf("%v %v", err, plain.Header)
	}
	if got := s.Requests(); got.BytesSent != int64(len(body)) || got.HTTP != 1 || got.ResolveNames != 1 || got.Full != 1 {
		t.Errorf("%+v after an answer of %d bytes", got, len(body))
	}
	compressed := get("gzip, deflate")
	defer compressed.Body.Close()
	z, err := gzip.NewReader(compressed.Body)
	if err != nil {
		t.Fatal(err)
	}
	unpacked, err := io.ReadAll(z)
	if err != nil || string(unpacked) != string(body) {
		t.Errorf("%d bytes instead of %d: %v", len(unpacked), len(body), err)
	}
	if got := s.Requests(); got.BytesSent >= int64(2*len(body)) || got.HTTP != 2 {
		t.Errorf("%+v after a second, compressed answer", got)
	}
}

func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Options{Latency: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		r := (&http.Request{}).WithContext(t.Context())
		began := time.Now()
		if !s.wait(r) || time.Since(began) != time.Second {
			t.Errorf("waited %v", time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if s.wait(r.WithContext(ctx)) {
			t.Error("waited for a client that had left")
		}
	})
}

// TestManyClients asks, changes and spoils at the same time; it is for the race detector.
func TestManyClients(t *testing.T) {
	s := start(t, Options{Entries: 300, Seed: 6})
	c := client(t, s)
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for i := range 15 {
				switch d := s.Directory(); worker {
				case 0:
					address := fmt.Sprintf("temp%d@corp.example", i)
					if err := d.Add(Person{Primary: address, DisplayName: "Temp", Recipe: Usable}); err != nil {
						t.Error(err)
					}
					if err := d.RenamePrimary(address, "new-"+address); err != nil {
						t.Error(err)
					}
					d.HideCertificates(float64(i) / 100)
					if i%2 == 0 {
						if err := d.Remove(address); err != nil {
							t.Error(err)
						}
					}
				case 1:
					s.Fault(Fault{Kind: FaultNoCertificates, Requests: 1})
					d.PrefixCost("tem")
					d.People()
					s.Requests()
				default:
					r, err := c.Post(s.URL(), "text/xml", strings.NewReader(resolveRequest([]string{"smtp:t", "smtp:a", "temp"}[i%3])))
					if err != nil {
						t.Error(err)
						return
					}
					io.Copy(io.Discard, r.Body)
					r.Body.Close()
				}
			}
		})
	}
	group.Wait()
}

func TestCloseEndsHangingAnswers(t *testing.T) {
	s := start(t, Options{})
	s.Fault(Fault{Kind: FaultHang})
	asked := make(chan error)
	c := client(t, s)
	go func() {
		_, err := c.Post(s.URL(), "text/xml", strings.NewReader(briefRequest(Alice)))
		asked <- err
	}()
	for s.Requests().Faults == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-asked; err == nil {
		t.Error("an answer out of a hanging server")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestCloseWithoutStart(t *testing.T) {
	s, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

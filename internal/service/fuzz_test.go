package service

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// FuzzQuery: whatever a URL and an Accept header say, the answer is one of the document's.
func FuzzQuery(f *testing.F) {
	f.Add("/v1/recipients", "address=bob@example.com&explain=1", "*/*")
	f.Add("/v1/entries", "query=bo&limit=3", "application/json;q=0.5, */*;q=NaN")
	f.Add("/v1/directory", "address=%ff;", "a/b;q=2")
	f.Add("/v1/certificates/"+strings.Repeat("ab", 32), "", "application/pkix-cert")
	f.Add("/v1/certificates/", "x", ",,;")
	f.Add("/v1/fingerprints", "beginning=01:23:45:67:8", "")
	f.Add("/v1/sync", "full=%zz", "")
	s := &Server{ownUID: func() int { return ownerUID }, database: fakeUsers{}}
	fill(f, s)
	f.Fuzz(func(t *testing.T, path, query, accept string) {
		r := httptest.NewRequest("GET", "http://localhost/", nil)
		r.URL.Path, r.URL.RawQuery = path, query
		r.Header.Set("Accept", accept)
		r = r.WithContext(context.WithValue(r.Context(), peerKey{}, Peer{UID: ownerUID}))
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.Code >= 500 && !strings.Contains(query, "broken") {
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
		if w.Code != 200 {
			var p Problem
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Status != w.Code {
				t.Fatalf("status %d: %v: %s", w.Code, err, w.Body)
			}
		}
	})
}

// FuzzUnlockBody: whatever the body, no panic and no answer of 500.
func FuzzUnlockBody(f *testing.F) {
	f.Add([]byte(`{"passphrase":"x","for":"1h"}`))
	f.Add([]byte(`{"passphrase":"\ud800"}`))
	f.Add([]byte(`{"for":"9999999h","passphrase":null}`))
	s := &Server{Role: RoleUser, ownUID: func() int { return ownerUID }}
	fill(f, s)
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequest("POST", "http://localhost/v1/unlock", bytes.NewReader(body))
		r = r.WithContext(context.WithValue(r.Context(), peerKey{}, Peer{UID: ownerUID}))
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
	})
}

// FuzzOutbox: what goes in comes out, in order, however the two sides meet.
func FuzzOutbox(f *testing.F) {
	f.Add([]byte{1, 200, 255, 3}, uint8(1))
	f.Add(bytes.Repeat([]byte{255}, 100), uint8(0))
	f.Fuzz(func(t *testing.T, sizes []byte, patience uint8) {
		sizes = sizes[:min(len(sizes), 60)]
		o := newOutbox(&spools{left: 1 << 30}, time.Duration(patience)*time.Microsecond)
		var want, got bytes.Buffer
		drained := make(chan error)
		go func() { drained <- o.drain(&got) }()
		for i, size := range sizes {
			p := bytes.Repeat([]byte{byte(i)}, int(size)*200)
			want.Write(p)
			if _, err := o.Write(p); err != nil {
				t.Fatal(err)
			}
		}
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-drained; err != nil || !bytes.Equal(want.Bytes(), got.Bytes()) {
			t.Fatalf("%d bytes in, %d out, %v", want.Len(), got.Len(), err)
		}
	})
}

// BenchmarkLookup is the cost of one look-up over the socket, the book aside.
func BenchmarkLookup(b *testing.B) {
	h := serve(b, &Server{})
	h.Log = nil
	transport := h.client.Transport.(*http.Transport).Clone()
	transport.DisableKeepAlives, transport.MaxIdleConnsPerHost = false, 8
	client := &http.Client{Transport: transport}
	ask := func(b *testing.B) {
		answer, err := client.Get("http://localhost" + lookup)
		if err != nil {
			b.Error(err)
			return
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
	}
	b.Run("serial", func(b *testing.B) {
		for b.Loop() {
			ask(b)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.SetParallelism(2)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				ask(b)
			}
		})
	})
}

package revocation

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"maps"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/galsyncd/galsyncd/trust"
)

// memory is a Store without a file.
type memory struct {
	mu     sync.RWMutex
	values map[string][]byte
}

func (m *memory) ViewRevocations(f func(Tx) error) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return f(memoryTx{m})
}

func (m *memory) UpdateRevocations(f func(Tx) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return f(memoryTx{m})
}

type memoryTx struct{ *memory }

func (m memoryTx) keys(prefix []byte) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(m.values)), func(k string) bool { return !strings.HasPrefix(k, string(prefix)) })
}

func (m memoryTx) Get(key []byte) ([]byte, error) { return m.values[string(key)], nil }

func (m memoryTx) Floor(prefix, key []byte) (found, value []byte, err error) {
	for _, k := range slices.Backward(m.keys(prefix)) {
		if k <= string(key) {
			return []byte(k), m.values[k], nil
		}
	}
	return nil, nil, nil
}

func (m memoryTx) Each(prefix []byte, f func(key, value []byte) error) error {
	for _, k := range m.keys(prefix) {
		if err := f([]byte(k), m.values[k]); err != nil {
			return err
		}
	}
	return nil
}

func (m memoryTx) Put(key, value []byte) error {
	m.values[string(key)] = bytes.Clone(value)
	return nil
}

func (m memoryTx) Delete(prefix []byte) error {
	for _, k := range m.keys(prefix) {
		delete(m.values, k)
	}
	return nil
}

// wire answers requests without a network.
type wire func(*http.Request) (*http.Response, error)

func (w wire) RoundTrip(r *http.Request) (*http.Response, error) { return w(r) }

// TestServe: without any sync, what was asked for is fetched within a minute, again before it ends, and after failures
// less and less often.
func TestServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := &authority{}
		*ca = *newAuthority(t, "CA", x509.KeyUsageCertSign|x509.KeyUsageCRLSign)
		ca.cert.NotAfter = time.Now().AddDate(100, 0, 0)
		leaf := ca.sign(t, &x509.Certificate{SerialNumber: big.NewInt(5), Subject: pkix.Name{CommonName: "P"}, NotBefore: time.Now().AddDate(-1, 0, 0),
			NotAfter: time.Now().AddDate(1, 0, 0), CRLDistributionPoints: []string{listURL}}, ca.key)
		var mu sync.Mutex
		var asked []time.Time
		down := false
		client := &Client{maxSize: DefaultMaxSize, http: &http.Client{Transport: wire(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, time.Now())
			if down {
				return &http.Response{StatusCode: http.StatusBadGateway, Body: io.NopCloser(strings.NewReader("")), Request: r}, nil
			}
			list := ca.crl(t, x509.RevocationList{ThisUpdate: time.Now(), NextUpdate: time.Now().Add(8 * time.Hour)})
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(list)), Request: r}, nil
		})}}
		s := &Service{Store: &memory{values: map[string][]byte{}}, Client: client}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			s.Serve(ctx, time.Minute)
			close(done)
		}()
		requests := func() []time.Time {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(asked)
		}
		status := func() trust.RevocationStatus { return s.Revocation(leaf, ca.cert, time.Now()).Status }
		start := time.Now()
		if status() != trust.StatusUnknown || len(requests()) > 0 {
			t.Errorf("known without a question")
		}
		time.Sleep(24*time.Hour - time.Second)
		if status() != trust.StatusGood || len(requests()) != 6 {
			t.Errorf("%s after a day with %d requests, want one in 4 hours", status(), len(requests()))
		}
		if first := requests()[0].Sub(start); first > time.Minute {
			t.Errorf("first asked after %s", first)
		}
		mu.Lock()
		down, asked = true, nil
		mu.Unlock()
		time.Sleep(24 * time.Hour)
		if n := len(requests()); status() != trust.StatusUnknown || n < 6 || n > 9 {
			t.Errorf("%s after a day without a server, asked %d times", status(), n)
		}
		cancel()
		<-done
	})
}

// TestSoon: what somebody waits for is fetched at once.
func TestSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newAuthority(t, "CA", x509.KeyUsageCertSign|x509.KeyUsageCRLSign)
		leaf := ca.sign(t, &x509.Certificate{SerialNumber: big.NewInt(5), Subject: pkix.Name{CommonName: "P"}, NotBefore: time.Now().AddDate(-1, 0, 0),
			NotAfter: time.Now().AddDate(1, 0, 0), CRLDistributionPoints: []string{listURL}}, ca.key)
		client := &Client{maxSize: DefaultMaxSize, http: &http.Client{Transport: wire(func(r *http.Request) (*http.Response, error) {
			list := ca.crl(t, x509.RevocationList{ThisUpdate: time.Now(), NextUpdate: time.Now().Add(8 * time.Hour)})
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(list)), Request: r}, nil
		})}}
		s := &Service{Store: &memory{values: map[string][]byte{}}, Client: client}
		s.Soon() // before Serve, and with nothing to do
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go s.Serve(ctx, time.Minute)
		began := time.Now()
		status := func() trust.RevocationStatus { return s.Revocation(leaf, ca.cert, time.Now()).Status }
		if got := status(); got != trust.StatusUnknown {
			t.Errorf("%s before it was fetched", got)
		}
		synctest.Wait()
		s.Soon()
		s.Soon()
		synctest.Wait()
		if got, took := status(), time.Since(began); got != trust.StatusGood || took >= time.Second {
			t.Errorf("%s after %s, want good at once", got, took)
		}
	})
}

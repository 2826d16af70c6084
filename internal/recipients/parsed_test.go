package recipients

import (
	"crypto/sha256"
	"testing"
)

func TestParsedCache(t *testing.T) {
	f := newFixture(t)
	var p parsedCache
	der := f.good().Raw
	first, err := p.read(der)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := p.read(der); err != nil || again != first {
		t.Errorf("read again: %p, %v; want %p", again, err, first)
	}
	for i := range generationSize {
		p.mu.Lock()
		p.put(sha256.Sum256([]byte{byte(i), byte(i >> 8)}), first)
		p.mu.Unlock()
		if i%1000 == 0 { // what is in use stays
			if again, _ := p.read(der); again != first {
				t.Fatalf("forgotten after %d others", i)
			}
		}
	}
	if n := len(p.young) + len(p.older); n > 2*generationSize {
		t.Errorf("%d certificates are kept", n)
	}
	if _, err := p.read(der[:100]); err == nil || p.known(sha256.Sum256(der[:100])) != nil {
		t.Errorf("damaged certificate: %v", err)
	}
	if got := p.readAll([][]byte{der, nil, der[:50]}); len(got) != 1 || got[0] != first.X509 {
		t.Errorf("readAll: %v", got)
	}
}

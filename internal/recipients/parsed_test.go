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
		p.known.Put(sha256.Sum256([]byte{byte(i), byte(i >> 8)}), first, generationSize)
		if i%1000 == 0 { // what is in use stays
			if again, _ := p.read(der); again != first {
				t.Fatalf("forgotten after %d others", i)
			}
		}
	}
	_, err = p.read(der[:100])
	if _, kept := p.known.Get(sha256.Sum256(der[:100])); err == nil || kept {
		t.Errorf("damaged certificate: %v, kept %t", err, kept)
	}
	if got := p.readAll([][]byte{der, nil, der[:50]}); len(got) != 1 || got[0] != first.X509 {
		t.Errorf("readAll: %v", got)
	}
}

package cache

import (
	"errors"
	"testing"

	"github.com/galsyncd/galsyncd/directory"
)

// FuzzContact reads anything as a stored contact: no panic, and every failure is damage.
func FuzzContact(f *testing.F) {
	f.Add([]byte(`{"ID":"AAMk=","Version":"1","displayName":"X","addresses":["a@x.example"],"certificates":[{"raw":"AA==","property":"UserSMIMECertificate"}]}`), true)
	f.Add([]byte(`{"intermediates":[null,""],"changed":"x"}`), true)
	f.Add([]byte("short"), false)
	f.Fuzz(func(t *testing.T, b []byte, sealed bool) {
		if sealed {
			b = seal(b)
		}
		c, err := decodeContact(b)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		for _, key := range contactKeys(c) {
			if len(key) == 0 {
				t.Fatal("an empty key")
			}
		}
		if words := contactWords(directory.Contact{DisplayName: c.DisplayName}); words != nil {
			t.Fatalf("words of somebody without an address: %v", words)
		}
	})
}

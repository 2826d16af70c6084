package daemon

import (
	"fmt"
	"os"

	"github.com/galsyncd/galsyncd/cms"
)

// Spool makes a place for ciphertext: a file in dir without a name, which is gone when it is closed or the process ends.
func Spool(dir string) func() (cms.Spool, error) {
	return func() (cms.Spool, error) {
		f, err := os.CreateTemp(dir, "spool-*")
		if err != nil {
			return nil, fmt.Errorf("make a place for the ciphertext: %w", err)
		}
		if err := os.Remove(f.Name()); err != nil {
			f.Close()
			return nil, fmt.Errorf("make a place for the ciphertext: %w", err)
		}
		return f, nil
	}
}

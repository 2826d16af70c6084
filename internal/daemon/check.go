package daemon

import (
	"context"
	"errors"
	"os"

	"github.com/galsyncd/galsyncd/cache"
	"github.com/galsyncd/galsyncd/internal/keyring"
	"github.com/galsyncd/galsyncd/internal/service"
)

// Checker verifies the files of the daemon. It implements service.Checker.
type Checker struct {
	Cache *cache.Cache
	// Name is "keyring", or "installed" for the file of certificates installed for everyone.
	Name string
	// Keyring is nil when it could not be opened; KeyringErr then says why.
	Keyring     *keyring.Keyring
	KeyringErr  error
	KeyringPath string
}

// Check implements service.Checker.
func (c Checker) Check(ctx context.Context) (service.CheckReport, error) {
	files := []service.FileCheck{fileCheck("cache", c.Cache.Path(), c.Cache.Check(ctx), "restart galsyncd: it sets the file aside and fetches the address book again")}
	const restore = "restore a copy; galsyncd does not touch it"
	switch {
	case c.KeyringErr != nil:
		files = append(files, fileCheck(c.Name, c.KeyringPath, c.KeyringErr, restore))
	case c.Keyring != nil:
		files = append(files, fileCheck(c.Name, c.KeyringPath, c.Keyring.Check(), restore))
	}
	report := service.CheckReport{OK: true, Files: files}
	for _, f := range files {
		report.OK = report.OK && f.State == "ok"
	}
	return report, ctx.Err()
}

func fileCheck(name, path string, err error, hint string) service.FileCheck {
	f := service.FileCheck{Name: name, Path: path, State: "ok"}
	switch {
	case errors.Is(err, os.ErrNotExist):
		f.State = "missing"
	case err != nil:
		f.State, f.Detail, f.Hint = "damaged", err.Error(), hint
	}
	return f
}

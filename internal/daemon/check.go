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
	files := []service.FileCheck{FileCheck("cache", c.Cache.Path(), c.Cache.Check(ctx), "restart galsyncd: it sets the file aside and fetches the address book again")}
	switch {
	case c.KeyringErr != nil:
		files = append(files, FileCheck(c.Name, c.KeyringPath, c.KeyringErr, ""))
	case c.Keyring != nil:
		files = append(files, FileCheck(c.Name, c.KeyringPath, c.Keyring.Check(), ""))
	}
	report := service.CheckReport{OK: true, Files: files}
	for _, f := range files {
		report.OK = report.OK && f.State == "ok"
	}
	return report, ctx.Err()
}

// FileCheck says what the error means that verifying a file gave: only what is damaged is called so, because a copy that is put
// in its place is older. An empty hint is made of the error.
func FileCheck(name, path string, err error, hint string) service.FileCheck {
	f := service.FileCheck{Name: name, Path: path, State: "ok"}
	switch {
	case err == nil:
		return f
	case errors.Is(err, os.ErrNotExist):
		f.State = "missing"
		return f
	case errors.Is(err, cache.ErrDamaged), errors.Is(err, keyring.ErrDamaged):
		f.State = "damaged"
	default:
		f.State = "unusable"
	}
	f.Detail, f.Hint = err.Error(), hint
	if p, ok := errors.AsType[*service.Problem](keyringProblem("check the file", err)); ok && hint == "" {
		f.Hint = p.Hint
	}
	return f
}

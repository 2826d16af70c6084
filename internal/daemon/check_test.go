package daemon

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/galsyncd/galsyncd/cache"
	"github.com/galsyncd/galsyncd/internal/keyring"
	"github.com/galsyncd/galsyncd/internal/service"
)

// TestFileCheck: who is told to restore a copy loses what came after it, so only what is damaged is called damaged.
func TestFileCheck(t *testing.T) {
	for _, tc := range []struct {
		err         error
		state, hint string
	}{
		{nil, "ok", ""},
		{os.ErrNotExist, "missing", ""},
		{keyring.ErrDamaged, "damaged", "restore a copy; galsyncd does not touch the file"},
		{cache.ErrDamaged, "damaged", ""},
		{keyring.ErrNewerSchema, "unusable", "install the newer galsyncd again"},
		{keyring.ErrInUse, "unusable", "end the other process"},
		{keyring.ErrExposed, "unusable", "chmod 700 the folder and 600 the file"},
		{os.ErrPermission, "unusable", ""},
	} {
		err := tc.err
		if err != nil {
			err = fmt.Errorf("open the file: %w", err)
		}
		f := FileCheck("keyring", "/x/keyring.db", err, "")
		if f.State != tc.state || f.Hint != tc.hint || (f.Detail == "") != (tc.state == "ok" || tc.state == "missing") {
			t.Errorf("%v: %+v", tc.err, f)
		}
	}
}

// TestKeyringWithoutRoom: a full disk is no fault of what was to be imported.
func TestKeyringWithoutRoom(t *testing.T) {
	err := keyringProblem("import the identity", fmt.Errorf("import PEM: %w", &os.PathError{Op: "write", Path: "keyring.db", Err: syscall.ENOSPC}))
	p, ok := errors.AsType[*service.Problem](err)
	if !ok || p.Code != service.CodeKeyringUnavailable || p.Hint == "" {
		t.Errorf("got %+v", err)
	}
}

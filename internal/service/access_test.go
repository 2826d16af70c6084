package service

import (
	"context"
	"errors"
	"net"
	"os"
	"os/user"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestAccess is the table of the contract: who may make which request in which role.
func TestAccess(t *testing.T) {
	const everybody, administrators, nobody, onlyOwner = "root owner alice bob mallory", "root owner alice bob", "", "owner"
	table := map[string]struct{ system, user string }{
		"GET /v1/status":                         {everybody, onlyOwner},
		"GET /v1/sync":                           {everybody, onlyOwner},
		"POST /v1/sync":                          {administrators, onlyOwner},
		"GET /v1/recipients":                     {everybody, onlyOwner},
		"GET /v1/directory":                      {everybody, onlyOwner},
		"GET /v1/entries":                        {everybody, onlyOwner},
		"GET /v1/fingerprints":                   {everybody, onlyOwner},
		"GET /v1/certificates/{sha256}":          {everybody, onlyOwner},
		"GET /v1/certificates":                   {administrators, onlyOwner},
		"POST /v1/certificates":                  {administrators, onlyOwner},
		"DELETE /v1/certificates/{sha256}":       {administrators, onlyOwner},
		"PUT /v1/certificates/{sha256}/trust":    {administrators, onlyOwner},
		"DELETE /v1/certificates/{sha256}/trust": {administrators, onlyOwner},
		"POST /v1/encrypt":                       {everybody, onlyOwner},
		"POST /v1/verify":                        {everybody, onlyOwner},
		"POST /v1/sign":                          {nobody, onlyOwner},
		"POST /v1/decrypt":                       {nobody, onlyOwner},
		"GET /v1/identities":                     {nobody, onlyOwner},
		"POST /v1/identities":                    {nobody, onlyOwner},
		"POST /v1/lock":                          {nobody, onlyOwner},
		"GET /v1/identities/{sha256}":            {nobody, onlyOwner},
		"DELETE /v1/identities/{sha256}":         {nobody, onlyOwner},
		"POST /v1/identities/{sha256}/export":    {nobody, onlyOwner},
		"POST /v1/identities/requests":           {nobody, onlyOwner},
		"DELETE /v1/identities/requests/{id}":    {nobody, onlyOwner},
		"GET /v1/preferences":                    {nobody, onlyOwner},
		"PUT /v1/preferences":                    {nobody, onlyOwner},
		"POST /v1/keyring/passphrase":            {nobody, onlyOwner},
		"GET /v1/keyring/backup":                 {nobody, onlyOwner},
		"POST /v1/unlock":                        {nobody, onlyOwner},
		"GET /v1/check":                          {administrators, onlyOwner},
		"GET /v1/version":                        {everybody, onlyOwner},
		"GET /v1/openapi.json":                   {everybody, onlyOwner},
	}
	callers := map[string]uint32{"root": 0, "owner": ownerUID, "alice": adminUID, "bob": groupAdminUID, "mallory": strangerUID}
	for _, role := range []Role{RoleSystem, RoleUser} {
		h := serve(t, &Server{Role: role, Admins: []string{"root", "alice", "@galsyncd-admin", "@no-such-group"}})
		for _, r := range routes() {
			line, ok := table[r.method+" "+r.pattern]
			if !ok {
				t.Errorf("%s %s is not in the table", r.method, r.pattern)
				continue
			}
			may := line.system
			if role == RoleUser {
				may = line.user
			}
			for name, uid := range callers {
				h.uid.Store(uid)
				got := h.do(t, r.method, r.pattern, nil)
				if want := strings.Contains(may, name); want == (got.status == 403) {
					t.Errorf("%s role: %s by %s: status %d, want allowed %v", role, r.pattern, name, got.status, want)
				}
				if got.status == 403 {
					if p := got.problem(t); p.Code != CodeNotAllowed || p.Hint == "" {
						t.Errorf("%s by %s: %+v", r.pattern, name, p)
					}
				}
			}
		}
	}
}

// TestOwnKeysInSystemRole: every private-key request is refused with the way out, those to come included.
func TestOwnKeysInSystemRole(t *testing.T) {
	h := serve(t, &Server{})
	for _, url := range []string{"POST /v1/sign", "POST /v1/decrypt", "GET /v1/identities", "DELETE /v1/identities/x", "PUT /v1/identities",
		"POST /v1/lock", "POST /v1/unlock", "GET /v1/preferences", "PUT /v1/preferences", "GET /v1/keyring/backup", "POST /v1/keyring/anything"} {
		method, path, _ := strings.Cut(url, " ")
		p := h.do(t, method, path, nil).problem(t)
		if p.Code != CodeNotAllowed || !strings.Contains(p.Hint, "systemctl --user enable --now galsyncd") {
			t.Errorf("%s: %+v", url, p)
		}
	}
	if p := h.do(t, "POST", "/v1/signs", nil).problem(t); p.Code != CodeNotFound {
		t.Errorf("%+v", p)
	}
}

// TestUnidentifiedPeer: without credentials there is no answer at all.
func TestUnidentifiedPeer(t *testing.T) {
	h := serve(t, &Server{credentials: func(*net.UnixConn) (Peer, error) { return Peer{}, errors.New("no") }})
	if _, err := h.client.Get("http://localhost/v1/version"); err == nil {
		t.Error("answered a stranger")
	}
}

// TestRealCredentials: what the kernel says of this very process.
func TestRealCredentials(t *testing.T) {
	h := serve(t, &Server{Role: RoleUser, credentials: peerCredentials, ownUID: os.Geteuid})
	if r := h.do(t, "GET", "/v1/version", nil); r.status != 200 {
		t.Errorf("status %d: %s", r.status, r.body)
	}
}

func TestListed(t *testing.T) {
	for _, test := range []struct {
		list string
		uid  uint32
		want bool
	}{
		{"root", 0, true}, {"root", 1001, false}, {"alice", 1001, true}, {"1001", 1001, true}, {"100", 1001, false},
		{"@galsyncd-admin", 1002, true}, {"@galsyncd-admin", 1001, false}, {"galsyncd-admin", 1002, false}, {"@77", 1002, false},
		{"@no-such-group,alice", 1001, true}, {"", 0, false}, {"@", 0, false}, {"nobody-knows", 4242, false},
	} {
		if got := listed(strings.Split(test.list, ","), test.uid, fakeUsers{}); got != test.want {
			t.Errorf("listed(%q, %d) = %v", test.list, test.uid, got)
		}
	}
}

// TestSystemUsers asks the real database about this user.
func TestSystemUsers(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatalf("user database: %v", err)
	}
	name, err := systemUsers{}.Name(me.Uid)
	if err != nil || name != me.Username {
		t.Errorf("%q, %v", name, err)
	}
	if groups, err := (systemUsers{}).Groups(me.Uid); err != nil || len(groups) == 0 {
		t.Errorf("%v, %v", groups, err)
	}
}

// hangingUsers never answers.
type hangingUsers struct {
	users
	end chan struct{}
}

func (h hangingUsers) Name(string) (string, error) {
	<-h.end
	return "", errors.New("at last")
}

// TestSlowUserDatabase: a database that does not answer makes nobody an administrator and holds nobody up for ever.
func TestSlowUserDatabase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := make(chan struct{})
		s := &Server{Admins: []string{"alice"}, database: hangingUsers{end: end}}
		began := time.Now()
		if s.isAdmin(context.Background(), adminUID) {
			t.Error("is an administrator")
		}
		if took := time.Since(began); took != adminTimeout {
			t.Errorf("took %v", took)
		}
		close(end)
	})
}

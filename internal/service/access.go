package service

import (
	"context"
	"os/user"
	"strconv"
	"strings"
	"time"
)

// Role says for whom the daemon works.
type Role string

// The two roles. The zero value of Role counts as RoleSystem, which may do less.
const (
	// RoleSystem serves look-ups and encryption to every local user and holds no private key.
	RoleSystem Role = "system"
	// RoleUser serves one user, and nobody else, not even root: the keyring is that user's.
	RoleUser Role = "user"
)

// audience says who may make a request.
type audience int

const (
	refused audience = iota // nobody, in this role
	anyUID
	admins // Server.Admins and the uid that runs the daemon
	owner  // the uid that runs the daemon
)

// access is one line of the table: who may make a request in either role. The table itself is routes.
type access struct{ system, user audience }

// The four lines that occur in the table of the contract.
var (
	forAll    = access{system: anyUID, user: owner}
	forAdmins = access{system: admins, user: owner}
	forOwner  = access{system: refused, user: owner}
)

// ownKeys are the paths that concern private keys, those included that a system daemon will never have.
var ownKeys = []string{"/v1/sign", "/v1/decrypt", "/v1/identities", "/v1/lock", "/v1/unlock", "/v1/preferences", "/v1/keyring"}

func concernsOwnKeys(path string) bool {
	for _, p := range ownKeys {
		if rest, ok := strings.CutPrefix(path, p); ok && (rest == "" || rest[0] == '/') {
			return true
		}
	}
	return false
}

// noKeysHere is the refusal of the system role.
func noKeysHere() *Problem {
	return NewProblem(CodeNotAllowed, "this is the system's galsyncd, which holds no private keys",
		"keys are the business of the user service; enable it with: systemctl --user enable --now galsyncd")
}

// Peer is who is at the other end of a connection, as the kernel says (SO_PEERCRED, unix(7)).
type Peer struct {
	UID, GID uint32
	PID      int32
}

// admit returns nil when the peer belongs to the audience.
func (s *Server) admit(ctx context.Context, path string, a access, peer Peer) *Problem {
	who := a.system
	if s.role() == RoleUser {
		who = a.user
	}
	switch {
	case who == anyUID:
		return nil
	case who == refused:
		return noKeysHere()
	case int64(peer.UID) == int64(s.uid()):
		return nil
	case who == owner:
		return NewProblem(CodeNotAllowed, "this galsyncd works for another user",
			"use a galsyncd of your own: systemctl --user enable --now galsyncd")
	case s.isAdmin(ctx, peer.UID):
		return nil
	}
	if strings.HasPrefix(path, "/v1/certificates") {
		return NewProblem(CodeNotAllowed, "the certificates that the system's galsyncd has for everyone are for administrators to see and change",
			"your own galsyncd keeps certificates for you alone: systemctl --user enable --now galsyncd, and try again")
	}
	return NewProblem(CodeNotAllowed, "only an administrator of galsyncd may do this",
		"an administrator can add a user or @group to socket.admins in the configuration")
}

// adminTimeout bounds what a slow user database can cost one request.
const adminTimeout = 3 * time.Second

// isAdmin asks the user database now, so that a change of groups counts at once. When the database does not answer in
// time, nobody is an administrator.
func (s *Server) isAdmin(ctx context.Context, uid uint32) bool {
	state := s.start()
	select {
	case state.lookups <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	answer := make(chan bool, 1)
	go func() {
		defer func() { <-state.lookups }()
		answer <- listed(s.Admins, uid, s.users())
	}()
	timeout := time.NewTimer(adminTimeout)
	defer timeout.Stop()
	select {
	case ok := <-answer:
		return ok
	case <-timeout.C:
		s.log().WarnContext(ctx, "user database is slow; caller taken for no administrator", "uid", uid)
		return false
	case <-ctx.Done():
		return false
	}
}

// users is the user database as far as the table of admins needs it.
type users interface {
	// Name returns the login name of a uid.
	Name(uid string) (string, error)
	// Groups returns the gids of all groups of a uid.
	Groups(uid string) ([]string, error)
	// GID returns the gid of a group name.
	GID(group string) (string, error)
}

// listed reports whether the list has the uid: as a number, a login name or a member of "@group".
func listed(list []string, uid uint32, db users) bool {
	id := strconv.FormatUint(uint64(uid), 10)
	var groups []string
	for _, who := range list {
		group, isGroup := strings.CutPrefix(who, "@")
		switch {
		case !isGroup && (who == id || who == "root" && uid == 0):
			return true
		case !isGroup:
			if name, err := db.Name(id); err == nil && name == who {
				return true
			}
		default:
			gid, err := db.GID(group)
			if err != nil {
				continue
			}
			if groups == nil {
				groups, _ = db.Groups(id)
			}
			for _, g := range groups {
				if g == gid {
					return true
				}
			}
		}
	}
	return false
}

// systemUsers is the database of the system.
type systemUsers struct{}

func (systemUsers) Name(uid string) (string, error) {
	u, err := user.LookupId(uid)
	if err != nil {
		return "", err
	}
	return u.Username, nil
}

func (systemUsers) Groups(uid string) ([]string, error) {
	u, err := user.LookupId(uid)
	if err != nil {
		return nil, err
	}
	return u.GroupIds()
}

func (systemUsers) GID(group string) (string, error) {
	g, err := user.LookupGroup(group)
	if err != nil {
		return "", err
	}
	return g.Gid, nil
}

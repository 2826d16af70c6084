package httpauth

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-krb5/krb5/types"
	"golang.org/x/crypto/cryptobyte"
)

// The library's own reader of credential caches takes lengths from the file as they come and allocates by them; this one
// is bounded by the file. Format: MIT Kerberos documentation, "Credential cache file format", versions 3 and 4.

// maxCCache bounds a credential cache, in bytes.
const maxCCache = 4 << 20

// ccache is what a credential cache holds.
type ccache struct {
	client  principal
	entries []ccacheEntry
}

// ccacheEntry is one ticket, still encoded.
type ccacheEntry struct {
	server     principal
	key        types.EncryptionKey
	start, end time.Time
	ticket     []byte
}

// principal is a name in a realm.
type principal struct {
	name  types.PrincipalName
	realm string
}

func (p principal) String() string { return p.name.PrincipalNameString() + "@" + p.realm }

func (p principal) equal(q principal) bool { return p.realm == q.realm && p.name.Equal(q.name) }

// ccachePath finds the file of a cache name: a path, FILE:path, or "default" for what $KRB5CCNAME says.
func ccachePath(name string) (string, error) {
	if name == "default" {
		if name = os.Getenv("KRB5CCNAME"); name == "" {
			name = "/tmp/krb5cc_" + strconv.Itoa(os.Geteuid())
		}
	}
	kind, path, ok := strings.Cut(name, ":")
	switch {
	case strings.HasPrefix(name, "/"):
		return name, nil
	case ok && kind == "FILE":
		return path, nil
	}
	return "", fmt.Errorf("credential cache %q is not a file; run kinit -c FILE:PATH and name that file", name)
}

var errCCache = errors.New("it is not a credential cache of version 3 or 4, or it is damaged")

func parseCCache(b []byte) (*ccache, error) {
	s := cryptobyte.String(b)
	var version uint16
	var header cryptobyte.String
	if !s.ReadUint16(&version) || version != 0x0503 && version != 0x0504 {
		return nil, errCCache
	}
	if version == 0x0504 && !s.ReadUint16LengthPrefixed(&header) {
		return nil, errCCache
	}
	c := &ccache{}
	if !readPrincipal(&s, &c.client) {
		return nil, errCCache
	}
	for !s.Empty() {
		var e ccacheEntry
		if !e.read(&s, version) {
			return nil, errCCache
		}
		c.entries = append(c.entries, e)
	}
	return c, nil
}

func (e *ccacheEntry) read(s *cryptobyte.String, version uint16) bool {
	var client principal
	var kind, again uint16
	var times [4]uint32 // authentication, start, end, renewable until
	if !readPrincipal(s, &client) || !readPrincipal(s, &e.server) || !s.ReadUint16(&kind) ||
		version == 0x0503 && !s.ReadUint16(&again) || !readData(s, &e.key.KeyValue) {
		return false
	}
	for i := range times {
		if !s.ReadUint32(&times[i]) {
			return false
		}
	}
	e.key.KeyType = int32(int16(kind))
	e.start, e.end = time.Unix(int64(times[1]), 0), time.Unix(int64(times[2]), 0)
	var second []byte
	return s.Skip(1+4) && skipList(s) && skipList(s) && readData(s, &e.ticket) && readData(s, &second)
}

// skipList passes over addresses or authorization data: a count, then types and values.
func skipList(s *cryptobyte.String) bool {
	var n uint32
	if !s.ReadUint32(&n) {
		return false
	}
	for range n {
		var value []byte
		if !s.Skip(2) || !readData(s, &value) {
			return false
		}
	}
	return true
}

func readPrincipal(s *cryptobyte.String, p *principal) bool {
	var kind, n uint32
	var realm []byte
	if !s.ReadUint32(&kind) || !s.ReadUint32(&n) || !readData(s, &realm) {
		return false
	}
	p.name.NameType, p.realm = int32(kind), string(realm)
	for range n {
		var part []byte
		if !readData(s, &part) {
			return false
		}
		p.name.NameString = append(p.name.NameString, string(part))
	}
	return true
}

func readData(s *cryptobyte.String, out *[]byte) bool {
	var n uint32
	return s.ReadUint32(&n) && uint64(n) <= uint64(len(*s)) && s.ReadBytes(out, int(n))
}

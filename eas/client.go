// Package eas asks Exchange ActiveSync for people of the Global Address List and their certificates: ResolveRecipients
// (MS-ASCMD section 2.2.1.15), the one call of Exchange that was made for this, and Search (section 2.2.1.16), which lists
// names by what they begin with.
//
// Client is a directory.Source and directory.BatchResolver. Per address three outcomes are kept apart: the server has
// certificates, the server says that there is none (or nobody of that name), and no usable answer; the last is always an
// error, of the whole question or of one address. A server leaves out certificates that it does not find valid itself, so
// its records are directory.Record.Partial. Answers are read within fixed bounds and matched on numbers, never on text.
package eas

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/galsyncd/galsyncd/internal/httpfault"
	"github.com/galsyncd/galsyncd/internal/wbxml"
)

// Defaults of the zero values of Client.
const (
	DefaultUserAgent  = "galsyncd"
	DefaultDeviceType = "galsyncd"
	DefaultTimeout    = 120 * time.Second
)

// Versions of the protocol that have what is needed here, best first.
var Versions = []string{"16.1", "16.0", "14.1", "14.0", "12.1"}

// Client speaks to one server as one device. Its fields are not changed after first use; its methods may be called at the
// same time.
type Client struct {
	// URL of the service, for example https://mail.example.com/Microsoft-Server-ActiveSync. Plain http is accepted for
	// loopback addresses only.
	URL string
	// HTTP carries the requests and knows the credential; nil is http.DefaultClient. Redirects are never followed.
	HTTP *http.Client
	// Follow makes the HTTP client for a server that the first one names as the place of the account (HTTP status 451);
	// nil follows to no other host.
	Follow func(url string) (*http.Client, error)
	// Username goes into the plain query; the base64 form has none, because the credential says it.
	Username string
	// DeviceID names this installation at the server, for ever; see DeviceID. Required: 1 to 32 letters and digits.
	DeviceID string
	// DeviceType and UserAgent are what administrators admit devices by; empty are the defaults.
	DeviceType, UserAgent string
	// Version of the protocol; empty is the best that the server offers.
	Version string
	// PlainQuery sends the command in readable query parameters and not in base64 (MS-ASHTTP section 2.2.1.1.1).
	PlainQuery bool
	// AcceptContacts takes recipients of type 2, which the protocol defines as the account's own contacts, for people of
	// the directory. It is for servers that say 2 of everybody, and for accounts whose contacts nobody else can write.
	AcceptContacts bool
	// Contacts returns recipients of type 2 as contacts of the account (directory.Resolution.Contact). Without it, and
	// without AcceptContacts, the answer is of no use.
	Contacts bool
	// PolicyMet names elements of the policy document (MS-ASPROV section 2.2.2) for which the administrator vouches that
	// this machine meets them, for example "RequireDeviceEncryption".
	PolicyMet []string
	// CheckRevocation has the server check each certificate (ValidateCert): those that it says are revoked are left out,
	// and named.
	CheckRevocation bool
	// Memory keeps what must outlive the process: policy key, place, policy. Nil forgets.
	Memory Memory
	// Timeout bounds each request from its start to the last byte of its answer; zero is DefaultTimeout.
	Timeout time.Duration
	// Logger is told of each request at debug level, without names or addresses; nil is silence.
	Logger *slog.Logger
	// Now is the clock for Retry-After dates; nil is time.Now.
	Now func() time.Time

	session session
}

// Memory is a place for one opaque value.
type Memory interface {
	// Load returns the value last saved, nil when there is none.
	Load() ([]byte, error)
	Save([]byte) error
}

// command is a command of the protocol (MS-ASHTTP section 2.2.1.1.1.1.2).
type command struct {
	name string
	code byte
	root wbxml.Tag
}

var (
	cmdFolderSync        = command{"FolderSync", 9, wbxml.FolderHierarchyFolderSync}
	cmdSearch            = command{"Search", 16, wbxml.Search}
	cmdProvision         = command{"Provision", 20, wbxml.Provision}
	cmdResolveRecipients = command{"ResolveRecipients", 21, wbxml.ResolveRecipients}
	cmdValidateCert      = command{"ValidateCert", 22, wbxml.ValidateCert}
)

// call is one question to the server, with all requests that it takes.
type call struct {
	*Client
	ctx      context.Context
	requests int
	accepted bool // a batch of addresses was taken
	refused  int  // addresses that were refused alone
}

func (c *Client) call(ctx context.Context) *call { return &call{Client: c, ctx: ctx} }

// maxMoves is how many servers in a row may name another one.
const maxMoves = 3

// do runs a command: it finds the version first, provisions when the server wants that, and goes where the account lives.
// Each of these happens once per command, except moves.
func (c *call) do(cmd command, document *wbxml.Element) (*wbxml.Element, error) {
	root, err := c.attempt(cmd, document)
	if err != nil {
		c.forgetPlace(err)
	}
	return root, err
}

func (c *call) attempt(cmd command, document *wbxml.Element) (*wbxml.Element, error) {
	if err := c.check(); err != nil {
		return nil, c.refuse(cmd, err)
	}
	provisioned, synced := false, false
	for moves := 0; ; {
		if err := c.prepare(cmd); err != nil {
			return nil, err
		}
		key := c.session.policyKey()
		root, err := c.post(cmd, document, key)
		e, failed := errors.AsType[*Error](err)
		switch {
		case !failed:
			return root, err
		case e.moved != "" && moves < maxMoves:
			moves++
			err = c.move(cmd, e.moved)
		case e.wantsPolicy() && cmd != cmdProvision && !provisioned:
			provisioned = true
			err = c.provision(key)
		case e.Status == statusFolderSyncRequired && cmd == cmdSearch && !synced:
			synced = true
			err = c.folderSync()
		default:
			return nil, err
		}
		if to, moved := movedTo(err); moved && moves < maxMoves { // the policy is kept elsewhere
			moves++
			provisioned = false
			err = c.move(cmd, to)
		}
		if err != nil {
			return nil, err
		}
	}
}

// folderSync makes the device known to a server that wants a folder list first. Its answer is of no interest.
func (c *call) folderSync() error {
	_, err := c.do(cmdFolderSync, wbxml.New(wbxml.FolderHierarchyFolderSync, wbxml.NewText(wbxml.FolderHierarchySyncKey, "0")))
	return err
}

// check reports settings that no request may be sent with.
func (c *Client) check() error {
	if c.Version != "" && !slices.Contains(Versions, c.Version) {
		return fmt.Errorf("version %q is not one of %s", c.Version, strings.Join(Versions, ", "))
	}
	for _, name := range []string{c.DeviceID, cmp.Or(c.DeviceType, DefaultDeviceType)} {
		if name == "" || len(name) > 32 || strings.ContainsFunc(name, notAlphanumeric) {
			return fmt.Errorf("%q, for a device identifier or type, is not 1 to 32 letters and digits", httpfault.Clean(name, 40))
		}
	}
	return checkURL(c.URL)
}

func notAlphanumeric(r rune) bool {
	return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
}

func checkURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return errors.New("the URL is not of the form https://HOST/Microsoft-Server-ActiveSync")
	case u.Scheme == "https" || u.Scheme == "http" && httpfault.IsLoopback(u.Hostname()):
		return nil
	case u.Scheme == "http":
		return errors.New("plain http is accepted for loopback addresses only; use https")
	}
	return fmt.Errorf("scheme %q is not https", u.Scheme)
}

// session is what is known about the server. Its zero value is that nothing is known.
type session struct {
	mu      sync.Mutex
	loaded  bool
	state   state
	version string
	client  *http.Client // of state.Location
	paging  paging
	// provisioning is held while a policy is fetched, so that questions at the same time do it once.
	provisioning sync.Mutex
}

func (s *session) policyKey() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.PolicyKey
}

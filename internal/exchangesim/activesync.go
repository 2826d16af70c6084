package exchangesim

import (
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/galsyncd/galsyncd/internal/wbxml"
)

// ActiveSyncPath is where the stand-in answers ActiveSync, in any case.
const ActiveSyncPath = "/Microsoft-Server-ActiveSync"

const wbxmlType = "application/vnd.ms-sync.wbxml"

// ActiveSyncOptions vary the ActiveSync half. The zero value is an Exchange that demands no policy.
type ActiveSyncOptions struct {
	// Versions are offered by OPTIONS; nil offers those from 2.5 to 16.1. Commands are answered for these only.
	Versions []string
	// Policy demands that a device has acknowledged the policy before any other command.
	Policy bool
	// MaxTo is the most addresses in one ResolveRecipients; 100 when zero.
	MaxTo int
	// MaxCertificates bounds one answer, whatever the client asks for; 0 means the client's word alone.
	MaxCertificates int
	// ShortPages answers a Search with one result less than asked for while there are more.
	ShortPages bool
	// AllContacts gives every recipient the type 2, as some servers do.
	AllContacts bool
	// CountPeople gives people a count of members as well, as some servers do: 1.
	CountPeople bool
}

// activeSyncVersions are all versions that the stand-in speaks.
var activeSyncVersions = []string{"2.5", "12.0", "12.1", "14.0", "14.1", "16.0", "16.1"}

// activeSyncCommands are the commands of the base64 query (MS-ASHTTP section 2.2.1.1.1.1.2).
var activeSyncCommands = map[byte]string{0: "Sync", 9: "FolderSync", 16: "Search", 17: "Settings", 20: "Provision", 21: "ResolveRecipients", 22: "ValidateCert", 23: "Find"}

// ActiveSyncURL is where a started server answers ActiveSync.
func (s *Server) ActiveSyncURL() string { return strings.TrimSuffix(s.URL(), Path) + ActiveSyncPath }

// Commands counts ActiveSync commands by name that passed authentication.
func (s *Server) Commands() map[string]int {
	s.devices.mu.Lock()
	defer s.devices.mu.Unlock()
	counts := make(map[string]int, len(s.devices.commands))
	for name, n := range s.devices.commands {
		counts[name] = n
	}
	return counts
}

// command is one ActiveSync request (MS-ASHTTP section 2.2.1).
type command struct {
	name, version, device, kind, key string
	root                             *wbxml.Element // nil without a body
}

// activeSync serves an authenticated ActiveSync request.
func (s *Server) activeSync(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("MS-Server-ActiveSync", "15.2")
	switch r.Method {
	case http.MethodOptions:
		w.Header().Set("MS-ASProtocolVersions", strings.Join(s.activeSyncVersions(), ","))
		w.Header().Set("MS-ASProtocolCommands", "Sync,FolderSync,Search,Settings,Ping,ItemOperations,Provision,ResolveRecipients,ValidateCert,Find")
		w.Header().Set("Public", "OPTIONS,POST")
		return
	case http.MethodPost:
	default:
		http.Error(w, "only OPTIONS and POST are answered here", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		http.Error(w, "the request is too long or was cut off", http.StatusRequestEntityTooLarge)
		return
	}
	if !s.wait(r) {
		return
	}
	c, err := readCommand(r, body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.devices.count(c.name)
	x := &exchange{server: s, w: w, r: r, body: body, command: c}
	if f, ok := s.faults.take(c.name, c.entries()...); ok {
		s.counters.faults.Add(1)
		f.serve(x)
		return
	}
	status, answer := x.answer()
	x.send(status, answer)
}

func (s *Server) activeSyncVersions() []string {
	if v := s.options.ActiveSync.Versions; v != nil {
		return v
	}
	return activeSyncVersions
}

// readCommand reads query and body of a command.
func readCommand(r *http.Request, body []byte) (*command, error) {
	c, err := readQuery(r)
	if err != nil {
		return nil, err
	}
	if c.device == "" || c.kind == "" || len(c.device) > 32 || strings.ContainsFunc(c.device, notAlphanumeric) {
		return nil, fmt.Errorf("DeviceId %q of type %q: letters and digits are needed", c.device, c.kind)
	}
	if len(body) == 0 {
		return c, nil
	}
	if kind := r.Header.Get("Content-Type"); kind != wbxmlType && kind != "application/vnd.ms-sync" {
		return nil, fmt.Errorf("content type %q", kind)
	}
	if c.root, err = wbxml.Unmarshal(body); err != nil {
		return nil, err
	}
	return c, nil
}

func notAlphanumeric(c rune) bool {
	return !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z')
}

// readQuery reads both forms of the query.
func readQuery(r *http.Request) (*command, error) {
	if !strings.Contains(r.URL.RawQuery, "Cmd=") {
		return readBase64(r.URL.RawQuery)
	}
	q := r.URL.Query()
	if q.Get("User") == "" {
		return nil, errors.New("the query has no User")
	}
	return &command{name: q.Get("Cmd"), device: q.Get("DeviceId"), kind: q.Get("DeviceType"),
		version: r.Header.Get("MS-ASProtocolVersion"), key: r.Header.Get("X-MS-PolicyKey")}, nil
}

// readBase64 reads the packed form of the query (MS-ASHTTP section 2.2.1.1.1.1).
func readBase64(query string) (*command, error) {
	b, err := base64.StdEncoding.DecodeString(query)
	if err != nil || len(b) < 4 {
		return nil, errors.New("the query is neither plain nor base64")
	}
	name, known := activeSyncCommands[b[1]]
	if !known {
		return nil, fmt.Errorf("command code %d", b[1])
	}
	c := &command{name: name, version: fmt.Sprintf("%d.%d", b[0]/10, b[0]%10)}
	rest := b[4:]
	var device, key, kind []byte
	for _, field := range []*[]byte{&device, &key, &kind} {
		if len(rest) == 0 || len(rest) < 1+int(rest[0]) {
			return nil, errors.New("the base64 query is cut off")
		}
		*field, rest = rest[1:1+rest[0]], rest[1+rest[0]:]
	}
	if len(key) == 4 {
		c.key = strconv.FormatUint(uint64(binary.LittleEndian.Uint32(key)), 10)
	} else if len(key) != 0 {
		return nil, fmt.Errorf("a policy key of %d bytes", len(key))
	}
	c.device, c.kind = string(device), string(kind)
	return c, nil
}

// entries are what a command asks for: Fault.Only chooses by them.
func (c *command) entries() []string {
	switch c.name {
	case "ResolveRecipients":
		var to []string
		for e := range c.root.All(wbxml.ResolveRecipientsTo) {
			to = append(to, e.Text)
		}
		return to
	case "Search":
		return []string{c.root.TextAt(wbxml.SearchStore, wbxml.SearchQuery)}
	}
	return []string{""}
}

// since reports whether the command speaks version v or a later one.
func (c *command) since(v string) bool {
	return slices.Index(activeSyncVersions, c.version) >= slices.Index(activeSyncVersions, v)
}

// run answers a command.
func (s *Server) run(c *command) (status int, body []byte) {
	if !slices.Contains(s.activeSyncVersions(), c.version) {
		return http.StatusBadRequest, nil
	}
	if c.name != "Provision" {
		if status, refused := s.devices.refuse(c, s.options.ActiveSync.Policy); status != "" {
			return refused, commandStatus(c, status)
		}
	}
	var root *wbxml.Element
	switch c.name {
	case "Provision":
		root = s.provision(c)
	case "ResolveRecipients":
		root = s.resolveRecipients(c)
	case "Search":
		root = s.search(c)
	case "ValidateCert":
		root = s.validateCert(c)
	case "FolderSync":
		root = wbxml.New(wbxml.FolderHierarchyFolderSync, wbxml.NewText(wbxml.FolderHierarchyStatus, "1"), wbxml.NewText(wbxml.FolderHierarchySyncKey, "1"),
			wbxml.New(wbxml.FolderHierarchyChanges, wbxml.NewText(wbxml.FolderHierarchyCount, "0")))
	default:
		return http.StatusNotImplemented, nil
	}
	return http.StatusOK, marshal(root)
}

// commandStatus is the answer to a command that says nothing but a status.
func commandStatus(c *command, status string) []byte {
	switch c.name {
	case "Search":
		return marshal(wbxml.New(wbxml.Search, wbxml.NewText(wbxml.SearchStatus, status)))
	case "ValidateCert":
		return marshal(wbxml.New(wbxml.ValidateCert, wbxml.NewText(wbxml.ValidateCertStatus, status)))
	case "Provision":
		return marshal(wbxml.New(wbxml.Provision, wbxml.NewText(wbxml.ProvisionStatus, status)))
	case "FolderSync":
		return marshal(wbxml.New(wbxml.FolderHierarchyFolderSync, wbxml.NewText(wbxml.FolderHierarchyStatus, status)))
	}
	return marshal(wbxml.New(wbxml.ResolveRecipients, wbxml.NewText(wbxml.ResolveRecipientsStatus, status)))
}

// marshal writes a document of our own making, which cannot fail but by a mistake in it.
func marshal(root *wbxml.Element) []byte {
	body, err := wbxml.Marshal(root)
	if err != nil {
		panic(err)
	}
	return body
}

// sendWBXML writes a complete answer to a command.
func (x *exchange) sendWBXML(status int, body []byte) {
	h := x.w.Header()
	if len(body) > 0 {
		h.Set("Content-Type", wbxmlType)
	}
	if !strings.Contains(x.r.Header.Get("Accept-Encoding"), "gzip") || len(body) == 0 {
		h.Set("Content-Length", strconv.Itoa(len(body)))
		x.w.WriteHeader(status)
		x.w.Write(body)
		return
	}
	h.Set("Content-Encoding", "gzip")
	x.w.WriteHeader(status)
	z, _ := gzip.NewWriterLevel(x.w, gzip.BestSpeed)
	z.Write(body)
	z.Close()
}

package service

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/interop"
	"github.com/galsyncd/galsyncd/internal/recipients"
	"github.com/galsyncd/galsyncd/internal/testca"
	"github.com/galsyncd/galsyncd/smime"
	"github.com/galsyncd/galsyncd/trust"
)

// The uids of the tests.
const (
	ownerUID      = 1000
	adminUID      = 1001
	groupAdminUID = 1002
	strangerUID   = 1003
)

// fakeUsers is a user database.
type fakeUsers struct{}

func (fakeUsers) Name(uid string) (string, error) {
	name, ok := map[string]string{"0": "root", "1000": "owner", "1001": "alice", "1002": "bob", "1003": "mallory"}[uid]
	if !ok {
		return "", errors.New("no such user")
	}
	return name, nil
}

func (fakeUsers) Groups(uid string) ([]string, error) {
	if uid == "1002" {
		return []string{"1002", "77"}, nil
	}
	return []string{uid}, nil
}

func (fakeUsers) GID(group string) (string, error) {
	if group == "galsyncd-admin" {
		return "77", nil
	}
	return "", errors.New("no such group")
}

// harness is a server on a socket, and a client of it.
type harness struct {
	*Server
	path   string
	client *http.Client
	uid    atomic.Uint32 // of connections from now on
	log    *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// serve starts s; a nil interface of it gets a fake. The caller is the owner.
func serve(t testing.TB, s *Server) *harness {
	t.Helper()
	h := &harness{Server: s, path: filepath.Join(interop.SocketFolder(t), "s"), log: &lockedBuffer{}}
	h.uid.Store(ownerUID)
	fill(t, s)
	s.Log = slog.New(slog.NewJSONHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if s.credentials == nil {
		s.credentials = func(*net.UnixConn) (Peer, error) { return Peer{UID: h.uid.Load()}, nil }
	}
	if s.ownUID == nil {
		s.ownUID = func() int { return ownerUID }
	}
	s.database = fakeUsers{}
	l, err := Listen(h.path, UserMode)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	h.client = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", h.path)
		},
		DisableKeepAlives: true, DisableCompression: true,
	}}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return h
}

func fill(t testing.TB, s *Server) {
	if s.Status == nil {
		s.Status = fakeStatus{}
	}
	if s.Syncer == nil {
		s.Syncer = &fakeSyncer{}
	}
	if s.Recipients == nil {
		s.Recipients = fakeRecipients{}
	}
	if s.Directory == nil {
		s.Directory = &fakeDirectory{der: certificate(t)}
	}
	if s.Encrypter == nil {
		s.Encrypter = fakeEncrypter{}
	}
	if s.Decrypter == nil {
		s.Decrypter = fakeDecrypter{}
	}
	if s.Keyring == nil {
		s.Keyring = &fakeKeyring{}
	}
	if s.Checker == nil {
		s.Checker = fakeChecker{}
	}
}

var certificate = func() func(testing.TB) []byte {
	var once sync.Once
	var der []byte
	return func(t testing.TB) []byte {
		once.Do(func() {
			ca, err := testca.New("Example CA")
			if err != nil {
				t.Fatal(err)
			}
			leaf, err := ca.Leaf(testca.Options{Addresses: []string{"bob@example.com"}})
			if err != nil {
				t.Fatal(err)
			}
			der = leaf.Certificate.Raw
		})
		return der
	}
}()

type fakeStatus struct{}

func (fakeStatus) Status(context.Context) (Status, error) {
	age, fraction := 12.5, 0.25
	return Status{
		Source:   Source{Protocol: "ews", State: "ok", LastSuccess: testTime, DataAge: &age},
		Running:  &Run{Started: testTime, Phase: "enumerate", Fraction: &fraction},
		Expiring: []Expiring{{Address: "bob@example.com", NotAfter: testTime}},
	}, nil
}

var testTime = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

type fakeSyncer struct {
	running bool
	never   bool
	full    bool
	watch   func(ctx context.Context, progress func(Progress) error) (Report, error)
}

func (f *fakeSyncer) Start(_ context.Context, full bool) (time.Time, error) {
	if f.running {
		return time.Time{}, NewProblem(CodeSyncRunning, "a synchronisation is running", "")
	}
	f.full = full
	return testTime, nil
}

func (f *fakeSyncer) Watch(ctx context.Context, progress func(Progress) error) (Report, error) {
	if f.never {
		return Report{}, ErrNotFound
	}
	if f.watch != nil {
		return f.watch(ctx, progress)
	}
	for i := range 3 {
		if err := progress(Progress{Run: Run{Started: testTime, Phase: "enumerate", Prefix: "ab", Entries: i}}); err != nil {
			return Report{}, err
		}
	}
	return Report{Started: testTime, Outcome: OutcomeIncomplete, Gaps: []Gap{{"q", "timed out"}}}, nil
}

// fakeRecipients knows bob, and that carol's certificate is expired.
type fakeRecipients struct{}

func (fakeRecipients) Lookup(_ context.Context, list []string) (recipients.Result, error) {
	r := recipients.Result{State: recipients.Encrypted}
	for _, a := range list {
		answer := recipients.Answer{Address: a, State: trust.Unknown}
		switch a {
		case "bob@example.com":
			answer.State, answer.Source = trust.Encryptable, recipients.GAL
			answer.Certificate = &recipients.Certificate{SHA256: strings.Repeat("ab", 32)}
			answer.Explain = []recipients.Candidate{{Source: recipients.GAL, State: trust.Encryptable, Reasons: []string{"only one"}, Chosen: true, Property: directory.UserSMIMECertificate}}
		case "broken@example.com":
			return r, errors.New("page 7 of secret.db is torn")
		}
		if answer.State != trust.Encryptable {
			r.State, r.Blocking = recipients.UnableToEncrypt, append(r.Blocking, a)
		}
		r.Recipients = append(r.Recipients, answer)
	}
	return r, nil
}

type fakeDirectory struct{ der []byte }

func (f *fakeDirectory) entry(i int) directory.Entry {
	return directory.Entry{
		Primary: "bob@example.com", Addresses: []directory.Address{"bob@example.com"}, Kind: directory.KindMailbox,
		DisplayName: fmt.Sprintf("Bob %d", i), Changed: testTime, Intermediates: [][]byte{{1}},
		Certificates: []directory.UserCertificate{{Raw: f.der, Property: directory.UserSMIMECertificate, Encoding: directory.EncodingX509}},
		Undecodable:  []directory.Undecodable{{Property: directory.MSExchangeCertificate, Reason: "garbage", Size: 3}},
	}
}

func (f *fakeDirectory) Lookup(_ context.Context, a directory.Address) (recipients.Found, error) {
	if a != "bob@example.com" {
		return recipients.Found{}, nil
	}
	return recipients.Found{
		Sightings: []directory.Sighting{{Entry: f.entry(0), Seen: testTime}},
		Offers: []recipients.Offer{{Source: recipients.Contacts, Raw: f.der, Property: directory.UserSMIMECertificate, Default: true, Name: "Bob",
			Intermediates: [][]byte{{1}}, Seen: testTime, Preferred: true, Vouched: true}, {Source: recipients.Installed, Fault: "garbage"}},
	}, nil
}

func (f *fakeDirectory) Search(_ context.Context, _ string, limit int) ([]directory.Entry, error) {
	var list []directory.Entry
	for i := range limit {
		list = append(list, f.entry(i))
	}
	return list, nil
}

func (f *fakeDirectory) Certificate(_ context.Context, fingerprint [32]byte) ([]byte, []directory.Address, error) {
	if fingerprint != sha256.Sum256(f.der) {
		return nil, nil, ErrNotFound
	}
	return f.der, []directory.Address{"bob@example.com"}, nil
}

func (f *fakeDirectory) Fingerprints(_ context.Context, beginning string, limit int) (found [][32]byte, err error) {
	if beginning == "12345678" {
		for i := range limit {
			found = append(found, [32]byte{0x12, 0x34, 0x56, 0x78, byte(i)})
		}
	}
	if sum := sha256.Sum256(f.der); strings.HasPrefix(hex.EncodeToString(sum[:]), beginning) {
		found = append(found, sum)
	}
	return found, nil
}

func (f *fakeDirectory) Freshness(context.Context) (recipients.Freshness, error) {
	return recipients.Freshness{Completed: testTime, Walked: testTime}, nil
}

// fakeEncrypter "encrypts" by writing every byte with its case changed, one copy for each word of the first line that
// begins with "bcc:". The words unknown, late and panic in the mail make it misbehave.
type fakeEncrypter struct{}

func (fakeEncrypter) Encrypt(ctx context.Context, message io.Reader, o EncryptOptions, open func(Envelope) (io.WriteCloser, error)) error {
	first := make([]byte, 64)
	n, err := io.ReadFull(message, first)
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		return err
	}
	first = first[:n]
	if bytes.HasPrefix(first, []byte("unknown")) {
		return UnusableRecipients([]Obstacle{{Address: "carol@example.com", State: "unknown", Reasons: []string{"never seen"}}})
	}
	envelopes := []Envelope{{Recipients: []string{"bob@example.com", "dora@example.com"}, Choice: &Choice{
		Cipher: "AES-256-CBC", Protection: "malleable", KeyManagement: []string{"RSA PKCS #1 v1.5"}, Reasons: []string{strings.Repeat("because ", 500)}, ToSelf: wished(o.ToSelf),
	}}}
	if o.Explain != nil {
		o.Explain(recipients.Result{State: "encrypted", Recipients: []recipients.Answer{{Address: "bob@example.com", Explain: []recipients.Candidate{{Chosen: true}}}}})
	}
	if bytes.HasPrefix(first, []byte("mixed")) {
		envelopes = append(envelopes, Envelope{Recipients: []string{"ella@example.com"}})
	}
	if len(o.To) > 0 {
		envelopes[0].Recipients = []string{string(o.To[0])}
	} else if line, _, _ := bytes.Cut(first, []byte("\n")); bytes.HasPrefix(line, []byte("bcc:")) {
		for _, word := range strings.Fields(string(line[4:])) {
			envelopes = append(envelopes, Envelope{Recipients: []string{word}, Blind: true})
		}
	}
	var copies []io.WriteCloser
	for _, e := range envelopes {
		c, err := open(e)
		if err != nil {
			return err
		}
		copies = append(copies, c)
	}
	write := func(p []byte) error {
		for i, c := range copies {
			q := bytes.ToUpper(p)
			if i > 0 {
				q = bytes.ToLower(p)
			}
			if _, err := c.Write(q); err != nil {
				return err
			}
		}
		return nil
	}
	if err := write(first); err != nil {
		return err
	}
	if bytes.HasPrefix(first, []byte("lazy")) {
		return closeAll(copies)
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := message.Read(buf)
		if werr := write(buf[:n]); werr != nil {
			return werr
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("some words of the encrypter, not wrapping: %v", err)
		}
	}
	switch {
	case bytes.HasPrefix(first, []byte("late")):
		return errors.New("the last block of secret@example.com went wrong")
	case bytes.HasPrefix(first, []byte("panic")):
		panic("secret@example.com")
	case bytes.HasPrefix(first, []byte("unclosed")):
		return nil
	}
	return closeAll(copies)
}

func closeAll(copies []io.WriteCloser) error {
	for _, c := range copies {
		if err := c.Close(); err != nil {
			return err
		}
	}
	return nil
}

type fakeDecrypter struct{}

func (fakeDecrypter) Decrypt(_ context.Context, message io.Reader, _ DecryptOptions, begin func(Decrypted) (io.Writer, error)) error {
	first := make([]byte, 5)
	_, _ = io.ReadFull(message, first)
	if string(first) == "early" {
		_, err := begin(Decrypted{})
		return err
	}
	rest, err := io.ReadAll(message)
	if err != nil {
		return err
	}
	switch string(first) {
	case "wrong":
		return NewProblem(CodeDecryptFailed, "", "")
	case "never":
		return nil
	}
	w, err := begin(Decrypted{Protection: "malleable", Cipher: "aes-256-cbc"})
	if err != nil {
		return err
	}
	if string(first) == "empty" {
		return nil
	}
	if _, err = w.Write(rest); err == nil && string(first) == "late!" {
		err = errors.New("spool went away")
	}
	return err
}

type fakeKeyring struct {
	mu      sync.Mutex
	status  KeyringStatus
	secrets []Secret // as they were given, not copies
	seen    []string
	period  time.Duration

	preferences []AddressPreferences
}

func (f *fakeKeyring) Status(context.Context) (KeyringStatus, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status, nil
}

var (
	fakeIdentity = Identity{Certificate: recipients.Certificate{SHA256: strings.Repeat("cd", 32)}, Added: testTime, SignsFor: []string{"bob@example.com"}, ChosenFor: []string{""}}
	fakeRequest  = IdentityRequest{ID: strings.Repeat("ef", 32), Addresses: []string{"bob@example.com"}, Created: testTime, CSR: []byte{0x30, 0}}
)

func (f *fakeKeyring) Identities(context.Context) (Identities, error) {
	return Identities{Identities: []Identity{fakeIdentity}, Requests: []IdentityRequest{fakeRequest}}, nil
}

func (f *fakeKeyring) Identity(_ context.Context, which [32]byte) (Identity, PublicHalf, error) {
	if which != fakePrint {
		return Identity{}, PublicHalf{}, ErrNotFound
	}
	return fakeIdentity, PublicHalf{Chain: [][]byte{{0x30, 0}}, PKCS7: []byte{0x30, 0}}, nil
}

// fakePrint is the fingerprint of fakeIdentity.
var fakePrint = [32]byte(bytes.Repeat([]byte{0xcd}, 32))

func (f *fakeKeyring) Export(_ context.Context, which [32]byte, passphrase, keyring Secret) ([]byte, error) {
	f.note(passphrase, keyring)
	if which != fakePrint {
		return nil, ErrNotFound
	}
	return []byte{0x30, 0}, nil
}

func (f *fakeKeyring) Remove(_ context.Context, which [32]byte) (Identity, error) {
	if which != fakePrint {
		return Identity{}, ErrNotFound
	}
	return fakeIdentity, nil
}

func (f *fakeKeyring) Request(_ context.Context, r NewKeyRequest) (IdentityRequest, error) {
	f.note(r.KeyringPassphrase)
	return fakeRequest, nil
}

func (f *fakeKeyring) RemoveRequest(_ context.Context, id [32]byte) error {
	if id[0] != 0xef {
		return ErrNotFound
	}
	return nil
}

func (f *fakeKeyring) Preferences(context.Context) ([]AddressPreferences, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.preferences), nil
}

func (f *fakeKeyring) SetPreferences(_ context.Context, p AddressPreferences) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.preferences = append(f.preferences, p)
	return nil
}

func (f *fakeKeyring) ChangePassphrase(_ context.Context, old, new Secret) error {
	f.note(old, new)
	return nil
}

func (f *fakeKeyring) Backup(context.Context) ([]byte, error) { return []byte("the keyring"), nil }

func (f *fakeKeyring) Import(_ context.Context, pfx []byte, passphrase, keyring Secret) (Imported, error) {
	f.note(pfx, passphrase, keyring)
	if string(passphrase) == "wrong" {
		return Imported{}, NewProblem(CodeWrongPassphrase, "the passphrase of the file is wrong", "")
	}
	return Imported{Added: 1}, nil
}

func (f *fakeKeyring) note(secrets ...Secret) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range secrets {
		f.secrets, f.seen = append(f.secrets, s), append(f.seen, string([]byte(s)))
	}
}

func (f *fakeKeyring) Unlock(_ context.Context, passphrase Secret, period time.Duration) error {
	f.note(passphrase)
	f.period = period
	if string(passphrase) == "wrong" {
		return NewProblem(CodeWrongPassphrase, "", "")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status = KeyringStatus{Exists: true, Unlocked: true}
	return nil
}

func (f *fakeKeyring) Lock(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status.Unlocked = false
	return nil
}

type fakeChecker struct{}

func (fakeChecker) Check(context.Context) (CheckReport, error) {
	return CheckReport{OK: true, Files: []FileCheck{{Name: "cache", Path: "/x/cache.db", State: "ok"}}}, nil
}

// result is an answer that was read to its end.
type result struct {
	status int
	header http.Header
	body   []byte
	err    error // of reading the body
}

func (r result) problem(t testing.TB) Problem {
	t.Helper()
	var p Problem
	if got := r.header.Get("Content-Type"); got != "application/problem+json" {
		t.Fatalf("answer %d is %q: %.200s", r.status, got, r.body)
	}
	if err := json.Unmarshal(r.body, &p); err != nil {
		t.Fatal(err)
	}
	if p.Status != r.status {
		t.Errorf("status %d in the body, %d in the answer", p.Status, r.status)
	}
	for _, fault := range document(t).Conforms(map[string]any{"$ref": "#/components/schemas/Problem"}, r.body) {
		t.Errorf("problem: %s", fault)
	}
	return p
}

func (h *harness) do(t testing.TB, method, url string, body io.Reader, header ...string) result {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://localhost"+url, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if r.Header.Set(header[i], header[i+1]); header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	answer, err := h.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	return result{answer.StatusCode, answer.Header, data, err}
}

// TestHosts has the names that clients of a Unix socket put into their URLs.
func TestHosts(t *testing.T) {
	h := serve(t, &Server{Role: RoleUser})
	for _, host := range []string{"localhost", "x", "unix", "galsyncd:80", "LOCALHOST", "127.0.0.1", "127.0.0.1:8080", "[::1]", "[::1]:80", "_"} {
		if r := h.do(t, "GET", "/v1/status", nil, "Host", host); r.status != 200 {
			t.Errorf("host %s: status %d: %s", host, r.status, r.body)
		}
	}
}

// TestExamples holds an answer of every JSON request to its schema.
func TestExamples(t *testing.T) {
	h := serve(t, &Server{Role: RoleUser, Build: Build{Version: "1.2.3"}})
	doc := document(t)
	sum := fmt.Sprintf("%x", sha256.Sum256(certificate(t)))
	for _, test := range []struct{ method, url, path, body, want string }{
		{"GET", "/v1/status", "", "", `"role":"user"`},
		{"GET", "/v1/sync", "", "", `"gaps":[{"prefix":"q","reason":"timed out"}]`},
		{"POST", "/v1/sync?full=1", "/v1/sync", "", `"started":"2026-05-04T03:02:01Z"`},
		{"GET", "/v1/recipients?address=bob@example.com", "/v1/recipients", "", `"state":"encrypted","blocking":[]`},
		{"GET", "/v1/recipients?address=bob@example.com&from=alice@example.com", "/v1/recipients", "", `"encryptByDefault":`},
		{"GET", "/v1/recipients?address=bob@example.com&address=x&explain=1", "/v1/recipients", "", `"blocking":["x"]`},
		{"GET", "/v1/directory?address=bob@example.com&address=who@example.com", "/v1/directory", "", `"sightings":[]`},
		{"GET", "/v1/entries?query=bo", "/v1/entries", "", `"more":true`},
		{"GET", "/v1/certificates/" + sum, "/v1/certificates/{sha256}", "", `"addresses":["bob@example.com"]`},
		{"GET", "/v1/identities", "", "", `"identities":[{`},
		{"POST", "/v1/identities", "", `{"pfx":"AAAA","pfxPassphrase":"x"}`, `"added":1`},
		{"GET", "/v1/identities/" + strings.Repeat("cd", 32), "/v1/identities/{sha256}", "", `"signsFor":["bob@example.com"]`},
		{"DELETE", "/v1/identities/" + strings.Repeat("CD:", 31) + "CD", "/v1/identities/{sha256}", "", `"certificate":{`},
		{"POST", "/v1/identities/requests", "", `{"addresses":["bob@example.com"],"keyringPassphrase":"hunter2"}`, `"csr":"MAA="`},
		{"GET", "/v1/preferences", "", "", `"effective":{"address":""}`},
		{"PUT", "/v1/preferences?address=", "/v1/preferences", `{"sign":true,"toSelf":true}`, `"effective":{"address":"","sign":true,"toSelf":true}`},
		{"PUT", "/v1/preferences?address=Bob@Example.com", "/v1/preferences", `{"sign":false}`, `"effective":{"address":"bob@example.com","sign":false,"toSelf":true}`},
		{"GET", "/v1/preferences?address=carol@example.com", "/v1/preferences", "", `"effective":{"address":"carol@example.com","sign":true,"toSelf":true}`},
		{"POST", "/v1/keyring/passphrase", "", `{"old":"hunter2","new":"hunter3"}`, `"requests":0`},
		{"POST", "/v1/unlock", "", `{"passphrase":"hunter2","for":"8h"}`, `"unlocked":true`},
		{"POST", "/v1/lock", "", "", `"unlocked":false`},
		{"GET", "/v1/check", "", "", `"ok":true`},
		{"GET", "/v1/version", "", "", `"version":"1.2.3"`},
		{"GET", "/v1/openapi.json", "", "", `"openapi": "3.1.0"`},
	} {
		t.Run(test.method+" "+test.url, func(t *testing.T) {
			r := h.do(t, test.method, test.url, strings.NewReader(test.body))
			path := test.path
			if path == "" {
				path = test.url
			}
			schema, ok := doc.Paths[path][strings.ToLower(test.method)].Responses[fmt.Sprint(r.status)].Content[r.header.Get("Content-Type")]
			if !ok {
				t.Fatalf("openapi.json has no answer %d %s: %s", r.status, r.header.Get("Content-Type"), r.body)
			}
			for line := range strings.SplitSeq(strings.TrimSpace(string(r.body)), "\n") {
				if path == "/v1/openapi.json" {
					break // spans lines, and is held to the handlers elsewhere
				}
				for _, fault := range doc.Conforms(schema.Schema, []byte(line)) {
					t.Error(fault)
				}
			}
			if !bytes.Contains(r.body, []byte(test.want)) {
				t.Errorf("no %s in %s", test.want, r.body)
			}
		})
	}
	if log := h.log.String(); strings.Contains(log, "example.com") || strings.Contains(log, "hunter2") || !strings.Contains(log, `"uid":1000`) {
		t.Errorf("log: %s", log)
	}
}

func TestExplainOnlyWhenAsked(t *testing.T) {
	h := serve(t, &Server{})
	if r := h.do(t, "GET", "/v1/recipients?address=bob@example.com", nil); bytes.Contains(r.body, []byte("explain")) {
		t.Errorf("%s", r.body)
	}
	if r := h.do(t, "GET", "/v1/recipients?address=bob@example.com&explain=1", nil); !bytes.Contains(r.body, []byte(`"explain":[{`)) {
		t.Errorf("%s", r.body)
	}
}

func TestIdentityForms(t *testing.T) {
	h := serve(t, &Server{Role: RoleUser})
	one := "/v1/identities/" + strings.Repeat("cd", 32)
	for accept, want := range map[string]string{
		"application/pkix-cert": "application/pkix-cert", "application/x-pem-file": "application/x-pem-file", "": "application/json",
		"application/pkcs7-mime": "application/pkcs7-mime; smime-type=certs-only",
	} {
		if got := h.do(t, "GET", one, nil, "Accept", accept).header.Get("Content-Type"); got != want {
			t.Errorf("Accept %q: %q", accept, got)
		}
	}
	for url, want := range map[string]Code{
		"GET /v1/identities/" + strings.Repeat("00", 32):             CodeNotFound,
		"GET /v1/identities/cdcd":                                    CodeBadRequest,
		"DELETE /v1/identities/" + strings.Repeat("00", 32):          CodeNotFound,
		"DELETE /v1/identities/requests/" + strings.Repeat("00", 32): CodeNotFound,
		"DELETE /v1/identities/requests/":                            CodeNotFound,
		"PUT /v1/preferences?address=nobody":                         CodeBadRequest,
		"GET /v1/preferences?address=a@b&address=c@d":                CodeBadRequest,
	} {
		method, path, _ := strings.Cut(url, " ")
		if p := h.do(t, method, path, strings.NewReader("{}")).problem(t); p.Code != want {
			t.Errorf("%s: %+v", url, p)
		}
	}
	if p := h.do(t, "GET", one, nil, "Accept", "text/html").problem(t); p.Code != CodeNotAcceptable {
		t.Error(p)
	}
	if r := h.do(t, "DELETE", "/v1/identities/requests/"+strings.Repeat("ef", 32), nil); r.status != 204 {
		t.Errorf("status %d", r.status)
	}
	if r := h.do(t, "POST", one+"/export", strings.NewReader(`{"pfxPassphrase":"12345678","keyringPassphrase":"x"}`)); r.header.Get("Content-Type") != "application/pkcs12" {
		t.Errorf("export: %d %s", r.status, r.body)
	}
	if r := h.do(t, "GET", "/v1/keyring/backup", nil); string(r.body) != "the keyring" {
		t.Errorf("backup: %d %s", r.status, r.body)
	}
}

func TestCertificateForms(t *testing.T) {
	h := serve(t, &Server{})
	sum := fmt.Sprintf("%X", sha256.Sum256(certificate(t)))
	for accept, want := range map[string]string{
		"application/pkix-cert": "application/pkix-cert", "application/x-pem-file": "application/x-pem-file",
		"": "application/json", "*/*": "application/json", "application/*;q=0.5, application/x-pem-file": "application/x-pem-file",
		"application/json;q=0, */*;q=0.1": "application/pkix-cert",
	} {
		r := h.do(t, "GET", "/v1/certificates/"+sum, nil, "Accept", accept)
		if got := r.header.Get("Content-Type"); got != want {
			t.Errorf("Accept %q: %q", accept, got)
		}
		if want == "application/pkix-cert" && !bytes.Equal(r.body, certificate(t)) {
			t.Error("not the DER")
		}
	}
	if p := h.do(t, "GET", "/v1/certificates/"+sum, nil, "Accept", "text/html").problem(t); p.Code != CodeNotAcceptable {
		t.Error(p)
	}
	if p := h.do(t, "GET", "/v1/certificates/"+strings.Repeat("00", 32), nil).problem(t); p.Code != CodeNotFound {
		t.Error(p)
	}
}

// TestRefusals: requests that are wrong in themselves.
func TestRefusals(t *testing.T) {
	h := serve(t, &Server{Role: RoleUser, Limits: Limits{MaxMessage: 1000}})
	many := strings.Repeat("address=bob@example.com&", 2) // repeated ones count once
	for i := range 1001 {
		many += fmt.Sprintf("address=%d@x.de&", i)
	}
	for _, test := range []struct {
		method, url, body string
		header            []string
		status            int
		code              Code
	}{
		{"GET", "/v1/recipients", "", nil, 400, CodeBadRequest},
		{"GET", "/v1/recipients?address=", "", nil, 400, CodeBadRequest},
		{"GET", "/v1/recipients?address=a@b&adress=c@d", "", nil, 400, CodeBadRequest},
		{"GET", "/v1/recipients?address=a@b&online=1", "", nil, 501, CodeNotAvailable},
		{"GET", "/v1/recipients?address=a@b&explain=maybe", "", nil, 400, CodeBadRequest},
		{"GET", "/v1/recipients?address=a@b&explain=1&explain=0", "", nil, 400, CodeBadRequest},
		{"GET", "/v1/recipients?address=%ff", "", nil, 400, CodeBadRequest},
		{"GET", "/v1/recipients?address=" + strings.Repeat("a", 1001), "", nil, 400, CodeBadRequest},
		{"GET", "/v1/recipients?address=a@b;explain=1", "", nil, 400, CodeBadRequest},
		{"GET", "/v1/recipients?" + many, "", nil, 400, CodeBadRequest},
		{"GET", "/v1/recipients?address=broken@example.com", "", nil, 500, CodeInternal},
		{"GET", "/v1/directory?address=nobody", "", nil, 400, CodeBadRequest},
		{"GET", "/v1/entries?query=b", "", nil, 400, CodeBadRequest},
		{"GET", "/v1/entries?query=%20%20b%20", "", nil, 400, CodeBadRequest},
		{"GET", "/v1/entries?query=bo&limit=51", "", nil, 400, CodeBadRequest},
		{"GET", "/v1/entries?query=bo&limit=0", "", nil, 400, CodeBadRequest},
		{"GET", "/v1/certificates/abc", "", nil, 400, CodeBadRequest},
		{"GET", "/v1/certificates/a/b", "", nil, 404, CodeNotFound},
		{"GET", "/v1/nothing", "", nil, 404, CodeNotFound},
		{"GET", "/", "", nil, 404, CodeNotFound},
		{"GET", "//v1/status", "", nil, 404, CodeNotFound},
		{"GET", "/v1/status/", "", nil, 404, CodeNotFound},
		{"POST", "/v1/sign?x=1", "", nil, 400, CodeBadRequest},
		{"POST", "/v1/sign", "", nil, 501, CodeNotAvailable},
		{"POST", "/v1/verify", "", nil, 501, CodeNotAvailable},
		{"DELETE", "/v1/sync", "", nil, 405, CodeMethodNotAllowed},
		{"POST", "/v1/status", "", nil, 405, CodeMethodNotAllowed},
		{"GET", "/v1/status?x=1", "", nil, 400, CodeBadRequest},
		{"GET", "/v1/status", "", []string{"Origin", "null"}, 403, CodeNotAllowed},
		{"GET", "/v1/status", "", []string{"Referer", "http://x/"}, 403, CodeNotAllowed},
		{"GET", "/v1/status", "", []string{"Host", "evil.example"}, 400, CodeBadRequest},
		{"GET", "/v1/status", "", []string{"Host", "127.0.0.1.evil.example:80"}, 400, CodeBadRequest},
		{"GET", "/v1/status", "", []string{"Host", "192.0.2.1"}, 400, CodeBadRequest},
		{"POST", "/v1/unlock", `{"passphrase":"x","nope":1}`, nil, 400, CodeBadRequest},
		{"POST", "/v1/unlock", `{"passphrase":"x"} {}`, nil, 400, CodeBadRequest},
		{"POST", "/v1/unlock", `{"passphrase":7}`, nil, 400, CodeBadRequest},
		{"POST", "/v1/unlock", `{"passphrase":"x","for":"-1h"}`, nil, 400, CodeBadRequest},
		{"POST", "/v1/unlock", `{"passphrase":"wrong"}`, nil, 403, CodeWrongPassphrase},
		{"POST", "/v1/unlock", ``, nil, 400, CodeBadRequest},
		{"POST", "/v1/unlock", `{"passphrase":"` + strings.Repeat("x", maxJSON) + `"}`, nil, 413, CodeTooLarge},
		{"POST", "/v1/identities", `{}`, nil, 400, CodeBadRequest},
		{"POST", "/v1/identities", `{"pfx":"AAAA","pfxPassphrase":"wrong"}`, nil, 403, CodeWrongPassphrase},
		{"POST", "/v1/encrypt", "x", []string{"Content-Type", "multipart/form-data; boundary=x"}, 415, CodeUnsupportedMedia},
		{"POST", "/v1/encrypt", "x", []string{"Content-Encoding", "gzip"}, 415, CodeUnsupportedMedia},
		{"POST", "/v1/encrypt", "x", []string{"Accept", "text/html"}, 406, CodeNotAcceptable},
		{"POST", "/v1/encrypt", strings.Repeat("x", 1001), nil, 413, CodeMessageTooLarge},
		{"POST", "/v1/decrypt", strings.Repeat("x", int(smime.MaxWrapped(1000))+1), nil, 413, CodeMessageTooLarge},
		{"POST", "/v1/encrypt?to=", "x", nil, 400, CodeBadRequest},
		{"POST", "/v1/encrypt?to=bob", "x", nil, 400, CodeBadRequest},
	} {
		t.Run(fmt.Sprintf("%s %.60s %v", test.method, test.url, test.header), func(t *testing.T) {
			r := h.do(t, test.method, test.url, strings.NewReader(test.body), test.header...)
			p := r.problem(t)
			if p.Code != test.code || p.Status != test.status {
				t.Errorf("%+v", p)
			}
			if strings.Contains(string(r.body), "secret.db") {
				t.Errorf("tells its insides: %s", r.body)
			}
		})
	}
	if got := h.do(t, "PATCH", "/v1/sync", nil).header.Get("Allow"); got != "GET, POST" {
		t.Errorf("Allow: %q", got)
	}
}

func TestHTTP10IsRefused(t *testing.T) {
	h := serve(t, &Server{})
	conn, err := net.Dial("unix", h.path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /v1/status HTTP/1.0\r\n\r\n")
	answer, _ := io.ReadAll(conn)
	if !bytes.Contains(answer, []byte(" 400 ")) {
		t.Errorf("%s", answer)
	}
}

func TestSecretsAreWiped(t *testing.T) {
	keyring := &fakeKeyring{}
	h := serve(t, &Server{Role: RoleUser, Keyring: keyring})
	h.do(t, "POST", "/v1/identities", strings.NewReader(`{"pfx":"AQID","pfxPassphrase":"p\u00e4ss","keyringPassphrase":"hunter2"}`))
	h.do(t, "POST", "/v1/unlock", strings.NewReader(`{"passphrase":"hunter3","for":"90m"}`))
	if want := []string{"\x01\x02\x03", "päss", "hunter2", "hunter3"}; !slices.Equal(keyring.seen, want) {
		t.Fatalf("keyring saw %q", keyring.seen)
	}
	if keyring.period != 90*time.Minute {
		t.Errorf("for %v", keyring.period)
	}
	for i, s := range keyring.secrets {
		if strings.Trim(string([]byte(s)), "\x00") != "" {
			t.Errorf("secret %d is still there", i)
		}
	}
	if text := fmt.Sprintf("%v %+v %#v %s", Secret("hunter2"), Secret("hunter2"), Secret("hunter2"), Secret("hunter2")); strings.Contains(text, "hunter2") {
		t.Error(text)
	}
	if text, _ := json.Marshal(UnlockRequest{Passphrase: Secret("hunter2")}); strings.Contains(string(text), "hunter2") {
		t.Errorf("%s", text)
	}
}

func TestMissingParts(t *testing.T) {
	s := &Server{Role: RoleUser}
	h := serve(t, s)
	s.Status, s.Syncer, s.Recipients, s.Directory, s.Encrypter, s.Decrypter, s.Keyring, s.Checker = nil, nil, nil, nil, nil, nil, nil, nil
	for _, url := range []string{"GET /v1/status", "GET /v1/sync", "POST /v1/sync", "GET /v1/recipients?address=a@b", "GET /v1/directory?address=a@b",
		"GET /v1/entries?query=bo", "GET /v1/certificates/" + strings.Repeat("00", 32), "POST /v1/encrypt", "POST /v1/decrypt", "GET /v1/identities",
		"POST /v1/identities", "POST /v1/lock", "POST /v1/unlock", "GET /v1/check"} {
		method, path, _ := strings.Cut(url, " ")
		if p := h.do(t, method, path, nil).problem(t); p.Code != CodeNotAvailable {
			t.Errorf("%s: %v", url, p.Code)
		}
	}
}

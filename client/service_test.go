package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/client"
	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/interop"
	"github.com/galsyncd/galsyncd/internal/recipients"
	"github.com/galsyncd/galsyncd/internal/service"
	"github.com/galsyncd/galsyncd/internal/testca"
	"github.com/galsyncd/galsyncd/trust"
)

// parts stands for everything behind the service.
type parts struct{ der []byte }

var began = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

func (parts) Start(context.Context, bool) (time.Time, error) { return began, nil }

func (parts) Watch(_ context.Context, progress func(service.Progress) error) (service.Report, error) {
	err := progress(service.Progress{Run: service.Run{Started: began, Phase: "enumerate", Entries: 7}})
	return service.Report{Started: began, Outcome: service.OutcomeComplete, Entries: 10}, err
}

type statuses struct{}

func (statuses) Status(context.Context) (service.Status, error) {
	return service.Status{Source: service.Source{Protocol: "ews", State: "ok"}}, nil
}

type book struct{}

func (book) Lookup(_ context.Context, list []string) (recipients.Result, error) {
	r := recipients.Result{State: recipients.Encrypted}
	for _, a := range list {
		r.Recipients = append(r.Recipients, recipients.Answer{Address: a, State: trust.Encryptable})
	}
	return r, nil
}

func (p parts) entry() directory.Entry {
	return directory.Entry{Primary: "bob@example.com", Kind: directory.KindMailbox,
		Certificates: []directory.UserCertificate{{Raw: p.der, Property: directory.UserSMIMECertificate}}}
}

func (p parts) Lookup(context.Context, directory.Address) (recipients.Found, error) {
	return recipients.Found{Sightings: []directory.Sighting{{Entry: p.entry(), Seen: began}}}, nil
}

func (p parts) Search(_ context.Context, _ string, limit int) ([]directory.Entry, error) {
	return make([]directory.Entry, limit), nil
}

func (p parts) Certificate(context.Context, [32]byte) ([]byte, []directory.Address, error) {
	return p.der, []directory.Address{"bob@example.com"}, nil
}

func (parts) Fingerprints(context.Context, string, int) ([][32]byte, error) {
	return [][32]byte{{1}, {2}}, nil
}

func (parts) Freshness(context.Context) (recipients.Freshness, error) {
	return recipients.Freshness{Completed: began, Walked: began}, nil
}

func (parts) Encrypt(_ context.Context, message io.Reader, o service.EncryptOptions, open func(service.Envelope) (io.WriteCloser, error)) error {
	data, err := io.ReadAll(message)
	if err != nil {
		return err
	}
	if strings.Contains(string(data), "to: carol") {
		return service.UnusableRecipients([]service.Obstacle{{Address: "carol@example.com", State: "expired", Reasons: []string{"expired yesterday"}}})
	}
	envelopes := []service.Envelope{{Recipients: []string{"bob@example.com", "dora@example.com"}}, {Recipients: []string{"erin@example.com"}, Blind: true}}
	if len(o.To) > 0 {
		envelopes = envelopes[:1]
	}
	var copies []io.WriteCloser
	for _, e := range envelopes {
		w, err := open(e)
		if err != nil {
			return err
		}
		copies = append(copies, w)
	}
	for i, w := range copies {
		if _, err := w.Write(append([]byte{byte('0' + i)}, data...)); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
	}
	return nil
}

func (parts) Decrypt(_ context.Context, message io.Reader, _ service.DecryptOptions, begin func(service.Decrypted) (io.Writer, error)) error {
	data, err := io.ReadAll(message)
	if err != nil {
		return err
	}
	w, err := begin(service.Decrypted{Protection: "malleable", Cipher: "aes-256-cbc"})
	if err == nil {
		_, err = w.Write(data[1:])
	}
	return err
}

type ring struct {
	unlocked    bool
	preferences []service.AddressPreferences
}

func (r *ring) Status(context.Context) (service.KeyringStatus, error) {
	return service.KeyringStatus{Exists: true, Unlocked: r.unlocked}, nil
}

func (r *ring) Identities(context.Context) (service.Identities, error) {
	return service.Identities{Identities: []service.Identity{{Added: began}}}, nil
}

// rightPrint is the only fingerprint that the ring knows.
var rightPrint = [32]byte{31: 1}

func (r *ring) Identity(_ context.Context, which [32]byte) (service.Identity, service.PublicHalf, error) {
	if which != rightPrint {
		return service.Identity{}, service.PublicHalf{}, service.ErrNotFound
	}
	return service.Identity{Added: began}, service.PublicHalf{Chain: [][]byte{[]byte("der"), []byte("der2")}, PKCS7: []byte("p7c")}, nil
}

func (r *ring) Export(_ context.Context, which [32]byte, p, k service.Secret) ([]byte, error) {
	if which != rightPrint || string(p) != "one" || string(k) != "two" {
		return nil, service.ErrNotFound
	}
	return []byte("pfx"), nil
}

func (r *ring) Remove(_ context.Context, which [32]byte) (service.Identity, error) {
	if which != rightPrint {
		return service.Identity{}, service.ErrNotFound
	}
	return service.Identity{Added: began}, nil
}

func (r *ring) Request(_ context.Context, q service.NewKeyRequest) (service.IdentityRequest, error) {
	return service.IdentityRequest{ID: q.Key, Addresses: q.Addresses, Subject: q.Name + string([]byte(q.KeyringPassphrase)), CSR: []byte{1}}, nil
}

func (r *ring) RemoveRequest(_ context.Context, id [32]byte) error {
	if id != rightPrint {
		return service.ErrNotFound
	}
	return nil
}

func (r *ring) Preferences(context.Context) ([]service.AddressPreferences, error) {
	return r.preferences, nil
}

func (r *ring) SetPreferences(_ context.Context, p service.AddressPreferences) error {
	r.preferences = append(r.preferences, p)
	return nil
}

func (r *ring) ChangePassphrase(_ context.Context, old, new service.Secret) error {
	if string(old) != "two" || string(new) != "three" {
		return service.NewProblem(service.CodeWrongPassphrase, "", "")
	}
	return nil
}

func (r *ring) Backup(context.Context) ([]byte, error) { return []byte("keyring"), nil }

func (r *ring) Import(_ context.Context, pfx []byte, p, k service.Secret) (service.Imported, error) {
	if len(pfx) != 3 || string(p) != "one" || string(k) != "two" {
		return service.Imported{}, service.NewProblem(service.CodeWrongPassphrase, "", "")
	}
	return service.Imported{Added: 1}, nil
}
func (r *ring) Unlock(_ context.Context, p service.Secret, d time.Duration) error {
	if string(p) != "two" || d != 8*time.Hour {
		return service.NewProblem(service.CodeWrongPassphrase, "", "")
	}
	r.unlocked = true
	return nil
}
func (r *ring) Lock(context.Context) error { r.unlocked = false; return nil }

type checker struct{}

func (checker) Check(context.Context) (service.CheckReport, error) {
	return service.CheckReport{OK: true}, nil
}

// daemon starts a real service with those parts.
func daemon(t testing.TB, role service.Role) *client.Client {
	t.Helper()
	ca, err := testca.New("Example CA")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Leaf(testca.Options{Addresses: []string{"bob@example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(interop.SocketFolder(t), "s")
	l, err := service.Listen(path, service.UserMode)
	if err != nil {
		t.Fatal(err)
	}
	p := parts{der: leaf.Certificate.Raw}
	s := &service.Server{Role: role, Build: service.Build{Version: "9"}, Status: statuses{}, Syncer: p, Recipients: book{}, Directory: p,
		Encrypter: p, Decrypter: p, Keyring: &ring{}, Checker: checker{}}
	go func() { _ = s.Serve(l) }()
	c := &client.Client{Socket: path}
	t.Cleanup(func() {
		c.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return c
}

// TestService is every method against the real service.
func TestService(t *testing.T) {
	c, ctx := daemon(t, service.RoleUser), t.Context()
	check := func(name string, ok bool, err error) {
		t.Helper()
		if err != nil || !ok {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
	version, err := c.Version(ctx)
	check("version", err == nil && version.Version == "9" && version.Go != "", err)
	status, err := c.Status(ctx)
	check("status", err == nil && status.Role == "user" && status.PID == os.Getpid() && status.Keyring != nil, err)
	accepted, err := c.Sync(ctx, true)
	check("sync", err == nil && accepted.Started.Equal(began), err)
	var seen []client.Progress
	report, err := c.WatchSync(ctx, func(p client.Progress) { seen = append(seen, p) })
	check("watch", err == nil && report.Outcome == "complete" && len(seen) == 1 && seen[0].Entries == 7, err)
	result, err := c.Recipients(ctx, []string{"a+b@example.com", "ü&=@example.com"}, client.LookupOptions{Explain: true})
	check("recipients", err == nil && result.State == "encrypted" && result.Recipients[0].Address == "a+b@example.com" && result.Recipients[1].Address == "ü&=@example.com", err)
	candidates, err := c.Directory(ctx, "bob@example.com")
	check("directory", err == nil && candidates.Addresses[0].Sightings[0].Seen.Equal(began) && len(candidates.Addresses[0].Sightings[0].Entry.Certificates[0].Raw) > 0, err)
	entries, err := c.Entries(ctx, "bo", 3)
	check("entries", err == nil && len(entries.Entries) == 3 && entries.More, err)
	cert, err := c.Certificate(ctx, strings.Repeat("0", 64))
	check("certificate", err == nil && cert.Addresses[0] == "bob@example.com" && len(cert.Raw) > 0, err)
	short, err := c.Fingerprints(ctx, "01:02:03:04")
	check("fingerprints", err == nil && len(short.SHA256) == 2 && short.SHA256[0] == "01"+strings.Repeat("0", 62) && !short.More, err)
	identities, err := c.Identities(ctx)
	check("identities", err == nil && len(identities.Identities) == 1 && identities.Requests != nil, err)
	keyRequests(t, c)
	imported, err := c.ImportIdentity(ctx, client.ImportRequest{PFX: []byte{1, 2, 3}, PFXPassphrase: "one", KeyringPassphrase: "two"})
	check("import", err == nil && imported.Added == 1, err)
	keyring, err := c.Unlock(ctx, "two", 8*time.Hour)
	check("unlock", err == nil && keyring.Unlocked, err)
	keyring, err = c.Lock(ctx)
	check("lock", err == nil && !keyring.Unlocked, err)
	files, err := c.Check(ctx)
	check("check", err == nil && files.OK, err)
	var refusal *client.Error
	if _, err := c.Unlock(ctx, "three", 0); !errors.As(err, &refusal) || refusal.Code != client.CodeWrongPassphrase {
		t.Errorf("wrong passphrase: %v", err)
	}
}

// keyRequests are the requests about one own key, and about the keyring as a whole.
func keyRequests(t *testing.T, c *client.Client) {
	t.Helper()
	ctx, right, wrong := t.Context(), strings.Repeat("0", 63)+"1", strings.Repeat("0", 64)
	check := func(what string, ok bool, err error) {
		t.Helper()
		if !ok || err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	request, err := c.RequestIdentity(ctx, client.NewKeyRequest{Addresses: []string{"a@b"}, Name: "N", Key: "p-256", KeyringPassphrase: "p"})
	check("request", err == nil && request.ID == "p-256" && request.Subject == "Np" && request.Addresses[0] == "a@b", err)
	for form, want := range map[string]string{client.FormDER: "der", client.FormPEM: "-----BEGIN CERTIFICATE-----", client.FormPKCS7: "p7c"} {
		file, err := c.PublicIdentity(ctx, right, form)
		check(form, strings.HasPrefix(string(file), want), err)
	}
	pfx, err := c.ExportIdentity(ctx, right, client.ExportRequest{PFXPassphrase: "one", KeyringPassphrase: "two"})
	check("export", string(pfx) == "pfx", err)
	gone, err := c.RemoveIdentity(ctx, right)
	check("remove", err == nil && gone.Added.Equal(began), err)
	check("remove request", true, c.RemoveRequest(ctx, right))
	yes := true
	list, err := c.SetPreferences(ctx, "", client.Preferences{Sign: &yes})
	check("set preferences", err == nil && len(list.Preferences) == 1, err)
	list, err = c.Preferences(ctx, "ä+b@example.com")
	check("preferences", err == nil && list.Effective.Address == "ä+b@example.com" && *list.Effective.Sign && list.Effective.Encrypt == nil, err)
	_, err = c.ChangePassphrase(ctx, "two", "three")
	check("passphrase", true, err)
	backup, err := c.Backup(ctx)
	check("backup", string(backup) == "keyring", err)
	_, removeErr := c.RemoveIdentity(ctx, wrong)
	for what, err := range map[string]error{"identity": removeErr, "request": c.RemoveRequest(ctx, wrong)} {
		var refusal *client.Error
		if !errors.As(err, &refusal) || refusal.Code != client.CodeNotFound {
			t.Errorf("remove no %s: %v", what, err)
		}
	}
}

func TestMail(t *testing.T) {
	c, ctx := daemon(t, service.RoleUser), t.Context()
	big := strings.Repeat("lorem ipsum ", 500_000)
	for _, size := range []int64{0, int64(len(big))} {
		var out bytes.Buffer
		if _, err := c.Encrypt(ctx, strings.NewReader(big), &out, client.EncryptOptions{To: []string{"bob@example.com"}, Size: size}); err != nil || out.String() != "0"+big {
			t.Errorf("encrypt: %d bytes, %v", out.Len(), err)
		}
	}
	var copies []string
	_, err := c.EncryptCopies(ctx, strings.NewReader(big), client.EncryptOptions{}, func(m client.Copy) error {
		data, err := io.ReadAll(m.Message)
		copies = append(copies, fmt.Sprint(m.Recipients, string(data[:6]), len(data)))
		return err
	})
	if want := fmt.Sprintf("[bob@example.com dora@example.com]0lorem%d|[erin@example.com]1lorem%[1]d", len(big)+1); err != nil || strings.ReplaceAll(strings.Join(copies, "|"), " ", "") != strings.ReplaceAll(want, " ", "") {
		t.Errorf("copies: %q, %v", copies, err)
	}
	var refusal *client.Error
	var out bytes.Buffer
	if _, err := c.Encrypt(ctx, strings.NewReader(big), &out, client.EncryptOptions{}); !errors.As(err, &refusal) || refusal.Code != client.CodeBccNeedsMultipart || out.Len() != 0 {
		t.Errorf("bcc: %v, %d bytes", err, out.Len())
	}
	if _, err := c.Encrypt(ctx, strings.NewReader("to: carol\n"+big), &out, client.EncryptOptions{}); !errors.As(err, &refusal) || refusal.Code != client.CodeRecipientsUnusable || refusal.Recipients[0].State != "expired" {
		t.Errorf("carol: %v", err)
	}
	if _, err := c.Encrypt(ctx, io.LimitReader(zeros{}, 200_000_000), io.Discard, client.EncryptOptions{Size: 200_000_000}); !errors.As(err, &refusal) || refusal.Code != client.CodeMessageTooLarge {
		t.Errorf("large: %v", err)
	}
	enough := errors.New("enough")
	if _, err := c.EncryptCopies(ctx, strings.NewReader(big), client.EncryptOptions{}, func(client.Copy) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("each: %v", err)
	}
	info, err := c.Decrypt(ctx, strings.NewReader("0"+big), &out, client.DecryptOptions{})
	if err != nil || info.Protection != "malleable" || info.Cipher != "aes-256-cbc" || out.String() != big {
		t.Errorf("decrypt: %+v, %v", info, err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestSystemRole: the way to private keys is told.
func TestSystemRole(t *testing.T) {
	c := daemon(t, service.RoleSystem)
	var refusal *client.Error
	if _, err := c.Decrypt(t.Context(), strings.NewReader("x"), io.Discard, client.DecryptOptions{}); !errors.As(err, &refusal) || refusal.Code != client.CodeNotAllowed || !strings.Contains(refusal.Hint, "--user enable") {
		t.Errorf("%v", err)
	}
}

// BenchmarkRecipients is one look-up with this client and the real service, the book aside.
func BenchmarkRecipients(b *testing.B) {
	c := daemon(b, service.RoleUser)
	for b.Loop() {
		if _, err := c.Recipients(b.Context(), []string{"bob@example.com"}, client.LookupOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleClient_Recipients() {
	var c client.Client // asks the daemon that DefaultSocket finds
	result, err := c.Recipients(context.Background(), []string{"bob@example.com", "carol@example.com"}, client.LookupOptions{})
	if errors.Is(err, client.ErrNotRunning) {
		fmt.Println("start galsyncd first")
		return
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(result.State, result.Blocking)
}

func ExampleClient_Encrypt() {
	var c client.Client
	mail := strings.NewReader("From: alice@example.com\r\nTo: bob@example.com\r\n\r\nhello\r\n")
	var encrypted bytes.Buffer
	_, err := c.Encrypt(context.Background(), mail, &encrypted, client.EncryptOptions{})
	var refusal *client.Error
	if errors.As(err, &refusal) {
		for _, r := range refusal.Recipients {
			fmt.Println(r.Address, r.State, r.Reasons)
		}
	}
}

func ExampleClient_EncryptCopies() {
	var c client.Client
	mail := strings.NewReader("From: alice@example.com\r\nTo: bob@example.com\r\nBcc: carol@example.com\r\n\r\nhello\r\n")
	_, err := c.EncryptCopies(context.Background(), mail, client.EncryptOptions{}, func(m client.Copy) error {
		fmt.Println("for", m.Recipients)
		_, err := io.Copy(io.Discard, m.Message)
		return err
	})
	if err != nil {
		fmt.Println(err)
	}
}

func ExampleClient_WatchSync() {
	var c client.Client
	if _, err := c.Sync(context.Background(), false); err != nil {
		fmt.Println(err)
		return
	}
	report, err := c.WatchSync(context.Background(), func(p client.Progress) { fmt.Println(p.Phase, p.Entries) })
	if err == nil {
		fmt.Println(report.Outcome, report.Added)
	}
}

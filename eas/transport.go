package eas

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/galsyncd/galsyncd/internal/httpfault"
	"github.com/galsyncd/galsyncd/internal/wbxml"
)

// Bounds of an answer.
const (
	maxAnswer = 32 << 20  // bytes, after gzip
	maxDrain  = 256 << 10 // bytes that nobody wants, read so that the connection can be used again
)

// HTTP statuses with a meaning of their own (MS-ASHTTP section 2.2.2.1.1).
const (
	statusProvision = 449
	statusMoved     = 451
	statusBlocked   = 456
	statusExpired   = 457
)

// errTimeLimit is the cause of a context that ran into Client.Timeout.
var errTimeLimit = errors.New("time limit of the request")

// locale of the base64 query: English (United States). Servers write texts for people in it, which are never read here.
const locale = 0x0409

// query makes the base64 form of the query (MS-ASHTTP section 2.2.1.1.1.1). key 0 is no policy key.
func query(version, deviceID, deviceType string, cmd command, key uint32) (string, error) {
	major, minor, _ := strings.Cut(version, ".")
	n, err := strconv.ParseUint(major+minor, 10, 8)
	if err != nil {
		return "", fmt.Errorf("version %q does not fit the base64 form of the query", version)
	}
	b := []byte{byte(n), cmd.code}
	b = binary.LittleEndian.AppendUint16(b, locale)
	b = append(append(b, byte(len(deviceID))), deviceID...)
	if key == 0 {
		b = append(b, 0)
	} else {
		b = binary.LittleEndian.AppendUint32(append(b, 4), key)
	}
	b = append(append(b, byte(len(deviceType))), deviceType...)
	return base64.StdEncoding.EncodeToString(b), nil
}

// newRequest makes the request of a command.
func (c *call) newRequest(ctx context.Context, base string, cmd command, body []byte, key uint32) (*http.Request, error) {
	c.session.mu.Lock()
	version := c.session.version
	c.session.mu.Unlock()
	kind := cmp.Or(c.DeviceType, DefaultDeviceType)
	header := http.Header{}
	q, err := query(version, c.DeviceID, kind, cmd, key)
	if c.PlainQuery {
		q = url.Values{"Cmd": {cmd.name}, "User": {c.Username}, "DeviceId": {c.DeviceID}, "DeviceType": {kind}}.Encode()
		header.Set("MS-ASProtocolVersion", version)
		header.Set("X-MS-PolicyKey", strconv.FormatUint(uint64(key), 10))
	}
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"?"+q, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header = header
	req.Header.Set("Content-Type", "application/vnd.ms-sync.wbxml")
	// Present and empty: not sent, but tells net/http that the question may be asked again on a new connection when a
	// kept one turns out to be closed.
	req.Header["Idempotency-Key"] = nil
	return req, nil
}

// post sends one command and reads its answer: a document with the right root whose status, if it has one, is not an
// error.
func (c *call) post(cmd command, document *wbxml.Element, key uint32) (*wbxml.Element, error) {
	body, err := wbxml.Marshal(document)
	if err != nil {
		return nil, c.refuse(cmd, err)
	}
	base, client := c.place()
	var root *wbxml.Element
	err = c.exchange(cmd, client, func(ctx context.Context) (*http.Request, error) {
		return c.newRequest(ctx, base, cmd, body, key)
	}, func(ctx context.Context, resp *http.Response) (err error) {
		root, err = c.read(ctx, cmd, resp)
		return err
	})
	return root, err
}

// exchange sends one request and has its answer read, within the time limit.
func (c *call) exchange(cmd command, client *http.Client, request func(context.Context) (*http.Request, error), read func(context.Context, *http.Response) error) error {
	started := time.Now()
	ctx, cancel := context.WithTimeoutCause(c.ctx, cmp.Or(c.Timeout, DefaultTimeout), errTimeLimit)
	defer cancel()
	req, err := request(ctx)
	if err != nil {
		return c.refuse(cmd, err)
	}
	req.Header.Set("User-Agent", cmp.Or(c.UserAgent, DefaultUserAgent))
	req.Header.Set("Accept-Encoding", "gzip")
	h := http.Client{}
	if client != nil {
		h = *client
	}
	// A redirect would carry the question, and with some clients the credential, to another host.
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.requests++
	resp, err := h.Do(req)
	status := 0
	if err != nil {
		err = c.transportError(ctx, cmd, err)
	} else {
		status = resp.StatusCode
		err = read(ctx, resp)
		_, _ = io.CopyN(io.Discard, resp.Body, maxDrain)
		_ = resp.Body.Close()
	}
	if c.Logger != nil {
		facts := []any{"operation", cmd.name, "status", status, "duration", time.Since(started)}
		if err != nil {
			facts = append(facts, "error", err)
		}
		c.Logger.DebugContext(c.ctx, "exchange answered", facts...)
	}
	return err
}

// options asks what the server speaks.
func (c *call) options() (versions []string, err error) {
	base, client := c.place()
	cmd := command{name: "OPTIONS"}
	err = c.exchange(cmd, client, func(ctx context.Context) (*http.Request, error) {
		return http.NewRequestWithContext(ctx, http.MethodOptions, base, nil)
	}, func(_ context.Context, resp *http.Response) error {
		if resp.StatusCode != http.StatusOK {
			return c.statusError(cmd, resp)
		}
		for _, line := range resp.Header.Values("MS-ASProtocolVersions") {
			for v := range strings.SplitSeq(line, ",") {
				versions = append(versions, httpfault.Clean(v, 10))
			}
		}
		if len(versions) == 0 || len(versions) > 100 {
			return c.fail(cmd, &Error{reason: "the server does not say which versions of ActiveSync it speaks", hint: wrongURL})
		}
		return nil
	})
	return versions, err
}

const wrongURL = "check exchange.url; it usually ends in /Microsoft-Server-ActiveSync"

// read turns an HTTP answer into a document.
func (c *call) read(ctx context.Context, cmd command, resp *http.Response) (*wbxml.Element, error) {
	if resp.StatusCode != http.StatusOK {
		return nil, c.statusError(cmd, resp)
	}
	body, err := readBody(resp)
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case err != nil:
		return nil, c.contentError(ctx, cmd, err)
	case len(body) == 0:
		return nil, c.fail(cmd, &Error{reason: "the answer is empty: the server does not have this command, or something in front of it drops answers", Temporary: true, hint: hintCut})
	case kind != "application/vnd.ms-sync.wbxml" && kind != "application/vnd.ms-sync":
		return nil, c.fail(cmd, &Error{reason: fmt.Sprintf("the answer is of the type %q, not ActiveSync", httpfault.Clean(kind, 60)), Temporary: true,
			hint: "look for a sign-in or maintenance page in front of the server, and check exchange.url"})
	}
	root, err := wbxml.Unmarshal(body)
	if err != nil {
		return nil, c.contentError(ctx, cmd, err)
	}
	if status, ok := statusOf(root); ok && status != statusOK && (status > 100 || root.Tag != cmd.root) {
		return nil, c.codeError(cmd, status)
	}
	if root.Tag != cmd.root {
		return nil, c.malformed(cmd, fmt.Errorf("the server answered with %s", root.Tag))
	}
	return root, nil
}

// readBody reads an answer and undoes gzip, both within bounds.
func readBody(resp *http.Response) ([]byte, error) {
	var in io.Reader = io.LimitReader(resp.Body, maxAnswer+1)
	switch e := strings.ToLower(resp.Header.Get("Content-Encoding")); e {
	case "", "identity":
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("read gzip: %w", err)
		}
		in = io.LimitReader(z, maxAnswer+1)
	default:
		return nil, fmt.Errorf("the answer has the content encoding %q; only gzip was offered", httpfault.Clean(e, 20))
	}
	body, err := io.ReadAll(in)
	if err == nil && len(body) > maxAnswer {
		err = fmt.Errorf("%w: more than %d bytes", wbxml.ErrLimit, maxAnswer)
	}
	return body, err
}

// statusTags are the elements that may say how a command went, whatever page the server takes them from.
var statusTags = []wbxml.Tag{
	wbxml.ResolveRecipientsStatus, wbxml.SearchStatus, wbxml.ProvisionStatus, wbxml.ValidateCertStatus,
	wbxml.FolderHierarchyStatus, wbxml.AirSyncStatus, wbxml.SettingsStatus,
}

// statusOf is the status directly below the root.
func statusOf(root *wbxml.Element) (int, bool) {
	for _, e := range root.Children {
		for _, tag := range statusTags {
			if e.Tag == tag {
				return number(e.Text), true
			}
		}
	}
	return 0, false
}

// number reads a status; what is none is -1.
func number(text string) int {
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 16)
	if err != nil {
		return -1
	}
	return int(n)
}

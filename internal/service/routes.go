package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// route is a request that the service answers, and who may make it.
type route struct {
	method string
	// pattern is a path; a segment in braces matches any one segment and is its PathValue.
	pattern string
	access  access
	// body says that the handler reads the body, to its end.
	body   bool
	handle func(*Server, http.ResponseWriter, *http.Request) error
}

// routes returns the table of requests and of who may make them.
func routes() []route {
	return []route{
		{"GET", "/v1/status", forAll, false, (*Server).getStatus},
		{"GET", "/v1/sync", forAll, false, (*Server).watchSync},
		{"POST", "/v1/sync", forAdmins, false, (*Server).startSync},
		{"GET", "/v1/recipients", forAll, false, (*Server).getRecipients},
		{"GET", "/v1/directory", forAll, false, (*Server).getDirectory},
		{"GET", "/v1/entries", forAll, false, (*Server).getEntries},
		{"GET", "/v1/fingerprints", forAll, false, (*Server).getFingerprints},
		{"GET", "/v1/certificates", forAdmins, false, (*Server).getCertificates},
		{"POST", "/v1/certificates", forAdmins, true, (*Server).postCertificate},
		{"GET", "/v1/certificates/{sha256}", forAll, false, (*Server).getCertificate},
		{"DELETE", "/v1/certificates/{sha256}", forAdmins, false, (*Server).deleteCertificate},
		{"PUT", "/v1/certificates/{sha256}/trust", forAdmins, false, (*Server).putTrust},
		{"DELETE", "/v1/certificates/{sha256}/trust", forAdmins, false, (*Server).deleteTrust},
		{"POST", "/v1/encrypt", forAll, true, (*Server).postEncrypt},
		{"POST", "/v1/verify", forAll, true, (*Server).postVerify},
		{"POST", "/v1/sign", forOwner, true, (*Server).postSign},
		{"POST", "/v1/decrypt", forOwner, true, (*Server).postDecrypt},
		{"GET", "/v1/identities", forOwner, false, (*Server).getIdentities},
		{"POST", "/v1/identities", forOwner, true, (*Server).postIdentity},
		{"GET", "/v1/identities/{sha256}", forOwner, false, (*Server).getIdentity},
		{"DELETE", "/v1/identities/{sha256}", forOwner, false, (*Server).deleteIdentity},
		{"POST", "/v1/identities/{sha256}/export", forOwner, true, (*Server).exportIdentity},
		{"POST", "/v1/identities/requests", forOwner, true, (*Server).postRequest},
		{"DELETE", "/v1/identities/requests/{id}", forOwner, false, (*Server).deleteRequest},
		{"GET", "/v1/preferences", forOwner, false, (*Server).getPreferences},
		{"PUT", "/v1/preferences", forOwner, true, (*Server).putPreferences},
		{"POST", "/v1/keyring/passphrase", forOwner, true, (*Server).postPassphrase},
		{"GET", "/v1/keyring/backup", forOwner, false, (*Server).getBackup},
		{"POST", "/v1/lock", forOwner, false, (*Server).postLock},
		{"POST", "/v1/unlock", forOwner, true, (*Server).postUnlock},
		{"GET", "/v1/check", forAdmins, false, (*Server).getCheck},
		{"GET", "/v1/version", forAll, false, (*Server).getVersion},
		{"GET", "/v1/openapi.json", forAll, false, (*Server).getOpenAPI},
	}
}

// match returns the routes of a path, one for each method, and sets the path values of r.
func match(r *http.Request, table []route) []route {
	var found []route
	for _, candidate := range table {
		if matchPath(r, candidate.pattern) {
			found = append(found, candidate)
		}
	}
	return found
}

// matchPath compares a path with a pattern, segment by segment.
func matchPath(r *http.Request, pattern string) bool {
	if !strings.Contains(pattern, "{") {
		return r.URL.Path == pattern
	}
	segments, wanted := strings.Split(r.URL.Path, "/"), strings.Split(pattern, "/")
	if len(segments) != len(wanted) {
		return false
	}
	for i, w := range wanted {
		if strings.HasPrefix(w, "{") && segments[i] == "" || !strings.HasPrefix(w, "{") && segments[i] != w {
			return false
		}
	}
	for i, w := range wanted {
		if strings.HasPrefix(w, "{") {
			r.SetPathValue(strings.Trim(w, "{}"), segments[i])
		}
	}
	return true
}

// answer remembers what was already said, and cuts a caller that stops taking it.
type answer struct {
	http.ResponseWriter
	controller *http.ResponseController
	stall      time.Duration
	status     int
}

func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= 200 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	_ = a.controller.SetWriteDeadline(time.Now().Add(a.stall))
	return a.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// call is what is known of one request when it is logged.
type call struct {
	method, route string
	peer          Peer
	began         time.Time
}

func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	a := &answer{ResponseWriter: w, controller: http.NewResponseController(w), stall: s.start().limits.Stall}
	c := &call{method: "other", route: "none", began: s.now()}
	aborted := true
	defer func() {
		if v := recover(); v != nil && v != http.ErrAbortHandler {
			s.logPanic(r.Context(), c, v)
			if a.status == 0 {
				writeProblem(a, NewProblem(CodeInternal, "the daemon could not answer; its log says why", ""))
				aborted = false
			}
		}
		s.logCall(r.Context(), c, a.status, aborted)
		if aborted {
			panic(http.ErrAbortHandler)
		}
	}()
	if r.Body != http.NoBody {
		// Answers may begin, and refusals come, while the body is still being sent.
		_ = a.controller.EnableFullDuplex()
		// A body that nobody reads must not hold the connection for ever.
		_ = a.controller.SetReadDeadline(time.Now().Add(a.stall))
	}
	err := s.dispatch(a, r, c)
	if err != nil {
		p, internal := problemOf(err)
		if internal && r.Context().Err() == nil {
			s.log().ErrorContext(r.Context(), "request went wrong", "route", c.route, "error", err)
		}
		if a.status != 0 {
			return // with a panic: the answer began, and must not look complete
		}
		writeProblem(a, p)
		if !linger(a, r, p) {
			return // with a panic, which closes the connection: what still comes is no new request
		}
	}
	aborted = false
}

// How long, and how many bytes, a refused caller may go on sending before the connection is cut.
const (
	lingerTime = 5 * time.Second
	lingerSize = 1 << 30
)

// linger takes the rest of a body that was refused, within bounds: a caller that is still sending would else see its
// connection break and never read why (RFC 9112 section 9.6). It reports whether the body came to its end.
func linger(a *answer, r *http.Request, p *Problem) bool {
	if r.Body == http.NoBody {
		return true
	}
	_ = a.controller.Flush()
	if p.Code == CodeTimeout {
		return false
	}
	_ = a.controller.SetReadDeadline(time.Now().Add(lingerTime))
	_, err := io.CopyN(io.Discard, r.Body, lingerSize)
	return err == io.EOF
}

// dispatch checks the request in the order in which a check can say something useful, and calls its handler.
func (s *Server) dispatch(w *answer, r *http.Request, c *call) error {
	peer, ok := r.Context().Value(peerKey{}).(Peer)
	if !ok {
		return NewProblem(CodeNotAllowed, "the caller cannot be identified", "connect to the Unix socket of galsyncd")
	}
	c.peer = peer
	if err := checkOrigin(r); err != nil {
		return err
	}
	found := match(r, s.start().routes)
	if len(found) == 0 {
		if s.role() == RoleSystem && concernsOwnKeys(r.URL.Path) {
			return noKeysHere()
		}
		return NewProblem(CodeNotFound, "no such path", "GET /v1/openapi.json lists all requests")
	}
	c.route = found[0].pattern
	i := slices.IndexFunc(found, func(f route) bool { return f.method == r.Method })
	if i < 0 {
		return s.wrongMethod(w, r, found)
	}
	c.method = r.Method
	if p := s.admit(r.Context(), r.URL.Path, found[i].access, peer); p != nil {
		return p
	}
	leave, ok := s.start().requests.enter(peer.UID)
	if !ok {
		return NewProblem(CodeBusy, "too many requests at once", "try again in a moment")
	}
	defer leave()
	if !found[i].body {
		if err := s.discardBody(w, r); err != nil {
			return err
		}
	}
	return found[i].handle(s, w, r)
}

func (s *Server) wrongMethod(w http.ResponseWriter, r *http.Request, found []route) error {
	if s.role() == RoleSystem && concernsOwnKeys(r.URL.Path) {
		return noKeysHere()
	}
	var allow []string
	for _, f := range found {
		allow = append(allow, f.method)
	}
	w.Header().Set("Allow", strings.Join(allow, ", "))
	return NewProblem(CodeMethodNotAllowed, "this path takes "+strings.Join(allow, " and "), "")
}

// checkOrigin refuses what a browser was made to send, and versions of HTTP that cannot tell a cut answer from a
// complete one.
func checkOrigin(r *http.Request) error {
	if !r.ProtoAtLeast(1, 1) {
		return NewProblem(CodeBadRequest, "HTTP/1.0 has no way to show that an answer was cut short", "use HTTP/1.1")
	}
	if len(r.Header["Origin"]) > 0 || len(r.Header["Referer"]) > 0 {
		return NewProblem(CodeNotAllowed, "requests of web pages are refused",
			"leave the Origin and Referer header out")
	}
	if localName(r.Host) {
		return nil
	}
	return NewProblem(CodeBadRequest, "this service is not that host", "use a URL like http://localhost/v1/status")
}

// localName reports whether host, which may have a port, is a name that no page of the Internet has: one without a dot, such
// as a client puts into its URL when the socket says all, or a loopback address. A page of evil.example that reaches a
// forwarded socket by DNS rebinding sends the name of its own host.
func localName(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.IsLoopback()
	}
	return !strings.ContainsAny(host, ".:")
}

// logCall writes the one line that every request gets.
func (s *Server) logCall(ctx context.Context, c *call, status int, aborted bool) {
	level := slog.LevelDebug
	if status >= 500 {
		level = slog.LevelWarn
	}
	s.log().LogAttrs(ctx, level, "request",
		slog.String("method", c.method), slog.String("route", c.route), slog.Int("status", status),
		slog.Bool("aborted", aborted), slog.Duration("duration", s.now().Sub(c.began)),
		slog.Uint64("uid", uint64(c.peer.UID)))
}

// logPanic logs where, but of the panic's value only what cannot carry anything of a request.
func (s *Server) logPanic(ctx context.Context, c *call, v any) {
	what := fmt.Sprintf("%T", v)
	if err, ok := v.(runtime.Error); ok {
		what = err.Error()
	}
	s.log().ErrorContext(ctx, "request panicked", "route", c.route, "panic", what, "stack", string(debug.Stack()))
}

// missing is the answer of a part that this daemon runs without.
func missing(part string) error {
	return NewProblem(CodeNotAvailable, "this galsyncd runs without "+part, "")
}

// errUnread reports a success that cannot be one: the mail was not read to its end.
var errUnread = errors.New("the mail was not read to its end")

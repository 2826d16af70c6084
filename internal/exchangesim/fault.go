package exchangesim

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// FaultKind names a way to spoil answers.
type FaultKind string

// Faults. Where an error of Exchange comes with a time to wait, it is Fault.RetryAfter.
const (
	FaultUnauthorized     FaultKind = "unauthorized"      // status 401, whatever the credentials
	FaultUnavailable      FaultKind = "unavailable"       // bare status 503 of IIS, with Retry-After when RetryAfter is set
	FaultHTML             FaultKind = "html"              // status 200 with a sign-in page
	FaultEmpty            FaultKind = "empty"             // status 200 without a body
	FaultHang             FaultKind = "hang"              // no answer until the client leaves
	FaultReset            FaultKind = "reset"             // connection reset in the middle of the answer
	FaultTruncate         FaultKind = "truncate"          // half of the answer with an honest length and a clean end
	FaultDrip             FaultKind = "drip"              // the answer byte by byte, one every Interval
	FaultEndless          FaultKind = "endless"           // an answer that goes on with one Resolution after the other
	FaultBusy             FaultKind = "busy-fault"        // ErrorServerBusy as SOAP fault with BackOffMilliseconds
	FaultBusyMessage      FaultKind = "busy-message"      // ErrorServerBusy in a response message
	FaultBusyInner        FaultKind = "busy-inner"        // ErrorInternalServerError with InnerErrorResponseCode ErrorServerBusy
	FaultConnections      FaultKind = "connections"       // ErrorExceededConnectionCount as SOAP fault
	FaultTransient        FaultKind = "transient"         // ErrorInternalServerTransientError in a response message
	FaultADUnavailable    FaultKind = "ad-unavailable"    // ErrorADUnavailable in a response message
	FaultADOperation      FaultKind = "ad-operation"      // ErrorADOperation in a response message
	FaultTimeout          FaultKind = "timeout-expired"   // ErrorTimeoutExpired in a response message
	FaultObjects          FaultKind = "too-many-objects"  // ErrorTooManyObjectsOpened in a response message
	FaultSchema           FaultKind = "schema-validation" // ErrorSchemaValidation as SOAP fault
	FaultSchemaVersion    FaultKind = "schema-version"    // ErrorIncorrectSchemaVersion in a response message
	FaultRetryDate        FaultKind = "retry-date"        // bare status 503 with a date in Retry-After
	FaultNoMailbox        FaultKind = "no-mailbox"        // ErrorNameResolutionNoMailbox
	FaultAccessDenied     FaultKind = "access-denied"     // ErrorAccessDenied in a response message
	FaultInvalidVersion   FaultKind = "invalid-version"   // ErrorInvalidServerVersion as SOAP fault
	FaultNoResults        FaultKind = "no-results"        // ErrorNameResolutionNoResults whatever was asked
	FaultNoCertificates   FaultKind = "no-certificates"   // true answers without any certificate value
	FaultWithoutMoreToSay FaultKind = "no-resolution-set" // Success without a ResolutionSet
	FaultHandler          FaultKind = "handler"           // Fault.Handler answers
)

// FaultKinds lists the faults that need no Handler.
func FaultKinds() []FaultKind {
	kinds := []FaultKind{FaultUnauthorized, FaultUnavailable, FaultHTML, FaultEmpty, FaultHang, FaultReset, FaultTruncate, FaultDrip, FaultEndless, FaultRetryDate}
	for kind := range exchangeErrors {
		kinds = append(kinds, kind)
	}
	kinds = append(kinds, FaultNoCertificates, FaultWithoutMoreToSay)
	slices.Sort(kinds)
	return kinds
}

// Fault spoils answers. It strikes after authentication, so that a handshake of three requests counts as one.
type Fault struct {
	Kind FaultKind
	// Skip requests are answered truly before the fault strikes for the first time.
	Skip int
	// Requests is how many answers it spoils; 0 means all until ClearFaults.
	Requests int
	// Only, when set, confines the fault to requests whose UnresolvedEntry (or group) it accepts; others are not counted.
	Only func(entry string) bool
	// Operation, when set, confines the fault to requests of that operation, for example "FindItem"; others are not counted.
	Operation string
	// RetryAfter is told to the client where the kind has a place for it. Back-off of Exchange is 5 s when zero.
	RetryAfter time.Duration
	// Location is where FaultMoved sends the client.
	Location string
	// Interval of FaultDrip; 50 ms when zero.
	Interval time.Duration
	// Handler answers for FaultHandler. The request body can be read.
	Handler http.HandlerFunc
}

// Fault adds a fault. When several are set, the oldest that applies strikes.
func (s *Server) Fault(f Fault) {
	kinds := append(FaultKinds(), ActiveSyncFaultKinds()...)
	if f.Kind == FaultHandler && f.Handler == nil || f.Kind != FaultHandler && !slices.Contains(kinds, f.Kind) {
		panic(fmt.Sprintf("exchangesim: fault %q is not one of %v", f.Kind, kinds))
	}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.list = append(s.faults.list, &f)
}

// ClearFaults makes answers true again. Answers under way stay spoilt.
func (s *Server) ClearFaults() {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.list = nil
}

type faultList struct {
	mu   sync.Mutex
	list []*Fault
}

// take returns the fault for a request of an operation that asks for entries, and counts it down.
func (l *faultList) take(operation string, entries ...string) (Fault, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, f := range l.list {
		if f.Only != nil && !slices.ContainsFunc(entries, f.Only) || f.Operation != "" && f.Operation != operation {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		taken := *f
		if f.Requests--; f.Requests == 0 {
			l.list = slices.Delete(l.list, i, i+1)
		} else if f.Requests < 0 {
			f.Requests = 0
		}
		return taken, true
	}
	return Fault{}, false
}

// exchangeError is an error of Exchange and the way it travels.
type exchangeError struct {
	code, text string
	fault      bool // SOAP fault with status 500; else a response message with status 200
	values     func(wait time.Duration) [][2]string
}

func backOff(wait time.Duration) [][2]string {
	return [][2]string{{"BackOffMilliseconds", strconv.FormatInt(wait.Milliseconds(), 10)}}
}

const busyText = "The server cannot service this request right now. Try again later."

var exchangeErrors = map[FaultKind]exchangeError{
	FaultBusy:        {"ErrorServerBusy", busyText, true, backOff},
	FaultBusyMessage: {"ErrorServerBusy", busyText, false, backOff},
	FaultBusyInner: {"ErrorInternalServerError", "An internal server error occurred. Try again later.", false, func(wait time.Duration) [][2]string {
		return append([][2]string{{"InnerErrorMessageText", busyText}, {"InnerErrorResponseCode", "ErrorServerBusy"}, {"InnerErrorDescriptiveLinkKey", "0"}}, backOff(wait)...)
	}},
	FaultConnections: {"ErrorExceededConnectionCount", "You have exceeded the available concurrent connections for your account.", true, func(time.Duration) [][2]string {
		return [][2]string{{"Policy", "MaxConcurrency"}, {"MaxConcurrencyLimit", "27"}}
	}},
	FaultTransient:     {"ErrorInternalServerTransientError", "An internal server error occurred. Try again later.", false, nil},
	FaultADUnavailable: {"ErrorADUnavailable", "Active Directory is unavailable. Try your request again later.", false, nil},
	FaultADOperation:   {"ErrorADOperation", "An Active Directory operation failed.", false, nil},
	FaultTimeout:       {"ErrorTimeoutExpired", "The operation timed out.", false, nil},
	FaultObjects:       {"ErrorTooManyObjectsOpened", "Too many objects are opened on this server.", false, nil},
	FaultSchema: {"ErrorSchemaValidation", "The request failed schema validation: The element is not expected.", true, func(time.Duration) [][2]string {
		return [][2]string{{"LineNumber", "1"}, {"Violation", "not expected"}}
	}},
	FaultSchemaVersion:  {"ErrorIncorrectSchemaVersion", "The request is valid but does not specify the correct server version.", false, nil},
	FaultNoMailbox:      {"ErrorNameResolutionNoMailbox", "The caller does not have a mailbox.", false, nil},
	FaultAccessDenied:   {"ErrorAccessDenied", "Access is denied. Check credentials and try again.", false, nil},
	FaultInvalidVersion: {"ErrorInvalidServerVersion", "The specified server version is invalid.", true, nil},
	FaultNoResults:      {"ErrorNameResolutionNoResults", "No results were found.", false, nil},
}

// serve answers with the fault.
func (f Fault) serve(x *exchange) {
	if x.command != nil && f.serveActiveSync(x) {
		return
	}
	if e, ok := exchangeErrors[f.Kind]; ok {
		f.exchangeError(x, e)
		return
	}
	switch f.Kind {
	case FaultUnauthorized:
		x.server.counters.unauthorized.Add(1)
		x.server.auth.refuse(x.w, x.r)
	case FaultUnavailable:
		if f.RetryAfter > 0 {
			x.w.Header().Set("Retry-After", strconv.Itoa(int((f.RetryAfter+time.Second-1)/time.Second)))
		}
		http.Error(x.w, "The service is unavailable.", http.StatusServiceUnavailable)
	case FaultRetryDate:
		// A date has whole seconds: one is added, so that none is lost.
		x.w.Header().Set("Retry-After", time.Now().Add(f.RetryAfter+time.Second).UTC().Format(http.TimeFormat))
		http.Error(x.w, "The service is unavailable.", http.StatusServiceUnavailable)
	case FaultHTML:
		x.w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(x.w, "<!DOCTYPE html>\r\n<html><head><title>Sign in</title></head><body><form method=\"post\"><input name=\"password\"><br></form></body></html>\r\n")
	case FaultEmpty:
		x.w.Header().Set("Content-Type", x.contentType())
		x.w.WriteHeader(http.StatusOK)
	case FaultHang:
		x.untilTheClientLeaves()
	case FaultReset:
		x.reset()
	case FaultTruncate:
		status, body := x.answer()
		x.send(status, body[:len(body)/2])
	case FaultDrip:
		x.drip(f.Interval)
	case FaultEndless:
		x.endless()
	case FaultNoCertificates:
		x.withoutCertificates()
	case FaultWithoutMoreToSay:
		x.send(http.StatusOK, responseMessage(x.operation(), "Success", "NoError", "", nil))
	case FaultAmbiguous, FaultBlocked, FaultCertificateLimit, FaultMoved, FaultNotProvisioned, FaultServerError, FaultTooManyDevices: // of ActiveSync alone
		status, body := x.answer()
		x.send(status, body)
	case FaultHandler:
		x.r.Body = io.NopCloser(bytes.NewReader(x.body))
		f.Handler(x.w, x.r)
	}
}

func (f Fault) exchangeError(x *exchange, e exchangeError) {
	wait := f.RetryAfter
	if wait == 0 {
		wait = 5 * time.Second
	}
	var values [][2]string
	if e.values != nil {
		values = e.values(wait)
	}
	if !e.fault {
		x.send(http.StatusOK, errorMessage(x.operation(), e.code, e.text, values...))
		return
	}
	var inner func(*answer)
	if values != nil {
		inner = func(a *answer) { a.values(values) }
	}
	x.send(http.StatusInternalServerError, soapFault(e.code, e.text, inner))
}

func (x *exchange) untilTheClientLeaves() {
	select {
	case <-x.r.Context().Done():
	case <-x.server.stop.Done():
	}
	panic(http.ErrAbortHandler)
}

// reset promises an answer, sends half of it and resets the connection.
func (x *exchange) reset() {
	_, body := x.answer()
	conn, buffered, err := http.NewResponseController(x.w).Hijack()
	if err != nil { // HTTP/2
		panic(http.ErrAbortHandler)
	}
	defer conn.Close()
	fmt.Fprintf(buffered, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", x.contentType(), len(body))
	buffered.Write(body[:len(body)/2])
	buffered.Flush()
	raw := conn
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
		raw = t.NetConn()
	}
	if t, ok := raw.(*net.TCPConn); ok {
		t.SetLinger(0)
		t.Close()
	}
}

// drip sends the true answer slowly.
func (x *exchange) drip(interval time.Duration) {
	if interval <= 0 {
		interval = 50 * time.Millisecond
	}
	status, body := x.answer()
	x.w.Header().Set("Content-Type", x.contentType())
	x.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	x.w.WriteHeader(status)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for i := range body {
		select {
		case <-tick.C:
		case <-x.r.Context().Done():
			return
		case <-x.server.stop.Done():
			return
		}
		if _, err := x.w.Write(body[i : i+1]); err != nil {
			return
		}
		http.NewResponseController(x.w).Flush()
	}
}

// endless starts a proper answer and never comes to its end.
func (x *exchange) endless() {
	if x.command != nil {
		x.endlessActiveSync()
		return
	}
	x.w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	whole := responseMessage(x.operation(), "Warning", "ErrorNameResolutionMultipleResults", "Multiple results were found.", func(a *answer) {
		a.WriteString(`<m:ResolutionSet TotalItemsInView="100" IncludesLastItemInRange="true">`)
		a.WriteString("\x00")
	})
	start, _, _ := bytes.Cut(whole, []byte{0})
	x.w.Write(start)
	for i := 0; x.r.Context().Err() == nil && x.server.stop.Err() == nil; i++ {
		a := &answer{}
		a.WriteString("<t:Resolution>")
		a.mailbox(newEntry(Person{Primary: fmt.Sprintf("endless%d@corp.example", i), DisplayName: "Endless"}, -1))
		a.WriteString("</t:Resolution>")
		if _, err := x.w.Write(a.Bytes()); err != nil {
			return
		}
	}
}

// withoutCertificates answers truly, but asks the directory for less than the client did.
func (x *exchange) withoutCertificates() {
	if x.err == nil && x.query.operation == "GetItem" {
		less := *x.query
		less.fields = slices.DeleteFunc(slices.Clone(less.fields), func(f string) bool { return strings.HasSuffix(f, "Certificate") })
		x.query = &less
	}
	if x.err == nil && x.query.shape == "AllProperties" {
		less := *x.query
		less.shape = "Default"
		x.query = &less
	}
	status, body := x.answer()
	x.send(status, body)
}

// ParseFault reads the name of a fault as a user writes it.
func ParseFault(name string) (FaultKind, error) {
	kind := FaultKind(name)
	kinds := append(FaultKinds(), ActiveSyncFaultKinds()...)
	if slices.Contains(kinds, kind) {
		return kind, nil
	}
	return "", fmt.Errorf("%w: fault %q is not one of %v", ErrOptions, name, kinds)
}

// contentType is that of the answers of the protocol at hand.
func (x *exchange) contentType() string {
	if x.command != nil {
		return wbxmlType
	}
	return "text/xml; charset=utf-8"
}

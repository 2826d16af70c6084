package exchangesim

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// outcome is what a client sees.
type outcome struct {
	status int
	header http.Header
	body   string
	err    error
}

func ask(ctx context.Context, c *http.Client, url, request string) outcome {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(request))
	if err != nil {
		return outcome{err: err}
	}
	r.Header.Set("Content-Type", "text/xml; charset=utf-8")
	answer, err := c.Do(r)
	if err != nil {
		return outcome{err: err}
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 4<<20))
	return outcome{answer.StatusCode, answer.Header, string(body), err}
}

func TestFaults(t *testing.T) {
	s := start(t, Options{Auth: AuthBasic, User: testUser, Password: testPassword})
	c := client(t, s)
	url := strings.Replace(s.URL(), "https://", `https://corp.example%5Csvc-galsync:correct%20horse%20%C3%84@`, 1)
	for _, tt := range []struct {
		fault    Fault
		status   int
		contains []string
	}{
		{Fault{Kind: FaultUnauthorized}, 401, nil},
		{Fault{Kind: FaultUnavailable}, 503, []string{"unavailable"}},
		{Fault{Kind: FaultHTML}, 200, []string{"<html>", "<form"}},
		{Fault{Kind: FaultEmpty}, 200, nil},
		{Fault{Kind: FaultBusy, RetryAfter: 7 * time.Second}, 500, []string{"a:ErrorServerBusy", "<t:MessageXml", `Name="BackOffMilliseconds">7000<`}},
		{Fault{Kind: FaultBusyMessage}, 200, []string{`ResponseClass="Error"`, ">ErrorServerBusy<", "<m:MessageXml", `Name="BackOffMilliseconds">5000<`}},
		{Fault{Kind: FaultBusyInner}, 200, []string{">ErrorInternalServerError<", `Name="InnerErrorResponseCode">ErrorServerBusy<`}},
		{Fault{Kind: FaultConnections}, 500, []string{"a:ErrorExceededConnectionCount", `Name="MaxConcurrencyLimit">27<`}},
		{Fault{Kind: FaultTransient}, 200, []string{">ErrorInternalServerTransientError<"}},
		{Fault{Kind: FaultADUnavailable}, 200, []string{">ErrorADUnavailable<"}},
		{Fault{Kind: FaultNoMailbox}, 200, []string{">ErrorNameResolutionNoMailbox<"}},
		{Fault{Kind: FaultAccessDenied}, 200, []string{">ErrorAccessDenied<"}},
		{Fault{Kind: FaultInvalidVersion}, 500, []string{"a:ErrorInvalidServerVersion"}},
		{Fault{Kind: FaultNoResults}, 200, []string{">ErrorNameResolutionNoResults<"}},
		{Fault{Kind: FaultNoCertificates}, 200, []string{"<t:Contact>", Alice}},
		{Fault{Kind: FaultWithoutMoreToSay}, 200, []string{">NoError<"}},
		{Fault{Kind: FaultHandler, Handler: func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			w.WriteHeader(http.StatusTeapot)
			w.Write(body)
		}}, 418, []string{"<m:UnresolvedEntry>"}},
	} {
		t.Run(string(tt.fault.Kind), func(t *testing.T) {
			tt.fault.Requests = 1
			s.Fault(tt.fault)
			got := ask(t.Context(), c, url, resolveRequest("smtp:"+Alice))
			if got.err != nil || got.status != tt.status {
				t.Fatalf("status %d, %v; want %d", got.status, got.err, tt.status)
			}
			for _, part := range tt.contains {
				if !strings.Contains(got.body, part) {
					t.Errorf("the answer has no %q:\n%s", part, got.body)
				}
			}
			if strings.Contains(got.body, "Base64Binary") || tt.fault.Kind == FaultEmpty && got.body != "" || tt.fault.Kind != FaultNoCertificates && strings.Contains(got.body, "<t:Resolution>") {
				t.Errorf("the answer says too much: %.300s", got.body)
			}
			if tt.fault.Kind == FaultUnauthorized && got.header.Get("WWW-Authenticate") == "" {
				t.Error("no offer to authenticate")
			}
			if got := ask(t.Context(), c, url, resolveRequest("smtp:"+Alice)); got.status != 200 || !strings.Contains(got.body, "Base64Binary") {
				t.Errorf("the fault goes on: %d %.300s %v", got.status, got.body, got.err)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	s := start(t, Options{})
	s.Fault(Fault{Kind: FaultUnavailable, RetryAfter: 1500 * time.Millisecond, Requests: 1})
	s.Fault(Fault{Kind: FaultUnavailable, Requests: 1})
	c := client(t, s)
	if got := ask(t.Context(), c, s.URL(), briefRequest(Alice)); got.header.Get("Retry-After") != "2" {
		t.Errorf("Retry-After %q", got.header.Get("Retry-After"))
	}
	if got := ask(t.Context(), c, s.URL(), briefRequest(Alice)); got.status != 503 || got.header.Get("Retry-After") != "" {
		t.Errorf("%d, Retry-After %q", got.status, got.header.Get("Retry-After"))
	}
}

func TestFaultsOfTheConnection(t *testing.T) {
	s := start(t, Options{})
	c := client(t, s)
	c.Transport.(*http.Transport).DisableCompression = true
	whole := ask(t.Context(), c, s.URL(), resolveRequest("smtp:"+Alice)).body

	s.Fault(Fault{Kind: FaultReset, Requests: 1})
	if got := ask(t.Context(), c, s.URL(), resolveRequest("smtp:"+Alice)); !errors.Is(got.err, syscall.ECONNRESET) && !errors.Is(got.err, io.ErrUnexpectedEOF) || got.body != whole[:len(got.body)] {
		t.Errorf("reset: %v after %d bytes", got.err, len(got.body))
	}
	s.Fault(Fault{Kind: FaultTruncate, Requests: 1})
	if got := ask(t.Context(), c, s.URL(), resolveRequest("smtp:"+Alice)); got.err != nil || got.body != whole[:len(whole)/2] {
		t.Errorf("truncate: %v, %d of %d bytes", got.err, len(got.body), len(whole))
	}
	s.Fault(Fault{Kind: FaultEndless, Requests: 1})
	if got := ask(t.Context(), c, s.URL(), briefRequest(Alice)); got.err != nil || len(got.body) != 4<<20 || strings.Count(got.body, "<t:Resolution>") < 10000 {
		t.Errorf("endless: %v after %d bytes", got.err, len(got.body))
	}
	s.Fault(Fault{Kind: FaultDrip, Requests: 1, Interval: time.Microsecond})
	short := ask(t.Context(), c, s.URL(), briefRequest(Nobody)) // spoilt, still true
	if short.err != nil || !strings.Contains(short.body, "ErrorNameResolutionNoResults") {
		t.Errorf("drip: %v %s", short.err, short.body)
	}
	s.Fault(Fault{Kind: FaultHang, Requests: 1})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for s.Requests().Faults < 5 {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	if got := ask(ctx, c, s.URL(), briefRequest(Alice)); !errors.Is(got.err, context.Canceled) {
		t.Errorf("hang: %v, status %d", got.err, got.status)
	}
}

func TestFaultCounting(t *testing.T) {
	s := start(t, Options{Plain: true})
	s.Fault(Fault{Kind: FaultBusy, Skip: 1, Requests: 2, Only: func(entry string) bool { return strings.HasPrefix(entry, "smtp:a") }})
	var got []int
	for _, entry := range []string{"smtp:b", "smtp:a", "smtp:b", "smtp:al", "smtp:b", "smtp:a", "smtp:a", "smtp:b"} {
		got = append(got, ask(t.Context(), http.DefaultClient, s.URL(), briefRequest(entry)).status)
	}
	if want := []int{200, 200, 200, 500, 200, 500, 200, 200}; !slices.Equal(got, want) {
		t.Errorf("statuses %v, want %v", got, want)
	}
	s.Fault(Fault{Kind: FaultBusy})
	for range 3 {
		if got := ask(t.Context(), http.DefaultClient, s.URL(), briefRequest(Alice)); got.status != 500 {
			t.Errorf("status %d", got.status)
		}
	}
	s.ClearFaults()
	if got := ask(t.Context(), http.DefaultClient, s.URL(), briefRequest(Alice)); got.status != 200 {
		t.Errorf("status %d after clearing", got.status)
	}
	if got := s.Requests(); got.Faults != 5 || got.ResolveNames != 7 {
		t.Errorf("counters %+v", got)
	}
}

func TestParseFault(t *testing.T) {
	for _, kind := range FaultKinds() {
		if got, err := ParseFault(string(kind)); err != nil || got != kind {
			t.Errorf("%s: %v", kind, err)
		}
	}
	for _, name := range []string{"", "handler", "nonsense"} {
		if _, err := ParseFault(name); err == nil {
			t.Errorf("%q accepted", name)
		}
	}
}

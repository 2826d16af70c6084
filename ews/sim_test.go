package ews

import (
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/exchangesim"
	"github.com/galsyncd/galsyncd/internal/httpauth"
)

// simulator starts the stand-in with NTLM over TLS, and a client with the real sign-in.
func simulator(t *testing.T, entries int) (*exchangesim.Server, *Client) {
	t.Helper()
	sim, err := exchangesim.New(exchangesim.Options{Entries: entries, Auth: exchangesim.AuthNTLM, User: `CORP\svc-galsync`, Password: "right"})
	if err != nil {
		t.Fatal(err)
	}
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	roots := x509.NewCertPool()
	roots.AddCert(sim.TLSCA())
	client, err := httpauth.New(httpauth.Options{URL: sim.URL(), Roots: roots, Method: httpauth.NTLM, Username: `CORP\svc-galsync`,
		Password: func() ([]byte, error) { return []byte("right"), nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return sim, &Client{URL: sim.URL(), HTTP: client}
}

// TestOneRequestPerQuestion asks over one kept connection that NTLM signed in.
func TestOneRequestPerQuestion(t *testing.T) {
	sim, c := simulator(t, 150)
	const questions = 50
	for i := range questions {
		answer, err := c.Search(t.Context(), string(rune('a'+i%26)), i%2 == 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range answer.Records {
			if i%2 == 1 && r.Values != nil {
				t.Fatalf("%s has values nobody asked for", r.Primary)
			}
		}
	}
	n := sim.Requests()
	if n.HTTP != questions+2 || n.ResolveNames != questions {
		t.Errorf("%d questions cost %d requests", questions, n.HTTP)
	}
	t.Logf("%d questions, %d requests, %d answered with 401", questions, n.HTTP, n.Unauthorized)
}

// TestFaults plays every fault of the stand-in: each is an error of its kind, and the next question is answered.
func TestFaults(t *testing.T) {
	busy := sampleOutcome{code: CodeServerBusy, backOff: 9 * time.Second, passes: true}
	for kind, want := range map[exchangesim.FaultKind]sampleOutcome{
		exchangesim.FaultUnavailable:      {reason: "503", backOff: 9 * time.Second, passes: true},
		exchangesim.FaultADOperation:      {code: "ErrorADOperation", passes: true},
		exchangesim.FaultTimeout:          {code: "ErrorTimeoutExpired", passes: true},
		exchangesim.FaultObjects:          {code: "ErrorTooManyObjectsOpened", passes: true},
		exchangesim.FaultSchema:           {code: "ErrorSchemaValidation"},
		exchangesim.FaultSchemaVersion:    {code: "ErrorIncorrectSchemaVersion"},
		exchangesim.FaultHTML:             {reason: "HTML page", passes: true},
		exchangesim.FaultEmpty:            {reason: "is empty", passes: true},
		exchangesim.FaultHang:             {reason: "no complete answer within 1s", passes: true},
		exchangesim.FaultReset:            {reason: "connection broke", passes: true},
		exchangesim.FaultTruncate:         {reason: "cut off", passes: true},
		exchangesim.FaultDrip:             {reason: "no complete answer within 1s", passes: true},
		exchangesim.FaultEndless:          {reason: "more than 1000 entries"},
		exchangesim.FaultBusy:             busy,
		exchangesim.FaultBusyMessage:      busy,
		exchangesim.FaultBusyInner:        busy,
		exchangesim.FaultConnections:      {code: "ErrorExceededConnectionCount", passes: true},
		exchangesim.FaultTransient:        {code: "ErrorInternalServerTransientError", passes: true},
		exchangesim.FaultADUnavailable:    {code: "ErrorADUnavailable", passes: true},
		exchangesim.FaultNoMailbox:        {code: CodeNoMailbox},
		exchangesim.FaultAccessDenied:     {code: CodeAccessDenied},
		exchangesim.FaultInvalidVersion:   {code: "ErrorInvalidServerVersion"},
		exchangesim.FaultWithoutMoreToSay: {reason: "without a ResolutionSet", passes: true},
	} {
		t.Run(string(kind), func(t *testing.T) {
			sim, c := simulator(t, 40)
			if _, err := c.Search(t.Context(), "a", true); err != nil {
				t.Fatal(err)
			}
			faults := 1
			if kind == exchangesim.FaultInvalidVersion {
				faults = 3 // as many versions are tried
			}
			sim.Fault(exchangesim.Fault{Kind: kind, Requests: faults, RetryAfter: 9 * time.Second})
			if strings.HasPrefix(want.reason, "no complete answer") {
				c.Timeout = time.Second
			}
			_, err := c.Search(t.Context(), "a", true)
			c.Timeout = 0
			var e *Error
			if errors.As(err, &e) && want.code != CodeServerBusy && want.backOff == 0 {
				want.backOff = e.BackOff // the stand-in decides whether it names one
			}
			checkError(t, err, want)
			if strings.Contains(err.Error(), "right") {
				t.Errorf("the password is in %q", err)
			}
			if answer, err := c.Search(t.Context(), "a", true); err != nil || len(answer.Records) == 0 {
				t.Errorf("the next question: %d records, %v", len(answer.Records), err)
			}
		})
	}
}

func TestUnauthorizedForEver(t *testing.T) {
	sim, c := simulator(t, 0)
	sim.Fault(exchangesim.Fault{Kind: exchangesim.FaultUnauthorized})
	for i := range 5 {
		_, err := c.Search(t.Context(), "a", true)
		var retry directory.RetryError
		if !errors.Is(err, ErrUnauthorized) || errors.As(err, &retry) || errors.Is(err, httpauth.ErrLockedOut) != (i >= 2) {
			t.Errorf("try %d: %v", i, err)
		}
	}
	if n := sim.Requests(); n.HTTP > 6 {
		t.Errorf("%d requests, want at most two handshakes of three", n.HTTP)
	}
}

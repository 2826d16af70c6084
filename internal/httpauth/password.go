package httpauth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// account is a user name and where its password is.
type account struct {
	username string
	password func() ([]byte, error)
}

// read returns the password, and name and password as one secret.
func (a account) read() (password string, secret []byte, err error) {
	b, err := a.password()
	if err != nil {
		return "", nil, fmt.Errorf("read the password: %w", err)
	}
	if len(b) == 0 {
		return "", nil, errors.New("the password is empty; check exchange.auth.password_file")
	}
	return string(b), fmt.Appendf(nil, "%d:%s%s", len(a.username), a.username, b), nil
}

// noMethod signs nothing.
type noMethod struct{}

func (m noMethod) read(context.Context) (proof, []byte, error) { return m, nil, nil }

func (noMethod) do(l *lane, req *http.Request) (*http.Response, error) { return l.http.RoundTrip(req) }

// basicMethod sends the password itself with each request (RFC 7617).
type basicMethod struct{ account }

func (m basicMethod) read(context.Context) (proof, []byte, error) {
	password, secret, err := m.account.read()
	return basicProof{m.username, password}, secret, err
}

type basicProof struct{ username, password string }

func (p basicProof) do(l *lane, req *http.Request) (*http.Response, error) {
	signed := req.Clone(req.Context())
	signed.SetBasicAuth(p.username, p.password)
	return l.show(signed, nil)
}

// ntlmMethod is the three messages of NTLM on one connection (MS-NTHT).
type ntlmMethod struct {
	account
	target string // service principal name
	now    func() time.Time
}

func (m ntlmMethod) read(context.Context) (proof, []byte, error) {
	password, secret, err := m.account.read()
	return ntlmProof{ntlmAnswer{username: m.username, password: password, target: m.target, now: m.now()}}, secret, err
}

type ntlmProof struct{ answer ntlmAnswer }

// do asks without a credential first, because the connection may be signed in, and shakes hands when it is not.
func (p ntlmProof) do(l *lane, req *http.Request) (*http.Response, error) {
	q, err := newQuestion(req)
	if err != nil {
		return nil, err
	}
	resp, _, err := l.ask(q.plain())
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	scheme := ntlmScheme(resp)
	if scheme == "" {
		l.refuseUnseen()
		return resp, nil
	}
	negotiate := newNegotiate()
	resp, _, err = l.ask(q.empty(scheme, negotiate))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusUnauthorized {
		return unasked(resp)
	}
	token, _ := offered(resp, scheme)
	if token == nil {
		l.refuseUnseen()
		return resp, nil
	}
	c, err := parseChallenge(token)
	if err != nil {
		_ = resp.Body.Close()
		return nil, err
	}
	p.answer.endPoint = endPoint(resp.TLS)
	rand.Read(p.answer.nonce[:])
	lost := false
	resp, err = l.show(q.signed(scheme, p.answer.message(negotiate, c)), func(_ *http.Response, fresh bool) outcome {
		if lost = fresh; lost { // the server did not see the first half of the handshake, so it judged nothing
			return unanswered
		}
		return refused
	})
	switch {
	case err != nil:
		return nil, err
	case lost:
		_ = resp.Body.Close()
		return nil, errHandshake
	case resp.StatusCode == http.StatusUnauthorized:
		// Some servers remember a handshake that failed and refuse the next one on the same connection.
		l.http.CloseIdleConnections()
	}
	return resp, nil
}

// ntlmScheme is the name under which the server takes NTLM; empty when it does not. Under Negotiate it takes the bare
// messages as well.
func ntlmScheme(resp *http.Response) string {
	for _, scheme := range []string{"NTLM", "Negotiate"} {
		if _, ok := offered(resp, scheme); ok {
			return scheme
		}
	}
	return ""
}

// unasked is the answer to a handshake without a question. Trouble is an answer; anything else is one to nothing.
func unasked(resp *http.Response) (*http.Response, error) {
	if resp.StatusCode >= 300 {
		return resp, nil
	}
	_ = resp.Body.Close()
	return nil, errors.New("the server ended the NTLM handshake before the credential was shown; asking this server again does not help, look for a proxy in front of it")
}

package eas

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// site is two servers, a front and a home, that can be told to send the account to one another.
type site struct {
	front, home         *httptest.Server
	frontMoved, homeSay http.HandlerFunc
	atFront, atHome     int
}

func newSite(t *testing.T) *site {
	s := &site{}
	s.front = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.atFront++; s.frontMoved(w, r) }))
	s.home = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.atHome++; s.homeSay(w, r) }))
	t.Cleanup(s.front.Close)
	t.Cleanup(s.home.Close)
	return s
}

func (s *site) client(memory Memory) *Client {
	return &Client{URL: s.front.URL + "/eas", DeviceID: testDevice, Version: "16.1", Memory: memory, Follow: func(string) (*http.Client, error) { return http.DefaultClient, nil }}
}

func movedToServer(server *httptest.Server) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-MS-Location", server.URL+"/eas")
		w.WriteHeader(statusMoved)
	}
}

func says(one reply) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.ms-sync.wbxml")
		if one.status != 0 {
			w.WriteHeader(one.status)
		}
		_, _ = w.Write(one.body)
	}
}

// remembers is a Memory.
type remembers struct{ b []byte }

func (r *remembers) Load() ([]byte, error) { return r.b, nil }
func (r *remembers) Save(b []byte) error   { r.b = b; return nil }

// TestPlaceIsGone: a remembered place that does not have the account any more, or does not exist any more, costs one
// question; the next one asks the configured server again, in this process and in another.
func TestPlaceIsGone(t *testing.T) {
	answer := says(resolved(t, response("a@x.example", "4")))
	for name, gone := range map[string]func(*site){
		"no such account": func(s *site) { s.homeSay = says(reply{status: http.StatusForbidden}) },
		"no service":      func(s *site) { s.homeSay = says(reply{status: http.StatusNotFound}) },
		"no server":       func(s *site) { s.home.Close() },
		"nowhere":         func(s *site) { s.homeSay = says(reply{status: statusMoved}) },
	} {
		for _, restart := range []bool{false, true} {
			s, memory := newSite(t), &remembers{}
			s.frontMoved, s.homeSay = movedToServer(s.home), answer
			c := s.client(memory)
			if _, err := c.Resolve(t.Context(), "a@x.example"); err != nil || s.atHome != 1 {
				t.Fatalf("%s: %v", name, err)
			}
			gone(s)
			s.frontMoved = answer // the account is back
			if restart {
				c = s.client(memory)
			}
			if _, err := c.Resolve(t.Context(), "a@x.example"); err == nil {
				t.Errorf("%s: an answer from the place that is gone", name)
			}
			if _, err := c.Resolve(t.Context(), "a@x.example"); err != nil {
				t.Errorf("%s, restart %v: asked for ever: %v", name, restart, err)
			}
		}
	}
}

// TestMovedInCircles: servers that send the account to each other are asked a few times, and named.
func TestMovedInCircles(t *testing.T) {
	s := newSite(t)
	s.frontMoved, s.homeSay = movedToServer(s.home), movedToServer(s.front)
	_, err := s.client(nil).Resolve(t.Context(), "a@x.example")
	if err == nil || !strings.Contains(err.Error(), "send each other the account") || s.atFront+s.atHome != maxMoves+1 {
		t.Errorf("%v after %d requests", err, s.atFront+s.atHome)
	}
}

// TestMovedByProvision: the first word about another place may be the answer to Provision.
func TestMovedByProvision(t *testing.T) {
	s := newSite(t)
	refused, moved := says(sample(t, "rr-response-not-provisioned")), movedToServer(s.home)
	s.frontMoved = func(w http.ResponseWriter, r *http.Request) {
		if s.atFront == 1 {
			refused(w, r)
		} else {
			moved(w, r)
		}
	}
	s.homeSay = says(resolved(t, response("a@x.example", "4")))
	if _, err := s.client(nil).Resolve(t.Context(), "a@x.example"); err != nil || s.atHome != 1 {
		t.Errorf("%v, the other place was asked %d times", err, s.atHome)
	}
}

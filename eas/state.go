package eas

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/galsyncd/galsyncd/internal/httpfault"
)

// state is what is remembered from one process to the next. It is of one URL and one device; that of another is dropped.
type state struct {
	URL    string `json:"url"`
	Device string `json:"device"`
	// Location is where the account lives, when the server named another place (451).
	Location string `json:"location,omitempty"`
	// PolicyKey goes with each request; 0 is none.
	PolicyKey uint32  `json:"policyKey,omitempty"`
	Policy    *Policy `json:"policy,omitempty"`
}

// load reads the memory once. What cannot be read is forgotten: the server gives all of it again.
func (c *Client) load() {
	s := &c.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loaded {
		return
	}
	s.loaded = true
	if c.Memory != nil {
		b, err := c.Memory.Load()
		if err == nil && b != nil {
			err = json.Unmarshal(b, &s.state)
		}
		if err != nil {
			c.warn("what was remembered of the server cannot be read", "error", err)
		}
	}
	if s.state.URL != c.URL || s.state.Device != c.DeviceID || s.state.Location != "" && checkURL(s.state.Location) != nil {
		s.state = state{URL: c.URL, Device: c.DeviceID}
	}
}

// change changes the state and saves it.
func (c *Client) change(f func(*state)) {
	s := &c.session
	s.mu.Lock()
	f(&s.state)
	b, err := json.Marshal(s.state)
	s.mu.Unlock()
	if err == nil && c.Memory != nil {
		err = c.Memory.Save(b)
	}
	if err != nil {
		c.warn("what is known of the server is not remembered", "error", err)
	}
}

func (c *Client) warn(text string, args ...any) {
	if c.Logger != nil {
		c.Logger.Warn(text, args...)
	}
}

// Policy returns the policy that the server gave last; nil when it has none for this device, or was never asked.
func (c *Client) Policy() *Policy {
	c.load()
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	return c.session.state.Policy
}

// prepare finds out which version to speak, once per process.
func (c *call) prepare(cmd command) error {
	c.load()
	s := &c.session
	s.mu.Lock()
	known := s.version != ""
	if c.Version != "" {
		s.version, known = c.Version, true
	}
	s.mu.Unlock()
	for moves := 0; !known; moves++ {
		offered, err := c.options()
		if err == nil {
			return c.choose(cmd, offered)
		}
		e, moved := movedTo(err)
		if !moved || moves == maxMoves {
			return err
		}
		if err := c.move(cmd, e); err != nil {
			return err
		}
	}
	return nil
}

// forgetPlace drops a remembered place that did not answer, so that the next question asks the configured server where the
// account lives now.
func (c *call) forgetPlace(err error) {
	if c.ctx.Err() != nil {
		return
	}
	s := &c.session
	s.mu.Lock()
	away := s.state.Location != ""
	s.mu.Unlock()
	if e := asError(err); away && e != nil && slices.Contains([]int{0, http.StatusForbidden, http.StatusNotFound, statusMoved}, e.HTTPStatus) {
		c.change(func(st *state) { st.Location = "" })
		s.mu.Lock()
		s.client = nil
		s.mu.Unlock()
	}
}

// choose takes the best version that the server offers.
func (c *call) choose(cmd command, offered []string) error {
	for _, v := range Versions {
		if slices.Contains(offered, v) {
			c.session.mu.Lock()
			c.session.version = v
			c.session.mu.Unlock()
			return nil
		}
	}
	return c.fail(cmd, &Error{reason: fmt.Sprintf("the server offers the versions %s of ActiveSync; 12.1 or later is needed", strings.Join(offered, ", "))})
}

// place is the URL to ask, and the client that may ask it.
func (c *Client) place() (string, *http.Client) {
	s := &c.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Location == "" {
		return c.URL, c.HTTP
	}
	if s.client == nil {
		if s.client = c.HTTP; !sameHost(c.URL, s.state.Location) {
			s.client = nil
			if c.Follow != nil {
				s.client, _ = c.Follow(s.state.Location)
			}
			if s.client == nil {
				return c.URL, c.HTTP
			}
		}
	}
	return s.state.Location, s.client
}

// move goes where the server says that the account lives. The credential goes with it, so only to https, and the
// administrator is told.
func (c *call) move(cmd command, to string) error {
	from, err := url.Parse(c.URL)
	if err == nil {
		err = checkURL(to)
	}
	target, _ := url.Parse(to)
	if err == nil && target.Scheme != "https" && from.Scheme == "https" {
		err = fmt.Errorf("%s is not https", httpfault.Clean(to, 200))
	}
	var client *http.Client
	switch {
	case err != nil:
	case sameHost(c.URL, to):
		client = c.HTTP
	case c.Follow == nil:
		err = fmt.Errorf("%s is another host", httpfault.Clean(target.Host, 200))
	default:
		client, err = c.Follow(to)
	}
	if err != nil {
		return c.fail(cmd, &Error{HTTPStatus: statusMoved, reason: "the server names another place for this account, which is not asked: " + err.Error(),
			hint: "if that place is right, write it into exchange.url", causes: []error{err}})
	}
	c.warn("the account lives on another server", "configured", c.URL, "now", to)
	c.change(func(st *state) { st.Location = to })
	c.session.mu.Lock()
	c.session.client = client
	c.session.mu.Unlock()
	return nil
}

func sameHost(a, b string) bool {
	u, errA := url.Parse(a)
	v, errB := url.Parse(b)
	return errA == nil && errB == nil && u.Scheme == v.Scheme && strings.EqualFold(u.Host, v.Host)
}

// Package autodiscover finds the address of Exchange's services for a mailbox: by the JSON service that asks for no
// sign-in, by plain old XML (MS-OXDSCLI; MS-ASCMD section 2.2.1.1 for ActiveSync), by SOAP (MS-OXWSADISC) and by the SRV record
// _autodiscover._tcp.
//
// It is stricter than the usual clients, because Autodiscover has given away many passwords. Everything goes over https
// with a verified certificate; the step over plain http is left out. No request leaves the domain of the mailbox and the
// hosts that the caller allows, whoever redirects there: neither to a parent domain nor to a foreign one. A credential is
// shown only to a host that asked for one, and to none any more when one has refused it. What a server answers is
// bounded, and so is the time. Nothing is stored: a person reads the result and writes it into the configuration.
package autodiscover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/galsyncd/galsyncd/internal/mailaddr"
)

// Protocol is the service that is looked for.
type Protocol string

// Protocols.
const (
	EWS Protocol = "ews" // Exchange Web Services
	EAS Protocol = "eas" // Exchange ActiveSync
)

// Bounds of a search.
const (
	DefaultTimeout = time.Minute
	requestTimeout = 15 * time.Second
	maxRedirects   = 10
	maxSteps       = 60
	maxTargets     = 4
)

// Resolver looks up SRV records, as net.Resolver does.
type Resolver interface {
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, records []*net.SRV, err error)
}

// Client looks for one service of one mailbox.
type Client struct {
	Address  mailaddr.Address
	Protocol Protocol
	// Allow are hosts outside of the mailbox's domain that are asked too, with a credential where they want one. One that
	// begins with a dot stands for a domain and all below it, and is not asked by itself.
	Allow []string
	// Resolver looks up the SRV record; nil leaves that step out.
	Resolver Resolver
	// Anonymous speaks https without a credential.
	Anonymous *http.Client
	// SignIn makes the client that signs in at a host, given as https://HOST or https://HOST:PORT; nil when there is no
	// credential. An error with a method Unauthorized that says true means that it was refused before.
	SignIn func(base string) (*http.Client, error)
	// UserAgent is sent with each request.
	UserAgent string
	// Timeout bounds the whole search; zero is DefaultTimeout.
	Timeout time.Duration
}

// Way is how a server is asked.
type Way string

// Ways, in the order in which they are gone.
const (
	JSON Way = "json"
	POX  Way = "xml"
	SOAP Way = "soap"
	SRV  Way = "srv"
)

// Attempt is one question and what came of it.
type Attempt struct {
	Way Way `json:"way"`
	// URL that was asked; the name of the record for SRV.
	URL string `json:"url"`
	// SignedIn reports that a credential was shown.
	SignedIn bool `json:"signed_in"`
	// Outcome in words, on one line.
	Outcome string `json:"outcome"`
}

// Result is what was found.
type Result struct {
	// URL of the service, https; empty when none was found.
	URL string `json:"url"`
	// Others are further addresses that the same answer named, for example from within the company's network.
	Others []string `json:"others"`
	// Outside reports that the host of URL is neither in the mailbox's domain nor allowed. A server of the domain named it.
	Outside bool `json:"outside"`
	// Address is the mailbox that was asked for in the end; servers redirect to another address.
	Address mailaddr.Address `json:"address"`
	// Attempts are all questions in their order.
	Attempts []Attempt `json:"attempts"`
	// Answered reports that at least one server answered at all; Refused that one refused the credential, now or before.
	Answered bool `json:"-"`
	Refused  bool `json:"-"`
}

// Discover asks until a server names the service. A Result without a URL says what was tried; the error is for settings
// that make no sense.
func (c *Client) Discover(ctx context.Context) (*Result, error) {
	if c.Protocol != EWS && c.Protocol != EAS {
		return nil, fmt.Errorf("protocol %q is neither %q nor %q", c.Protocol, EWS, EAS)
	}
	if c.Address == "" || c.Anonymous == nil {
		return nil, errors.New("there is no mail address, or no client to ask with")
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(c.Timeout, DefaultTimeout))
	defer cancel()
	s := &search{Client: c, rule: newRule(c.Address.Domain(), c.Allow), asked: map[step]bool{}, dead: map[string]bool{}}
	s.result.Address, s.result.Others = c.Address, []string{}
	s.queue = s.steps(c.Address)
	s.run(ctx)
	return &s.result, nil
}

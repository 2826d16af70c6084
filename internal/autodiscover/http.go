package autodiscover

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"github.com/galsyncd/galsyncd/internal/httpfault"
)

// maxAnswer bounds an answer, in bytes; real ones have less than a tenth of it.
const maxAnswer = 256 << 10

// answer is what a server said to one question.
type answer struct {
	status int // 0 when there was none
	reply  reply
	err    error
	offers string // the names of the ways to sign in, with a 401
	// unreachable reports that the host itself is the trouble, so that the other questions need not be asked there.
	unreachable bool
}

// reply is what an answer says, in any of the ways.
type reply struct {
	urls                         []string // of the service, the best first
	redirectURL, redirectAddress string
	refusal                      string // why there is none, in words
}

// exchange sends the question of a step and reads the answer.
func (s *search) exchange(ctx context.Context, client *http.Client, at step) answer {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := s.request(ctx, at)
	if err != nil {
		return answer{err: errors.New("it is not an address that can be asked"), unreachable: true}
	}
	once := *client // a redirect is ours to judge
	once.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := once.Do(req)
	if err != nil {
		reason, certain := explain(ctx, err)
		return answer{err: errors.New(reason), unreachable: certain}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		reason, _ := explain(ctx, err)
		return answer{status: resp.StatusCode, err: errors.New("the answer could not be read: " + reason)}
	case len(body) > maxAnswer:
		return answer{status: resp.StatusCode, err: fmt.Errorf("the answer is longer than %d bytes", maxAnswer)}
	}
	return s.read(at, resp, body)
}

func (s *search) request(ctx context.Context, at step) (*http.Request, error) {
	method, body := http.MethodGet, []byte(nil)
	switch {
	case at.way == POX && s.Protocol == EAS:
		method, body = http.MethodPost, poxRequest(at.address, mobileRequest, mobileResponse)
	case at.way == POX:
		method, body = http.MethodPost, poxRequest(at.address, outlookRequest, outlookResponse)
	case at.way == SOAP:
		method, body = http.MethodPost, soapRequest(at.address, at.url)
	}
	req, err := http.NewRequestWithContext(ctx, method, at.url, strings.NewReader(string(body)))
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", s.UserAgent)
	req.Header.Set("client-request-id", newRequestID())
	req.Header.Set("return-client-request-id", "true")
	if address := string(at.address); !strings.ContainsFunc(address, func(r rune) bool { return r > '~' }) {
		req.Header.Set("X-AnchorMailbox", address)
	}
	if at.way == JSON {
		req.Header.Set("Accept", "application/json")
		return req, nil
	}
	req.Header.Set("Content-Type", "text/xml; charset=utf-8")
	req.Header.Set("Accept", "text/xml")
	if at.way == SOAP {
		req.Header.Set("SOAPAction", `"`+getUserSettings+`"`)
	}
	return req, nil
}

// newRequestID makes a random UUID (RFC 9562 section 5.4).
func newRequestID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// read makes a reply of an answer that came.
func (s *search) read(at step, resp *http.Response, body []byte) answer {
	a := answer{status: resp.StatusCode}
	switch c := resp.StatusCode; {
	case c == http.StatusUnauthorized && at.way != JSON:
		a.offers = httpfault.Offers(resp.Header)
		return a
	case 300 <= c && c < 400:
		target, err := resp.Location()
		if err != nil {
			a.err = fmt.Errorf("redirects to nowhere (http status %d)", c)
			return a
		}
		a.reply.redirectURL = target.String()
		return a
	case c != http.StatusOK && !(at.way == JSON || at.way == SOAP && c == http.StatusInternalServerError):
		a.err = fmt.Errorf("http status %d", c)
		return a
	}
	var err error
	switch {
	case at.way == JSON:
		a.reply, err = parseJSON(body)
	case at.way == SOAP:
		a.reply, err = parseSOAP(body)
	case s.Protocol == EAS:
		a.reply, err = parseMobile(body)
	default:
		a.reply, err = parseOutlook(body)
	}
	switch {
	case err != nil && a.status != http.StatusOK:
		a.err = fmt.Errorf("http status %d", a.status)
	case err != nil && looksLikeHTML(body):
		a.err = errors.New("the answer is an HTML page, not Autodiscover")
	case err != nil:
		a.err = err
	}
	return a
}

func looksLikeHTML(body []byte) bool {
	head := strings.ToLower(strings.TrimSpace(string(body[:min(len(body), 200)])))
	return strings.HasPrefix(head, "<!doctype html") || strings.HasPrefix(head, "<html")
}

// explain says in words why no answer came, and whether the same host would fail again.
func explain(ctx context.Context, err error) (reason string, certain bool) {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		verify    *tls.CertificateVerificationError
		dns       *net.DNSError
		network   net.Error
	)
	switch {
	case errors.As(err, &authority):
		return "its certificate comes from an authority that is not trusted here; exchange.ca_file and --ca-file add one", true
	case errors.As(err, &host):
		return "its certificate is for another host: " + httpfault.Clean(host.Error(), 160), true
	case errors.As(err, &verify):
		return "its certificate was refused: " + httpfault.Clean(verify.Err.Error(), 160), true
	case errors.As(err, &dns) && dns.IsNotFound:
		return "the host name was not found", true
	case errors.As(err, &dns):
		return "the name servers did not answer", true
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there", true
	case ctx.Err() != nil, errors.As(err, &network) && network.Timeout():
		return "no answer in time", true
	}
	return httpfault.Clean(err.Error(), 200), false
}

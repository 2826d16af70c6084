package autodiscover

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/galsyncd/galsyncd/internal/httpfault"
)

// maxURL is the longest address followed or printed, in bytes.
const maxURL = 2048

// rule says which hosts may be asked.
type rule struct {
	domain  string   // of the mailbox
	hosts   []string // allowed by name
	domains []string // allowed with all below
}

func newRule(domain string, allow []string) rule {
	r := rule{domain: strings.ToLower(domain)}
	for _, a := range allow {
		a = strings.TrimSuffix(strings.ToLower(strings.TrimSpace(a)), ".")
		if below, ok := strings.CutPrefix(a, "."); ok && below != "" {
			r.domains = append(r.domains, below)
		} else if a != "" && !ok && !slices.Contains(r.hosts, a) {
			r.hosts = append(r.hosts, a)
		}
	}
	return r
}

// inside reports a host of the mailbox's domain, or an allowed one. A parent of the domain is outside.
func (r rule) inside(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if !isHostName(host) {
		return false
	}
	return below(host, r.domain) || slices.Contains(r.hosts, host) ||
		slices.ContainsFunc(r.domains, func(d string) bool { return below(host, d) })
}

// below reports that host is domain or under it.
func below(host, domain string) bool {
	return domain != "" && (host == domain || strings.HasSuffix(host, "."+domain))
}

// ValidAllow reports what Client.Allow takes: a host name, or a domain with a dot before it.
func ValidAllow(s string) bool {
	return isHostName(strings.TrimPrefix(s, "."))
}

// isHostName reports a name that DNS and a URL read alike; IPv4 addresses are names here.
func isHostName(s string) bool {
	if s == "" || len(s) > 253 || strings.HasPrefix(s, ".") || strings.Contains(s, "..") {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !(r == '-' || r == '.' || r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z')
	})
}

// targets are the servers that SRV records name (RFC 2782), those with the lowest priority and the highest weight first,
// as https://HOST:PORT, and the hosts that must not be asked.
func (r rule) targets(records []*net.SRV) (bases, refused []string) {
	records = slices.Clone(records)
	slices.SortStableFunc(records, func(a, b *net.SRV) int {
		if a.Priority != b.Priority {
			return int(a.Priority) - int(b.Priority)
		}
		return int(b.Weight) - int(a.Weight)
	})
	for _, srv := range records[:min(len(records), maxTargets)] {
		host := strings.TrimSuffix(strings.ToLower(srv.Target), ".")
		switch {
		case host == "": // RFC 2782: the service is decidedly not available
		case !r.inside(host) || srv.Port == 0:
			refused = append(refused, httpfault.Clean(srv.Target, 100)+":"+strconv.Itoa(int(srv.Port)))
		case srv.Port == 443:
			bases = append(bases, "https://"+host)
		default:
			bases = append(bases, "https://"+net.JoinHostPort(host, strconv.Itoa(int(srv.Port))))
		}
	}
	return bases, refused
}

// serviceURL accepts an address that the configuration takes.
func serviceURL(raw string) (string, error) {
	raw = strings.TrimSpace(raw) // the documentation's own example has white space around it
	u, err := url.Parse(raw)
	switch {
	case err != nil || len(raw) > maxURL || strings.ContainsFunc(raw, notInURL):
		return "", errors.New("it is not a web address")
	case u.Scheme != "https":
		return "", fmt.Errorf("%s is not https", httpfault.Clean(raw, 100))
	case !isHostName(u.Hostname()) || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return "", errors.New("it has no host, or more than host and path")
	}
	u.Scheme, u.Host = "https", strings.ToLower(u.Host)
	return u.String(), nil
}

// notInURL reports what has to be escaped in an address, or could break out of where it is printed.
func notInURL(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"'<>\^`+"`{|}", r) }

package probe

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"syscall"

	"github.com/galsyncd/galsyncd/ews"
)

// Everything that a server says goes through one of these: what is not of the expected shape is left out.
var (
	codeShape     = regexp.MustCompile(`^(NoError|Error[A-Z][A-Za-z0-9]{1,70})$`)
	versionShape  = regexp.MustCompile(`^(V[0-9]{4}_[0-9]{2}_[0-9]{2}|V2_[0-9]{1,3}|Exchange20[0-9]{2}(_SP[0-9])?)$`)
	softwareShape = regexp.MustCompile(`^(Microsoft-IIS|Microsoft-HTTPAPI|nginx|Apache|cloudflare|BigIP)(/[0-9.]{1,12})?$`)
	fieldShape    = regexp.MustCompile(`^[A-Za-z][A-Za-z-]{0,39}$`)
)

// known are the ways to sign in that are named; others are counted as one.
var known = map[string]string{"negotiate": "Negotiate", "ntlm": "NTLM", "basic": "Basic", "bearer": "Bearer", "digest": "Digest"}

func isFieldName(s string) bool { return fieldShape.MatchString(s) }

func software(s string) string {
	if softwareShape.MatchString(s) {
		return s
	}
	return "another one"
}

func version(s string) string {
	if versionShape.MatchString(s) {
		return s
	}
	return ""
}

func dotted(n [4]int) string { return fmt.Sprintf("%d.%d.%d.%d", n[0], n[1], n[2], n[3]) }

// scheme is the name of a way to sign in, without its parameters, which name hosts and tenants.
func scheme(offer string) string {
	word, _, _ := strings.Cut(strings.TrimSpace(offer), " ")
	if name, ok := known[strings.ToLower(strings.TrimSuffix(word, ","))]; ok {
		return name
	}
	return "another one"
}

// outcome is the response code of an answer, or what came instead.
func outcome(code string, err error) string {
	if err == nil && codeShape.MatchString(code) {
		return code
	}
	e, ok := errors.AsType[*ews.Error](err)
	switch {
	case err == nil:
		return "another code"
	case ok && codeShape.MatchString(e.Code):
		return e.Code
	case ok && e.Code != "":
		return "another code"
	case errors.Is(err, ews.ErrUnauthorized):
		return refusedReason
	case ok && e.HTTPStatus != 0 && e.HTTPStatus != 200:
		return fmt.Sprintf("http status %d", e.HTTPStatus)
	case ok && e.HTTPStatus == 200:
		return "http status 200 without an answer of EWS"
	}
	return trouble(err)
}

// trouble is what went wrong below HTTP.
func trouble(err error) string {
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		verify    *tls.CertificateVerificationError
		record    tls.RecordHeaderError
		dns       *net.DNSError
		network   net.Error
	)
	switch {
	case errors.As(err, &authority):
		return "the certificate comes from an authority that is not trusted here"
	case errors.As(err, &host):
		return "the certificate is for another host"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the certificate is expired or not yet valid"
	case errors.As(err, &verify):
		return "the certificate was refused"
	case errors.As(err, &record):
		return "the server does not speak TLS on this port"
	case errors.As(err, &dns):
		return "the host name was not found"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there"
	case errors.As(err, &network) && network.Timeout():
		return "no answer in time"
	}
	if e, ok := errors.AsType[*ews.Error](err); ok && e.HTTPStatus != 0 {
		return fmt.Sprintf("http status %d", e.HTTPStatus)
	}
	return "the connection broke, or the answer could not be read"
}

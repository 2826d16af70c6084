package eas

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/wbxml"
	"github.com/galsyncd/galsyncd/trust"
)

// Bounds of one request (MS-ASCMD sections 2.2.3.177.12 and 2.2.3.184.3). One address that is too long has the server refuse
// the whole of it.
const (
	maxBatch = 100 // addresses
	maxTo    = 256 // characters of one address
)

// maxRefused is how many single addresses a server may refuse before it has accepted any.
const maxRefused = 3

// maxCertificate bounds one certificate, in bytes of base64.
const maxCertificate = 128 << 10

// Outcome is what the server said about one address.
type Outcome struct {
	// Recipient is the entry that the address leads to; nil when the server says that there is none.
	Recipient *Recipient
	// Err says why there is no usable answer about this address; it wraps ErrNoAnswer.
	Err error
}

// ErrNoAnswer is wrapped by the error of one address in a batch that was answered as a whole. It is a
// directory.ErrUnreadable.
var ErrNoAnswer error = noAnswer{}

type noAnswer struct{}

func (noAnswer) Error() string        { return "the server gave no usable answer" }
func (noAnswer) Is(target error) bool { return target == directory.ErrUnreadable }

// Recipient is one entry of the directory as ResolveRecipients shows it.
type Recipient struct {
	Address     directory.Address
	DisplayName string
	// List reports a distribution list; its certificates are those of its members and are not here.
	List bool
	// Contact reports one of the account's own contacts, not an entry of the directory (Client.Contacts).
	Contact bool
	// Values are the certificates: none when the server says that it has no valid one. A value may hold a Fault.
	Values []directory.Value
	// Disputed are, with List, the certificates of a list with one member, if it is one: they name another address than
	// Address, and so may as well be those of a person under a former or second address (directory.Record.Disputed).
	Disputed []directory.Value
}

// Responses of one address and of its certificates (MS-ASCMD sections 2.2.3.177.12).
const (
	responseResolved    = 1
	responseAmbiguous   = 2
	responsePartialList = 3
	responseNobody      = 4
	limitsExceeded      = 5 // of the whole answer

	certificatesNone  = 7
	certificatesLimit = 8
)

// ResolveRecipients asks for addresses and their certificates: one Outcome for each, in their order. It asks in batches of
// 100, in smaller ones when the server wants that, and once more for an address whose certificates were cut off. The error
// wraps *Error and concerns all of them.
func (c *Client) ResolveRecipients(ctx context.Context, addresses []directory.Address) ([]Outcome, error) {
	outcomes, _, err := c.resolveAll(ctx, addresses)
	return outcomes, err
}

func (c *Client) resolveAll(ctx context.Context, addresses []directory.Address) ([]Outcome, int, error) {
	k := c.call(ctx)
	outcomes := make([]Outcome, 0, len(addresses))
	for batch := range slices.Chunk(addresses, maxBatch) {
		part, err := k.resolve(batch)
		if err != nil {
			return nil, k.requests, err
		}
		outcomes = append(outcomes, part...)
	}
	if c.CheckRevocation {
		if err := k.dropRevoked(outcomes); err != nil {
			return nil, k.requests, err
		}
	}
	return outcomes, k.requests, nil
}

// errCut reports certificates that the server left out because the answer had too many.
var errCut = fmt.Errorf("%w: it has more certificates for this address than it lists", ErrNoAnswer)

// Errors of one address.
var (
	errTooLong = fmt.Errorf("%w: the address is longer than %d characters, which ActiveSync does not take", ErrNoAnswer, maxTo)
	errContact = fmt.Errorf("%w from its directory: the address is one of the account's own contacts (exchange.eas.accept_contacts takes them)", ErrNoAnswer)
	errRefused = fmt.Errorf("%w: it does not take this address (status %d)", ErrNoAnswer, limitsExceeded)
)

// resolve asks for one batch: once for each address that is not too long.
func (c *call) resolve(batch []directory.Address) ([]Outcome, error) {
	var unique []directory.Address
	at := map[directory.Address]int{}
	for _, a := range batch {
		if _, again := at[a]; !again && utf8.RuneCountInString(string(a)) <= maxTo {
			at[a] = len(unique)
			unique = append(unique, a)
		}
	}
	asked, err := c.resolveUnique(unique)
	if err != nil {
		return nil, err
	}
	outcomes := make([]Outcome, len(batch))
	for i, a := range batch {
		if n, ok := at[a]; ok {
			outcomes[i] = asked[n]
		} else {
			outcomes[i].Err = errTooLong
		}
	}
	return outcomes, nil
}

func (c *call) resolveUnique(batch []directory.Address) ([]Outcome, error) {
	if most := c.session.paging.batch(); len(batch) > most {
		return c.resolveParts(batch, most)
	}
	if len(batch) == 0 {
		return nil, nil
	}
	root, err := c.do(cmdResolveRecipients, resolveRequest(batch))
	if err != nil {
		return nil, err
	}
	switch status := number(root.TextAt(wbxml.ResolveRecipientsStatus)); {
	case status == limitsExceeded:
		return c.divide(batch)
	case status == 6:
		return nil, c.fail(cmdResolveRecipients, &Error{Status: status, Temporary: true, reason: "the server cannot resolve addresses now (status 6)"})
	case status != statusOK:
		return nil, c.codeError(cmdResolveRecipients, status)
	}
	c.accepted = true
	outcomes := c.outcomes(root, batch)
	for i, o := range outcomes {
		if !errors.Is(o.Err, errCut) || len(batch) == 1 {
			continue
		}
		alone, err := c.resolveUnique(batch[i : i+1])
		if err != nil {
			return nil, err
		}
		outcomes[i] = alone[0]
	}
	return outcomes, nil
}

// divide asks for the halves of a batch that the server refused: because it is too large, or because of one address in it.
// When each half was taken as a whole, batches are as small from then on. One address alone that is refused has no usable
// answer; a server that refuses several and takes none refuses everything.
func (c *call) divide(batch []directory.Address) ([]Outcome, error) {
	if len(batch) == 1 {
		if c.refused++; c.refused >= maxRefused && !c.accepted {
			return nil, c.codeError(cmdResolveRecipients, limitsExceeded)
		}
		return []Outcome{{Err: errRefused}}, nil
	}
	half, refused := (len(batch)+1)/2, c.refused
	outcomes, err := c.resolveParts(batch, half)
	if err == nil && c.refused == refused {
		c.session.paging.shrink(half)
	}
	return outcomes, err
}

func (c *call) resolveParts(batch []directory.Address, size int) ([]Outcome, error) {
	var all []Outcome
	for part := range slices.Chunk(batch, size) {
		outcomes, err := c.resolveUnique(part)
		if err != nil {
			return nil, err
		}
		all = append(all, outcomes...)
	}
	return all, nil
}

func resolveRequest(batch []directory.Address) *wbxml.Element {
	root := wbxml.New(wbxml.ResolveRecipients)
	for _, a := range batch {
		root.Children = append(root.Children, wbxml.NewText(wbxml.ResolveRecipientsTo, string(a)))
	}
	root.Children = append(root.Children, wbxml.New(wbxml.ResolveRecipientsOptions,
		wbxml.NewText(wbxml.ResolveRecipientsCertificateRetrieval, "2"),
		wbxml.NewText(wbxml.ResolveRecipientsMaxCertificates, "9999"),
		wbxml.NewText(wbxml.ResolveRecipientsMaxAmbiguousRecipients, "0")))
	return root
}

// outcomes matches the responses with the addresses by what they repeat in To. An address without a response, and one with
// two, has no usable answer.
func (c *Client) outcomes(root *wbxml.Element, batch []directory.Address) []Outcome {
	responses := map[string][]*wbxml.Element{}
	for r := range root.All(wbxml.ResolveRecipientsResponse) {
		to := strings.ToLower(strings.TrimSpace(r.TextAt(wbxml.ResolveRecipientsTo)))
		responses[to] = append(responses[to], r)
	}
	outcomes := make([]Outcome, len(batch))
	for i, a := range batch {
		switch found := responses[strings.ToLower(string(a))]; len(found) {
		case 0:
			outcomes[i].Err = fmt.Errorf("%w: it left the address out", ErrNoAnswer)
		case 1:
			outcomes[i] = c.outcome(found[0])
		default:
			outcomes[i].Err = fmt.Errorf("%w: it answered more than once", ErrNoAnswer)
		}
	}
	return outcomes
}

func (c *Client) outcome(response *wbxml.Element) Outcome {
	switch status := number(response.TextAt(wbxml.ResolveRecipientsStatus)); status {
	case responseResolved:
	case responseNobody:
		return Outcome{}
	case responseAmbiguous, responsePartialList:
		return Outcome{Err: fmt.Errorf("%w: several entries of its directory match the address", ErrNoAnswer)}
	default:
		return Outcome{Err: fmt.Errorf("%w: status %d", ErrNoAnswer, status)}
	}
	found := slices.Collect(response.All(wbxml.ResolveRecipientsRecipient))
	if len(found) != 1 {
		return Outcome{Err: fmt.Errorf("%w: it names %d entries for one address", ErrNoAnswer, len(found))}
	}
	recipient, err := c.recipient(found[0])
	if err != nil {
		return Outcome{Err: err}
	}
	return Outcome{Recipient: recipient}
}

func (c *Client) recipient(e *wbxml.Element) (*Recipient, error) {
	r := &Recipient{DisplayName: e.TextAt(wbxml.ResolveRecipientsDisplayName)}
	var err error
	if r.Address, err = parseAddress(e.TextAt(wbxml.ResolveRecipientsEmailAddress)); err != nil {
		return nil, fmt.Errorf("%w: the entry has no mail address", ErrNoAnswer)
	}
	switch kind := number(e.TextAt(wbxml.ResolveRecipientsType)); {
	case kind == 1:
	case kind == 2 && c.AcceptContacts:
	case kind == 2 && c.Contacts:
		r.Contact = true
	case kind == 2:
		return nil, errContact
	default:
		return nil, fmt.Errorf("%w: an entry of type %d", ErrNoAnswer, kind)
	}
	certificates := e.Child(wbxml.ResolveRecipientsCertificates)
	members := number(certificates.TextAt(wbxml.ResolveRecipientsRecipientCount))
	if members > 1 {
		r.List = true
		return r, nil
	}
	r.Values, err = readCertificates(certificates)
	if members == 1 && !r.isPerson() {
		r.List, r.Values, r.Disputed = true, nil, r.Values
	}
	return r, err
}

// isPerson reports that one certificate names the entry itself, or that there is none. The number of members, which the
// specification has for lists alone (MS-ASCMD section 2.2.3.146), stands beside the certificates of people as well; with one
// member only the certificates tell which it is, here or where more is known of the entry.
func (r *Recipient) isPerson() bool {
	return len(r.Values) == 0 || slices.ContainsFunc(r.Values, func(v directory.Value) bool {
		cert, err := x509.ParseCertificate(v.Data)
		return err == nil && slices.Contains(trust.CertificateAddresses(cert), r.Address)
	})
}

// readCertificates reads the certificates of one recipient: none when the server says that there is no valid one.
func readCertificates(e *wbxml.Element) ([]directory.Value, error) {
	switch status := number(e.TextAt(wbxml.ResolveRecipientsStatus)); status {
	case statusOK:
	case certificatesNone:
		return nil, nil
	case certificatesLimit:
		return nil, errCut
	default:
		return nil, fmt.Errorf("%w about certificates: status %d", ErrNoAnswer, status)
	}
	var values []directory.Value
	for text := range e.All(wbxml.ResolveRecipientsCertificate) {
		values = append(values, readCertificate(text))
	}
	if len(values) == 0 {
		return nil, fmt.Errorf("%w: it says that there are certificates, and shows none", ErrNoAnswer)
	}
	return values, nil
}

// readCertificate reads one certificate: base64, perhaps with line breaks, or, with some servers, the bytes themselves.
func readCertificate(e *wbxml.Element) directory.Value {
	v := directory.Value{Property: directory.ActiveSyncCertificate}
	if len(e.Text) > maxCertificate {
		v.Fault = fmt.Sprintf("longer than %d bytes", maxCertificate)
		return v
	}
	if e.Opaque && strings.HasPrefix(e.Text, "\x30") { // a DER SEQUENCE; base64 that begins with "0" goes on in ASCII
		if der := []byte(e.Text); len(der) > 1 && der[1] >= 0x80 {
			v.Data = der
			return v
		}
	}
	text := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" \t\r\n", r) {
			return -1
		}
		return r
	}, e.Text)
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		v.Fault = "not base64"
		return v
	}
	v.Data = data
	return v
}

// parseAddress reads an address of an answer, with or without "SMTP:" before it.
func parseAddress(s string) (directory.Address, error) {
	s = strings.TrimSpace(s)
	if kind, rest, ok := strings.Cut(s, ":"); ok && strings.EqualFold(kind, "smtp") {
		s = rest
	}
	return mailaddr.Parse(s)
}

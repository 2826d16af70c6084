// Package directory says what an entry of a Global Address List (GAL) is, and keeps a local copy of a GAL true to its
// server: it enumerates a Source by address prefixes, decodes what the source carries as certificates, and applies the
// difference to a Store so that neither a crash nor a bad night of the server loses anything.
//
// Three outcomes of asking a server are never confused: found (an Answer with records), the server says there is none
// (an Answer without records), and no usable answer (an error, whatever its cause). Only the second may ever lead to
// forgetting something.
package directory

import (
	"context"
	"errors"
	"time"

	"github.com/galsyncd/galsyncd/internal/mailaddr"
)

// Address is a mail address in canonical form.
type Address = mailaddr.Address

// ParseAddress makes the canonical form of one bare mail address.
func ParseAddress(s string) (Address, error) { return mailaddr.Parse(s) }

// Kind says what an entry of the address book is.
type Kind string

// Kinds of entries. Exchange's MailboxType values map onto them (MS-OXWSCDATA section 2.2.4.67): Mailbox, Contact,
// PublicDL and GroupMailbox; everything else is KindOther.
const (
	KindMailbox Kind = "mailbox"
	KindContact Kind = "contact"
	KindGroup   Kind = "group"
	KindOther   Kind = "other"
	// KindPersonal is a personal contact among the results of a completion; no entry of the address book has it.
	KindPersonal Kind = "personal"
)

// Property names the Exchange property that a value came in.
type Property string

// The two properties that hold certificates (MS-OXWSCONT section 2.2.4.2).
const (
	UserSMIMECertificate  Property = "UserSMIMECertificate"
	MSExchangeCertificate Property = "MSExchangeCertificate"
)

// ActiveSyncCertificate is a certificate of ResolveRecipients (MS-ASCMD section 2.2.3.20), which does not tell which property
// it comes from.
const ActiveSyncCertificate Property = "ResolveRecipients"

// Value is one value of a certificate property as the server sent it. No encoding is promised: bare X.509, CMS
// SignedData and MS-OXOABK settings all occur, in either property.
type Value struct {
	Property Property
	// Data is the decoded base64; nil when Fault is set.
	Data []byte
	// Fault says why the value could not even be read from the answer ("not base64", "longer than 65536 bytes").
	Fault string
}

// Record is one address book entry as a Source returns it: checked and bounded, not yet decoded.
type Record struct {
	// Primary is the address that identifies the entry; never empty.
	Primary Address
	// Addresses are the addresses that the server listed for the entry, Primary among them.
	Addresses []Address
	// DisplayName, GivenName, Surname and Alias (mailNickname) are as listed; empty when the server did not say.
	DisplayName, GivenName, Surname, Alias string
	Kind                                   Kind
	// Values are all values of both certificate properties, in the order of the answer. Nil when certificates were not
	// asked for.
	Values []Value
	// Disputed are, with KindGroup and without Values, certificates of which the protocol does not tell whether they are those
	// of the only member of a group, or those of a person whose former or second address they name. They count when the
	// entry is known as a person's and they name its addresses; a group never gets its member's.
	Disputed []Value
	// Partial says that the protocol shows one address of the entry, no certificate that the server itself does not find
	// valid now, and empty strings for what it does not tell. What is known otherwise stays.
	Partial bool
	// Undetermined says why the server gave no usable answer about the certificates of this entry, though it knows the
	// entry; empty when it gave one. What is known of them stays.
	Undetermined string
}

// Answer is what a server said to one prefix.
type Answer struct {
	// Records are the entries that have an address with that prefix. A server that knows an alias which it does not list
	// may include entries none of whose Addresses has the prefix.
	Records []Record
	// Truncated reports that there are, or may be, more entries than Records holds.
	Truncated bool
	// Others counts entries that were found by something else than an address with the prefix and left out.
	Others int
	// Requests is how many requests the answer took; 0 counts as 1.
	Requests int
}

// ErrInvalidName is wrapped by the error of Search when the server refuses to look for that very prefix (and would
// answer others).
var ErrInvalidName = errors.New("the server does not search for this name")

// ErrUnauthorized is wrapped by the error of a Source whose credential was refused, or not even tried because it was refused
// before.
var ErrUnauthorized = errors.New("the credential was refused")

// ErrRemoteWipe is wrapped by the error of a Source whose server orders this device to forget what it got from there.
var ErrRemoteWipe = errors.New("the server orders this device to forget its data")

// A Wiper is a Source whose server wants to be told that its order was carried out.
type Wiper interface {
	ConfirmWipe(ctx context.Context) error
}

// RetryError is implemented by errors of a Source that may pass: the same question may be asked again.
type RetryError interface {
	error
	// RetryAfter is how long the server asked to be left alone; zero when it did not say.
	RetryAfter() time.Duration
}

// A Source is an address book that can be searched by address prefix.
type Source interface {
	// Name identifies the protocol in stored state and in reports, for example "ews".
	Name() string
	// Search returns the entries that have an address which starts with prefix (lower case, at least one character, at
	// most mailaddr.MaxLength bytes). With certificates set, records carry Values.
	//
	// Search does not retry. Any error means that there is no usable answer; a RetryError may be tried again, an error
	// that wraps ErrInvalidName concerns this prefix alone, and any other error will not pass by itself.
	Search(ctx context.Context, prefix string, certificates bool) (Answer, error)
}

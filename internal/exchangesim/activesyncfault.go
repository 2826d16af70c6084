package exchangesim

import (
	"bytes"
	"net/http"
	"strconv"
	"time"

	"github.com/galsyncd/galsyncd/internal/wbxml"
)

// Faults of ActiveSync alone. Those of Exchange that travel in SOAP travel here as its nearest relative.
const (
	FaultMoved            FaultKind = "moved"             // status 451 with Fault.Location
	FaultNotProvisioned   FaultKind = "not-provisioned"   // status 142: a policy is demanded first
	FaultBlocked          FaultKind = "blocked"           // status 129: the device is blocked for this user
	FaultTooManyDevices   FaultKind = "too-many-devices"  // status 177
	FaultServerError      FaultKind = "server-error"      // status 110
	FaultAmbiguous        FaultKind = "ambiguous"         // everybody is ambiguous
	FaultCertificateLimit FaultKind = "certificate-limit" // certificates are left out: status 8
)

// activeSyncFaults is how each fault that is a status travels: an HTTP status alone, or the status of the command.
var activeSyncFaults = map[FaultKind]struct {
	http   int
	status string
}{
	FaultBusy:             {http.StatusServiceUnavailable, ""},
	FaultBusyMessage:      {http.StatusServiceUnavailable, ""},
	FaultBusyInner:        {http.StatusServiceUnavailable, ""},
	FaultConnections:      {http.StatusServiceUnavailable, ""},
	FaultTransient:        {0, "111"},
	FaultADUnavailable:    {0, "6"},
	FaultNoMailbox:        {0, "126"},
	FaultAccessDenied:     {0, "130"},
	FaultInvalidVersion:   {http.StatusBadRequest, ""},
	FaultNotProvisioned:   {0, statusNotProvisioned},
	FaultBlocked:          {0, "129"},
	FaultTooManyDevices:   {0, "177"},
	FaultServerError:      {0, "110"},
	FaultMoved:            {451, ""},
	FaultWithoutMoreToSay: {0, "1"},
}

// ActiveSyncFaultKinds lists the faults that ActiveSync has and EWS has not.
func ActiveSyncFaultKinds() []FaultKind {
	return []FaultKind{FaultAmbiguous, FaultBlocked, FaultCertificateLimit, FaultMoved, FaultNotProvisioned, FaultServerError, FaultTooManyDevices}
}

// serveActiveSync answers a command with the fault; false when it is one of those that every protocol has.
func (f Fault) serveActiveSync(x *exchange) bool {
	if e, ok := activeSyncFaults[f.Kind]; ok {
		switch {
		case e.http == http.StatusServiceUnavailable && f.Kind != FaultConnections:
			wait := f.RetryAfter
			if wait == 0 {
				wait = 5 * time.Second
			}
			x.w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
		case e.http == 451:
			x.w.Header().Set("X-MS-Location", f.Location)
		}
		if e.http != 0 {
			x.sendWBXML(e.http, nil)
		} else {
			x.sendWBXML(http.StatusOK, commandStatus(x.command, e.status))
		}
		return true
	}
	if f.Kind != FaultNoResults && f.Kind != FaultNoCertificates && f.Kind != FaultAmbiguous && f.Kind != FaultCertificateLimit {
		return false
	}
	status, body := x.answer()
	if root, err := wbxml.Unmarshal(body); err == nil {
		f.spoil(root)
		body = marshal(root)
	}
	x.sendWBXML(status, body)
	return true
}

// spoil changes a true answer.
func (f Fault) spoil(root *wbxml.Element) {
	for response := range root.All(wbxml.ResolveRecipientsResponse) {
		status := response.Child(wbxml.ResolveRecipientsStatus)
		switch f.Kind {
		case FaultNoResults:
			status.Text, response.Children = "4", response.Children[:2]
			continue
		case FaultAmbiguous:
			status.Text = "2"
		}
		for recipient := range response.All(wbxml.ResolveRecipientsRecipient) {
			f.spoilCertificates(recipient.Child(wbxml.ResolveRecipientsCertificates))
		}
	}
	if store := root.At(wbxml.SearchResponse, wbxml.SearchStore); store != nil && f.Kind == FaultNoResults {
		store.Children = []*wbxml.Element{wbxml.NewText(wbxml.SearchStatus, "1"), wbxml.New(wbxml.SearchResult)}
	}
}

func (f Fault) spoilCertificates(c *wbxml.Element) {
	if c == nil {
		return
	}
	switch f.Kind {
	case FaultNoCertificates:
		c.Children = []*wbxml.Element{wbxml.NewText(wbxml.ResolveRecipientsStatus, "7"), wbxml.NewText(wbxml.ResolveRecipientsCertificateCount, "0")}
	case FaultCertificateLimit:
		c.Children = []*wbxml.Element{wbxml.NewText(wbxml.ResolveRecipientsStatus, "8"), wbxml.NewText(wbxml.ResolveRecipientsCertificateCount, "1")}
	}
}

// endlessActiveSync starts a proper answer to a command and never comes to its end.
func (x *exchange) endlessActiveSync() {
	x.w.Header().Set("Content-Type", wbxmlType)
	one := marshal(wbxml.New(wbxml.ResolveRecipients, wbxml.New(wbxml.ResolveRecipientsResponse, wbxml.NewText(wbxml.ResolveRecipientsTo, "endless@corp.example"))))
	// A document is header, page switch, the root's tag, what is in it, and its end.
	start, inside := one[:7], one[7:len(one)-1]
	x.w.Write(start)
	many := bytes.Repeat(inside, 100)
	for x.r.Context().Err() == nil && x.server.stop.Err() == nil {
		if _, err := x.w.Write(many); err != nil {
			return
		}
	}
}

package exchangesim

import (
	"strings"

	"github.com/galsyncd/galsyncd/internal/xmltree"
)

// impersonation reads the header ExchangeImpersonation (MS-OXWSCDATA section 2.2.4.41): the address of the mailbox that
// the request is made for.
func impersonation(h *xmltree.Element) (string, error) {
	if len(h.Children) == 1 && h.Children[0].Is(nsTypes, "ConnectingSID") {
		who := h.Children[0].Children
		if len(who) == 1 && who[0].Is(nsTypes, "PrimarySmtpAddress") && strings.Contains(who[0].Text, "@") {
			return strings.TrimSpace(who[0].Text), nil
		}
	}
	return "", &requestError{"ErrorInvalidExchangeImpersonationHeaderData", "The ExchangeImpersonation header does not name one primary address."}
}

// checkImpersonation refuses a request for a mailbox that is not there, or that the front end could not have routed.
func (x *exchange) checkImpersonation() error {
	who := x.query.mailbox
	switch {
	case who == "":
		return nil
	case !strings.EqualFold(x.r.Header.Get("X-AnchorMailbox"), who):
		return &requestError{"ErrorInvalidExchangeImpersonationHeaderData", "X-AnchorMailbox does not name the mailbox."}
	case !x.server.dir.hasMailbox(who):
		return &requestError{"ErrorNonExistentMailbox", "The SMTP address has no mailbox associated with it."}
	}
	return nil
}

// hasMailbox reports whether somebody with a mailbox has this primary address.
func (d *Directory) hasMailbox(address string) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	place, ok := d.owners[fold(address)]
	return ok && (d.entries[place].Kind == "" || d.entries[place].Kind == Mailbox) && fold(d.entries[place].Primary) == fold(address)
}

package ews

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"strings"

	"github.com/beevik/etree"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/httpfault"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
)

var _ directory.Expander = (*Client)(nil)

// ExpandDLResponse is what the server said about a distribution list (MS-OXWSDLIST section 3.1.4.1.2.2).
type ExpandDLResponse struct {
	// ResponseCode is NoError or ErrorNameResolutionNoResults; the pages contradict each other on what an unknown or empty
	// list gives.
	ResponseCode string
	// Members are the direct members; groups among them are not expanded.
	Members []Mailbox
	// Truncated reports IncludesLastItemInRange="false", or that it is missing: there are, or may be, more members.
	Truncated bool
}

// maxMembers bounds the members of one list.
const maxMembers = 20_000

// ExpandDL asks for the direct members of the distribution list with this address (MS-OXWSDLIST section 3.1.4.1). The
// error wraps *Error.
func (c *Client) ExpandDL(ctx context.Context, address string) (ExpandDLResponse, error) {
	x, a, err := c.ask(ctx, "ExpandDL", func(h header) ([]byte, error) { return expandEnvelope(address, h) })
	if err != nil {
		return ExpandDLResponse{}, err
	}
	return a.expandDL(x)
}

func expandEnvelope(address string, h header) ([]byte, error) {
	if err := checkEntry(address); err != nil {
		return nil, err
	}
	doc, body := newEnvelope(h)
	expand := body.CreateElement("m:ExpandDL")
	expand.CreateElement("m:Mailbox").CreateElement("t:EmailAddress").SetText(address)
	return doc.WriteToBytes()
}

// expansion is the DLExpansion of an answer.
type expansion struct {
	members []Mailbox
	last    string
}

func (a *answer) readExpansion(r *reader, start xml.StartElement) error {
	if a.expansion != nil {
		return errors.New("the answer has more than one DLExpansion")
	}
	ex := &expansion{}
	ex.last, _ = attribute(start, "IncludesLastItemInRange")
	ex.last = strings.ToLower(strings.TrimSpace(ex.last))
	a.expansion = ex
	return r.children(func(e xml.StartElement) error {
		if e.Name != (xml.Name{Space: nsTypes, Local: "Mailbox"}) {
			return unexpected(e) // passed over, it would be a member who is not asked for a certificate
		}
		if len(ex.members) == maxMembers {
			return refusedf("the list has more than %d members", maxMembers)
		}
		element := etree.NewElement("Mailbox")
		if err := prune(r, element, kept["Mailbox"]); err != nil {
			return err
		}
		ex.members = append(ex.members, newMailbox(element))
		return nil
	})
}

// expandDL is the response of a successful answer.
func (a *answer) expandDL(x *exchange) (ExpandDLResponse, error) {
	switch {
	case a.message != "ExpandDLResponseMessage":
		return ExpandDLResponse{}, x.malformed(fmt.Errorf("the server answered another question (%s)", httpfault.Clean(a.message, 60)))
	case a.code == CodeNoResults && a.expansion == nil:
		return ExpandDLResponse{ResponseCode: a.code}, nil
	case a.code != CodeNoError || a.class == "Error":
		return ExpandDLResponse{}, x.malformed(fmt.Errorf("the answer is of class %q with the response code %s", httpfault.Clean(a.class, 20), a.code))
	case a.expansion == nil:
		return ExpandDLResponse{}, x.malformed(errors.New("the answer reports success without a DLExpansion"))
	}
	return ExpandDLResponse{ResponseCode: a.code, Members: a.expansion.members, Truncated: a.expansion.last != "true" && a.expansion.last != "1"}, nil
}

// Expand implements directory.Expander. A member without an SMTP address has an empty one: somebody is in the list who
// cannot be written to.
func (c *Client) Expand(ctx context.Context, group directory.Address) (directory.Members, error) {
	resp, err := c.ExpandDL(ctx, string(group))
	if err != nil {
		return directory.Members{}, err
	}
	m := directory.Members{Truncated: resp.Truncated, Unknown: resp.ResponseCode == CodeNoResults}
	for _, box := range resp.Members {
		member := directory.Member{Name: box.Name, Kind: kindOf(box.MailboxType)}
		if box.RoutingType == "" || strings.EqualFold(box.RoutingType, "SMTP") {
			member.Address, _ = mailaddr.Parse(strings.TrimPrefix(box.EmailAddress, "SMTP:"))
		}
		m.Members = append(m.Members, member)
	}
	return m, nil
}

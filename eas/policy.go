package eas

import (
	"slices"
	"strings"
	"time"

	"github.com/galsyncd/galsyncd/internal/wbxml"
)

// Policy is what the server demands of devices (MS-ASPROV section 2.2.2.28), as far as it concerns this program.
type Policy struct {
	// SMIME are the settings about signed and encrypted mail, by the names of their elements, as far as the document has
	// them.
	SMIME []Setting `json:"smime,omitempty"`
	// Demands are the elements that demand something of the machine which this program does not see to.
	Demands []Setting `json:"demands,omitempty"`
	// Unmet are the names among them for which nobody vouched.
	Unmet []string `json:"unmet,omitempty"`
	// Acknowledged is what the server was told: "applied" or "partly applied".
	Acknowledged string    `json:"acknowledged"`
	Fetched      time.Time `json:"fetched"`
}

// Setting is one element of a policy document and its value.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// smimeTags are the settings about signed and encrypted mail.
var smimeTags = []wbxml.Tag{
	wbxml.ProvisionRequireSignedSMIMEMessages, wbxml.ProvisionRequireEncryptedSMIMEMessages,
	wbxml.ProvisionRequireSignedSMIMEAlgorithm, wbxml.ProvisionRequireEncryptionSMIMEAlgorithm,
	wbxml.ProvisionAllowSMIMEEncryptionAlgorithmNegotiation, wbxml.ProvisionAllowSMIMESoftCerts,
}

// harmless are the values with which an element demands nothing of the machine. An element without a value demands
// nothing. Allow… elements that are not here demand nothing with 1, Require… and the rest nothing with 0.
var harmless = map[wbxml.Tag][]string{
	wbxml.ProvisionAllowBluetooth: {"2"}, // 0 is off, 1 hands-free only
}

// empty are elements about what this program never does: it fetches no mail, no calendar and no attachments, it has no
// HTML to show, it does not roam, and it sends nothing. They are met whatever they say. The details of the password count
// with DevicePasswordEnabled.
var empty = []wbxml.Tag{
	wbxml.ProvisionAttachmentsEnabled, wbxml.ProvisionMaxAttachmentSize, wbxml.ProvisionMaxCalendarAgeFilter,
	wbxml.ProvisionAllowHTMLEmail, wbxml.ProvisionMaxEmailAgeFilter, wbxml.ProvisionMaxEmailBodyTruncationSize,
	wbxml.ProvisionMaxEmailHTMLBodyTruncationSize, wbxml.ProvisionRequireManualSyncWhenRoaming,
	wbxml.ProvisionAlphanumericDevicePasswordRequired, wbxml.ProvisionMinDevicePasswordLength,
	wbxml.ProvisionMaxInactivityTimeDeviceLock, wbxml.ProvisionMaxDevicePasswordFailedAttempts,
	wbxml.ProvisionAllowSimpleDevicePassword, wbxml.ProvisionDevicePasswordExpiration,
	wbxml.ProvisionDevicePasswordHistory, wbxml.ProvisionMinDevicePasswordComplexCharacters,
}

// maxSettings bounds what is kept of a policy document.
const maxSettings = 100

// readPolicy reads a policy document. met are the names of elements that the administrator vouches for.
func readPolicy(doc *wbxml.Element, met []string, now time.Time) *Policy {
	p := &Policy{Fetched: now.UTC().Truncate(time.Second), Acknowledged: "applied"}
	if doc == nil {
		return p
	}
	for _, e := range doc.Children[:min(len(doc.Children), maxSettings)] {
		s := Setting{Name: elementName(e.Tag), Value: shortValue(e)}
		switch {
		case s.Value == "":
		case slices.Contains(smimeTags, e.Tag):
			p.SMIME = append(p.SMIME, s)
		case demands(e.Tag, s.Value):
			p.Demands = append(p.Demands, s)
			if !slices.ContainsFunc(met, func(name string) bool { return strings.EqualFold(name, s.Name) }) {
				p.Unmet = append(p.Unmet, s.Name)
				p.Acknowledged = "partly applied"
			}
		}
	}
	if len(doc.Children) > maxSettings {
		p.Unmet, p.Acknowledged = append(p.Unmet, "more than can be read"), "partly applied"
	}
	return p
}

// demands reports that an element with this value asks something of the machine. An element that nobody knows does.
func demands(tag wbxml.Tag, value string) bool {
	if slices.Contains(empty, tag) {
		return false
	}
	if ok, known := harmless[tag]; known {
		return !slices.Contains(ok, value)
	}
	if strings.HasPrefix(elementName(tag), "Allow") {
		return value != "1"
	}
	return value != "0"
}

// elementName is the name of an element without its page; that of an unknown one has numbers.
func elementName(tag wbxml.Tag) string {
	if tag.Known() {
		_, name, _ := strings.Cut(tag.String(), ":")
		return name
	}
	return tag.String()
}

// shortValue is the text of an element, or of a list of them; empty when it says nothing.
func shortValue(e *wbxml.Element) string {
	text := e.Text
	for _, c := range e.Children {
		text += " " + c.Text
	}
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
	if len(e.Children) > 0 && text == "" {
		return "listed"
	}
	const most = 200
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}

// IsDemand reports that name is that of an element with which a policy may demand something of the machine.
func IsDemand(name string) bool {
	for token := range byte(64) {
		tag := wbxml.MakeTag(wbxml.Provision.Page(), token)
		if tag.Known() && tag > wbxml.ProvisionEASProvisionDoc && tag != wbxml.ProvisionAccountOnlyRemoteWipe &&
			!slices.Contains(empty, tag) && !slices.Contains(smimeTags, tag) && strings.EqualFold(elementName(tag), name) {
			return true
		}
	}
	return false
}

// status is what the server is told about the policy (MS-ASPROV section 2.2.2.54.2): 1 applied, 2 partly applied.
func (p *Policy) status() string {
	if len(p.Unmet) > 0 {
		return "2"
	}
	return "1"
}

package exchangesim

import (
	"crypto/rand"
	"encoding/binary"
	"net/http"
	"strconv"
	"sync"

	"github.com/galsyncd/galsyncd/internal/wbxml"
)

// Common status codes of commands (MS-ASCMD section 2.2.2).
const (
	statusRemoteWipe      = "140"
	statusNotProvisioned  = "142"
	statusPolicyRefresh   = "143"
	statusInvalidKey      = "144"
	statusNeedsDeviceInfo = "165"
)

const policyType = "MS-EAS-Provisioning-WBXML"

// deviceList is what the server knows of the devices that asked. The zero value is ready.
type deviceList struct {
	mu       sync.Mutex
	devices  map[string]*device
	policy   int // grows when the policy changes
	commands map[string]int
}

// device is one DeviceId.
type device struct {
	offered, key string // the temporary and the final policy key
	policy       int    // that key is for
	wipe         bool
	model        string
	kind         string
}

// Device is what the server knows of a device, for tests.
type Device struct {
	ID, Type, Model string
	// Acknowledged says that it has acknowledged the current policy.
	Acknowledged bool
}

// Devices lists the devices that ever ran a Provision.
func (s *Server) Devices() []Device {
	l := &s.devices
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []Device
	for id, d := range l.devices {
		list = append(list, Device{ID: id, Type: d.kind, Model: d.model, Acknowledged: d.key != "" && d.policy == l.policy})
	}
	return list
}

// ChangePolicy has every device fetch the policy again, as an administrator who edits it does.
func (s *Server) ChangePolicy() {
	s.devices.mu.Lock()
	defer s.devices.mu.Unlock()
	s.devices.policy++
}

// WipeDevices orders a remote wipe of every known device; a device that acknowledges it is served again.
func (s *Server) WipeDevices() {
	s.devices.mu.Lock()
	defer s.devices.mu.Unlock()
	for _, d := range s.devices.devices {
		d.wipe = true
	}
}

func (l *deviceList) count(command string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.commands == nil {
		l.commands = map[string]int{}
	}
	l.commands[command]++
}

func (l *deviceList) of(c *command) *device {
	if l.devices == nil {
		l.devices = map[string]*device{}
	}
	d := l.devices[c.device]
	if d == nil {
		d = &device{kind: c.kind}
		l.devices[c.device] = d
	}
	return d
}

// refuse says with which status a command must wait for a Provision, and how that travels: before 14.0 as HTTP 449.
func (l *deviceList) refuse(c *command, demanded bool) (status string, httpStatus int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.devices[c.device]
	switch {
	case d != nil && d.wipe:
		status = statusRemoteWipe
	case !demanded:
		return "", 0
	case c.key == "" || c.key == "0" || d == nil:
		status = statusNotProvisioned
	case c.key != d.key:
		status = statusInvalidKey
	case d.policy != l.policy:
		status = statusPolicyRefresh
	default:
		return "", 0
	}
	if !c.since("14.0") {
		return status, 449
	}
	return status, http.StatusOK
}

// provision answers both phases (MS-ASPROV section 3.1.5.1).
func (s *Server) provision(c *command) *wbxml.Element {
	l := &s.devices
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.of(c)
	if m := c.root.TextAt(wbxml.SettingsDeviceInformation, wbxml.SettingsSet, wbxml.SettingsModel); m != "" {
		d.model = m
	}
	status := func(s string) *wbxml.Element { return wbxml.NewText(wbxml.ProvisionStatus, s) }
	if d.wipe {
		if c.root.TextAt(wbxml.ProvisionRemoteWipe, wbxml.ProvisionStatus) != "" {
			delete(l.devices, c.device)
			return wbxml.New(wbxml.Provision, status("1"))
		}
		return wbxml.New(wbxml.Provision, status("1"), wbxml.New(wbxml.ProvisionRemoteWipe))
	}
	policy := c.root.At(wbxml.ProvisionPolicies, wbxml.ProvisionPolicy)
	if policy.TextAt(wbxml.ProvisionPolicyType) != policyType {
		return wbxml.New(wbxml.Provision, status("2"))
	}
	answer := func(state string, rest ...*wbxml.Element) *wbxml.Element {
		inside := append([]*wbxml.Element{wbxml.NewText(wbxml.ProvisionPolicyType, policyType), status(state)}, rest...)
		return wbxml.New(wbxml.Provision, status("1"), wbxml.New(wbxml.ProvisionPolicies, wbxml.New(wbxml.ProvisionPolicy, inside...)))
	}
	if policy.Child(wbxml.ProvisionStatus) != nil {
		return s.acknowledged(d, policy, answer)
	}
	if c.since("14.1") && d.model == "" {
		return wbxml.New(wbxml.Provision, status(statusNeedsDeviceInfo))
	}
	if !s.options.ActiveSync.Policy {
		return answer("2")
	}
	d.offered = policyKey()
	return answer("1", wbxml.NewText(wbxml.ProvisionPolicyKey, d.offered), wbxml.New(wbxml.ProvisionData, policyDocument()))
}

// acknowledged answers the second phase.
func (s *Server) acknowledged(d *device, policy *wbxml.Element, answer func(string, ...*wbxml.Element) *wbxml.Element) *wbxml.Element {
	key := policy.TextAt(wbxml.ProvisionPolicyKey)
	if key == "" || key != d.offered {
		return answer("5")
	}
	if policy.TextAt(wbxml.ProvisionStatus) == "3" { // not applied: the device stays outside
		return answer("1")
	}
	d.key, d.offered, d.policy = policyKey(), "", s.devices.policy
	return answer("1", wbxml.NewText(wbxml.ProvisionPolicyKey, d.key))
}

func policyKey() string {
	var b [4]byte
	_, _ = rand.Read(b[:])
	return strconv.FormatUint(uint64(binary.BigEndian.Uint32(b[:]))|1, 10)
}

// policyDocument asks for nothing of the device but what S/MIME has to be like.
func policyDocument() *wbxml.Element {
	return wbxml.New(wbxml.ProvisionEASProvisionDoc,
		wbxml.NewText(wbxml.ProvisionDevicePasswordEnabled, "0"),
		wbxml.NewText(wbxml.ProvisionAttachmentsEnabled, "1"),
		wbxml.NewText(wbxml.ProvisionRequireSignedSMIMEMessages, "0"),
		wbxml.NewText(wbxml.ProvisionRequireEncryptedSMIMEMessages, "1"),
		wbxml.NewText(wbxml.ProvisionRequireSignedSMIMEAlgorithm, "0"),
		wbxml.NewText(wbxml.ProvisionRequireEncryptionSMIMEAlgorithm, "0"),
		wbxml.NewText(wbxml.ProvisionAllowSMIMEEncryptionAlgorithmNegotiation, "2"),
		wbxml.NewText(wbxml.ProvisionAllowSMIMESoftCerts, "1"),
		wbxml.New(wbxml.ProvisionUnapprovedInROMApplicationList),
		wbxml.New(wbxml.ProvisionApprovedApplicationList),
	)
}

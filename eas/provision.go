package eas

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/wbxml"
)

// policyType is the only type of policy since version 12.0 (MS-ASPROV section 2.2.2.44).
const policyType = "MS-EAS-Provisioning-WBXML"

const hintWipe = "nothing but the cache of this account was removed; if the order was a mistake, remove the device at the server, and sync again"

// provision fetches the policy and acknowledges it, as far as it is true, in two phases (MS-ASPROV section 3.1.5). stale is
// the key that the server refused: when it was replaced meanwhile, there is nothing to do.
func (c *call) provision(stale uint32) error {
	c.session.provisioning.Lock()
	defer c.session.provisioning.Unlock()
	if now := c.session.policyKey(); now != stale {
		return nil
	}
	c.change(func(s *state) { s.PolicyKey = 0 })
	first, err := c.provisionPhase(wbxml.New(wbxml.Provision, c.deviceInformation(), policies("", "")), 0)
	if err != nil || first.none {
		return err
	}
	policy := readPolicy(first.document, c.PolicyMet, c.now())
	second, err := c.provisionPhase(wbxml.New(wbxml.Provision, policies(first.keyText, policy.status())), first.key)
	if err != nil {
		if e := asError(err); e != nil && len(policy.Unmet) > 0 && (e.hint == "" || e.hint == hintStatus) {
			e.hint = hintPolicy
		}
		return err
	}
	if c.Logger != nil {
		c.Logger.InfoContext(c.ctx, "the policy of the server was fetched", "told", policy.Acknowledged, "unmet", policy.Unmet)
	}
	c.change(func(s *state) { s.PolicyKey, s.Policy = second.key, policy })
	return nil
}

// granted is what one phase gave.
type granted struct {
	none     bool // the server has no policy for this device
	key      uint32
	keyText  string
	document *wbxml.Element
}

func (c *call) provisionPhase(document *wbxml.Element, key uint32) (granted, error) {
	root, err := c.post(cmdProvision, document, key)
	if err != nil {
		return granted{}, err
	}
	if root.Child(wbxml.ProvisionRemoteWipe) != nil || root.Child(wbxml.ProvisionAccountOnlyRemoteWipe) != nil {
		return granted{}, c.codeError(cmdProvision, statusRemoteWipe)
	}
	if s := number(root.TextAt(wbxml.ProvisionStatus)); s != statusOK {
		return granted{}, c.fail(cmdProvision, &Error{Status: s, reason: fmt.Sprintf("the server gives no policy (status %d)", s), Temporary: s == 3, hint: hintOffer})
	}
	policy := root.At(wbxml.ProvisionPolicies, wbxml.ProvisionPolicy)
	switch s := number(policy.TextAt(wbxml.ProvisionStatus)); s {
	case statusOK:
	case 2:
		c.change(func(s *state) { s.PolicyKey, s.Policy = 0, nil })
		return granted{none: true}, nil
	default:
		return granted{}, c.fail(cmdProvision, &Error{Status: s, reason: fmt.Sprintf("the server does not settle the policy of this device (policy status %d)", s), hint: hintOffer})
	}
	text := policy.TextAt(wbxml.ProvisionPolicyKey)
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return granted{}, c.malformed(cmdProvision, errors.New("the server gives a policy without a key"))
	}
	return granted{key: uint32(n), keyText: text, document: policy.At(wbxml.ProvisionData, wbxml.ProvisionEASProvisionDoc)}, nil
}

// policies is the part of both phases that names the policy; status is empty in the first.
func policies(key, status string) *wbxml.Element {
	policy := wbxml.New(wbxml.ProvisionPolicy, wbxml.NewText(wbxml.ProvisionPolicyType, policyType))
	if status != "" {
		policy.Children = append(policy.Children, wbxml.NewText(wbxml.ProvisionPolicyKey, key), wbxml.NewText(wbxml.ProvisionStatus, status))
	}
	return wbxml.New(wbxml.ProvisionPolicies, policy)
}

// deviceInformation says what kind of device this is, which servers want from version 14.1 on (status 165); nil before.
func (c *call) deviceInformation() *wbxml.Element {
	c.session.mu.Lock()
	version := c.session.version
	c.session.mu.Unlock()
	if !slices.Contains([]string{"14.1", "16.0", "16.1"}, version) {
		return nil
	}
	return wbxml.New(wbxml.SettingsDeviceInformation, wbxml.New(wbxml.SettingsSet,
		wbxml.NewText(wbxml.SettingsModel, "galsyncd"),
		wbxml.NewText(wbxml.SettingsFriendlyName, "galsyncd certificate cache"),
		wbxml.NewText(wbxml.SettingsOS, "Linux"),
		wbxml.NewText(wbxml.SettingsUserAgent, cmp.Or(c.UserAgent, DefaultUserAgent))))
}

var _ directory.Wiper = (*Client)(nil)

// ConfirmWipe tells the server that the order to forget everything was carried out (MS-ASPROV section 3.1.5.1): it asks for
// the order once more, because there are two kinds, and acknowledges the one that is there. It implements directory.Wiper.
func (c *Client) ConfirmWipe(ctx context.Context) error {
	k := c.call(ctx)
	if err := k.prepare(cmdProvision); err != nil {
		return err
	}
	c.change(func(s *state) { s.PolicyKey, s.Policy = 0, nil })
	root, err := k.post(cmdProvision, wbxml.New(wbxml.Provision, k.deviceInformation(), policies("", "")), 0)
	if err != nil && !errors.Is(err, directory.ErrRemoteWipe) {
		return err
	}
	order := wbxml.ProvisionRemoteWipe
	if root.Child(wbxml.ProvisionAccountOnlyRemoteWipe) != nil {
		order = wbxml.ProvisionAccountOnlyRemoteWipe
	} else if err == nil && root.Child(order) == nil {
		return nil // taken back
	}
	_, err = k.post(cmdProvision, wbxml.New(wbxml.Provision, wbxml.New(order, wbxml.NewText(wbxml.ProvisionStatus, "1"))), 0)
	return err
}

func (c *Client) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

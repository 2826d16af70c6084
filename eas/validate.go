package eas

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/wbxml"
)

// Validity is what a server says about a certificate (MS-ASCMD section 2.2.3.177.18): 1 is valid.
type Validity int

// Validities that decide something here.
const (
	Valid          Validity = 1
	Revoked        Validity = 13
	IssuerRevoked  Validity = 15
	maxValidate             = 100
	protocolStatus          = 2
)

// ValidateCertificates asks the server what it thinks of certificates (DER): one Validity for each, in their order. The
// server's own trust decides, and it checks revocation, which it may be able to where this machine is not. The error wraps
// *Error.
func (c *Client) ValidateCertificates(ctx context.Context, certificates [][]byte) ([]Validity, error) {
	return c.call(ctx).validate(certificates)
}

func (c *call) validate(certificates [][]byte) ([]Validity, error) {
	var all []Validity
	for batch := range slices.Chunk(certificates, maxValidate) {
		part, err := c.validateBatch(batch)
		if err != nil {
			return nil, err
		}
		all = append(all, part...)
	}
	return all, nil
}

func (c *call) validateBatch(batch [][]byte) ([]Validity, error) {
	list := wbxml.New(wbxml.ValidateCertCertificates)
	for _, der := range batch {
		list.Children = append(list.Children, wbxml.NewText(wbxml.ValidateCertCertificate, base64.StdEncoding.EncodeToString(der)))
	}
	root, err := c.do(cmdValidateCert, wbxml.New(wbxml.ValidateCert, list, wbxml.NewText(wbxml.ValidateCertCheckCRL, "1")))
	if err != nil {
		return nil, err
	}
	if s := number(root.TextAt(wbxml.ValidateCertStatus)); s != statusOK {
		return nil, c.fail(cmdValidateCert, &Error{Status: s, Temporary: s != protocolStatus, reason: fmt.Sprintf("the server does not check certificates (status %d)", s)})
	}
	var all []Validity
	for e := range root.All(wbxml.ValidateCertCertificate) {
		all = append(all, Validity(number(e.TextAt(wbxml.ValidateCertStatus))))
	}
	if len(all) != len(batch) {
		return nil, c.malformed(cmdValidateCert, fmt.Errorf("the server answers for %d of %d certificates", len(all), len(batch)))
	}
	return all, nil
}

// dropRevoked has the server check the certificates of outcomes and puts its word in the place of those that it says are
// revoked. What else it finds (an authority that it does not know, no way to a revocation list) is for this machine to
// judge.
func (c *call) dropRevoked(outcomes []Outcome) error {
	var ders [][]byte
	var values []*directory.Value
	for _, o := range outcomes {
		if o.Recipient == nil {
			continue
		}
		for _, all := range [][]directory.Value{o.Recipient.Values, o.Recipient.Disputed} {
			for i := range all {
				if v := &all[i]; v.Fault == "" {
					ders, values = append(ders, v.Data), append(values, v)
				}
			}
		}
	}
	said, err := c.validate(ders)
	if err != nil {
		return err
	}
	for i, validity := range said {
		switch validity {
		case Revoked:
			*values[i] = directory.Value{Property: directory.ActiveSyncCertificate, Fault: "the server says that this certificate is revoked"}
		case IssuerRevoked:
			*values[i] = directory.Value{Property: directory.ActiveSyncCertificate, Fault: "the server says that the issuer of this certificate is revoked"}
		}
	}
	return nil
}

package ews

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
)

// FuzzReadAnswer reads anything as an answer: no panic, and what comes out keeps its promises.
func FuzzReadAnswer(f *testing.F) {
	for _, b := range samples(f) {
		f.Add(b)
	}
	f.Add(message("Success", "NoError", one))
	f.Add(message("Error", codeInternal, `<m:MessageXml><t:Value Name="BackOffMilliseconds">-1</t:Value></m:MessageXml>`))
	f.Add(fault("ErrorServerBusy", "<detail/>"))
	f.Fuzz(func(t *testing.T, b []byte) {
		in := newInput(bytes.NewReader(b))
		if in.sniff(false) != nil {
			return
		}
		a, err := readAnswer(in)
		if slow, slowErr := bytewise(b); (err == nil) != (slowErr == nil) || !reflect.DeepEqual(a, slow) {
			t.Fatalf("read in pieces: %+v, %v; byte by byte: %+v, %v", a, err, slow, slowErr)
		}
		if err != nil {
			return
		}
		if a.code == "" || a.backOff < 0 || a.backOff > maxBackOff {
			t.Fatalf("code %q, back-off %s", a.code, a.backOff)
		}
		resp, err := a.resolveNames(&exchange{client: &Client{}})
		if err != nil {
			return
		}
		if resp.ResponseCode == CodeNoResults && len(resp.Resolutions) > 0 || len(resp.Resolutions) > maxResolutions {
			t.Fatalf("%s with %d entries", resp.ResponseCode, len(resp.Resolutions))
		}
		for i := range resp.Resolutions {
			if rec, ok := resp.Resolutions[i].record(); ok {
				checkRecord(t, rec)
			}
		}
	})
}

// bytewise reads an answer without passing over anything.
func bytewise(b []byte) (*answer, error) {
	in := newInput(bytes.NewReader(b))
	in.bytewise = true
	if err := in.sniff(false); err != nil {
		return nil, err
	}
	return readAnswer(in)
}

// TestSkippedText: text that nobody wants is passed over, and nothing else is.
func TestSkippedText(t *testing.T) {
	res := func(contact string) string {
		return "<t:Resolution><t:Mailbox><t:EmailAddress>a@corp.example</t:EmailAddress></t:Mailbox><t:Contact>" + contact + "</t:Contact></t:Resolution>"
	}
	long := strings.Repeat("QUJD\r\n", 2000)
	for name, contact := range map[string]string{
		"a photo":                     "<t:Photo>" + long + "</t:Photo><t:DisplayName>Ann</t:DisplayName>",
		"an empty one before a name":  "<t:DisplayName>A<t:Photo/>nn</t:DisplayName>",
		"a full one inside a name":    "<t:DisplayName>A<t:Photo>" + long + "</t:Photo>nn</t:DisplayName>",
		"attributes":                  "<t:Photo a='/'>" + long + "</t:Photo><t:Photo a='>'/><t:DisplayName>Ann</t:DisplayName>",
		"nested":                      "<t:X>" + long + "<t:Y>" + long + "<t:Z/>" + long + "</t:Y>" + long + "</t:X><t:DisplayName>Ann</t:DisplayName>",
		"other text behind it":        "<t:Photo>" + long + "&amp;&#1;\u00e4<!-- x -->" + long + "<![CDATA[<x>]]></t:Photo><t:DisplayName>Ann</t:DisplayName>",
		"between certificate values":  "<t:MSExchangeCertificate>QUJD<t:X>QUJD</t:X><t:Base64Binary>QU<t:X/>JD</t:Base64Binary></t:MSExchangeCertificate><t:DisplayName>Ann</t:DisplayName>",
		"a value with an empty child": "<t:MSExchangeCertificate><t:Base64Binary><t:X/>QUJD</t:Base64Binary></t:MSExchangeCertificate><t:DisplayName>Ann</t:DisplayName>",
	} {
		t.Run(name, func(t *testing.T) {
			body := message("Success", "NoError", `<m:ResolutionSet IncludesLastItemInRange="true">`+res(contact)+"</m:ResolutionSet>")
			a, err := readAnswer(newInput(bytes.NewReader(body)))
			slow, slowErr := bytewise(body)
			if err != nil || slowErr != nil || !reflect.DeepEqual(a, slow) {
				t.Fatalf("%+v, %v; byte by byte %+v, %v", a, err, slow, slowErr)
			}
			if c := a.set.resolutions[0].Contact; c.DisplayName != "Ann" || len(c.Values) > 0 && string(c.Values[0].Data) != "ABC" {
				t.Errorf("%+v", c)
			}
			for _, bad := range []string{strings.Replace(string(body), "QUJD", "QUJD]]>", 1), strings.Replace(string(body), "QUJD", "QU\x00JD", 1), strings.Replace(string(body), "</t:Photo>", "", 1)} {
				a, err := readAnswer(newInput(strings.NewReader(bad)))
				slow, slowErr := bytewise([]byte(bad))
				if (err == nil) != (slowErr == nil) || !reflect.DeepEqual(a, slow) {
					t.Errorf("damaged: %v, byte by byte %v", err, slowErr)
				}
			}
		})
	}
}

func checkRecord(t *testing.T, rec directory.Record) {
	if len(rec.Addresses) == 0 || rec.Addresses[0] != rec.Primary || len(rec.Values) > maxValues+1 {
		t.Fatalf("record %+v", rec)
	}
	for i, a := range rec.Addresses {
		if p, err := mailaddr.Parse(string(a)); err != nil || p != a || slices.Contains(rec.Addresses[:i], a) {
			t.Fatalf("address %q of %v", a, rec.Addresses)
		}
	}
	for _, v := range rec.Values {
		if (v.Data == nil) != (v.Fault != "") || len(v.Data) > maxValue {
			t.Fatalf("value of %d bytes, fault %q", len(v.Data), v.Fault)
		}
	}
}

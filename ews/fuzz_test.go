package ews

import (
	"bytes"
	"slices"
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

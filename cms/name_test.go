package cms

import (
	"encoding/asn1"
	"strings"
	"testing"
)

// attributeValue is one attribute of a name.
type attributeValue struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

// nameOf makes a name of one attribute for each value.
func nameOf(t *testing.T, values ...asn1.RawValue) []byte {
	t.Helper()
	var name [][]attributeValue
	for _, v := range values {
		name = append(name, []attributeValue{{asn1.ObjectIdentifier{2, 5, 4, 3}, v}})
	}
	type set []attributeValue
	var sets []asn1.RawValue
	for _, n := range name {
		der, err := asn1.MarshalWithParams(set(n), "set")
		if err != nil {
			t.Fatal(err)
		}
		sets = append(sets, asn1.RawValue{FullBytes: der})
	}
	der, err := asn1.Marshal(sets)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestSameName(t *testing.T) {
	value := func(tag int, s string) asn1.RawValue { return asn1.RawValue{Tag: tag, Bytes: []byte(s)} }
	corp := nameOf(t, value(19, "Corp CA"))
	for name, tt := range map[string]struct {
		other []byte
		want  bool
	}{
		"itself":           {corp, true},
		"UTF8String":       {nameOf(t, value(12, "Corp CA")), true},
		"BMPString":        {nameOf(t, value(30, "\x00C\x00o\x00r\x00p\x00 \x00C\x00A")), true},
		"case and spaces":  {nameOf(t, value(12, " corp  ca ")), true},
		"another":          {nameOf(t, value(12, "Corp CB")), false},
		"more":             {nameOf(t, value(12, "Corp CA"), value(12, "x")), false},
		"none":             {nameOf(t), false},
		"no string":        {nameOf(t, value(4, "Corp CA")), false},
		"cut short":        {corp[:len(corp)-1], false},
		"something behind": {append(append([]byte{}, corp...), 5, 0), false},
		"empty":            {nil, false},
	} {
		if got := sameName(corp, tt.other); got != tt.want || sameName(tt.other, corp) != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if long := nameOf(t, value(12, strings.Repeat("a", maxName))); sameName(long, long) {
		t.Error("a long name is compared")
	}
}

package service

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestNamesSteerNothing(t *testing.T) {
	for name, want := range map[string]string{
		"Bob\nsignature: valid":            "Bob\uFFFDsignature: valid",
		"a\r\n\t\b\f\x00\x1b[2J\x7f":       "a\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD[2J\uFFFD",
		"csi \u009b1m, lines \u2028\u2029": "csi \uFFFD1m, lines \uFFFD\uFFFD",
		"moc.live\u202e example.com":       "moc.live\uFFFD example.com",
		`a "quoted" \n back\slash <&> ü 名`: `a "quoted" \n back\slash <&> ü 名`,
		"\xff broken":                      "\uFFFD broken",
		"":                                 "",
	} {
		data, err := marshal(map[string]any{"name\n": name, "n": 1})
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(data, &got); err != nil {
			t.Fatalf("%q: %v: %s", name, err, data)
		}
		if got["name\uFFFD"] != want {
			t.Errorf("%q is shown as %q, not %q", name, got["name\uFFFD"], want)
		}
	}
}

func FuzzPlain(f *testing.F) {
	f.Add("a\\n\n\u2028\x1b")
	f.Add(`\\u000a`)
	f.Fuzz(func(t *testing.T, text string) {
		data, err := marshal([]string{text})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		if err := json.Unmarshal(data, &got); err != nil || len(got) != 1 {
			t.Fatalf("%q: %v: %s", text, err, data)
		}
		if strings.ContainsFunc(got[0], steers) {
			t.Fatalf("%q is shown as %q", text, got[0])
		}
		want := strings.Map(func(r rune) rune {
			if steers(r) {
				return '\uFFFD'
			}
			return r
		}, strings.ToValidUTF8(text, "\uFFFD"))
		if len(text) < 100 && strings.ToValidUTF8(text, "") == text && got[0] != want {
			t.Fatalf("%q is shown as %q, not %q", text, got[0], want)
		}
	})
}

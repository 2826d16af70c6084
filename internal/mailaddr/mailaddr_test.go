package mailaddr_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/galsyncd/galsyncd/internal/mailaddr"
)

func TestParse(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"bob@corp.example", "bob@corp.example"},
		{" Bob.Brown@CORP.Example ", "bob.brown@corp.example"},
		{"o'neil+x@corp.example", "o'neil+x@corp.example"},
		{"anna@bücher.example", "anna@xn--bcher-kva.example"},
		{"anna@XN--BCHER-KVA.example", "anna@xn--bcher-kva.example"},
		{"GRU\u0308N@corp.example", "gr\u00fcn@corp.example"},
		{"svc_x@under_score.local", "svc_x@under_score.local"},
		{"bob@localhost", "bob@localhost"},
		{"", ""}, {"bob", ""}, {"@corp.example", ""}, {"bob@", ""},
		{"a b@corp.example", ""}, {"a@b@corp.example", ""}, {`"a"@corp.example`, ""},
		{"a,b@corp.example", ""}, {"bob@corp.example\n", "bob@corp.example"}, {"bob\x00@corp.example", ""},
		{"bob@corp.example.", ""}, {"bob@.corp.example", ""}, {"bob@corp..example", ""}, {"bob@.", ""}, {"bob@corp.example\u3002", ""},
		{"bob@corp .example", ""}, {"bob@[1.2.3.4]", ""}, {"bob@\xff", ""},
		{strings.Repeat("a", 320) + "@x", ""},
	} {
		got, err := mailaddr.Parse(tc.in)
		if string(got) != tc.want || (err != nil) != (tc.want == "") {
			t.Errorf("Parse(%q) = %q, %v; want %q", tc.in, got, err, tc.want)
		}
		if err != nil && !errors.Is(err, mailaddr.ErrInvalid) {
			t.Errorf("Parse(%q): %v is not ErrInvalid", tc.in, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"bob@corp.example", "anna@bücher.example", "a@b@c", "\u0130@\u0130.example", "x@-.example"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := mailaddr.Parse(s)
		if err != nil {
			return
		}
		again, err := mailaddr.Parse(string(a))
		if err != nil || again != a {
			t.Fatalf("canonical form is not stable: %q -> %q -> %q, %v", s, a, again, err)
		}
	})
}

func TestFold(t *testing.T) {
	for in, want := range map[string]string{"Jürgen Weiß": "jurgen weiss", "Åse Øst": "ase ost", "Łukasz": "lukasz", "İpek": "ipek", "Иван": "иван"} {
		if got := mailaddr.Fold(in); got != want {
			t.Errorf("Fold(%q) = %q, want %q", in, got, want)
		}
	}
}

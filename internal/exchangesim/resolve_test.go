package exchangesim

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestResolveMatches(t *testing.T) {
	d := newDirectoryOf(t, 0, 1)
	for _, tt := range []struct {
		entry string
		want  []string
	}{
		{"smtp:" + Alice, []string{Alice}},
		{"SMTP:ALICE.ADAMS@corp", []string{Alice}},
		{"smtp:bob.brown@corp.example", []string{Bob, BobElsewhere}},
		{"=smtp:bob.brown@corp.example", []string{Bob}},
		{"=smtp:bob.brown", nil},
		{"smtp:mixed.case@corp.example", []string{MixedCase}},
		{"smtp:" + AliasUnlisted, []string{Alias}},
		{AliasUnlisted, nil},
		{AliasListed, nil},
		{Alias, []string{Alias}},
		{"smtp:adams", nil},
		{"adams", []string{Alice}},
		{"Ali", []string{Alice, Alias}}, // Alice, and the surname Alias
		{"=Alice", []string{Alice}},
		{"=Ali", nil},
		{"Alice Ad", []string{Alice}},
		{"Ad Alice", []string{Alice}},
		{"al ad", []string{Alice}},
		{"Alice Brown", nil},
		{"=Alice Adams", []string{Alice}},
		{"=Adams Alice", []string{Alice}},
		{"zofie cap", []string{NonASCII}},
		{"Žofie Čapková", []string{NonASCII}},
		{"ČAPKOVÁ", []string{NonASCII}},
		{"ring", []string{RingOne, RingTwo}},
		{"  Adams ", []string{Alice}},
		{"sip:alice", nil},
		{Nobody, nil},
		{"smtp:" + Nobody, nil},
		{`foo\bar`, nil},
	} {
		if got := primaries(d.resolve(tt.entry)); !slices.Equal(got, tt.want) {
			t.Errorf("%q found %q, want %q", tt.entry, got, tt.want)
		}
	}
}

// TestResolveIsPrefixMatch compares the index with a plain reading of the rules.
func TestResolveIsPrefixMatch(t *testing.T) {
	d := newDirectoryOf(t, 1500, 3)
	begins := func(texts []string, prefix string) bool {
		return slices.ContainsFunc(texts, func(s string) bool { return strings.HasPrefix(fold(s), prefix) })
	}
	for _, prefix := range []string{"a", "m", "ma", "mar", "o'", "van", "de ", "ö", "smtp:m", "smtp:hans", "smtp:j.", "smtp:jsm", "smtp:all-", "smtp:zz", "berlin", "smtp:o'"} {
		var want []string
		for _, e := range d.entries {
			if address, ok := strings.CutPrefix(prefix, "smtp:"); ok && begins(e.addresses(), address) || !ok && begins(e.searched(), fold(strings.TrimSpace(prefix))) {
				want = append(want, e.Primary)
			}
		}
		r := d.resolve(prefix)
		if r.truncated != (len(want) > 100) {
			t.Errorf("%q: %d entries match, truncated %t", prefix, len(want), r.truncated)
		}
		if got := primaries(r); !slices.Equal(got, want[:min(100, len(want))]) {
			t.Errorf("%q found %d entries, want the first of %d: %q", prefix, len(got), len(want), got)
		}
	}
}

func TestResolveNamesAnswers(t *testing.T) {
	s := start(t, Options{})
	for _, tt := range []struct {
		name, request, class, code string
		count                      int
	}{
		{"one", briefRequest(Alice), "Success", "NoError", 1},
		{"several", briefRequest("smtp:" + Bob), "Warning", "ErrorNameResolutionMultipleResults", 2},
		{"none", briefRequest(Nobody), "Error", "ErrorNameResolutionNoResults", 0},
		{"empty", briefRequest(""), "Error", "ErrorInvalidNameForNameResolution", 0},
		{"space", briefRequest(" "), "Error", "ErrorInvalidNameForNameResolution", 0},
		{"comma", briefRequest(","), "Error", "ErrorInvalidNameForNameResolution", 0},
		{"dash", briefRequest("-"), "Error", "ErrorInvalidNameForNameResolution", 0},
		{"prefix alone", briefRequest("smtp:"), "Error", "ErrorInvalidNameForNameResolution", 0},
		{"contacts", strings.Replace(briefRequest(Alice), `"ActiveDirectory"`, `"Contacts"`, 1), "Error", "ErrorNameResolutionNoResults", 0},
		{"default scope", strings.Replace(briefRequest(Alice), ` SearchScope="ActiveDirectory"`, ``, 1), "Success", "NoError", 1},
	} {
		r := resolve(t, s, tt.request).Resolve
		if r.Class != tt.class || r.Code != tt.code || len(r.Set.Resolutions) != tt.count {
			t.Errorf("%s: class %s, code %s, %d resolutions; want %s, %s, %d", tt.name, r.Class, r.Code, len(r.Set.Resolutions), tt.class, tt.code, tt.count)
		}
	}
}

// TestHundredCandidates: 100 fit, the 101st makes the answer incomplete.
func TestHundredCandidates(t *testing.T) {
	s := start(t, Options{})
	for i := range 101 {
		// Added in an order that is not the order of the addresses.
		if err := s.Directory().Add(Person{Primary: fmt.Sprintf("many%03d@corp.example", i*37%101), DisplayName: "Many"}); err != nil {
			t.Fatal(err)
		}
		if i < 98 {
			continue
		}
		r := resolve(t, s, briefRequest("smtp:many"))
		want := min(i+1, 100)
		if got := r.Resolve.Set; len(got.Resolutions) != want || got.Last != fmt.Sprint(i+1 <= 100) {
			t.Errorf("%d entries: %d resolutions, IncludesLastItemInRange %q", i+1, len(got.Resolutions), got.Last)
		}
		if slices.IsSorted(r.addresses()) {
			t.Error("the answer is sorted by address")
		}
	}
}

func TestCertificatesComeWithAllPropertiesOnly(t *testing.T) {
	s := start(t, Options{})
	request := func(full, shape string) string {
		return fmt.Sprintf(requestForm, "Exchange2010_SP2", `<m:ResolveNames ReturnFullContactData="`+full+`" `+shape+`><m:UnresolvedEntry>smtp:`+Alice+`</m:UnresolvedEntry></m:ResolveNames>`)
	}
	contact := func(full, shape string) *replyResolution {
		r := resolve(t, s, request(full, shape))
		if len(r.Resolve.Set.Resolutions) != 1 {
			t.Fatalf("%+v", r)
		}
		return &r.Resolve.Set.Resolutions[0]
	}
	all := contact("true", `ContactDataShape="AllProperties"`).Contact
	photo, err := base64.StdEncoding.DecodeString(all.Photo)
	if err != nil || len(photo) != photoSize || len(all.SMIME) != 1 || len(all.Exchange) != 1 || all.DirectoryId == "" {
		t.Errorf("AllProperties: photo of %d bytes, %d and %d certificates, id %q", len(photo), len(all.SMIME), len(all.Exchange), all.DirectoryId)
	}
	for _, shape := range []string{"", `ContactDataShape="Default"`} {
		if c := contact("true", shape).Contact; c == nil || c.Photo != "" || c.SMIME != nil || c.Exchange != nil || len(c.Entries) != 1 {
			t.Errorf("shape %q: %+v", shape, c)
		}
	}
	for _, x := range [][2]string{{"false", ""}, {"false", `ContactDataShape="AllProperties"`}, {"true", `ContactDataShape="IdOnly"`}} {
		if c := contact(x[0], x[1]).Contact; c != nil {
			t.Errorf("%v: %+v", x, c)
		}
	}
	if got := s.Requests(); got.Full != 1 || got.ResolveNames != 6 {
		t.Errorf("counters %+v", got)
	}
}

func TestListedAddresses(t *testing.T) {
	s := start(t, Options{})
	for address, want := range map[string][]string{
		Alias:     {"SMTP:" + Alias, "smtp:" + AliasListed, "smtp:aalias@corp.example"},
		MixedCase: {"SMTP:" + MixedCase},
	} {
		r := resolve(t, s, resolveRequest("smtp:"+address))
		if got := r.Resolve.Set.Resolutions[0].Contact.Entries; !slices.Equal(got, want) {
			t.Errorf("%s lists %q, want %q", address, got, want)
		}
	}
	r := resolve(t, s, resolveRequest("smtp:"+AliasUnlisted))
	if !slices.Equal(r.addresses(), []string{Alias}) || slices.Contains(r.Resolve.Set.Resolutions[0].Contact.Entries, "smtp:"+AliasUnlisted) {
		t.Errorf("%+v", r)
	}
	if r := resolve(t, s, resolveRequest("smtp:"+WithoutDetail)); len(r.addresses()) != 1 || r.Resolve.Set.Resolutions[0].Contact != nil {
		t.Errorf("%+v", r)
	}
	if r := resolve(t, s, resolveRequest("smtp:"+Partner)); r.Resolve.Set.Resolutions[0].Mailbox.MailboxType != "Contact" {
		t.Errorf("%+v", r)
	}
}

func TestExpandDL(t *testing.T) {
	s := start(t, Options{})
	if err := s.Directory().Add(Person{Primary: "second.team@corp.example", DisplayName: "Team", Kind: PublicDL}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		group, class, code string
		members            []string
	}{
		{Everyone, "Success", "NoError", []string{Team, Carol, Partner}}, // not recursive
		{"Ring One", "Success", "NoError", []string{RingTwo, Alice}},
		{"smtp:" + Team, "Success", "NoError", []string{Alice, Bob}},
		{EmptyGroup, "Success", "NoError", nil},
		{Alice, "Error", "ErrorNameResolutionNoResults", nil},
		{"no.such.group@corp.example", "Error", "ErrorNameResolutionNoResults", nil},
		{"Team", "Error", "ErrorNameResolutionMultipleResults", nil},
	} {
		r := resolve(t, s, expandRequest(tt.group)).ExpandDL
		var members []string
		for _, m := range r.Members {
			members = append(members, m.EmailAddress)
		}
		if r.Class != tt.class || r.Code != tt.code || !slices.Equal(members, tt.members) {
			t.Errorf("%s: %s %s %q, want %s %s %q", tt.group, r.Class, r.Code, members, tt.class, tt.code, tt.members)
		}
	}
}

package smime

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/galsyncd/galsyncd/cms"
	"github.com/galsyncd/galsyncd/internal/testca"
)

// What a signer announces counts only when all of the mail is right, and only for the signer.
func TestAnnouncement(t *testing.T) {
	leaf := func(address string) *x509.Certificate {
		l, err := crowdAuthority().Leaf(testca.Options{Addresses: []string{address}, KeyUsage: x509.KeyUsageKeyEncipherment})
		if err != nil {
			t.Fatal(err)
		}
		return l.Certificate
	}
	now := time.Now().Truncate(time.Second)
	own, foreign := leaf("alice@corp.example"), leaf("mallory@corp.example")
	const head, body = "From: alice@corp.example\nTo: bob@corp.example\n", "\nhello\n"
	for _, tc := range []struct {
		name      string
		mail      string
		time      time.Time
		preferred *x509.Certificate
		want      *x509.Certificate
	}{
		{"signer", head + body, now, nil, crowd()[alice].Certificate},
		{"preferred", head + body, now, own, own},
		{"somebody else's preferred", head + body, now, foreign, crowd()[alice].Certificate},
		{"without time", head + body, time.Time{}, nil, nil},
		{"from the future", head + body, now.Add(time.Hour), nil, nil},
		{"other address", strings.Replace(head, "alice", "bob", 1) + body, now, nil, nil},
	} {
		s := signer(crowd()[alice])
		s.Encryption = tc.preferred
		for _, opaque := range []bool{false, true} {
			v := verifyString(t, signString(t, tc.mail, SignOptions{Signer: s, Time: tc.time, Opaque: opaque}), crowdOptions())
			got := v.Announcement()
			if got == nil || tc.want == nil {
				if got != nil || tc.want != nil {
					t.Errorf("%s: %+v", tc.name, got)
				}
				continue
			}
			if !got.Certificate.Equal(tc.want) || !got.Signed.Equal(tc.time) || got.Address != alice || got.Capabilities.Ciphers()[0] != cms.AES256GCM {
				t.Errorf("%s: %+v", tc.name, got)
			}
		}
	}
	changed := strings.Replace(signString(t, head+body, SignOptions{Time: now}), "hello", "hallo", 1)
	if a := verifyString(t, changed, crowdOptions()).Announcement(); a != nil {
		t.Errorf("changed: %+v", a)
	}
}

package recipients

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/galsyncd/galsyncd/directory"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/trust"
)

// Bounds of the expansion of groups in one question.
const (
	maxGroupDepth   = 10
	maxGroupMembers = 5000
)

// group answers for a distribution group: it is encryptable when every member is, and when it is known that these are all
// of them. A group within itself adds nobody.
func (q *question) group(ctx context.Context, s directory.Sighting, inside []mailaddr.Address) (Answer, error) {
	a := Answer{Name: s.Entry.DisplayName, Seen: s.Seen, State: trust.GroupIncomplete}
	if obstacle := q.membership(s); obstacle != "" {
		a.Reasons = []string{obstacle}
		a.Hints = []string{"address the members one by one"}
		if s.Members != nil && !s.Members.Unknown && !s.Members.Truncated && len(s.Members.Members) == 0 {
			a.Hints = []string{"nobody would get the mail: ask whoever looks after the group"}
		}
		return a, nil
	}
	if len(inside) >= maxGroupDepth {
		a.Reasons = []string{fmt.Sprintf("a group nested more than %d groups deep", maxGroupDepth)}
		return a, nil
	}
	inside = append(slices.Clone(inside), s.Entry.Primary)
	for _, m := range s.Members.Members {
		if m.Address == "" {
			a.Reasons = []string{fmt.Sprintf("a group with the member %q, who has no mail address", m.Name)}
			return a, nil
		}
		if slices.Contains(inside, m.Address) {
			continue
		}
		if q.members++; q.members > maxGroupMembers {
			a.Reasons, a.Members = []string{fmt.Sprintf("the groups of this mail have more than %d members", maxGroupMembers)}, nil
			return a, nil
		}
		member, err := q.about(ctx, m.Address, inside)
		if err != nil {
			return Answer{}, err
		}
		a.Members = append(a.Members, member)
	}
	q.concludeGroup(&a, s, len(inside) > 1)
	return a, nil
}

// membership says why the members of a group are not known for sure; empty when they are.
func (q *question) membership(s directory.Sighting) string {
	m := s.Members
	switch {
	case m == nil:
		return "a distribution group whose members are not known, so not everybody in it could read the mail"
	case m.Unknown:
		return "a distribution group whose members the server does not show"
	case m.Truncated:
		return "a distribution group of which the server lists only a part of the members"
	case len(m.Members) == 0:
		return "a distribution group without members"
	case q.now.Sub(m.Fetched) < -24*time.Hour:
		return "a distribution group whose members were asked for at a time that has not come yet: a clock was wrong"
	case q.book.RefuseAfter > 0 && q.now.Sub(m.Fetched) > q.book.RefuseAfter:
		return fmt.Sprintf("a distribution group whose members were last asked for %s ago", age(q.now.Sub(m.Fetched)))
	}
	return ""
}

// concludeGroup makes the state of a group from those of its members.
func (q *question) concludeGroup(a *Answer, s directory.Sighting, nested bool) {
	for _, m := range a.Members {
		if m.State == trust.Encryptable {
			continue
		}
		if len(a.Reasons) == 0 {
			a.State = m.State
		}
		if len(a.Reasons) < maxReasons {
			a.Reasons = append(a.Reasons, fmt.Sprintf("the member %s is %s: %s", m.Address, m.State, first(m.Reasons)))
		}
	}
	if len(a.Reasons) > 0 {
		return
	}
	if len(a.Certificates()) == 0 && !nested {
		a.Reasons = []string{"a distribution group that holds nothing but groups without people"}
		return
	}
	a.State, a.Source = trust.Encryptable, GAL
	a.Reasons = []string{fmt.Sprintf("all %d members of the group can read it", len(a.Members))}
	if old := q.now.Sub(s.Members.Fetched); q.book.WarnAfter > 0 && old > q.book.WarnAfter {
		a.Warnings = []string{fmt.Sprintf("the members were last asked for %s ago (%s)", age(old), s.Members.Fetched.Format(time.DateOnly))}
	}
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

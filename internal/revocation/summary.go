package revocation

import (
	"slices"
	"time"
)

// maxTroubles bounds the failures of a summary.
const maxTroubles = 20

// Summary is how the revocation data is.
type Summary struct {
	// Lists and Answers count the CRLs and the OCSP answers that are asked for, Current those among them that hold now.
	Lists, CurrentLists, Answers, CurrentAnswers int
	// Revoked counts the entries of all CRLs that are kept.
	Revoked int
	// Oldest is when the oldest data that holds was made; NextEnd when the first of it ends. Zero when there is none.
	Oldest, NextEnd time.Time
	// Failing counts what could not be fetched when it was last tried; Troubles are the first of these.
	Failing  int
	Troubles []Trouble
	// Dropped counts the CRLs and OCSP answers that there was no room for.
	Dropped int
}

// Trouble is something that could not be fetched.
type Trouble struct {
	URL, Issuer, Error, Hint string
	Tried                    time.Time
	// Holds reports that older data still holds.
	Holds bool
}

// Summary tells how the stored data is.
func (s *Service) Summary() (Summary, error) {
	now := s.now()
	var sum Summary
	stored := map[key]bool{}
	err := s.Store.ViewRevocations(func(tx Tx) error {
		err := tx.Each([]byte{keyList}, func(k, v []byte) error {
			r, err := decode[listRecord](v)
			if err != nil {
				return err
			}
			if len(k) == 1+len(key{}) {
				stored[key(k[1:])] = true
			}
			sum.Lists++
			current := false
			if r.List != nil {
				sum.Revoked += r.List.Entries
				current = sum.count(r.List.This, r.List.Next, now)
			}
			sum.CurrentLists += number(current)
			sum.trouble(r.attempts, r.URL, r.Issuer, current)
			return nil
		})
		if err != nil {
			return err
		}
		return tx.Each([]byte{keyAnswer}, func(k, v []byte) error {
			r, err := decode[answerRecord](v)
			if err != nil {
				return err
			}
			if len(k) == 1+len(key{}) {
				stored[key(k[1:])] = true
			}
			sum.Answers++
			current := r.Status != "" && sum.count(r.This, r.Next, now)
			sum.CurrentAnswers += number(current)
			sum.trouble(r.attempts, r.URL, r.Issuer, current)
			return nil
		})
	})
	s.addWanted(&sum, stored)
	slices.SortStableFunc(sum.Troubles, func(a, b Trouble) int { return number(a.Holds) - number(b.Holds) })
	return sum, err
}

// addWanted counts what was not tried yet.
func (s *Service) addWanted(sum *Summary, stored map[key]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, t := range s.targets {
		switch {
		case stored[id]:
		case t.responders != nil:
			sum.Answers++
		default:
			sum.Lists++
		}
	}
	sum.Dropped = len(s.dropped)
}

// count takes up data, and reports whether it holds.
func (sum *Summary) count(this, next, now time.Time) bool {
	if !holds(this, next, now) {
		return false
	}
	if sum.Oldest.IsZero() || this.Before(sum.Oldest) {
		sum.Oldest = this
	}
	if sum.NextEnd.IsZero() || next.Before(sum.NextEnd) {
		sum.NextEnd = next
	}
	return true
}

func (sum *Summary) trouble(a attempts, url, issuer string, holds bool) {
	if a.Failures == 0 {
		return
	}
	sum.Failing++
	if len(sum.Troubles) < maxTroubles {
		sum.Troubles = append(sum.Troubles, Trouble{URL: url, Issuer: issuer, Error: a.Failure, Hint: a.Hint, Tried: a.Tried, Holds: holds})
	}
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

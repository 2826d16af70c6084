package service

import (
	"context"
	"errors"
	"net/http"
	"slices"
)

// Online asks the server about addresses that the local copy does not know.
type Online interface {
	// Ask asks about those of the addresses that are worth it, at most so many of them, within a time of its own, and
	// returns how many these were. Unasked are those, in canonical form, that were worth it and would have been too many.
	// What it learns shows in the next look-up; what it does not learn changes nothing. The error says that the server
	// could not be asked; a *Problem is for the caller, when it was his wish.
	Ask(ctx context.Context, addresses []string, most int) (asked int, unasked []string, err error)
}

// maxOnlinePerHour is how many addresses one ordinary user may have asked for online in an hour.
const maxOnlinePerHour = 60

// asking is what became of asking the server.
type asking struct {
	unanswered bool     // it could not be asked
	unasked    []string // addresses, in canonical form, that there were too many for
	why        string   // it was not even asked; empty when that is not known
}

// warning is for an address about which nothing is known; empty when there is nothing to say.
func (a asking) warning(address string) string {
	switch {
	case slices.Contains(a.unasked, address):
		return "Exchange was not asked about it: one look-up, and one user within an hour, can ask about so many addresses only; ask again later"
	case a.why != "":
		return "Exchange was not asked about it: " + a.why
	case a.unanswered:
		return "Exchange gives no usable answer about it now"
	}
	return ""
}

// askOnline has the server asked about what is not known, when the caller wishes so or the configuration says so for
// everybody.
func (s *Server) askOnline(r *http.Request, wished bool, addresses []string) (asking, error) {
	if !wished && !s.OnlineOnMiss {
		return asking{}, nil
	}
	if s.Online == nil {
		if wished {
			return asking{}, NewProblem(CodeNotAvailable, "this daemon cannot ask Exchange", "leave out --online; set exchange.url to make it possible")
		}
		return asking{}, nil
	}
	peer, _ := r.Context().Value(peerKey{}).(Peer)
	b := &s.start().online
	free := int64(peer.UID) == int64(s.uid()) || s.isAdmin(r.Context(), peer.UID)
	if free {
		_, unasked, failure := s.Online.Ask(r.Context(), addresses, len(addresses))
		p, refused := errors.AsType[*Problem](failure)
		switch {
		case refused && wished:
			return asking{}, p
		case refused:
			return asking{unanswered: true, unasked: unasked, why: p.Detail}, nil
		}
		return asking{unanswered: failure != nil, unasked: unasked}, nil
	}
	reserved := b.reserve(peer.UID, len(addresses))
	if reserved == 0 && wished {
		return asking{}, NewProblem(CodeBusy, "too many online look-ups of this user within an hour", "look-ups without --online go on")
	}
	asked, unasked, failure := s.Online.Ask(r.Context(), addresses, reserved)
	b.spend(peer.UID, asked-reserved)
	return asking{unanswered: failure != nil, unasked: unasked}, nil
}

package service

import (
	"context"
	"errors"
	"net/http"
)

// Online asks the server about addresses that the local copy does not know.
type Online interface {
	// Ask asks about those of the addresses that are worth it, within a time of its own, and returns how many these were.
	// What it learns shows in the next look-up; what it does not learn changes nothing. The error says that the server
	// could not be asked; a *Problem is for the caller, when it was his wish.
	Ask(ctx context.Context, addresses []string) (asked int, err error)
}

// maxOnlinePerHour is how many addresses one ordinary user may have asked for online in an hour.
const maxOnlinePerHour = 60

// askOnline has the server asked about what is not known, when the caller wishes so or the configuration says so for
// everybody. It reports that the server could not be asked.
func (s *Server) askOnline(r *http.Request, wished bool, addresses []string) (unanswered bool, err error) {
	if !wished && !s.OnlineOnMiss {
		return false, nil
	}
	if s.Online == nil {
		if wished {
			return false, NewProblem(CodeNotAvailable, "this daemon cannot ask Exchange", "leave out --online; set exchange.url to make it possible")
		}
		return false, nil
	}
	peer, _ := r.Context().Value(peerKey{}).(Peer)
	b := &s.start().online
	free := int64(peer.UID) == int64(s.uid()) || s.isAdmin(r.Context(), peer.UID)
	if free {
		_, failure := s.Online.Ask(r.Context(), addresses)
		if p, ok := errors.AsType[*Problem](failure); ok && wished {
			return false, p
		}
		return failure != nil, nil
	}
	reserved := b.reserve(peer.UID, len(addresses))
	if reserved == 0 && wished {
		return false, NewProblem(CodeBusy, "too many online look-ups of this user within an hour", "look-ups without --online go on")
	}
	asked, failure := s.Online.Ask(r.Context(), addresses[:reserved])
	b.spend(peer.UID, asked-reserved)
	return failure != nil, nil
}

package service

import (
	"context"
	"net/http"
)

// Online asks the server about addresses that the local copy does not know.
type Online interface {
	// Ask asks about those of the addresses that are worth it, within a time of its own, and returns how many these were.
	// What it learns shows in the next look-up; what it does not learn changes nothing.
	Ask(ctx context.Context, addresses []string) (asked int)
}

// maxOnlinePerHour is how many addresses one ordinary user may have asked for online in an hour.
const maxOnlinePerHour = 60

// askOnline has the server asked about what is not known, when the caller wishes so or the configuration says so for
// everybody.
func (s *Server) askOnline(r *http.Request, wished bool, addresses []string) error {
	if !wished && !s.OnlineOnMiss {
		return nil
	}
	if s.Online == nil {
		if wished {
			return NewProblem(CodeNotAvailable, "this daemon cannot ask Exchange", "leave out --online; set exchange.url to make it possible")
		}
		return nil
	}
	peer, _ := r.Context().Value(peerKey{}).(Peer)
	b := &s.start().online
	free := int64(peer.UID) == int64(s.uid()) || s.isAdmin(r.Context(), peer.UID)
	if free {
		s.Online.Ask(r.Context(), addresses)
		return nil
	}
	reserved := b.reserve(peer.UID, len(addresses))
	if reserved == 0 && wished {
		return NewProblem(CodeBusy, "too many online look-ups of this user within an hour", "look-ups without --online go on")
	}
	asked := s.Online.Ask(r.Context(), addresses[:reserved])
	b.spend(peer.UID, asked-reserved)
	return nil
}

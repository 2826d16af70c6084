package daemon

import (
	"context"
	"errors"

	"github.com/galsyncd/galsyncd/client"
	"github.com/galsyncd/galsyncd/internal/service"
)

// UpstreamOnline has the system's daemon ask Exchange, within what it allows this user. It implements service.Online.
type UpstreamOnline struct{ Client *client.Client }

// errSilent: the system's daemon had no answer of Exchange.
var errSilent = errors.New("the system's galsyncd had no answer of Exchange")

// Ask implements service.Online.
func (u UpstreamOnline) Ask(ctx context.Context, addresses []string) (asked int, err error) {
	found, err := u.Client.Recipients(ctx, addresses, client.LookupOptions{Online: true})
	if refusal, ok := errors.AsType[*client.Error](err); ok { // too many questions, or it has no Exchange to ask
		return 0, service.NewProblem(service.Code(refusal.Code), "ask the system's galsyncd: "+refusal.Error(), refusal.Hint)
	}
	if err == nil && found.Unanswered {
		err = errSilent
	}
	return len(addresses), err
}

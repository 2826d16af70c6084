package daemon

import (
	"context"
	"errors"

	"github.com/galsyncd/galsyncd/client"
	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/internal/service"
)

// UpstreamOnline has the system's daemon ask Exchange, within what it allows this user. It implements service.Online.
type UpstreamOnline struct{ Client *client.Client }

// errSilent: the system's daemon had no answer of Exchange.
var errSilent = errors.New("the system's galsyncd had no answer of Exchange")

// Ask implements service.Online.
func (u UpstreamOnline) Ask(ctx context.Context, addresses []string, most int) (asked int, unasked []string, err error) {
	most = min(most, len(addresses))
	for _, text := range addresses[most:] {
		if a, err := mailaddr.Parse(text); err == nil {
			unasked = append(unasked, string(a))
		}
	}
	if most == 0 {
		return 0, unasked, nil
	}
	found, err := u.Client.Recipients(ctx, addresses[:most], client.LookupOptions{Online: true})
	if refusal, ok := errors.AsType[*client.Error](err); ok { // too many questions, or it has no Exchange to ask
		return 0, unasked, service.NewProblem(service.Code(refusal.Code), "ask the system's galsyncd: "+refusal.Error(), refusal.Hint)
	}
	if err != nil {
		return most, unasked, err
	}
	if found.Unanswered {
		err = errSilent
	}
	return most, append(unasked, found.Unasked...), err
}

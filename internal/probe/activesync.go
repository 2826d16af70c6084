package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// activeSync asks which versions and commands of ActiveSync there are (MS-ASHTTP section 2.2.3). More is not asked: every
// other command makes this program a device of the account.
func (r *run) activeSync(ctx context.Context) error {
	if err := r.wait(ctx); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(limited, http.MethodOptions, r.URL, nil)
	if err != nil {
		return &errStop{"the URL cannot be asked"}
	}
	req.Header.Set("User-Agent", r.UserAgent)
	began := time.Now()
	resp, err := r.ActiveSync.Do(req)
	var before interface{ Unauthorized() bool }
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &before) && before.Unauthorized():
		return &errStop{refusedReason}
	case err != nil:
		return &errStop{"no usable answer: " + trouble(err)}
	}
	defer resp.Body.Close()
	n, _ := io.CopyN(io.Discard, resp.Body, 64<<10)
	r.noteHeader(resp.Header)
	r.report.Answers = append(r.report.Answers, Answer{Question: "OPTIONS", Outcome: fmt.Sprintf("http status %d", resp.StatusCode), Bytes: n, Millis: time.Since(began).Milliseconds()})
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized:
		return &errStop{refusedReason}
	default:
		return &errStop{fmt.Sprintf("no usable answer: http status %d", resp.StatusCode)}
	}
	r.behaves("versions of ActiveSync", listed(resp.Header, "MS-ASProtocolVersions", func(s string) bool { return protocolVersion.MatchString(s) }))
	r.behaves("commands of ActiveSync", listed(resp.Header, "MS-ASProtocolCommands", func(s string) bool { return slices.Contains(commands, s) }))
	for _, what := range []string{"what an entry has", "how addresses are searched", "groups", "personal contacts"} {
		r.notAsked(what, "ActiveSync would take the question for that of a new device")
	}
	return nil
}

var (
	protocolVersion = regexp.MustCompile(`^[0-9]{1,2}\.[0-9]$`)
	commands        = []string{"Sync", "SendMail", "SmartForward", "SmartReply", "GetAttachment", "GetHierarchy", "CreateCollection", "DeleteCollection",
		"MoveCollection", "FolderSync", "FolderCreate", "FolderDelete", "FolderUpdate", "MoveItems", "GetItemEstimate", "MeetingResponse", "Search", "Settings",
		"Ping", "ItemOperations", "Provision", "ResolveRecipients", "ValidateCert", "Find"}
)

// listed are the words of a list in a header field that are expected there, and how many others there are.
func listed(h http.Header, field string, expected func(string) bool) string {
	var words []string
	others := 0
	for _, line := range h.Values(field) {
		for word := range strings.SplitSeq(line, ",") {
			switch word = strings.TrimSpace(word); {
			case word == "" || slices.Contains(words, word):
			case expected(word) && len(words) < 40:
				words = append(words, word)
			default:
				others++
			}
		}
	}
	if others > 0 {
		words = append(words, fmt.Sprintf("%d others", others))
	}
	if len(words) == 0 {
		return "not told"
	}
	return strings.Join(words, " ")
}

package main

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/galsyncd/galsyncd/client"
)

// failure is the document of --json of a command that has nothing else to show.
type failure struct {
	Error failureDetails `json:"error"`
}

type failureDetails struct {
	// Status is the exit status; Code is stable: that of the daemon's refusal, else one for the status.
	Status int    `json:"status"`
	Code   string `json:"code"`
	// Message has a line for each thing that is wrong, without "error: ".
	Message string   `json:"message"`
	Hints   []string `json:"hints"`
	// Recipients stand in the way of a mail.
	Recipients []client.Obstacle `json:"recipients,omitempty"`
}

// statusCodes are the codes of what no daemon has refused.
var statusCodes = map[int]string{
	exitNotFound: client.CodeNotFound, exitUsage: "usage", exitData: "bad-input", exitRecipient: client.CodeRecipientsUnusable,
	exitNoService: client.CodeNotAvailable, exitSoftware: client.CodeInternal, exitTryAgain: "try-again",
	exitLocked: client.CodeKeyringLocked, exitNotAllowed: client.CodeNotAllowed, exitConfig: "configuration",
}

// note keeps an error that was told to people for the document of --json. The first one gives the code.
func (a *app) note(e *exitError) {
	d := &a.failure
	if d.Message == "" {
		refusal, refused := errors.AsType[*client.Error](e.err)
		if refused {
			d.Code, d.Recipients = refusal.Code, refusal.Recipients
		}
	} else {
		d.Message += "\n"
	}
	d.Message += strings.TrimSpace(e.err.Error())
	for line := range strings.Lines(e.hint) {
		d.Hints = append(d.Hints, strings.TrimSpace(line))
	}
}

// conclude prints what was noted as the one document of --json, unless there was another one, or standard output is for a
// mail or a file, to which no document is written.
func (a *app) conclude(cmd *cobra.Command, args []string, status int) {
	if status == 0 && !a.printed && a.json && showedNothing(cmd) {
		_ = a.print(struct {
			OK bool `json:"ok"`
		}{true}, nil)
		return
	}
	if status == 0 || a.failure.Message == "" || a.printed || !a.json && !wantsJSON(args) || forContent(cmd) {
		return
	}
	d := a.failure
	if d.Status = status; d.Code == "" {
		d.Code = statusCodes[status]
	}
	if d.Hints == nil {
		d.Hints = []string{}
	}
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	_ = e.Encode(failure{d}) // the exit status and standard error say it as well
}

// wantsJSON looks for --json itself, because a command line that is wrong is not read to its end.
func wantsJSON(args []string) bool {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	return slices.Contains(args, "--json") || slices.Contains(args, "--json=true")
}

// Where a command writes a mail or a file: the annotation "content" is the place of its argument OUT, from 0; with "content
// wanted" only an OUT that is given counts, and without it one that is missing is standard output.
const (
	contentAt     = "content"
	contentWanted = "content wanted"
)

// silent annotates a command that shows nothing when all goes well.
const silent = "silent"

// showedNothing reports whether a command that went well has shown nothing on standard output, which is free for a document.
func showedNothing(cmd *cobra.Command) bool {
	_, nothing := cmd.Annotations[silent]
	_, writes := cmd.Annotations[contentAt]
	return (nothing || writes && !forContent(cmd)) && !cmd.Flags().Changed("help")
}

// forContent reports whether standard output of a command is for a mail or a file.
func forContent(cmd *cobra.Command) bool {
	at, writes := cmd.Annotations[contentAt]
	if !writes {
		return false
	}
	given := cmd.Flags().Args()
	if i := int(at[0] - '0'); i < len(given) {
		return given[i] == "-"
	}
	return cmd.Annotations[contentWanted] == ""
}

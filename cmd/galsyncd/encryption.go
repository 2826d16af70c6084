package main

import (
	"io"
	"strings"

	"github.com/galsyncd/galsyncd/client"
)

// encryption says what encrypt has written, and why so.
type encryption struct {
	Messages []encryptedMessage `json:"messages"`
	// Recipients is the look-up that chose the certificates; only with --explain.
	Recipients []client.Answer `json:"recipients,omitempty"`

	explained *client.Result
}

// encryptedMessage is one message, in one file or in one for each of its recipients.
type encryptedMessage struct {
	Files      []string `json:"files"`
	Recipients []string `json:"recipients"`
	Blind      bool     `json:"blind"`
	*client.Choice
}

// reportEncryption prints what was written: as a document where standard output is free, else as talk.
func (a *app) reportEncryption(m *mailWork, made *encryption) error {
	if a.json && m.name != "" {
		return a.print(made, nil)
	}
	if made.explained != nil {
		printResult(a.talk(), made.explained)
	}
	for _, message := range made.Messages {
		printMessage(a.talk(), message, made.explained != nil)
	}
	return nil
}

// printMessage prints the warnings about a message and, when that is wished, why it is as it is.
func printMessage(w io.Writer, m encryptedMessage, explain bool) {
	if m.Choice == nil {
		return
	}
	if explain {
		printf(w, "message for %s: %s with %s\n", strings.Join(m.Recipients, ", "), m.Cipher, strings.Join(m.KeyManagement, " and "))
		lines(w, "  ", m.Reasons)
	}
	lines(w, "warning: ", m.Warnings)
}

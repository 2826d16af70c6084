package smime

import (
	"fmt"
	"io"
	"mime"
	"net/mail"
	"strings"

	"github.com/galsyncd/galsyncd/internal/mailaddr"
	"github.com/galsyncd/galsyncd/trust"
)

// parser reads address lists with display names and groups (RFC 5322 section 3.4). Display names are of no interest, so
// their character sets are not converted.
var parser = mail.AddressParser{WordDecoder: &mime.WordDecoder{
	CharsetReader: func(_ string, r io.Reader) (io.Reader, error) { return r, nil },
}}

// read appends the addresses of the named fields to list, each once. A list that cannot be read is an error: whom to
// encrypt to must not be guessed.
func (w *receivers) read(h header, list *[]mailaddr.Address, names ...string) error {
	for _, name := range names {
		for _, value := range h.values(name) {
			if value == "" {
				continue
			}
			// Old mail programs write display names in their own character set.
			addresses, err := parser.ParseList(strings.ToValidUTF8(value, "\uFFFD"))
			if err != nil {
				return fmt.Errorf("%w: read the addresses of %s: %w", ErrHeader, name, err)
			}
			for _, a := range addresses {
				w.take(list, a.Address)
			}
		}
	}
	return nil
}

func (w *receivers) take(list *[]mailaddr.Address, text string) {
	a, err := mailaddr.Parse(text)
	if err == nil {
		*list = appendNew(*list, a)
	} else if len(w.invalid) <= MaxRecipients {
		w.invalid = append(w.invalid, Refusal{Address: text, State: trust.Unknown, Reasons: []string{err.Error()}, Hints: []string{"correct the address"}})
	}
}

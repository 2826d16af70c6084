package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/mail"
	"strings"

	"github.com/galsyncd/galsyncd/internal/certfile"
)

// importable looks at a file before anybody is asked for a passphrase. It refuses what can hold no identity, and reports
// whether the file has a passphrase of its own.
func importable(path string, file []byte) (sealed bool, err error) {
	refuse := func(what, hint string) error {
		return &exitError{status: exitData, err: fmt.Errorf("import the identity: %s %s", path, what), hint: hint}
	}
	const formats = "a key comes as PFX (.p12, .pfx), or as PEM with its certificate"
	switch {
	case len(file) == 0:
		return false, refuse("is empty", formats)
	case bytes.Contains(file, []byte("-----BEGIN ")):
		if err := checkPEM(file); err != nil {
			return false, refuse(err.Error(), "put both into one file: cat key.pem certificate.pem >both.pem")
		}
		return bytes.Contains(file, []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----")), nil
	case firstNumber(file) == 3:
		return true, nil
	case firstNumber(file) >= 0:
		return false, refuse(keyAlone, formats)
	case certfile.Detect(file[:min(len(file), 512)]) != certfile.None:
		return false, nil
	case isMail(file):
		return false, refuse("is a mail, which holds no private key", "galsyncd cert install takes the certificate of its sender")
	}
	return false, refuse("is neither PFX nor PEM", formats)
}

const keyAlone = "holds a private key without its certificate"

func isMail(file []byte) bool {
	m, err := mail.ReadMessage(bytes.NewReader(file))
	return err == nil && len(m.Header) > 0
}

// checkPEM refuses a private key without a certificate beside it.
func checkPEM(file []byte) error {
	text := string(file)
	if strings.Contains(text, "PRIVATE KEY-----") && !strings.Contains(text, "CERTIFICATE-----") {
		return errors.New(keyAlone)
	}
	return nil
}

// firstNumber tells a file that has a passphrase from certificates: after the outer SEQUENCE a PFX has the INTEGER 3 (RFC 7292
// section 4), a private key in the clear 0 or 1 (RFC 5958, 8017 and 5915); PKCS #7 has an object identifier there and a
// certificate another SEQUENCE, for which it is -1.
func firstNumber(file []byte) int {
	if len(file) < 16 || file[0] != 0x30 {
		return -1
	}
	length := 2
	if file[1] > 0x80 && file[1] < 0x85 {
		length += int(file[1] & 0x7f)
	}
	if file[length] != 0x02 || file[length+1] != 1 {
		return -1
	}
	return int(file[length+2])
}

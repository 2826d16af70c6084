//go:build interop

package cms

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/galsyncd/galsyncd/internal/interop"
)

var heavyPeers = map[string]func(testing.TB) *peerProgram{"BouncyCastle": bouncyCastlePeer}

func bouncyCastlePeer(t testing.TB) *peerProgram {
	t.Helper()
	b := interop.BouncyCastle(t, "Peer", filepath.Join("testdata", "bc", "Peer.java"))
	version, err := b.Ask("version")
	if err != nil {
		t.Fatal(err)
	}
	provider, _, _ := strings.Cut(version, "\t")
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	form := map[bool]string{true: "detached", false: "attached"}
	// answer asks and returns the file that the answer is in.
	answer := func(question ...string) ([]byte, error) {
		if _, err := b.Ask(question...); err != nil {
			return nil, err
		}
		return os.ReadFile(out)
	}
	p := &peerProgram{name: "BouncyCastle", version: provider}
	p.read = func(k messageKind, message, content []byte) ([]byte, error) {
		msg := writeFile(t, dir, "msg", message)
		switch {
		case k.detached:
			_, err := b.Ask("verify", form[true], keyFile("ca.pem"), msg, writeFile(t, dir, "content", content))
			return nil, err
		case k.signed():
			return answer("verify", form[false], keyFile("ca.pem"), msg, out)
		}
		return answer("decrypt", keyFile(k.keys[0]+".pem"), keyFile(k.keys[0]+".key"), msg, out)
	}
	p.write = func(k messageKind, content []byte) ([]byte, error) {
		in := writeFile(t, dir, "in", content)
		if k.signed() {
			algorithm := map[SignatureAlgorithm]string{RSAPKCS1v15: "SHA256withRSA", RSAPSS: "SHA256withRSAandMGF1", ECDSA: "SHA256withECDSA", Ed25519: "Ed25519"}
			return answer("sign", algorithm[k.algorithm], form[k.detached], keyFile(k.keys[0]+".pem"), keyFile(k.keys[0]+".key"), in, out)
		}
		transport := "pkcs1"
		if k.oaep {
			transport = "oaep"
		}
		question := []string{"encrypt", transport, k.cipher.String(), in, out}
		for _, name := range k.keys {
			question = append(question, keyFile(name+".pem"))
		}
		data, err := answer(question...)
		if err == nil && k.cipher.AEAD() && bytes.Contains(data[:min(len(data), 32)], encodeOID(oidEnvelopedData)) {
			return nil, cannotError("writes an EnvelopedData, where RFC 8103 and RFC 5084 ask for an AuthEnvelopedData")
		}
		return data, err
	}
	return p
}

// TestInteropBouncyCastleContents: contents around the borders of blocks and chunks, both ways.
func TestInteropBouncyCastleContents(t *testing.T) {
	t.Parallel()
	p := bouncyCastlePeer(t)
	doc := readMatrix(t, interopDocument)
	for _, k := range messageKinds() {
		for size, content := range peerContents() {
			if doc[k.title()]["to BouncyCastle"] == cellOK {
				if got := p.reads(t, k, content); got.outcome != cellOK {
					t.Errorf("reads %s, %s: %s", k.title(), size, got.reason)
				}
			}
			if doc[k.title()]["from BouncyCastle"] == cellOK {
				if got := p.writes(t, k, content); got.outcome != cellOK {
					t.Errorf("writes %s, %s: %s", k.title(), size, got.reason)
				}
			}
		}
	}
}

// altered is our message of the kind after one bit of its tag, of its signed content, or of the content beside it was changed.
func altered(t testing.TB, k messageKind) (message, content []byte) {
	t.Helper()
	message, content = k.make(t, interopContent), slices.Clone(interopContent)
	switch {
	case k.detached:
		content[0] ^= 1
	case k.signed():
		message[bytes.Index(message, interopContent[:16])] ^= 1
	default:
		message[len(message)-1] ^= 1
	}
	return message, content
}

// TestInteropPeersNotice: an altered message is refused, so "ok" in the matrix means that the peer looked.
func TestInteropPeersNotice(t *testing.T) {
	for _, peers := range []map[string]func(testing.TB) *peerProgram{smallPeers, heavyPeers} {
		for name, open := range peers {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				p := open(t)
				doc := readMatrix(t, interopDocument)
				for _, k := range messageKinds() {
					if doc[k.title()]["to "+name] != cellOK || !k.signed() && !k.cipher.AEAD() {
						continue
					}
					message, content := altered(t, k)
					if _, err := p.read(k, message, content); err == nil {
						t.Errorf("%s accepts an altered %s", name, k.title())
					}
				}
			})
		}
	}
}

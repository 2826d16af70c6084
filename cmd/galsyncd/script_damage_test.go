package main

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"

	"go.etcd.io/bbolt"
)

// cmdDamage does to a file what bad disks, full disks and other programs do.
func cmdDamage(w *world, neg bool, args []string) {
	if neg || len(args) != 3 {
		w.Fatalf("usage: damage flip|truncate|overwrite|schema FILE NUMBER")
	}
	path := w.MkAbs(args[1])
	n, err := strconv.Atoi(args[2])
	w.Check(err)
	if args[0] == "schema" {
		w.Check(setSchema(path, uint64(n)))
		return
	}
	data, err := os.ReadFile(path)
	w.Check(err)
	random := rand.New(rand.NewPCG(uint64(n), 1))
	switch args[0] {
	case "flip": // one bit in every one of the first NUMBER pages
		for page := range min(n, len(data)/4096) {
			data[page*4096+random.IntN(4096)] ^= 1 << random.IntN(8)
		}
	case "truncate": // to NUMBER bytes
		data = data[:n]
	case "overwrite": // with NUMBER bytes of noise
		data = make([]byte, n)
		for i := range data {
			data[i] = byte(random.Uint32())
		}
	default:
		w.Fatalf("damage %s: not known", args[0])
	}
	w.Check(os.WriteFile(path, data, 0o600))
}

// setSchema writes another schema version into a cache or keyring file, as another version of the program would.
func setSchema(path string, version uint64) error {
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		return err
	}
	defer db.Close()
	return db.Update(func(tx *bbolt.Tx) error {
		number := binary.BigEndian.AppendUint64(nil, version)
		sum := crc32.Checksum(number, crc32.MakeTable(crc32.Castagnoli))
		return tx.Bucket([]byte("meta")).Put([]byte("schema"), binary.BigEndian.AppendUint32(number, sum))
	})
}

// cmdReadable wants that a mail can be opened with openssl and the key ids/NAME.key, and holds the text; negated, that it
// cannot be opened.
func cmdReadable(w *world, neg bool, args []string) {
	if len(args) < 2 || !neg && len(args) != 3 {
		w.Fatalf("usage: [!] readable MAIL NAME TEXT")
	}
	key := w.MkAbs("ids/" + args[1])
	out, err := w.command("", "openssl", "cms", "-decrypt", "-in", w.MkAbs(args[0]), "-recip", key+".crt", "-inkey", key+".key").CombinedOutput()
	switch {
	case neg && err == nil:
		w.Fatalf("%s can open %s:\n%s", args[1], args[0], out)
	case neg && !bytes.Contains(out, []byte("Error decrypting CMS")):
		w.Fatalf("%s cannot be opened for another reason than that it is for others:\n%s", args[0], out)
	case neg:
	case err != nil:
		w.Fatalf("%s cannot open %s: %v\n%s", args[1], args[0], err, out)
	case !strings.Contains(string(out), args[2]):
		w.Fatalf("%s opens to something without %q:\n%s", args[0], args[2], out)
	}
	w.Stdout().Write(out)
}

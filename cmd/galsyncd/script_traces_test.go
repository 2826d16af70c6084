package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// cmdTraces searches all files of some folders for what must not be there: the lines of text files, and the private
// numbers of PEM keys, in every form in which a program may have written them. A folder may also be a file.
func cmdTraces(w *world, neg bool, args []string) {
	i := slices.Index(args, "--")
	if neg || i < 1 || i == len(args)-1 {
		w.Fatalf("usage: traces FOLDER... -- NEEDLES...")
	}
	needles := map[string][]byte{}
	for _, name := range args[i+1:] {
		addNeedles(w, needles, name)
	}
	files := 0
	for _, folder := range args[:i] {
		err := filepath.WalkDir(w.MkAbs(folder), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			files++
			data, err := os.ReadFile(path)
			for what, needle := range needles {
				if bytes.Contains(data, needle) {
					w.Fatalf("%s holds %s", path, what)
				}
			}
			return err
		})
		w.Check(err)
	}
	if files == 0 {
		w.Fatalf("there are no files in %v", args[:i])
	}
	w.Logf("%d files, %d needles", files, len(needles))
}

// addNeedles reads one file of needles.
func addNeedles(w *world, needles map[string][]byte, name string) {
	text := []byte(w.ReadFile(name))
	block, _ := pem.Decode(text)
	if block == nil {
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); len(line) >= 8 {
				addForms(needles, "the text "+line, []byte(line))
			}
		}
		return
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	w.Check(err)
	switch k := key.(type) {
	case *rsa.PrivateKey:
		addForms(needles, name+": d", k.D.Bytes())
		for _, p := range k.Primes {
			addForms(needles, name+": a prime", p.Bytes())
		}
	case *ecdsa.PrivateKey:
		d, err := k.Bytes()
		w.Check(err)
		addForms(needles, name+": d", d)
	default:
		w.Fatalf("%s holds a %T", name, key)
	}
}

// addForms adds a value as it is, in hex, and as base64 has it at each of the three places where it may begin. Base64 has
// line ends in mails and PEM, so that a middle piece of it is looked for.
func addForms(needles map[string][]byte, what string, value []byte) {
	needles[what] = value
	needles[what+", in hex"] = []byte(hex.EncodeToString(value))
	for shift := range 3 {
		text := base64.StdEncoding.EncodeToString(append(make([]byte, shift), value...))
		whole := text[4 : len(text)-len(text)%4-4] // neither what the shift nor what follows decides
		needles[what+", in base64 at "+string(rune('0'+shift))] = []byte(whole[:min(len(whole), 20)])
	}
}

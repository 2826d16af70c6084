package cache

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"

	"github.com/galsyncd/galsyncd/directory"
)

// A record is: format (1 byte), digest (32), length of the JSON head (uvarint), head, the certificates as length (uvarint)
// and DER, checksum of all before it (CRC-32C, 4 bytes). The checksum is against bad disks, not against people.
//
// The digest and the mark "missing" come first, so that a sync of unchanged data decodes nothing.
const (
	recordFormat        = 1
	recordFormatMissing = 2 // the same, of an entry that is marked missing
	recordHead          = 1 + sha256.Size
	maxRecord           = 16 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// head is an entry without the bytes of its certificates.
type head struct {
	directory.Entry
	Certificates  []certificateHead   `json:"certificates,omitempty"`
	Intermediates [][sha256.Size]byte `json:"intermediates,omitempty"`
}

type certificateHead struct {
	Property directory.Property `json:"property"`
	Encoding directory.Encoding `json:"encoding"`
	Default  bool               `json:"default,omitempty"`
}

// encodeRecord makes the record of an entry, and the keys under which its intermediates are stored.
func encodeRecord(e directory.Entry) ([]byte, [][sha256.Size]byte, error) {
	h := head{Entry: e}
	h.Entry.Certificates, h.Entry.Intermediates = nil, nil
	for _, c := range e.Certificates {
		h.Certificates = append(h.Certificates, certificateHead{c.Property, c.Encoding, c.Default})
	}
	for _, raw := range e.Intermediates {
		h.Intermediates = append(h.Intermediates, sha256.Sum256(raw))
	}
	js, err := json.Marshal(h)
	if err != nil {
		return nil, nil, fmt.Errorf("encode entry: %w", err)
	}
	b := append(make([]byte, 0, recordHead+len(js)+4096), recordFormat)
	if !e.Missing.IsZero() {
		b[0] = recordFormatMissing
	}
	b = append(b, e.Digest[:]...)
	b = binary.AppendUvarint(b, uint64(len(js)))
	b = append(b, js...)
	for _, c := range e.Certificates {
		b = binary.AppendUvarint(b, uint64(len(c.Raw)))
		b = append(b, c.Raw...)
	}
	if len(b) > maxRecord {
		return nil, nil, fmt.Errorf("entry of %d bytes is too large to keep", len(b))
	}
	return seal(b), h.Intermediates, nil
}

// seal appends the checksum.
func seal(b []byte) []byte {
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// unseal checks and removes the checksum.
func unseal(b []byte) ([]byte, error) {
	n := len(b) - crc32.Size
	if n < 0 || crc32.Checksum(b[:n], castagnoli) != binary.BigEndian.Uint32(b[n:]) {
		return nil, fmt.Errorf("%w: checksum of a record", ErrDamaged)
	}
	return b[:n], nil
}

// checkRecord verifies a record without decoding it and returns its digest and mark.
func checkRecord(b []byte) (digest [sha256.Size]byte, missing bool, err error) {
	b, err = unseal(b)
	if err != nil {
		return digest, false, err
	}
	if len(b) < recordHead || b[0] != recordFormat && b[0] != recordFormatMissing {
		return digest, false, fmt.Errorf("%w: unknown format of a record", ErrDamaged)
	}
	return [sha256.Size]byte(b[1:recordHead]), b[0] == recordFormatMissing, nil
}

// decodeRecord reads a record. Its certificates are copies. Intermediates are filled in by intermediate.
func decodeRecord(b []byte, intermediate func([sha256.Size]byte) ([]byte, error)) (directory.Entry, error) {
	digest, _, err := checkRecord(b)
	if err != nil {
		return directory.Entry{}, err
	}
	js, rest, err := chunk(b[recordHead : len(b)-crc32.Size])
	if err != nil {
		return directory.Entry{}, err
	}
	var h head
	if err := json.Unmarshal(js, &h); err != nil {
		return directory.Entry{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	e := h.Entry
	e.Digest = digest
	for _, c := range h.Certificates {
		var raw []byte
		if raw, rest, err = chunk(rest); err != nil {
			return directory.Entry{}, err
		}
		e.Certificates = append(e.Certificates, directory.UserCertificate{
			Raw: append([]byte(nil), raw...), Property: c.Property, Encoding: c.Encoding, Default: c.Default})
	}
	for _, key := range h.Intermediates {
		raw, err := intermediate(key)
		if err != nil {
			return directory.Entry{}, err
		}
		e.Intermediates = append(e.Intermediates, raw)
	}
	return e, nil
}

// chunk splits off bytes that are preceded by their length.
func chunk(b []byte) (first, rest []byte, err error) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return nil, nil, fmt.Errorf("%w: length in a record", ErrDamaged)
	}
	return b[size : size+int(n)], b[size+int(n):], nil
}

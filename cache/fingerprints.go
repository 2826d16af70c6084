package cache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/galsyncd/galsyncd/directory"
)

// Fingerprints returns up to limit SHA-256 fingerprints, in order, of certificates of entries and of authorities that came
// with them. Each begins with these lower-case hex digits. It costs one seek in an index for each that it returns.
func (c *Cache) Fingerprints(ctx context.Context, beginning string, limit int) ([][sha256.Size]byte, error) {
	return c.fingerprints(ctx, beginning, limit, keySpace{bucketCertificates, nil}, keySpace{bucketIntermediates, nil})
}

// ContactFingerprints does so for certificates of personal contacts.
func (c *Cache) ContactFingerprints(ctx context.Context, beginning string, limit int) ([][sha256.Size]byte, error) {
	return c.fingerprints(ctx, beginning, limit, keySpace{bucketContactIndex, []byte{indexCertificate}})
}

// keySpace is the part of a bucket whose keys are before, a SHA-256 fingerprint, and anything.
type keySpace struct{ bucket, before []byte }

func (c *Cache) fingerprints(ctx context.Context, beginning string, limit int, spaces ...keySpace) (found [][sha256.Size]byte, err error) {
	low, err := lowest(beginning)
	if err != nil {
		return nil, err
	}
	err = c.view(ctx, func(tx *transaction) error {
		for _, space := range spaces {
			more, err := tx.sumsFrom(space, low, beginning, limit)
			if err != nil {
				return err
			}
			found = append(found, more...)
		}
		return nil
	})
	slices.SortFunc(found, func(a, b [sha256.Size]byte) int { return bytes.Compare(a[:], b[:]) })
	found = slices.Compact(found)
	return found[:min(len(found), limit)], err
}

// lowest is the lowest fingerprint that begins with these hex digits.
func lowest(beginning string) (sum [sha256.Size]byte, err error) {
	missing := hex.EncodedLen(len(sum)) - len(beginning)
	if missing < 0 {
		return sum, fmt.Errorf("the beginning of a fingerprint with %d digits", len(beginning))
	}
	if _, err := hex.Decode(sum[:], []byte(beginning+strings.Repeat("0", missing))); err != nil {
		return sum, fmt.Errorf("the beginning of a fingerprint: %w", err)
	}
	return sum, nil
}

// sumsFrom returns up to limit different fingerprints, from low on, that begin with these digits.
func (t *transaction) sumsFrom(space keySpace, low [sha256.Size]byte, beginning string, limit int) (found [][sha256.Size]byte, err error) {
	cursor := t.bucket(space.bucket).Cursor()
	for at := low; len(found) < limit; {
		k, _ := cursor.Seek(append(slices.Clone(space.before), at[:]...))
		rest, ok := bytes.CutPrefix(k, space.before)
		if !ok || k == nil {
			return found, nil
		}
		if len(rest) < sha256.Size {
			return nil, damagedIndex(directory.ErrNoEntry)
		}
		at = [sha256.Size]byte(rest)
		if !strings.HasPrefix(hex.EncodeToString(at[:]), beginning) {
			return found, nil
		}
		found = append(found, at)
		if !increment(&at) { // over all others that have the same certificate
			return found, nil
		}
	}
	return found, nil
}

// increment makes of a fingerprint the next one; false after the last.
func increment(sum *[sha256.Size]byte) bool {
	for i := len(sum) - 1; i >= 0; i-- {
		if sum[i]++; sum[i] != 0 {
			return true
		}
	}
	return false
}

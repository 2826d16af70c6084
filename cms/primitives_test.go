package cms

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"encoding/json"
	"slices"
	"testing"
)

// hexBytes reads hex strings in JSON.
type hexBytes []byte

func (h *hexBytes) UnmarshalJSON(data []byte) error {
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	b, err := hex.DecodeString(s)
	*h = b
	return err
}

// TestKeyWrapWycheproof: RFC 3394 with its edge cases. Wycheproof counts keys of 8 bytes as acceptable; they are refused here.
func TestKeyWrapWycheproof(t *testing.T) {
	var file struct {
		TestGroups []struct {
			Tests []struct {
				TcID            int
				Key, Msg, Ct    hexBytes
				Result, Comment string
			}
		}
	}
	if err := json.Unmarshal(load(t, "wycheproof", "aes_wrap_test.json"), &file); err != nil {
		t.Fatal(err)
	}
	valid, invalid := 0, 0
	for _, group := range file.TestGroups {
		for _, test := range group.Tests {
			key, err := unwrapKey(test.Key, test.Ct)
			switch {
			case test.Result == "valid":
				valid++
				if err != nil || !bytes.Equal(key, test.Msg) {
					t.Errorf("test %d (%s): %x, %v", test.TcID, test.Comment, key, err)
				}
				if wrapped, err := wrapKey(test.Key, test.Msg); err != nil || !bytes.Equal(wrapped, test.Ct) {
					t.Errorf("test %d (%s): wraps to %x, %v", test.TcID, test.Comment, wrapped, err)
				}
			case test.Result == "invalid":
				invalid++
				if err == nil {
					t.Errorf("test %d (%s): unwraps to %x", test.TcID, test.Comment, key)
				}
			}
		}
	}
	if valid < 20 || invalid < 50 {
		t.Errorf("%d valid and %d invalid tests", valid, invalid)
	}
}

// TestX963KDF uses published answers of NIST's CAVS validation of ANSI X9.63.
func TestX963KDF(t *testing.T) {
	tests := []struct {
		hash              crypto.Hash
		secret, info, key string
	}{
		{crypto.SHA1, "1c7d7b5f0597b03d06a018466ed1a93e30ed4b04dc64ccdd", "", "bf71dffd8f4d99223936beb46fee8ccc"},
		{crypto.SHA256, "96c05619d56c328ab95fe84b18264b08725b85e33fd34f08", "", "443024c3dae66b95e6f5670601558f71"},
		{crypto.SHA256, "22518b10e70f2a3f243810ae3254139efbee04aa57c7af7d", "75eef81aa3041e33b80971203d2c0c52",
			"c498af77161cc59f2962b9a713e2b215152d139766ce34a776df11866a69bf2e52a13d9c7c6fc878c50c5ea0bc7b00e0da2447cfd874f6cf92f30d0097111485500c90c3af8b487872d04685d14c8d1dc8d7fa08beb0ce0ababc11f0bd496269142d43525a78e5bc79a17f59676a5706dc54d54d4d1f0bd7e386128ec26afc21"},
	}
	for _, test := range tests {
		want := unhex(t, test.key)
		if got := x963KDF(test.hash, unhex(t, test.secret), unhex(t, test.info), len(want)); !bytes.Equal(got, want) {
			t.Errorf("%v: %x instead of %x", test.hash, got, want)
		}
	}
}

// TestPadding compares the constant-time check with the plain rule for every last block of small values.
func TestPadding(t *testing.T) {
	plain := func(b []byte) (int, bool) {
		n := int(b[len(b)-1])
		if n < 1 || n > len(b) {
			return n, false
		}
		return n, !slices.ContainsFunc(b[len(b)-n:], func(c byte) bool { return int(c) != n })
	}
	for _, bs := range []int{8, 16} {
		block := make([]byte, bs)
		for n := range 256 {
			for wrong := -1; wrong < bs; wrong++ {
				for i := range block {
					block[i] = byte(n)
				}
				if wrong >= 0 {
					block[wrong] ^= 0x40
				}
				wantN, want := plain(block)
				gotN, good := checkPadding(block)
				if (good == 1) != want || want && gotN != wantN {
					t.Fatalf("%x: %d, %d", block, gotN, good)
				}
			}
		}
	}
}

package cms

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"math"
	mathrand "math/rand/v2"
	"os"
	"runtime"
	"testing"
	"time"
)

// TestFailureTiming measures that failures cannot be told apart by their time: 10,000 samples of each kind in random order,
// Welch's t below 4.5 between any two. It needs a quiet machine and a minute, so it runs when GALSYNCD_TIMING is set.
func TestFailureTiming(t *testing.T) {
	if os.Getenv("GALSYNCD_TIMING") == "" {
		t.Skip("set GALSYNCD_TIMING=1 to measure")
	}
	id := identity(t, "made", "keys", "rsa")
	for _, c := range []Cipher{AES256CBC, AES256GCM} {
		names, messages := failures(t, id, c)
		samples := make([][]float64, len(names))
		runtime.GC()
		for range 10000 * len(names) {
			i := mathrand.IntN(len(names))
			begin := time.Now()
			_, err := Decrypt(bytes.NewReader(messages[i]), []Identity{id}, nil)
			took := time.Since(begin)
			if err != ErrDecrypt {
				t.Fatalf("%s: %v", names[i], err)
			}
			samples[i] = append(samples[i], float64(took.Nanoseconds()))
		}
		limit := 3 * median(samples[0])
		for i := range names {
			for j := range i {
				if v := welch(samples[i], samples[j], limit); math.Abs(v) > 4.5 {
					t.Errorf("%v, %s and %s: t = %.2f", c, names[i], names[j], v)
				} else {
					t.Logf("%v, %s and %s: t = %.2f", c, names[i], names[j], v)
				}
			}
		}
	}
}

// failures makes messages that fail for different reasons.
func failures(t *testing.T, id Identity, c Cipher) (names []string, messages [][]byte) {
	t.Helper()
	for _, name := range []string{"bad RSA block", "wrong content key", "damaged content", "wrong key size"} {
		for {
			data := encryptAll(t, text(1000), []*x509.Certificate{id.Certificate}, &EncryptOptions{Cipher: c, SizeKnown: true, Size: 1000})
			block := bytes.Index(data, encodeAlgorithm(oidRSA, asn1Null)) + len(encodeAlgorithm(oidRSA, asn1Null)) + 4
			switch name {
			case "bad RSA block":
				rand.Read(data[block+1 : block+256])
			case "wrong content key", "wrong key size":
				key := make([]byte, map[string]int{"wrong content key": 32, "wrong key size": 24}[name])
				rand.Read(key)
				info, _, err := recipientInfo(id.Certificate, key, &EncryptOptions{})
				if err != nil {
					t.Fatal(err)
				}
				copy(data[block:], info[len(info)-256:])
			case "damaged content":
				data[len(data)-1-24*map[bool]int{true: 1}[c.AEAD()]] ^= 0x55
			}
			if _, _, err := decryptAll(data, []Identity{id}, nil); err == ErrDecrypt {
				names, messages = append(names, name), append(messages, data)
				break
			}
		}
	}
	return names, messages
}

func median(s []float64) float64 {
	low, high := 0.0, 1e12
	for range 60 {
		middle, below := (low+high)/2, 0
		for _, v := range s {
			if v < middle {
				below++
			}
		}
		if below > len(s)/2 {
			high = middle
		} else {
			low = middle
		}
	}
	return low
}

// welch is the t statistic of two samples without what is above limit, which the scheduler caused.
func welch(a, b []float64, limit float64) float64 {
	moments := func(s []float64) (n, mean, variance float64) {
		for _, v := range s {
			if v <= limit {
				n++
				mean += v
			}
		}
		mean /= n
		for _, v := range s {
			if v <= limit {
				variance += (v - mean) * (v - mean) / (n - 1)
			}
		}
		return n, mean, variance
	}
	na, ma, va := moments(a)
	nb, mb, vb := moments(b)
	return (ma - mb) / math.Sqrt(va/na+vb/nb)
}

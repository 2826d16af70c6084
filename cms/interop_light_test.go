//go:build !interop

package cms

import "testing"

// heavyPeers are there with the build tag interop.
var heavyPeers map[string]func(testing.TB) *peerProgram

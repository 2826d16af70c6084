package main

import (
	"slices"
	"testing"

	"github.com/galsyncd/galsyncd/internal/exchangesim"
)

// easWords are what is said about the faults over ActiveSync.
var easWords = map[exchangesim.FaultKind]words{
	exchangesim.FaultUnauthorized:     {"refused the credential|stopped after two refusals", "exchange.auth"},
	exchangesim.FaultUnavailable:      {`http status 503\); it asks to be left alone for 10m0s`, "event log"},
	exchangesim.FaultRetryDate:        {`http status 503\); it asks to be left alone for (10m[01]|9m5.)s`, "event log"},
	exchangesim.FaultHTML:             {`of the type "text/html"`, "exchange.url"},
	exchangesim.FaultEmpty:            {"answer is empty", "proxy"},
	exchangesim.FaultHang:             {"stopped", "goes on from there"},
	exchangesim.FaultDrip:             {"stopped", "goes on from there"},
	exchangesim.FaultReset:            {"connection broke", "load balancer"},
	exchangesim.FaultTruncate:         {"cut off", "load balancer"},
	exchangesim.FaultEndless:          {"larger than allowed", "exchange.url"},
	exchangesim.FaultBusy:             {"busy or down .*left alone for 10m0s", "event log"},
	exchangesim.FaultBusyMessage:      {"busy or down .*left alone for 10m0s", "event log"},
	exchangesim.FaultBusyInner:        {"busy or down .*left alone for 10m0s", "event log"},
	exchangesim.FaultConnections:      {`busy or down .*\(http status 503\)$`, "asks again by itself"},
	exchangesim.FaultTransient:        {"status 111", "asks again by itself"},
	exchangesim.FaultServerError:      {"status 110", "asks again by itself"},
	exchangesim.FaultADUnavailable:    {"cannot resolve .*status 6|does not search .*status 6", "event log"},
	exchangesim.FaultNoMailbox:        {"may not use ActiveSync .*status 126", "ActiveSyncEnabled"},
	exchangesim.FaultAccessDenied:     {"may not do this .*status 130", "rights of the account"},
	exchangesim.FaultBlocked:          {"blocked or waits .*status 129", "Get-MobileDevice"},
	exchangesim.FaultTooManyDevices:   {"too many devices .*status 177", "Remove-MobileDevice"},
	exchangesim.FaultNotProvisioned:   {"wants this device to have its policy .*status 142", "mobile device mailbox policy"},
	exchangesim.FaultInvalidVersion:   {"http status 400", "exchange.url"},
	exchangesim.FaultMoved:            {"names another place .*which is not asked: plain http", "exchange.url"},
	exchangesim.FaultNoResults:        {"would have lost 28 of 28 entries", "sync.max_removals"},
	exchangesim.FaultNoCertificates:   {"last usable certificate of [0-9]+", "sync.max_removals"},
	exchangesim.FaultWithoutMoreToSay: {"left the address out", ""},
	exchangesim.FaultAmbiguous:        {"several entries of its directory match", ""},
	exchangesim.FaultCertificateLimit: {"more certificates for this address than it lists", ""},
}

// easFaults are the faults that ActiveSync has.
func easFaults() []exchangesim.FaultKind {
	others := []exchangesim.FaultKind{exchangesim.FaultADOperation, exchangesim.FaultSchema, exchangesim.FaultSchemaVersion, exchangesim.FaultTimeout, exchangesim.FaultObjects}
	return slices.DeleteFunc(append(exchangesim.FaultKinds(), exchangesim.ActiveSyncFaultKinds()...), func(k exchangesim.FaultKind) bool { return slices.Contains(others, k) })
}

var easStatuses = map[exchangesim.FaultKind]int{
	exchangesim.FaultUnauthorized: exitNotAllowed,
	exchangesim.FaultNoResults:    exitNotFound, exchangesim.FaultNoCertificates: exitNotFound, // the guard
	exchangesim.FaultAmbiguous: 0, exchangesim.FaultCertificateLimit: 0, exchangesim.FaultWithoutMoreToSay: 0, // gaps
}

// TestNoUsableAnswerOverActiveSync is TestNoUsableAnswer with known addresses, in batches.
func TestNoUsableAnswerOverActiveSync(t *testing.T) {
	t.Parallel()
	door{protocol: "eas", settings: "sync.full_gal = false\n", kinds: easFaults(), words: easWords, statuses: easStatuses,
		location: "http://mail.corp.example/Microsoft-Server-ActiveSync"}.spoil(t)
}

// TestNoUsableAnswerToASearch is TestNoUsableAnswer with a walk over ActiveSync, and the faults that it meets differently.
func TestNoUsableAnswerToASearch(t *testing.T) {
	t.Parallel()
	kinds := []exchangesim.FaultKind{exchangesim.FaultHTML, exchangesim.FaultEmpty, exchangesim.FaultTruncate, exchangesim.FaultAmbiguous,
		exchangesim.FaultCertificateLimit, exchangesim.FaultNoResults, exchangesim.FaultNoCertificates, exchangesim.FaultADUnavailable}
	door{protocol: "eas", kinds: kinds, words: easWords, statuses: easStatuses}.spoil(t)
}

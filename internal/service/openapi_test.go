package service

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/galsyncd/galsyncd/internal/installed"
	"github.com/galsyncd/galsyncd/internal/service/apitest"
	"github.com/galsyncd/galsyncd/smime"
)

func document(t testing.TB) *apitest.Document {
	t.Helper()
	doc, err := apitest.Parse(openAPI)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestOpenAPIRoutes: every request is in the document with its access, and the document has no other.
func TestOpenAPIRoutes(t *testing.T) {
	doc := document(t)
	names := map[audience]string{refused: "refused", anyUID: "any uid", admins: "admins", owner: "owner"}
	count := 0
	for _, r := range routes() {
		op, ok := doc.Paths[r.pattern][strings.ToLower(r.method)]
		if !ok {
			t.Errorf("%s %s is not in openapi.json", r.method, r.pattern)
			continue
		}
		if op.Access["system"] != names[r.access.system] || op.Access["user"] != names[r.access.user] {
			t.Errorf("%s %s: x-access is %v", r.method, r.pattern, op.Access)
		}
	}
	for _, methods := range doc.Paths {
		count += len(methods)
	}
	if count != len(routes()) {
		t.Errorf("openapi.json has %d requests, the service %d", count, len(routes()))
	}
}

// TestOpenAPIProblems: the table of codes, x-problems and the schema of a problem agree.
func TestOpenAPIProblems(t *testing.T) {
	doc := document(t)
	problem := doc.Components.Schemas["Problem"]["properties"].(map[string]any)
	enum := problem["code"].(map[string]any)["enum"].([]any)
	for _, k := range kinds {
		p, ok := doc.Problems[string(k.Code)]
		if !ok || p.Status != k.Status || p.Title != k.Title {
			t.Errorf("%s: x-problems says %+v, the service %+v", k.Code, p, k)
		}
		if !slices.Contains(enum, any(string(k.Code))) {
			t.Errorf("%s is not in the schema", k.Code)
		}
	}
	if len(doc.Problems) != len(kinds) || len(enum) != len(kinds) {
		t.Errorf("openapi.json has %d and %d codes, the service %d", len(doc.Problems), len(enum), len(kinds))
	}
}

// TestOpenAPITypes: what handlers write and read has the members of its schema, no more and no less.
func TestOpenAPITypes(t *testing.T) {
	doc := document(t)
	for name, typ := range map[string]reflect.Type{
		"Problem": reflect.TypeFor[Problem](), "Version": reflect.TypeFor[Build](), "Status": reflect.TypeFor[Status](),
		"Accepted": reflect.TypeFor[Accepted](), "Progress": reflect.TypeFor[Progress](), "Report": reflect.TypeFor[Report](),
		"Result": reflect.TypeFor[lookupAnswer](), "CertificateDetails": reflect.TypeFor[CertificateDetails](),
		"Candidates": reflect.TypeFor[Candidates](), "Entries": reflect.TypeFor[Entries](), "Fingerprints": reflect.TypeFor[Fingerprints](),
		"Identities": reflect.TypeFor[Identities](), "ImportRequest": reflect.TypeFor[ImportRequest](),
		"Imported": reflect.TypeFor[Imported](), "UnlockRequest": reflect.TypeFor[UnlockRequest](),
		"Identity": reflect.TypeFor[Identity](), "IdentityRequest": reflect.TypeFor[IdentityRequest](), "NewKeyRequest": reflect.TypeFor[NewKeyRequest](),
		"ExportRequest": reflect.TypeFor[ExportRequest](), "PassphraseRequest": reflect.TypeFor[PassphraseRequest](),
		"Preferences": reflect.TypeFor[Preferences](), "PreferenceList": reflect.TypeFor[PreferenceList](),
		"InstallReport": reflect.TypeFor[installed.Report](), "InstalledCertificates": reflect.TypeFor[installed.List](),
		"Choice": reflect.TypeFor[Choice](), "Verification": reflect.TypeFor[smime.Verification](), "KeyringStatus": reflect.TypeFor[KeyringStatus](), "CheckReport": reflect.TypeFor[CheckReport](),
	} {
		for _, fault := range doc.Matches(apitest.Schema{"$ref": "#/components/schemas/" + name}, typ) {
			t.Errorf("%s: %s", name, fault)
		}
	}
}

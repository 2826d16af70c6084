package exchangesim

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseRequest(t *testing.T) {
	envelope := func(header, body string) string {
		return `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages" xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types">` + header + `<s:Body>` + body + `</s:Body></s:Envelope>`
	}
	version := func(v string) string {
		return `<s:Header><t:RequestServerVersion Version="` + v + `"/></s:Header>`
	}
	resolve := func(attrs, inner string) string {
		return `<m:ResolveNames ` + attrs + `>` + inner + `</m:ResolveNames>`
	}
	const entry = `<m:UnresolvedEntry>alice</m:UnresolvedEntry>`
	const full = `ReturnFullContactData="true"`
	const modern = "Exchange2013_SP1"
	const bad = "ErrorSchemaValidation"
	for _, tt := range []struct{ name, request, code string }{
		{"good", envelope(version(modern), resolve(full, entry)), ""},
		{"no header", envelope("", resolve(full, entry)), ""},
		{"folder", envelope(version(modern), resolve(full, `<m:ParentFolderIds><t:DistinguishedFolderId Id="contacts"/></m:ParentFolderIds>`+entry)), ""},
		{"other headers", envelope(`<s:Header><t:MailboxCulture>en</t:MailboxCulture></s:Header>`, resolve(full, entry)), ""},
		{"expand", envelope(version(modern), `<m:ExpandDL><m:Mailbox><t:EmailAddress>x</t:EmailAddress></m:Mailbox></m:ExpandDL>`), ""},
		{"shape in 2010 SP2", envelope(version("Exchange2010_SP2"), resolve(full+` ContactDataShape="AllProperties"`, entry)), ""},
		{"shape in 2010 SP1", envelope(version("Exchange2010_SP1"), resolve(full+` ContactDataShape="AllProperties"`, entry)), "ErrorIncorrectSchemaVersion"},
		{"shape without version", envelope("", resolve(full+` ContactDataShape="AllProperties"`, entry)), "ErrorIncorrectSchemaVersion"},
		{"version of the future", envelope(version("Exchange2042"), resolve(full, entry)), "ErrorInvalidServerVersion"},
		{"version missing", envelope(`<s:Header><t:RequestServerVersion/></s:Header>`, resolve(full, entry)), bad},
		{"attribute missing", envelope(version(modern), resolve(``, entry)), bad},
		{"attribute wrong", envelope(version(modern), resolve(`ReturnFullContactData="yes"`, entry)), bad},
		{"attribute unknown", envelope(version(modern), resolve(full+` PhotoPlease="no"`, entry)), bad},
		{"scope", envelope(version(modern), resolve(full+` SearchScope="GAL"`, entry)), bad},
		{"shape", envelope(version(modern), resolve(full+` ContactDataShape="Everything"`, entry)), bad},
		{"no entry", envelope(version(modern), resolve(full, "")), bad},
		{"two entries", envelope(version(modern), resolve(full, entry+entry)), bad},
		{"order", envelope(version(modern), resolve(full, entry+`<m:ParentFolderIds><t:DistinguishedFolderId Id="contacts"/></m:ParentFolderIds>`)), bad},
		{"entry in the wrong namespace", envelope(version(modern), resolve(full, `<t:UnresolvedEntry>alice</t:UnresolvedEntry>`)), bad},
		{"https namespace", strings.Replace(envelope(version(modern), resolve(full, entry)), "http://schemas.xmlsoap", "https://schemas.xmlsoap", 1), bad},
		{"two bodies", strings.Replace(envelope("", resolve(full, entry)), "</s:Envelope>", "<s:Body/></s:Envelope>", 1), bad},
		{"empty body", envelope("", ""), bad},
		{"body without namespace", envelope("", `<ResolveNames/>`), bad},
		{"another call", envelope(version(modern), `<m:FindFolder/>`), "ErrorInvalidOperation"},
		{"find without anything", envelope(version(modern), `<m:FindItem/>`), bad},
		{"find without folder", envelope(version(modern), `<m:FindItem Traversal="Shallow"><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape></m:ItemShape></m:FindItem>`), bad},
		{"find elsewhere", strings.Replace(findRequest(0, 5), `Id="contacts"`, `Id="inbox"`, 1), "ErrorFolderNotFound"},
		{"find in the wrong order", envelope(version(modern), `<m:FindItem Traversal="Shallow"><m:ParentFolderIds><t:DistinguishedFolderId Id="contacts"/></m:ParentFolderIds><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape></m:ItemShape></m:FindItem>`), bad},
		{"find before the beginning", findRequest(-1, 5), bad},
		{"find nothing", findRequest(0, 0), bad},
		{"get nothing", getRequest(), bad},
		{"get without shape", strings.Replace(getRequest("A"), "IdOnly", "All", 1), bad},
		{"get by another name", strings.Replace(getRequest("A"), `<t:ItemId Id`, `<t:FolderId Id`, 1), bad},
		{"expand without mailbox", envelope(version(modern), `<m:ExpandDL/>`), bad},
		{"expand in the wrong order", envelope(version(modern), `<m:ExpandDL><m:Mailbox><t:EmailAddress>x</t:EmailAddress><t:Name>y</t:Name></m:Mailbox></m:ExpandDL>`), bad},
		{"document type", `<!DOCTYPE x [<!ENTITY e "e">]>` + envelope("", resolve(full, entry)), bad},
		{"cut off", envelope("", resolve(full, entry))[:200], bad},
		{"deep", strings.Repeat("<a>", 10000), bad},
		{"wide", "<a>" + strings.Repeat("<b/>", 10000) + "</a>", bad},
		{"two roots", "<a/><b/>", bad},
		{"nothing", "", bad},
	} {
		_, err := parseRequest([]byte(tt.request))
		var refused *requestError
		code := ""
		if errors.As(err, &refused) {
			code = refused.code
		} else if err != nil {
			t.Errorf("%s: %T is not a *requestError", tt.name, err)
		}
		if code != tt.code {
			t.Errorf("%s: %q (%v), want %q", tt.name, code, err, tt.code)
		}
	}
}

func TestRequestSamples(t *testing.T) {
	folder := sharedFolder(t, "ews-samples")
	names, err := filepath.Glob(filepath.Join(folder, "*request*.xml"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no requests among the samples: %v", err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_, err = parseRequest(data)
		var refused *requestError
		good := strings.Contains(name, "resolvenames") || strings.Contains(name, "expanddl")
		switch {
		case strings.Contains(name, "WRONG"):
			if !errors.As(err, &refused) || refused.code != "ErrorSchemaValidation" {
				t.Errorf("%s: %v, want a schema violation", filepath.Base(name), err)
			}
		case good && err != nil:
			t.Errorf("%s: %v", filepath.Base(name), err)
		}
	}
}

// sharedFolder is a folder of the data that is not part of the repository.
func sharedFolder(t *testing.T, name string) string {
	folder := filepath.Join("..", "..", "..", "shared", name)
	if _, err := os.Stat(folder); err != nil {
		t.Skipf("%s is not here", name)
	}
	return folder
}

func FuzzRequest(f *testing.F) {
	f.Add([]byte(resolveRequest("smtp:alice")))
	f.Add([]byte(expandRequest("team")))
	f.Add([]byte(briefRequest("<&>")))
	f.Add([]byte(findRequest(0, 10)))
	f.Add([]byte(getRequest("AAMk", "")))
	f.Add([]byte(`<a xmlns="b"><c/>`))
	s, err := New(Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		q, err := parseRequest(body)
		if err != nil {
			var refused *requestError
			if !errors.As(err, &refused) {
				t.Fatalf("%T", err)
			}
			parseReply(t, refuse(refused))
			return
		}
		answer, err := s.answerQuery(q)
		if err != nil {
			t.Fatal(err)
		}
		r := parseReply(t, answer)
		if n := len(r.Resolve.Set.Resolutions); n > maxCandidates {
			t.Fatal(fmt.Errorf("%d candidates", n))
		}
	})
}

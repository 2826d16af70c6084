package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func folder(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestOutputs: files appear under their names when all of them are complete, for this user alone, or not at all.
func TestOutputs(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "old.eml")
	if err := os.WriteFile(old, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	fill := func() *outputs {
		o := &outputs{}
		for _, name := range []string{"old.eml", "new.eml"} {
			w, err := o.create(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(w, "new")
		}
		return o
	}
	o := fill()
	if names := folder(t, dir); o.files[0].hidden == "" && !slices.Equal(names, []string{"old.eml"}) {
		t.Errorf("at work: %q", names) // what a process leaves that is killed
	}
	if text, _ := os.ReadFile(old); string(text) != "old" {
		t.Errorf("the old file was touched before the end: %q", text)
	}
	o.discard()
	if names := folder(t, dir); !slices.Equal(names, []string{"old.eml"}) {
		t.Errorf("after discard: %q", names)
	}
	o = fill()
	if err := o.keep(); err != nil {
		t.Fatal(err)
	}
	o.discard()
	if names := folder(t, dir); !slices.Equal(names, []string{"new.eml", "old.eml"}) {
		t.Errorf("after keep: %q", names)
	}
	for _, name := range []string{"old.eml", "new.eml"} {
		path := filepath.Join(dir, name)
		info, err := os.Stat(path)
		if text, _ := os.ReadFile(path); err != nil || string(text) != "new" || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %q, %v, %v", name, text, info.Mode(), err)
		}
	}
}

// TestOutputsStayInTheirFolder: a local part may hold slashes and dots; a copy for it is not written elsewhere.
func TestOutputsStayInTheirFolder(t *testing.T) {
	dir := t.TempDir()
	inner := filepath.Join(dir, "copies")
	if err := os.Mkdir(inner, 0o700); err != nil {
		t.Fatal(err)
	}
	o := &outputs{}
	defer o.discard()
	for _, name := range []string{"../escaped@corp.example.eml", "a/b@corp.example.eml", "/etc/x@corp.example.eml", "..", ".", "", "a\x00b.eml"} {
		if _, err := o.createIn(inner, name); err == nil {
			t.Errorf("%q was taken for the name of a file", name)
		}
	}
	if err := o.keep(); err != nil {
		t.Error(err)
	}
	if names := folder(t, dir); !slices.Equal(names, []string{"copies"}) || len(folder(t, inner)) > 0 {
		t.Errorf("left behind: %q, %q", names, folder(t, inner))
	}
}

// TestOutputsLongNames: a name that a file cannot have is refused before there is anything to write.
func TestOutputsLongNames(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	o := &outputs{}
	defer o.discard()
	for _, name := range []string{strings.Repeat("a", 256), "folder"} {
		if _, err := o.createIn(dir, name); err == nil {
			t.Errorf("%q was taken for the name of a file", name)
		}
	}
	longest := strings.Repeat("a", 255)
	_, err := o.create(filepath.Join(dir, longest))
	if err == nil {
		err = o.keep()
	}
	if names := folder(t, dir); err != nil || !slices.Equal(names, []string{longest, "folder"}) {
		t.Errorf("%v: %q", err, names)
	}
}

// TestToldWhenKept: that a mail was worked on is said when its file is there.
func TestToldWhenKept(t *testing.T) {
	in := filepath.Join(t.TempDir(), "in.eml")
	out := filepath.Join(filepath.Dir(in), "out.eml")
	if err := os.WriteFile(in, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	a, told := &app{socket: "none"}, false
	work := func(m *mailWork) error {
		m.tell = func() error { told = true; return nil }
		return os.Mkdir(out, 0o700)
	}
	if err := a.transform([]string{in, out}, work); err == nil || told {
		t.Errorf("a file that could not be kept: %v, told: %v", err, told)
	}
	if err := a.transform([]string{in, out + ".2"}, func(m *mailWork) error { m.tell = func() error { told = true; return nil }; return nil }); err != nil || !told {
		t.Errorf("a file that was kept: %v, told: %v", err, told)
	}
}

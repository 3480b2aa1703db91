package test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	link      = regexp.MustCompile(`\[([^\]]*)\]\(([^)\s]+)\)`)
	codeBlock = regexp.MustCompile("(?ms)^```.*?^```")
	testName  = regexp.MustCompile("`(Test\\w+)")
	goFile    = regexp.MustCompile(`[\w/]+\.go\b`)
	goName    = regexp.MustCompile("`\\*?(\\w+)\\.(\\w+)`")
)

// TestLinks: where a document of the repository points at a file, the file is there, and so are the tests that the link names.
func TestLinks(t *testing.T) {
	documents, err := filepath.Glob("../*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, document := range append(append(documents, guides(t)...), "../bench/RESULTS.md") {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(codeBlock.ReplaceAllString(string(text), ""), -1) {
			target, _, _ := strings.Cut(m[2], "#")
			if target == "" || strings.Contains(target, "://") {
				continue
			}
			found++
			path := filepath.Join(filepath.Dir(document), target)
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s points at %s, which is not there", filepath.Base(document), target)
				continue
			}
			for _, name := range testName.FindAllStringSubmatch(m[1], -1) {
				if !hasTest(t, path, name[1]) {
					t.Errorf("%s: %s has no %s", filepath.Base(document), target, name[1])
				}
			}
		}
	}
	if found < 20 {
		t.Errorf("%d links to files were found, which is not all of them", found)
	}
}

// TestArchitecture: the files that ARCHITECTURE.md names are there, and so are the names of Go.
func TestArchitecture(t *testing.T) {
	text, err := os.ReadFile("../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	var files, code strings.Builder
	err = filepath.WalkDir("..", func(file string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(file) != ".go" {
			return err
		}
		b, err := os.ReadFile(file)
		files.WriteString(filepath.ToSlash(file) + "\n")
		code.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	for _, name := range regexp.MustCompile(`\w+`).FindAllString(code.String(), -1) {
		names[name] = true
	}
	found := 0
	for _, file := range goFile.FindAllString(string(text), -1) {
		found++
		if file != "nats.go" && file != "io/nats.go" && !strings.Contains(files.String(), "/"+file+"\n") {
			t.Errorf("ARCHITECTURE.md names the file %s, which is not there", file)
		}
	}
	for _, m := range goName.FindAllStringSubmatch(string(text), -1) {
		found++
		if m[2] != "go" && (!names[m[1]] || !names[m[2]]) {
			t.Errorf("ARCHITECTURE.md names %s.%s, which no file of Go does", m[1], m[2])
		}
	}
	if found < 100 {
		t.Errorf("%d names were found, which is not all of them", found)
	}
}

// hasTest reports whether a file, or one of a folder's, has the test.
func hasTest(t *testing.T, path, name string) bool {
	t.Helper()
	files := []string{path}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		files, _ = filepath.Glob(filepath.Join(path, "*_test.go"))
	}
	for _, file := range files {
		code, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(code), "func "+name+"(") {
			return true
		}
	}
	return false
}

package test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A block is a block of code in a document.
type block struct {
	document string
	line     int // of its first line of code
	language string
	text     string
}

func (b block) String() string { return fmt.Sprintf("%s:%d", filepath.Base(b.document), b.line) }

// guides are the documents in examples/guides.
func guides(t *testing.T) []string {
	t.Helper()
	documents, err := filepath.Glob("../examples/guides/*.md")
	if err != nil || len(documents) < 3 {
		t.Fatalf("got %q, %v, want the guides", documents, err)
	}
	return documents
}

// blocks returns the blocks of code of the guides and the README in any of the languages.
func blocks(t *testing.T, languages ...string) (all []block) {
	t.Helper()
	for _, document := range append(guides(t), "../README.md") {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		var b *block
		for i, line := range strings.SplitAfter(string(text), "\n") {
			language, fence := strings.CutPrefix(strings.TrimSpace(line), "```")
			switch {
			case b == nil && fence:
				b = &block{document, i + 2, language, ""}
			case b != nil && fence:
				if slices.Contains(languages, b.language) {
					all = append(all, *b)
				}
				b = nil
			case b != nil:
				b.text += line
			}
		}
		if b != nil {
			t.Errorf("%v does not end", b)
		}
	}
	if len(all) == 0 {
		t.Fatalf("no guide has a block of %q", languages)
	}
	return all
}

// TestGuideLanguages: each block of a guide says what it is in, so that one of the tests here looks at it.
func TestGuideLanguages(t *testing.T) {
	checked := []string{"go", "sh", "js", "yaml", "nats", "sysctl"}
	for _, document := range append(guides(t), "../README.md") {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		open := false
		for i, line := range strings.Split(string(text), "\n") {
			language, fence := strings.CutPrefix(strings.TrimSpace(line), "```")
			if !fence {
				continue
			}
			// A block without a language is what a program prints.
			if open = !open; open && language != "" && !slices.Contains(checked, language) {
				t.Errorf("%s:%d: a block of %q, want one of %q", document, i+1, language, checked)
			}
		}
	}
}

// packages are those that snippets use without an import, as a reader's editor adds it.
var packages = []string{
	"context", "encoding/json", "errors", "fmt", "io", "log", "log/slog", "net/http", "net/netip", "os", "os/signal", "regexp", "testing", "time",
	module + "/adapter", module + "/adapter/cluster", module + "/adapter/emitter", module + "/adapter/sockets",
	module + "/natsadapter", module + "/natsadapter/config", module + "/natsadapter/embedded", module + "/natsadapter/service",
	module + "/wsserver", module + "/wsserver/metrics", module + "/wsserver/msgpack",
	module + "/wsserver/tracing", module + "/wsserver/wstest",
}

// given are the names that snippets use without saying where they come from.
const given = "ctx context.Context, srv *wsserver.Server, ns *wsserver.Namespace, s *wsserver.Socket, mux *http.ServeMux, url string, err error"

var whole = regexp.MustCompile(`(?m)^package \w+$`)

// TestGuidesCompile compiles and vets every block of Go in the guides, as a program of another module would be.
func TestGuidesCompile(t *testing.T) {
	notRaced(t)
	t.Parallel()
	dir := newModule(t)
	for i, b := range blocks(t, "go") {
		code := b.text
		if !whole.MatchString(code) {
			code = wrap(t, b)
		}
		folder := filepath.Join(dir, "statements") // one package for all that declare nothing: go vet takes long for each
		if !strings.Contains(code, "func _(") {
			folder = filepath.Join(dir, fmt.Sprintf("block%d", i))
		}
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		// Errors of the compiler then have the guide's line.
		code = fmt.Sprintf("//line %v:%d\n%s", b.document, b.line, code)
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("block%d.go", i)), []byte(code), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "vet", "./...")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("go vet of the guides: %v\n%s", err, out)
	}
}

// newModule returns the folder of a module that requires this one and what this one requires.
func newModule(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	sum, err := os.ReadFile("../go.sum")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	text := strings.Replace(string(mod), "module "+module, "module hello", 1)
	text = regexp.MustCompile(`(?s)\ntool \(.*?\n\)\n`).ReplaceAllString(text, "\n")
	text += fmt.Sprintf("\nrequire %s v0.0.0\n\nreplace %s => %s\n", module, module, root)
	for name, content := range map[string]string{"go.mod": text, "go.sum": string(sum)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// wrap makes a file of a snippet, which is declarations or statements.
func wrap(t *testing.T, b block) string {
	t.Helper()
	body := b.text
	if _, err := parser.ParseFile(token.NewFileSet(), "", "package p;"+body, 0); err != nil {
		// Its variables are for the reader to use.
		file, err := parser.ParseFile(token.NewFileSet(), "", "package p; func _() {"+body+"\n}", 0)
		if err != nil {
			t.Errorf("%v: %v", b, err)
			return "package p\n"
		}
		used := ""
		for _, statement := range file.Decls[0].(*ast.FuncDecl).Body.List {
			if assign, ok := statement.(*ast.AssignStmt); ok && assign.Tok == token.DEFINE {
				for _, name := range assign.Lhs {
					used += fmt.Sprintf("\n_ = %s", name)
				}
			}
		}
		body = "func _(" + given + ") { {\n" + strings.TrimRight(body, "\n") + used + "\n} }\n"
		body = strings.Replace(body, "{ {\n", "{ {; /*line "+b.document+fmt.Sprintf(":%d:1*/ ", b.line), 1)
	}
	code := regexp.MustCompile(`(?m)(^|\s)//.*$`).ReplaceAllString(body, "")
	head := "package p; "
	for _, path := range packages {
		if regexp.MustCompile(`\b` + filepath.Base(path) + `\.`).MatchString(code) {
			head += fmt.Sprintf("import %q; ", path)
		}
	}
	return head + body
}

// TestGuideTables: in every table the row of dashes is the second one, and each row has as many cells; otherwise it is shown as text.
func TestGuideTables(t *testing.T) {
	documents, err := filepath.Glob("../*.md")
	if err != nil {
		t.Fatal(err)
	}
	dashes := regexp.MustCompile(`^\|(\s*:?-+:?\s*\|)+$`)
	cells := func(row string) int { return strings.Count(strings.ReplaceAll(row, `\|`, ""), "|") - 1 }
	tables := 0
	for _, document := range append(append(documents, guides(t)...), "../bench/RESULTS.md") {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(text), "\n")
		code := false
		for i, line := range lines {
			if strings.HasPrefix(strings.TrimSpace(line), "```") {
				code = !code
			}
			if code || !strings.HasPrefix(line, "|") {
				continue
			}
			switch first := i == 0 || !strings.HasPrefix(lines[i-1], "|"); {
			case first && (i+1 == len(lines) || !dashes.MatchString(lines[i+1])):
				t.Errorf("%s:%d: a table without a row of dashes below its header", document, i+1)
			case first:
				tables++
			case cells(line) != cells(lines[i-1]):
				t.Errorf("%s:%d: %d cells, and %d in the row above", document, i+1, cells(line), cells(lines[i-1]))
			}
		}
	}
	if tables < 20 {
		t.Errorf("%d tables were found, which is not all of them", tables)
	}
}

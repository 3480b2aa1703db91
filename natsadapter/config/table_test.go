package config

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/belfry-io/belfry/wsserver"
)

// leaves calls visit with the path of each field of t that holds a value.
func leaves(t reflect.Type, path string, visit func(path string, t reflect.Type)) {
	for i := range t.NumField() {
		field := t.Field(i)
		at, of := strings.TrimPrefix(path+"."+field.Name, "."), field.Type
		if of.Kind() == reflect.Pointer {
			of = of.Elem()
		}
		switch {
		case !field.IsExported():
		case of.Kind() == reflect.Struct && unitOf(of) == nil && of != reflect.TypeFor[slog.Logger]():
			leaves(of, at, visit)
		default:
			visit(at, field.Type)
		}
	}
}

// TestEveryField: each field of wsserver.Config is a setting, or named as one that only code can set.
func TestEveryField(t *testing.T) {
	known := make(map[string]bool)
	for _, table := range tables {
		for _, row := range table.rows {
			if field, ok := strings.CutPrefix(row.field, "Server."); ok {
				known[field] = false
			}
		}
	}
	for field := range byCode {
		if _, twice := known[field]; twice {
			t.Errorf("%s is a setting, and in byCode, too", field)
		}
		known[field] = false
	}
	leaves(reflect.TypeFor[wsserver.Config](), "", func(path string, of reflect.Type) {
		if _, ok := known[path]; !ok {
			t.Errorf("wsserver.Config.%s (%v) is no setting: add it to the tables, or to byCode with the reason", path, of)
		}
		known[path] = true
	})
	for field, there := range known {
		if !there {
			t.Errorf("wsserver.Config has no %s", field)
		}
	}
}

// TestEverySetting: each setting changes its own field, by a flag, by the environment and by the file.
func TestEverySetting(t *testing.T) {
	samples := map[*unit]string{plainTexts: "x", bools: "true", numbers: "7", sizes: "7KiB", durations: "7s", levels: "error", sites: "strict"}
	special := map[string]string{
		"addr": "127.0.0.1:1", "cors.origins": "https://a.example", "trusted-proxies": "192.0.2.0/24", "transports": "polling", "log.format": "json",
		"embedded.listen": "127.0.0.1:1", "embedded.routes": "nats://a:6222", "embedded.clients": "127.0.0.1:2", "limits.budget-bytes": "2GiB",
	}
	for _, table := range tables {
		for _, row := range table.rows {
			if row.traits&(secret|file) != 0 {
				continue
			}
			for _, way := range []string{"flag", "env", "file"} {
				l, err := define(Program{Name: "chat"})
				if err != nil {
					t.Fatal(err)
				}
				s := l.book.byKey[row.key]
				text := special[row.key]
				if text == "" {
					text = samples[s.unit]
				}
				if text == "" {
					text = "x" // a list of texts
				}
				g := &giving{book: l.book, texts: make(map[string]given)}
				switch way {
				case "flag":
					g.flags([]string{"-" + row.key, text})
				case "env":
					g.environ([]string{l.book.variable(row.key) + "=" + text})
				case "file":
					path := filepath.Join(t.TempDir(), "x.yaml")
					if err := os.WriteFile(path, []byte(row.key+": \""+text+"\""), 0o600); err != nil {
						t.Fatal(err)
					}
					g.file.text = path
					g.readConfig()
				}
				before := s.text()
				l.given = g.texts
				l.read(g, s)
				if len(g.errs) > 0 {
					t.Errorf("%s by %s: %v", row.key, way, g.errs)
				}
				if got := fieldOf(reflect.ValueOf(l.values).Elem(), row.field); s.text() != text || before == text || s.unit.print(got) != text {
					t.Errorf("%s by %s: %s has %q, and had %q, want %q", row.key, way, row.field, s.text(), before, text)
				}
			}
		}
	}
}

// TestNames: no two settings have the same environment variable, and all have a text for the help.
func TestNames(t *testing.T) {
	l, err := define(Program{Name: "chat"})
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]string)
	for _, s := range l.book.settings {
		name := l.book.variable(s.key)
		if seen[name] != "" {
			t.Errorf("%s and %s are both %s", s.key, seen[name], name)
		}
		seen[name] = s.key
		if s.help == "" || !validKey(s.key) {
			t.Errorf("setting %q: help %q", s.key, s.help)
		}
		if linked.MatchString(strings.TrimPrefix(name, "CHAT_")) {
			t.Errorf("%s is taken for a service of Kubernetes or systemd", name)
		}
	}
}

// TestDefaults: what the table says of a default is what the documentation of the field says.
func TestDefaults(t *testing.T) {
	docs := make(map[string]string) // by field, of structs that have several fields of a name by all of them
	for _, dir := range []string{"../../wsserver", "../../adapter/packet"} {
		files, err := filepath.Glob(dir + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				list, ok := n.(*ast.StructType)
				if !ok {
					return true
				}
				last := ""
				for _, field := range list.Fields.List {
					if field.Doc != nil || field.Comment != nil {
						last = field.Doc.Text() + field.Comment.Text()
					}
					for _, name := range field.Names {
						docs[name.Name] += last
					}
				}
				return true
			})
		}
	}
	checked := 0
	for _, table := range tables {
		for _, row := range table.rows {
			if !strings.HasPrefix(row.field, "Server.") || row.zero == "" {
				continue
			}
			field := row.field[strings.LastIndexByte(row.field, '.')+1:]
			text := strings.Join(strings.Fields(docs[field]), " ")
			var spelled []string
			if d, err := time.ParseDuration(row.zero); err == nil {
				spelled = []string{durationText(d), fmt.Sprintf("%d minutes", d/time.Minute)}
			} else if n, err := bytesOf(row.zero); err == nil {
				spelled = []string{grouped(n), spaced(row.zero)}
			} else {
				continue
			}
			checked++
			found := false
			for _, s := range spelled {
				found = found || strings.Contains(text, s)
			}
			if !found {
				t.Errorf("%s: the table says %s by default; the documentation of %s does not say %v: %s", row.key, row.zero, row.field, spelled, text)
			}
		}
	}
	if checked < 20 {
		t.Errorf("%d defaults were checked, which is not all of them", checked)
	}
}

func durationText(d time.Duration) string { return fmt.Sprintf("%d s", d/time.Second) }

func bytesOf(text string) (n int64, err error) {
	err = sizes.parse(text, reflect.ValueOf(&n).Elem())
	return n, err
}

// grouped is 1000000 as "1,000,000".
func grouped(n int64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// spaced is "64KiB" as "64 KiB".
func spaced(text string) string {
	digits := strings.TrimRight(text, "KMGiB")
	return strings.TrimSpace(digits + " " + text[len(digits):])
}

var update = flag.Bool("update", false, "write the table in the guide")

// TestGuide: the table in the guide is the one that the code makes.
func TestGuide(t *testing.T) {
	const path, begin, end = "../../examples/guides/configuration.md", "<!-- settings -->\n", "<!-- end of settings -->"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	table, err := Markdown(Program{Name: "name"})
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	now, after, ok2 := strings.Cut(rest, end)
	switch {
	case !ok || !ok2:
		t.Fatalf("%s has no lines %s and %s", path, strings.TrimSpace(begin), end)
	case now == table:
	case *update:
		if err := os.WriteFile(path, []byte(before+begin+table+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("the table in %s is not the one of the code: go test ./natsadapter/config -run TestGuide -update", path)
	}
}

package page

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/bench/internal/result"
)

var update = flag.Bool("update", false, "write testdata anew")

// example is made-up data.
func example(t *testing.T) *result.File {
	t.Helper()
	f, err := result.Load("", "testdata/example.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Check(); err != nil {
		t.Fatal(err)
	}
	return f
}

// golden compares text with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := "testdata/" + name
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s would change (-update writes it anew): got\n%s", path, got)
	}
}

func TestMarkdown(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := Markdown(&b, example(t)); err != nil {
		t.Fatal(err)
	}
	golden(t, "example.md", b.String())
}

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/bench/internal/result"
)

const madeUp = "internal/page/testdata/example.json"

// TestCompare compares and shows results by the command, as files and by commit.
func TestCompare(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f, err := result.Load("", madeUp)
	if err != nil {
		t.Fatal(err)
	}
	f.Origin.Commit = "feed12345678"
	for i, run := range f.Scenarios[0].Rows[0].Runs {
		f.Scenarios[0].Rows[0].Runs[i].Values["cpu_us"] = run.Values["cpu_us"] * 2
	}
	if _, err := result.Save(dir, f); err != nil {
		t.Fatal(err)
	}
	html := filepath.Join(t.TempDir(), "page.html")
	for _, c := range []struct {
		args   string
		status int
		said   string // by the report, or by the error
	}{
		{"-compare -results " + dir + " " + madeUp + " feed", 0, "0 got better, 1 worse"},
		{"-compare feed " + madeUp + " -results " + dir, 0, "1 got better, 0 worse"},
		{"-compare -results " + dir + " feed beef", 1, "commit that begins so"},
		{"-compare -results " + dir + " feed main.go", 1, "main.go"},
		{"-compare " + madeUp, 2, "got 1 results, want 2"},
		{"-compare a b c", 2, "got 3 results, want 2"},
		{"-compare -html x a b", 2, "-html"},
		{"-compare -h", 0, "go run ./bench -compare A B"},
		{"-show -h", 0, "go run ./bench -show A"},
		{"-show " + madeUp + " -html " + html, 0, "# Made-up figures, for tests"},
		{"-show " + madeUp + " -html " + dir, 1, dir},
		{"-show", 2, "got 0 results, want 1"},
	} {
		var out strings.Builder
		err := run(t.Context(), strings.Fields(c.args), &out, &out)
		said := out.String()
		if err != nil {
			said = err.Error()
		}
		if exitCode(err) != c.status || !strings.Contains(said, c.said) {
			t.Errorf("bench %s: exit status %d, want %d, and %q in\n%.600s", c.args, exitCode(err), c.status, c.said, said)
		}
	}
	if text, err := os.ReadFile(html); err != nil || !strings.Contains(string(text), "<canvas") {
		t.Errorf("-html: %v, and a file of %d bytes", err, len(text))
	}
}

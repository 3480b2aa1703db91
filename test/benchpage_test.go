package test

import (
	"cmp"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/belfry-io/belfry/test/child"
	"github.com/belfry-io/belfry/test/need"
)

// TestBenchPage has a real browser draw the benchmark's page of a result: made-up ones, or those of RESULT, a file. With CHARTS_SCREENSHOT,
// the path of a picture, it takes the picture of the README.
func TestBenchPage(t *testing.T) {
	t.Parallel()
	node, chromium := needNode(t), need.Chromium(t)
	file := cmp.Or(os.Getenv("RESULT"), "../bench/internal/page/testdata/example.json")
	page := filepath.Join(t.TempDir(), "page.html")
	if out, err := exec.CommandContext(t.Context(), child.Program(t, "bench"), "-show", file, "-html", page).CombinedOutput(); err != nil {
		t.Fatalf("bench -show: %v\n%s", err, out)
	}
	args := []string{chromium, page}
	if picture := os.Getenv("CHARTS_SCREENSHOT"); picture != "" {
		args = append(args, picture)
	}
	ctx, cancel := context.WithTimeout(t.Context(), scriptTime)
	defer cancel()
	cmd, err := script(ctx, node, "benchpage.mjs", args...)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("node benchpage.mjs: %v\n%s", errors.Join(err, ctx.Err()), out)
	}
}

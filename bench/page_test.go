package main

import (
	"cmp"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/need"
)

// TestPageInBrowser has a real browser draw the benchmark's page of a result: made-up ones, or those of RESULT, a file. With
// CHARTS_SCREENSHOT, the path of a picture, it takes the picture of the README.
func TestPageInBrowser(t *testing.T) {
	t.Parallel()
	node, _ := need.Node(t, "puppeteer-core")
	chromium := need.Chromium(t)
	page := filepath.Join(t.TempDir(), "page.html")
	args := []string{"-show", cmp.Or(os.Getenv("RESULT"), madeUp), "-html", page}
	if err := run(t.Context(), args, new(strings.Builder), new(strings.Builder)); err != nil {
		t.Fatal(err)
	}
	words := []string{"benchpage.mjs", chromium, page}
	if picture := os.Getenv("CHARTS_SCREENSHOT"); picture != "" {
		words = append(words, picture)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute) // the machine may be busy
	defer cancel()
	cmd := exec.CommandContext(ctx, node, words...)
	cmd.Dir = filepath.Join("..", "test", "node")
	in, err := cmd.StdinPipe() // with whose end the script closes the browser
	if err != nil {
		t.Fatal(err)
	}
	cmd.Cancel = in.Close
	cmd.WaitDelay = 10 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("node benchpage.mjs: %v\n%s", errors.Join(err, ctx.Err()), out)
	}
}

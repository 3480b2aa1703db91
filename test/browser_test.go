package test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/child"
	"github.com/belfry-io/belfry/test/need"
)

// TestChatInBrowser starts the chat as the README says, and drives its page in a real browser on the
// nodes of its cluster, of which the page's buttons kill some. With SCREENSHOT=path it takes the
// picture of the README.
func TestChatInBrowser(t *testing.T) {
	notRaced(t)
	t.Parallel()
	node, chromium := needNode(t), need.Chromium(t)
	path := os.Getenv("SCREENSHOT")
	restart := "1s"
	if path != "" {
		restart = "20s" // the picture has a dead node in it
	}
	args := append([]string{chromium}, startChat(t, "-restart", restart)...)
	if path != "" {
		args = append(args, path)
	}
	ctx, cancel := context.WithTimeout(t.Context(), scriptTime)
	defer cancel()
	cmd, err := script(ctx, node, "chat.mjs", args...)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("node chat.mjs: %v\n%s", errors.Join(err, ctx.Err()), out)
	}
}

// startChat runs the chat's cluster and returns the three addresses that it prints. At the end of
// the test it is interrupted, and has to end cleanly.
func startChat(t *testing.T, args ...string) []string {
	t.Helper()
	var log bytes.Buffer // it tells of what is killed
	cmd := exec.Command(child.Program(t, "examples/chat"), args...)
	cmd.Stderr = &log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		late := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
		defer late.Stop()
		io.Copy(io.Discard, stdout)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the chat after an interrupt: %v", err)
		}
		if t.Failed() {
			t.Logf("the log of the chat:\n%s", &log)
		}
	})
	var urls []string
	lines := bufio.NewScanner(stdout)
	for len(urls) < 3 && lines.Scan() {
		if _, url, ok := strings.Cut(lines.Text(), "http://"); ok {
			host, _, _ := strings.Cut(url, " ") // a word on a port that is taken may follow
			urls = append(urls, "http://"+host)
		}
	}
	if len(urls) < 3 {
		t.Fatalf("the chat printed %d addresses, want 3", len(urls))
	}
	return urls
}

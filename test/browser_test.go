package test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/child"
	"github.com/belfry-io/belfry/test/need"
)

// TestChatInBrowser starts the chat as the README says, and drives its page in a real browser on two of its nodes.
func TestChatInBrowser(t *testing.T) {
	t.Parallel()
	node, chromium := needNode(t), need.Chromium(t)
	urls := startChat(t)
	ctx, cancel := context.WithTimeout(t.Context(), scriptTime)
	defer cancel()
	args := []string{chromium, urls[0], urls[1]}
	if path := os.Getenv("SCREENSHOT"); path != "" {
		args = append(args, path)
	}
	cmd, err := script(ctx, node, "chat.mjs", args...)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("node chat.mjs: %v\n%s", errors.Join(err, ctx.Err()), out)
	}
}

// startChat runs the chat without flags and returns the addresses that it prints. At the end of the test it is interrupted, and has to
// end cleanly.
func startChat(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command(child.Program(t, "examples/chat"))
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		cmd.Process.Signal(os.Interrupt)
		killed := time.AfterFunc(15*time.Second, func() { cmd.Process.Kill() })
		defer killed.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the chat after an interrupt: %v", err)
		}
	}
	t.Cleanup(stop)
	var urls []string
	lines := bufio.NewScanner(stdout)
	for len(urls) < 3 && lines.Scan() {
		if _, url, ok := strings.Cut(lines.Text(), "http://"); ok {
			urls = append(urls, "http://"+url)
		}
	}
	if len(urls) < 3 {
		t.Fatalf("the chat printed %d addresses, want 3", len(urls))
	}
	return urls
}

package test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/test/child"
	"github.com/belfry-io/belfry/test/need"
)

// TestNotifyInBrowser starts two nodes of examples/notify, each in a process of its own, joined by
// NATS. It drives two devices of a user in a real browser, kills the node of one, as kill -9 does,
// starts a third, and stops the second.
func TestNotifyInBrowser(t *testing.T) {
	notRaced(t)
	t.Parallel()
	runner, chromium := needNode(t), need.Chromium(t)
	dir, program := t.TempDir(), child.Program(t, "examples/notify")
	secret, apiToken := strings.Repeat("of this test", 4), strings.Repeat("of the api", 4)
	args := []string{"-addr", "127.0.0.1:0", "-adapter", natstest.NewServer(t).URL(), "-log.level", "warn"}
	for flag, content := range map[string]string{"-secret-file": secret, "-api-token-file": apiToken} {
		path := filepath.Join(dir, flag)
		if err := os.WriteFile(path, []byte(content+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, flag, path)
	}
	first, firstURL := startNotify(t, program, args...)
	second, secondURL := startNotify(t, program, args...)
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": "ann", "groups": []string{"staff"}, "aud": "notify", "exp": time.Now().Add(time.Hour).Unix(),
	}).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), scriptTime)
	defer cancel()
	words := []string{chromium, firstURL, secondURL, token, apiToken}
	if path := os.Getenv("SCREENSHOT"); path != "" {
		words = append(words, path)
	}
	cmd, err := script(ctx, runner, "notify.mjs", words...)
	if err != nil {
		t.Fatal(err)
	}
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		switch lines.Text() {
		case "kill":
			first.Process.Kill()
			startNotify(t, program, args...)
		case "stop":
			second.Process.Signal(os.Interrupt)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("node notify.mjs: %v\n%s", errors.Join(err, ctx.Err()), errs.String())
	}
}

// startNotify runs a node, and returns its address. At the end of the test it is interrupted, and
// has to end cleanly unless it was killed.
func startNotify(t *testing.T, program string, args ...string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		killed := time.AfterFunc(15*time.Second, func() { cmd.Process.Kill() })
		defer killed.Stop()
		gone := cmd.Process.Signal(os.Interrupt) != nil
		if err := cmd.Wait(); err != nil && !gone && cmd.ProcessState.ExitCode() >= 0 {
			t.Errorf("the node after an interrupt: %v", err)
		}
	})
	address := regexp.MustCompile(`http://127\.0\.0\.1:\d+`)
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if url := address.FindString(lines.Text()); url != "" {
			return cmd, url
		}
	}
	t.Fatal("the node has printed no address")
	return nil, ""
}

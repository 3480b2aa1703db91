// Package test holds the tests that need more than one package: official clients, a browser, clusters, and the rules of the house.
package test

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// missing skips a test that needs what this machine does not have, so that it cannot be overlooked; in CI it fails.
func missing(t *testing.T, what, mend string) {
	t.Helper()
	msg := fmt.Sprintf("%s needs %s, which is missing here: %s", t.Name(), what, mend)
	if os.Getenv("CI") != "" {
		t.Fatal(msg)
	}
	// go test shows nothing of a test that passes or skips, unless it has a terminal to show it on.
	if tty, err := os.OpenFile("/dev/tty", os.O_WRONLY, 0); err == nil {
		fmt.Fprintln(tty, "SKIPPED:", msg)
		tty.Close()
	}
	t.Skip("SKIPPED: " + msg)
}

// needNode returns the path of node, with the packages of the folder node installed.
func needNode(t *testing.T) string {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		missing(t, "Node.js", "install it, then run `npm ci` in test/node")
	}
	if _, err := os.Stat(filepath.Join("node", "node_modules", "socket.io-client")); err != nil {
		missing(t, "packages from npm", "run `npm ci` in test/node")
	}
	// go test caches results, and knows only of files that the test itself has looked at.
	for _, pattern := range []string{"node/*.mjs", "node/package-lock.json", "python/*.py"} {
		scripts, _ := filepath.Glob(pattern)
		for _, script := range scripts {
			os.Stat(script)
		}
	}
	return node
}

// needChromium returns the path of a Chromium or Chrome.
func needChromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	missing(t, "Chromium", "install it, on Debian with `apt-get install chromium`")
	return ""
}

// testLogger writes to the test's own log.
func testLogger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(testWriter{t}, nil))
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}

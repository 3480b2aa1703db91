// Package test holds the tests that need more than one package: official clients, a browser, clusters, and the rules of the house.
package test

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/belfry-io/belfry/test/need"
)

// needNode returns the path of node, with the packages of the folder node installed.
func needNode(t *testing.T) string {
	t.Helper()
	node, _ := need.Node(t, "socket.io-client")
	// go test caches results, and knows only of files that the test itself has looked at.
	for _, pattern := range []string{"node/*.mjs", "node/package-lock.json", "python/*.py"} {
		scripts, _ := filepath.Glob(pattern)
		for _, script := range scripts {
			os.Stat(script)
		}
	}
	return node
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

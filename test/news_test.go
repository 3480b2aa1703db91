package test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/test/child"
	"github.com/belfry-io/belfry/wsserver"
)

// A logbook is what a server has logged.
type logbook struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// wait waits for a line with all of these in it.
func (l *logbook) wait(t *testing.T, parts ...string) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		l.mu.Lock()
		text := l.text.String()
		l.mu.Unlock()
		for line := range strings.Lines(text) {
			found := true
			for _, part := range parts {
				found = found && strings.Contains(line, part)
			}
			if found {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("no line with %q in\n%s", parts, text)
		}
	}
}

// TestLog has an operator's night: a node is killed with kill -9, and its successor comes; the broker goes away and comes back. All of it is in
// the log of the server, also what the adapter of NATS has to say, which was made of a URL.
func TestLog(t *testing.T) {
	t.Parallel()
	nats := natstest.NewServer(t)
	adapter, err := natsadapter.FromURL(nats.URL() + "?cluster=test")
	if err != nil {
		t.Fatal(err)
	}
	var log logbook
	srv := wsserver.New(wsserver.Config{Adapter: adapter, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	t.Cleanup(func() { srv.Close(context.Background()) })
	if err := srv.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	log.wait(t, "INFO", `"belfry: adapter connected"`)

	node := child.Start(t, "stuck", nats.URL())
	id, err := node.Line()
	if err != nil {
		t.Fatal(err)
	}
	log.wait(t, "INFO", `"belfry: a node was met"`, "other="+id)
	node.Kill()
	log.wait(t, "WARN", "belfry: a node is suspect", "other="+id, "reason=")
	if err := node.Restart(); err != nil {
		t.Fatal(err)
	}
	if id, err = node.Line(); err != nil {
		t.Fatal(err)
	}
	log.wait(t, "INFO", `"belfry: a node was met"`, "other="+id)

	nats.Shutdown()
	log.wait(t, "WARN", `"belfry: adapter degraded"`, "error=")
	log.wait(t, "WARN", `"natsadapter: not connected, trying again"`)
	nats.Restart()
	log.wait(t, "INFO", `"belfry: adapter recovered"`, "after=")
	log.wait(t, "INFO", `"natsadapter: connected"`, "cluster=test")
	if err := node.Quit(); err != nil {
		t.Fatal(err)
	}
}

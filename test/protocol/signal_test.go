package protocol

import (
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestInterrupt: belfry's programs end soon and in order when they are asked to, whatever their clients are doing.
func TestInterrupt(t *testing.T) {
	// It takes a second, or a busy machine a few; a program that waits for all that its clients may still do takes five.
	const limit = 4500 * time.Millisecond
	for _, program := range []struct {
		pkg, path string
		args      []string
	}{
		{"wsserver/internal/engineecho", "/engine.io/", nil},
		// The clients connect to no namespace, and must be there still when the signal comes.
		{"test/protocolapp", "/socket.io/", []string{"-connect-timeout", "1m"}},
	} {
		binary := build(t, program.pkg)
		for _, state := range []struct {
			name string
			do   func(c *check)
		}{
			{"no client", func(c *check) {}},
			{"a request that is not complete", func(c *check) { c.dial().send("GET /") }},
			{"a session that polls", func(c *check) { c.poll() }},
			{"a GET that waits", func(c *check) { c.poll().pending() }},
			{"a POST that hangs", func(c *check) { c.poll().begun("4x") }},
			{"a WebSocket that does not answer", func(c *check) { c.dialSocket(websocket, "").next() }},
			{"a frame that is not complete", func(c *check) { c.dialSocket(websocket, textFrame("4x")[:4]).next() }},
			{"a WebSocket that probes", func(c *check) { c.poll().probe("2probe").want("3probe") }},
			{"a session that was upgraded", func(c *check) { c.poll().upgraded() }},
		} {
			t.Run(filepath.Base(program.pkg)+"/"+state.name, func(t *testing.T) {
				t.Parallel()
				p := launch(t, binary, append(program.args, "-addr", "127.0.0.1:0", "-path", program.path, "-ping-interval", "1m")...)
				if err := try(func() { state.do(&check{t: t, server: server{address: p.address, path: program.path}}) }); err != "" {
					t.Fatal(string(err))
				}
				started := time.Now()
				p.cmd.Process.Signal(syscall.SIGINT)
				select {
				case <-p.exited:
					if took := time.Since(started); p.err != nil || took > limit {
						t.Errorf("got %v after %v, want status 0 within %v", p.err, took, limit)
					}
				case <-time.After(patience):
					t.Errorf("the program still runs")
				}
			})
		}
	}
}

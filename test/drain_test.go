package test

import (
	"bufio"
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
)

// TestClientsOfDrain: three servers, of which two drain one after the other. Official clients over WebSockets, by polling, and those that change from
// one to the other see that their transport closes, and come back by themselves.
func TestClientsOfDrain(t *testing.T) {
	t.Parallel()
	const n = 30
	node := needNode(t)
	memory := new(adapter.Memory)
	var servers []*wsserver.Server
	var urls []string
	for range 3 {
		srv := newServer(t, wsserver.Config{Adapter: memory})
		serveScenario(srv)
		servers, urls = append(servers, srv), append(urls, serve(t, srv))
	}
	ctx, cancel := context.WithTimeout(t.Context(), scriptTime)
	cmd, err := script(ctx, node, "drain.mjs", append([]string{strconv.Itoa(n)}, urls...)...)
	kit.OK(t, err)
	out, err := cmd.StdoutPipe()
	kit.OK(t, err)
	var complaints kit.Log
	cmd.Stderr = &complaints
	kit.OK(t, cmd.Start())
	defer func() {
		cancel()
		cmd.Wait() // it was told to end
		if text := complaints.String(); text != "" {
			t.Errorf("node drain.mjs: %s", text)
		}
	}()
	lines := bufio.NewScanner(out)
	// next returns the words of the next line.
	next := func() []string {
		t.Helper()
		if !lines.Scan() {
			t.Fatalf("node drain.mjs has ended: %v\n%s", lines.Err(), complaints.String())
		}
		return strings.SplitN(lines.Text(), " ", 4)
	}
	for range n {
		if line := next(); line[0] != "up" || line[3] != urls[0] {
			t.Fatalf("%q, want that a client is up", line)
		}
	}
	for i := range 2 {
		begun := time.Now()
		ended := make(chan error, 1)
		go func() {
			ended <- servers[i].Drain(ctx, wsserver.Drain{Notice: -1, Over: time.Second})
		}()
		downAt := make(map[string]time.Time)
		back := make(map[string]bool)
		for len(back) < n {
			switch line := next(); {
			case line[0] == "down" && line[3] == "transport close":
				downAt[line[1]] = time.Now()
			case line[0] == "up" && line[3] == urls[i+1]:
				back[line[1]] = true
				if d := time.Since(downAt[line[1]]); d > 3*time.Second {
					t.Logf("client %s was away for %v", line[1], d)
				}
			default:
				t.Errorf("%q, want transport close, or a client that is up at %s", line, urls[i+1])
				if !slices.Contains([]string{"down", "up"}, line[0]) {
					t.FailNow()
				}
				back[line[1]] = back[line[1]] || line[0] == "up"
			}
		}
		kit.OK(t, <-ended)
		s := servers[i].Stats()
		t.Logf("drained and back after %v: %+v", time.Since(begun), s.Drain)
		if s.Connections != 0 || s.Drain.Ended != n || s.Drain.Cut != 0 {
			t.Errorf("server %d: %+v, %d connections", i, s.Drain, s.Connections)
		}
	}
}

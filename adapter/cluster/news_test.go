package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/internal/mesh"
	"github.com/belfry-io/belfry/test/kit"
)

var errBoom = errors.New("boom")

// notebook is a handler that keeps its lines.
type notebook struct {
	mu    sync.Mutex // guards lines
	lines []string
}

func (n *notebook) Enabled(context.Context, slog.Level) bool { return true }
func (n *notebook) WithAttrs([]slog.Attr) slog.Handler       { return n }
func (n *notebook) WithGroup(string) slog.Handler            { return n }
func (n *notebook) Handle(_ context.Context, r slog.Record) error {
	line := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "node" {
			line += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		}
		return true
	})
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, line)
	return nil
}

// want checks the lines since the last time, in any order, and forgets them.
func (n *notebook) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	got := slices.Sorted(slices.Values(n.lines))
	if slices.Sort(want); !slices.Equal(got, want) {
		t.Errorf("the log has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	n.lines = nil
}

// TestNews has nodes come, be silent, return, die and leave: each is a line, with what an operator needs.
func TestNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		var log, own notebook
		h := openWith(t, HubConfig{Adapter: memory, Logger: slog.New(&log)})
		kit.OK(t, h.Ready(t.Context()))
		log.want(t, "INFO belfry: adapter connected")

		wires := []*wire{{Memory: memory}, {Memory: memory}, {Memory: memory}}
		var others []*Hub
		for i, w := range wires {
			cfg := HubConfig{Adapter: w, Name: fmt.Sprint("web-", i)}
			if i == 0 {
				cfg.Logger = slog.New(&own)
			}
			o := openWith(t, cfg)
			others = append(others, o)
			kit.OK(t, o.Ready(t.Context()))
		}
		time.Sleep(time.Second)
		other := func(i int) string { return fmt.Sprintf(" other=%s other_name=web-%d", others[i].Node(), i) }
		log.want(t, "INFO belfry: a node was met"+other(0), "INFO belfry: a node was met"+other(1), "INFO belfry: a node was met"+other(2))
		own.mu.Lock()
		own.lines = nil
		own.mu.Unlock()

		// A partition: silent, and back.
		wires[0].set(adapter.State{Status: adapter.Degraded, Reason: errBoom})
		time.Sleep(5 * time.Second)
		log.want(t, "WARN belfry: a node is suspect: nobody waits for it until it answers"+other(0)+" reason=it is silent silent=2s")
		own.want(t, "WARN belfry: adapter degraded error=boom")
		wires[0].set(adapter.State{Status: adapter.Connected})
		time.Sleep(time.Second)
		own.want(t, "INFO belfry: adapter recovered after=5s")
		log.mu.Lock()
		if len(log.lines) != 1 || !strings.HasPrefix(log.lines[0], "INFO belfry: a node is back"+other(0)+" after=") {
			t.Errorf("after the partition the log has %q", log.lines)
		}
		log.lines = nil
		log.mu.Unlock()

		// One dies, and one leaves.
		wires[1].die()
		time.Sleep(mesh.DeadAfter + 5*time.Second)
		log.want(t, "WARN belfry: a node is suspect: nobody waits for it until it answers"+other(1)+" reason=it is silent silent=2s",
			"WARN belfry: a node is gone: it was given up"+other(1)+" reason=it was silent for too long silent=30s")
		others[2].Close(t.Context())
		log.want(t, "INFO belfry: a node has left"+other(2))

		// Emitters come and go all the time.
		e := openWith(t, HubConfig{Adapter: memory, Client: true, Name: "job"})
		kit.OK(t, e.Ready(t.Context()))
		time.Sleep(time.Second)
		e.Close(t.Context())
		log.want(t, "DEBUG belfry: a node was met other="+e.Node()+" other_name=job emitter=true", "DEBUG belfry: a node has left other="+e.Node()+" other_name=job emitter=true")
	})
}

// TestOwnOutageIsNoNewsOfOthers: a node that is cut off says so, and does not suspect each of the others in the log.
func TestOwnOutageIsNoNewsOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log notebook
		memory := new(adapter.Memory)
		w := &wire{Memory: memory}
		h := openWith(t, HubConfig{Adapter: w, Logger: slog.New(&log)})
		for range 3 {
			openWith(t, HubConfig{Adapter: memory})
		}
		kit.OK(t, h.Ready(t.Context()))
		time.Sleep(time.Second)
		log.mu.Lock()
		log.lines = nil
		log.mu.Unlock()
		w.set(adapter.State{Status: adapter.Degraded, Reason: errBoom})
		time.Sleep(10 * time.Second)
		w.set(adapter.State{Status: adapter.Degraded, Reason: fmt.Errorf("still: %w", errBoom)})
		synctest.Wait()
		w.set(adapter.State{Status: adapter.Connected})
		time.Sleep(3 * time.Second)
		log.want(t, "WARN belfry: adapter degraded error=boom", "WARN belfry: adapter still degraded error=still: boom for=10s",
			"INFO belfry: adapter recovered after=10s")
		w.set(adapter.State{Status: adapter.Degraded}, adapter.State{Status: adapter.Connected}) // before anybody looks
		time.Sleep(3 * time.Second)
		log.want(t, "INFO belfry: adapter recovered before anybody saw it degraded")
		w.set(adapter.State{Status: adapter.Connected, Reason: errBoom})
		time.Sleep(3 * time.Second)
		log.want(t, "WARN belfry: adapter connected, but something is refused error=boom")
		w.set(adapter.State{Status: adapter.Connected})
		log.want(t, "INFO belfry: adapter is refused nothing any more")
	})
}

// TestNewsAreBounded: a storm of them costs a burst of lines and one a second, which says how many are missing.
func TestNewsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n news
		var log notebook
		for range 10 * newsBurst {
			n.add(mesh.Transition{Is: mesh.StandingLeft})
		}
		n.log(slog.New(&log))
		kit.Equal(t, len(log.lines), newsBurst, "lines logged of a storm")
		if want := fmt.Sprintf("skipped=%d", 9*newsBurst); !strings.HasSuffix(log.lines[0], want) {
			t.Errorf("the first line is %q, want %s in it", log.lines[0], want)
		}
		log.lines = nil
		time.Sleep(newsEvery)
		n.add(mesh.Transition{Is: mesh.StandingLeft})
		n.add(mesh.Transition{Is: mesh.StandingLeft})
		n.log(slog.New(&log))
		log.want(t, "INFO belfry: a node has left other= skipped=1")
		time.Sleep(2 * newsBurst * newsEvery)
		for range 2 * newsBurst {
			n.add(mesh.Transition{Is: mesh.StandingLeft})
		}
		n.log(slog.New(&log))
		kit.Equal(t, len(log.lines), newsBurst, "lines logged of another storm")
	})
}

// logged is an adapter whose links log.
type logged struct {
	adapter.Memory
	log *slog.Logger
}

func (l *logged) OpenFor(ctx context.Context, needs adapter.Needs, recv func([]byte)) (adapter.Link, error) {
	l.log = needs.Logger
	return l.Open(ctx, recv)
}

// TestOneLogger: the links of an adapter log where the Hub does.
func TestOneLogger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, log := new(logged), new(notebook)
		openWith(t, HubConfig{Adapter: a, Logger: slog.New(log)})
		log.want(t, "INFO belfry: adapter connected")
		a.log.Info("hello")
		log.want(t, "INFO hello")
	})
}

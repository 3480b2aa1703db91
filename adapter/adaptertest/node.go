package adaptertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/belfry-io/belfry/adapter"
)

// A node is a link and what it has received.
type node struct {
	c       *cluster
	id      string
	at      int // the number of its adapter
	adapter adapter.Adapter
	link    adapter.Link // set by open

	dwell    atomic.Bool // recv takes its time
	receives atomic.Bool // recv is running
	closed   atomic.Bool // Close has returned

	mu      sync.Mutex // guards what follows
	handle  func(msg []byte)
	got     []string        // in order, what came while handle was nil
	fences  map[string]bool // the fences that arrived
	changed chan struct{}   // closed at the next arrival; nil if nobody waits for it
}

// topic is the topic of the node itself.
func (n *node) topic() adapter.Topic { return adapter.Topic{Kind: adapter.Node, Node: n.id} }

// open opens the link. It may be called from any goroutine.
func (n *node) open(ctx context.Context) error {
	link, err := n.adapter.Open(ctx, n.recv)
	if err != nil {
		return err
	}
	if link == nil {
		return errors.New("got neither a link nor an error")
	}
	n.link = link
	return nil
}

// turns waits until the link is in that state.
func (n *node) turns(ctx context.Context, want adapter.Status) error {
	for {
		state, changed := n.link.State()
		if state.Status == want {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("state is %v (%v), want %v", state.Status, state.Reason, want)
		}
	}
}

// dwellYields is how often a recv that takes its time lets other goroutines run.
const dwellYields = 50

func (n *node) recv(msg []byte) {
	if !n.receives.CompareAndSwap(false, true) {
		n.c.breach("recv of %s was called while another call of it was running", n.id)
		return
	}
	defer n.receives.Store(false)
	if n.closed.Load() {
		n.c.breach("recv of %s was called after Close had returned", n.id)
		return
	}
	if n.dwell.Load() {
		for range dwellYields {
			runtime.Gosched()
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case bytes.HasPrefix(msg, []byte(fencePrefix)):
		n.fences[string(msg)] = true
	case n.handle != nil:
		n.handle(msg)
	default:
		n.got = append(n.got, string(msg))
	}
	if n.changed != nil {
		close(n.changed)
		n.changed = nil
	}
}

// onMessage hands what arrives from now on to handle, which runs under n.mu, and not to got.
func (n *node) onMessage(handle func(msg []byte)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.handle = handle
}

// await waits until missing, which it calls under n.mu, returns "". The error says what was still missing, or that a rule has been
// broken meanwhile. It may be called from any goroutine.
func (n *node) await(ctx context.Context, missing func() string) error {
	for {
		n.mu.Lock()
		what := missing()
		if what == "" {
			n.mu.Unlock()
			return nil
		}
		if n.changed == nil {
			n.changed = make(chan struct{})
		}
		changed := n.changed
		n.mu.Unlock()
		select {
		case <-changed:
		case <-n.c.broken:
			return errors.New("a rule was broken")
		case <-ctx.Done():
			state, _ := n.link.State()
			return fmt.Errorf("%s (%v): %s", n.id, state.Status, what)
		}
	}
}

// wait is await for the case's goroutine: it ends the case if the wait fails.
func (n *node) wait(missing func() string) {
	n.c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), n.c.timeout)
	defer cancel()
	n.c.must(n.await(ctx, missing))
}

// waitFor waits until msgs have all come, in whatever order.
func (n *node) waitFor(msgs ...string) {
	n.c.t.Helper()
	n.wait(func() string { return missing(n.got, msgs) })
}

// expect fails the case unless msgs have all come by now, in whatever order, and forgets what has come. It is for what stands before
// a fence: what has not come by then is lost.
func (n *node) expect(msgs ...string) {
	n.c.t.Helper()
	if lost := missing(n.take(), msgs); lost != "" {
		n.c.fatalf("%s: %s", n.id, lost)
	}
}

// missing says which of want are not in got, or "".
func missing(got, want []string) string {
	have := make(map[string]bool, len(got))
	for _, g := range got {
		have[g] = true
	}
	var absent []string
	for _, w := range want {
		if !have[w] {
			absent = append(absent, fmt.Sprintf("%.40q", w))
		}
	}
	const shown = 5
	switch {
	case len(absent) == 0:
		return ""
	case len(absent) > shown:
		return fmt.Sprintf("got %d messages, missed %d of %d: %s ...", len(got), len(absent), len(want), strings.Join(absent[:shown], ", "))
	}
	return fmt.Sprintf("got %d messages, missed %d of %d: %s", len(got), len(absent), len(want), strings.Join(absent, ", "))
}

// take returns what has come, and forgets it.
func (n *node) take() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	got := n.got
	n.got = nil
	return got
}

// missesFence is a condition for await: that the fence has arrived.
func (n *node) missesFence(fence []byte) func() string {
	return func() string {
		if n.fences[string(fence)] {
			return ""
		}
		return "a message on the node's own topic has not arrived"
	}
}

// publish publishes msg on topic.
func (n *node) publish(topic adapter.Topic, msg string) {
	n.c.t.Helper()
	n.c.do("Publish on "+topic.String(), func(ctx context.Context) error { return n.link.Publish(ctx, topic, []byte(msg)) })
}

// subscribe subscribes topics and fences: afterwards whatever another node publishes on them reaches n.
func (n *node) subscribe(topics ...adapter.Topic) {
	n.c.t.Helper()
	n.c.do("Subscribe", func(ctx context.Context) error { return n.link.Subscribe(ctx, topics...) })
	n.fenceAll()
}

// unsubscribe ends the subscriptions of topics and fences.
func (n *node) unsubscribe(topics ...adapter.Topic) {
	n.c.t.Helper()
	n.c.do("Unsubscribe", func(ctx context.Context) error { return n.link.Unsubscribe(ctx, topics...) })
	n.fenceAll()
}

// fenceAll returns when every other node has received something that n has published during the call.
func (n *node) fenceAll() {
	n.c.t.Helper()
	for _, other := range n.c.nodes {
		if other != n {
			n.fenceTo(other)
		}
	}
}

// fenceTo returns when other has received something that n has published during the call, and with it, by the order of one publisher,
// all that n has published before.
func (n *node) fenceTo(other *node) {
	n.c.t.Helper()
	fence := n.c.nextFence()
	n.c.do("Publish on "+other.topic().String(), func(ctx context.Context) error {
		return n.link.Publish(ctx, other.topic(), fence)
	})
	other.wait(other.missesFence(fence))
}

// close closes the link, and fails if that takes longer than the time-out.
func (n *node) close() {
	n.c.t.Helper()
	n.c.forget(n)
	n.c.must(n.c.within(n.c.timeout, "Close", n.closeLink), n.id)
}

// closeLink closes the link and checks that recv has ended. It may be called concurrently.
func (n *node) closeLink() error {
	err := n.link.Close()
	n.closed.Store(true)
	if n.receives.Load() {
		n.c.breach("recv of %s was still running when Close had returned", n.id)
	}
	return err
}

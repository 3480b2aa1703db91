package natsadapter

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/natsadapter/embedded"
	"github.com/belfry-io/belfry/natsadapter/natstest"
)

// patience bounds every wait of the tests.
const patience = time.Minute

// A node is a link under test and what it has received.
type node struct {
	*link
	t    *testing.T
	msgs chan string
}

// open opens a, which must succeed. The link ends with the test.
func open(t *testing.T, a *Adapter) *node {
	t.Helper()
	n := &node{t: t, msgs: make(chan string, 1<<20)}
	l, err := a.Open(t.Context(), func(msg []byte) { n.msgs <- string(msg) })
	if err != nil {
		t.Fatal(err)
	}
	n.link = l.(*link)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return n
}

// quiet is an adapter on the servers at url that keeps its log to itself, and whose links return soon unless options say otherwise.
func quiet(url string, options ...nats.Option) *Adapter {
	soon := []nats.Option{nats.ReconnectWait(20 * time.Millisecond), nats.ReconnectJitter(20*time.Millisecond, 20*time.Millisecond)}
	return New(Config{URL: url, Logger: slog.New(slog.DiscardHandler), Options: append(soon, options...)})
}

// until waits for the link's status and returns the reason.
func (n *node) until(want adapter.Status) error {
	n.t.Helper()
	return n.untilState(want, func(s adapter.State) bool { return s.Status == want && (want != adapter.Connected || s.Reason == nil) })
}

// refused waits until the link is connected and the server refuses it something, and returns what.
func (n *node) refused() error {
	n.t.Helper()
	return n.untilState("connected and refused something", func(s adapter.State) bool { return s.Status == adapter.Connected && s.Reason != nil })
}

func (n *node) untilState(want any, is func(adapter.State) bool) error {
	n.t.Helper()
	deadline := time.After(patience)
	for {
		state, changed := n.State()
		if is(state) {
			return state.Reason
		}
		select {
		case <-changed:
		case <-deadline:
			n.t.Fatalf("the state is %v (%v), want %v", state.Status, state.Reason, want)
		}
	}
}

func (n *node) subscribe(topics ...adapter.Topic) {
	n.t.Helper()
	if err := n.Subscribe(n.t.Context(), topics...); err != nil {
		n.t.Fatal(err)
	}
}

// settle returns when the link's server knows what the link is subscribed to.
func (n *node) settle() {
	n.t.Helper()
	if err := n.current().nc.Flush(); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) unsubscribe(topics ...adapter.Topic) {
	n.t.Helper()
	if err := n.Unsubscribe(n.t.Context(), topics...); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) publish(topic adapter.Topic, msg string) {
	n.t.Helper()
	if err := n.Publish(n.t.Context(), topic, []byte(msg)); err != nil {
		n.t.Fatal(err)
	}
}

// next returns the next message, but for what is left of reaches.
func (n *node) next() string {
	n.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case msg := <-n.msgs:
			if !strings.HasPrefix(msg, probe) {
				return msg
			}
		case <-deadline:
			n.t.Fatal("no message")
		}
	}
}

// expect fails unless the next messages are want.
func (n *node) expect(want ...string) {
	n.t.Helper()
	for _, w := range want {
		if got := n.next(); got != w {
			n.t.Fatalf("received %.80q, want %q", got, w)
		}
	}
}

const probe = "a probe of "

// reaches publishes from n on topic until to has received it; other messages that come are skipped. It is for where interest travels.
func (n *node) reaches(to *node, topic adapter.Topic) {
	n.t.Helper()
	msg := probe + rand.Text() // none of an earlier call
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); ; {
		if err := n.Publish(n.t.Context(), topic, []byte(msg)); err != nil {
			n.t.Logf("publish: %v", err)
		}
		for waiting := true; waiting; {
			select {
			case got := <-to.msgs:
				if got == msg {
					return
				}
			case <-tick.C:
				waiting = false
			case <-deadline:
				n.t.Fatalf("nothing arrives on %s", topic)
			}
		}
	}
}

func room(name string) adapter.Topic {
	return adapter.Topic{Kind: adapter.Room, Namespace: "/", Room: name}
}

// current returns the connection in use.
func (n *node) current() *conn {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cur
}

// another waits until the link is connected by another connection than old. That it is Degraded in between, nobody may see: a link whose
// connection has lasted connects again at once.
func (n *node) another(old *conn) {
	n.t.Helper()
	eventually(n.t, func() error {
		if cur := n.current(); cur == nil || cur == old {
			return errors.New("there is no other connection")
		}
		return nil
	})
	n.until(adapter.Connected)
}

func TestRestartOfServer(t *testing.T) {
	s := natstest.NewServer(t)
	a, b := open(t, quiet(s.URL())), open(t, quiet(s.URL()))
	a.subscribe(room("kept"), room("left"))
	a.settle()
	b.publish(room("kept"), "1")
	a.expect("1")

	s.Shutdown()
	for _, n := range []*node{a, b} {
		if reason := n.until(adapter.Degraded); reason == nil || !strings.Contains(reason.Error(), "lost") {
			t.Errorf("the reason is %v, want that the connection is lost", reason)
		}
	}
	err := b.Publish(t.Context(), room("kept"), []byte("stale"))
	if !errors.Is(err, adapter.ErrUnavailable) {
		t.Errorf("Publish without a server: %v, want that the broker is out of reach", err)
	}
	a.subscribe(room("new"))
	a.unsubscribe(room("left"))

	s.Restart()
	a.until(adapter.Connected)
	b.until(adapter.Connected)
	b.publish(room("left"), "2")
	b.publish(room("kept"), "3")
	b.publish(room("new"), "4")
	a.expect("3", "4")
}

func TestServerThatComesLater(t *testing.T) {
	s := natstest.NewServer(t)
	s.Shutdown()
	a, b := open(t, quiet(s.URL())), open(t, quiet(s.URL()))
	state, _ := a.State()
	if state.Status != adapter.Degraded || state.Reason == nil {
		t.Fatalf("the state is %v (%v), want degraded with a reason", state.Status, state.Reason)
	}
	a.subscribe(room("x"))
	s.Restart()
	a.until(adapter.Connected)
	b.until(adapter.Connected)
	b.publish(room("x"), "1")
	a.expect("1")
}

// TestInProcessServer has a server that can be reached in no other way, and is gone in the end.
func TestInProcessServer(t *testing.T) {
	s, err := natsserver.NewServer(&natsserver.Options{DontListen: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	adp := quiet("nats://not-looked-up.invalid", nats.InProcessServer(s))
	a, b := open(t, adp), open(t, adp)
	a.subscribe(room("x"))
	a.settle()
	b.publish(room("x"), strings.Repeat("1", 100_000))
	a.expect(strings.Repeat("1", 100_000))
	s.Shutdown()
	a.until(adapter.Degraded)
	open(t, adp).until(adapter.Degraded)
}

// TestClosedConnections closes connections in ways after which nats.go never connects again.
func TestClosedConnections(t *testing.T) {
	s := natstest.NewServer(t)
	b := open(t, quiet(s.URL()))
	for name, ruin := range map[string]func(c *nats.Conn) error{
		"Close": func(c *nats.Conn) error { c.Close(); return nil },
		"ControlLine": func(c *nats.Conn) error { // what a raw room name of 5,000 bytes does
			return c.Publish(strings.Repeat("x", 5000), nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := open(t, quiet(s.URL()))
			a.subscribe(room(name))
			_, changed := a.State()
			if err := ruin(a.current().nc); err != nil {
				t.Fatal(err)
			}
			select {
			case <-changed:
			case <-time.After(patience):
				t.Fatal("the state did not change")
			}
			a.until(adapter.Connected)
			b.publish(room(name), "after")
			a.expect("after")
			if got := a.adapter.Stats().Connections; got != 2 {
				t.Errorf("%d connections, want 2", got)
			}
			if state, _ := a.State(); state.Connections != 2 {
				t.Errorf("the link has become connected %d times, want 2", state.Connections)
			}
		})
	}
}

func TestOpenErrors(t *testing.T) {
	s := natstest.Start(t, embedded.Config{Username: "u", Password: "right"})
	withUser := func(user string) string { return strings.Replace(s.URL(), "//", "//"+user+"@", 1) }
	for _, tc := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"Scheme", Config{URL: "http://127.0.0.1:1"}, "want nats or tls"},
		{"Prefix", Config{Prefix: "*"}, "prefix"},
		{"NoUser", Config{URL: s.URL()}, "Authorization Violation"},
		{"Password", Config{URL: withUser("u:wrong")}, "Authorization Violation"},
		{"Credentials", Config{URL: s.URL(), Options: []nats.Option{nats.UserCredentials("no-such-file")}}, "no-such-file"},
		{"Certificate", Config{URL: s.URL(), Options: []nats.Option{nats.RootCAs("no-such-file")}}, "no-such-file"},
		{"NoTLS", Config{URL: strings.Replace(withUser("u:right"), "nats:", "tls:", 1)}, "secure connection not available"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.cfg.Logger = slog.New(slog.DiscardHandler)
			l, err := New(tc.cfg).Open(t.Context(), func([]byte) {})
			if err == nil {
				t.Fatalf("no error, want one with %q; Close: %v", tc.want, l.Close())
			}
			if !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "wrong") {
				t.Errorf("%v, want %q and no password in it", err, tc.want)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := quiet(withUser("u:right")).Open(ctx, func([]byte) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("Open with a cancelled ctx: %v, want context.Canceled", err)
	}
	open(t, quiet(withUser("u:right"))).until(adapter.Connected)
}

// TestOpenWithDeadline opens a link to a server that accepts connections and says nothing.
func TestOpenWithDeadline(t *testing.T) {
	s := natstest.NewServer(t)
	p := newProxy(t, s.URL())
	p.hold()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	l, err := quiet(p.url()).Open(ctx, func([]byte) {})
	if err != nil {
		t.Fatal(err)
	}
	n := &node{link: l.(*link), t: t}
	n.until(adapter.Degraded)
	p.release()
	n.until(adapter.Connected)
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// TestCloseWhileConnecting closes a link that waits for a server's first word.
func TestCloseWhileConnecting(t *testing.T) {
	s := natstest.NewServer(t)
	p := newProxy(t, s.URL())
	p.hold()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	l, err := quiet(p.url(), nats.Timeout(time.Hour)).Open(ctx, func([]byte) {})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// TestLostAuthorization changes the password under a link and back again.
func TestLostAuthorization(t *testing.T) {
	right := natstest.Start(t, embedded.Config{Username: "u", Password: "right"})
	n := open(t, quiet(strings.Replace(right.URL(), "//", "//u:right@", 1)))
	n.until(adapter.Connected)
	n.subscribe(room("x"))
	right.Shutdown()
	lost := n.until(adapter.Degraded)
	_, changed := n.State()
	failedAgain := func() error {
		n.stateMu.Lock()
		defer n.stateMu.Unlock()
		if n.outages.skipped == 0 {
			return errors.New("the link does not try again")
		}
		return nil
	}
	eventually(t, failedAgain)
	select {
	case <-changed:
		state, _ := n.State()
		t.Errorf("the reason changed from %v to %v though the outage goes on", lost, state.Reason)
	default:
	}

	var port int
	if _, err := fmt.Sscanf(right.URL(), "nats://127.0.0.1:%d", &port); err != nil {
		t.Fatal(err)
	}
	wrong := natstest.Start(t, embedded.Config{Username: "u", Password: "other", Port: port})
	changes := 0
	deadline := time.After(patience)
	for {
		state, changed := n.State()
		if state.Reason != nil && errors.Is(state.Reason, nats.ErrAuthorization) {
			break
		}
		select {
		case <-changed:
			changes++
		case <-deadline:
			t.Fatalf("the state is %v (%v), want degraded by an authorization violation", state.Status, state.Reason)
		}
	}
	if changes > 1 {
		t.Errorf("the state changed %d times on the way, want once", changes)
	}
	wrong.Shutdown()
	right.Restart()
	n.until(adapter.Connected)
}

func TestMaxPayload(t *testing.T) {
	for _, size := range []int{1000, 8 << 20} {
		s := natstest.Start(t, embedded.Config{MaxPayload: size})
		a, b := open(t, quiet(s.URL())), open(t, quiet(s.URL()))
		a.subscribe(room("x"))
		a.settle()
		err := b.Publish(t.Context(), room("x"), make([]byte, size+1))
		if !errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, adapter.ErrUnavailable) ||
			!strings.Contains(err.Error(), fmt.Sprint(size+1)) || !strings.Contains(err.Error(), fmt.Sprint(size)) {
			t.Errorf("Publish of %d bytes: %v, want nats.ErrMaxPayload with both sizes", size+1, err)
		}
		b.publish(room("x"), strings.Repeat("x", b.MaxMessage()))
		if got := len(a.next()); got != size {
			t.Errorf("received %d bytes, want %d", got, size)
		}
	}
}

func TestMaxMessage(t *testing.T) {
	s := natstest.Start(t, embedded.Config{MaxPayload: 1000})
	s.Shutdown()
	a := open(t, quiet(s.URL()))
	check := func(when string, want int) {
		t.Helper()
		if got := a.MaxMessage(); got != want {
			t.Errorf("MaxMessage %s: %d, want %d", when, got, want)
		}
	}
	check("before the first connection", limitBefore)
	s.Restart()
	a.until(adapter.Connected)
	check("of a server that takes 1000 bytes", 1000)
	s.Shutdown()
	a.until(adapter.Degraded)
	check("while the server is away", 1000)

	other := natstest.Start(t, embedded.Config{MaxPayload: 2000})
	a = open(t, quiet(natstest.URLs(s, other)))
	a.until(adapter.Connected)
	check("of another server", 2000)
	s.Restart()
	old := a.current()
	other.Shutdown()
	a.another(old)
	check("of the server that is left", 1000)
}

func TestTopicWithoutKind(t *testing.T) {
	n := open(t, quiet(natstest.NewServer(t).URL()))
	var none adapter.Topic
	for name, err := range map[string]error{
		"Publish":     n.Publish(t.Context(), none, nil),
		"Subscribe":   n.Subscribe(t.Context(), none),
		"Unsubscribe": n.Unsubscribe(t.Context(), none),
	} {
		if !errors.Is(err, errNoKind) {
			t.Errorf("%s: %v, want %v", name, err, errNoKind)
		}
	}
}

// TestOneChannelForAllTopics checks that no subscription has a callback, which would cost it a goroutine and the order across topics.
func TestOneChannelForAllTopics(t *testing.T) {
	n := open(t, quiet(natstest.NewServer(t).URL()))
	var topics []adapter.Topic
	for i := range 200 {
		topics = append(topics, room(fmt.Sprint(i)))
	}
	n.subscribe(topics...)
	c := n.current()
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(c.subs) != len(topics) {
		t.Errorf("%d subscriptions, want %d", len(c.subs), len(topics))
	}
	for subject, sub := range c.subs {
		if sub.Type() != nats.ChanSubscription {
			t.Fatalf("the subscription to %s is of type %v, want a channel's", subject, sub.Type())
		}
	}
}

// TestOptionsOfLink gives options that the link must not let through.
func TestOptionsOfLink(t *testing.T) {
	s := natstest.NewServer(t)
	a := open(t, quiet(s.URL(), nil, nats.NoCallbacksAfterClientClose(), nats.MaxReconnects(1), nats.RetryOnFailedConnect(true),
		nats.ReconnectBufSize(1<<20), nats.SkipSubjectValidation(), nats.ErrorHandler(nil), nats.ClosedHandler(nil), nats.Name("other"),
		func(o *nats.Options) error {
			o.Url, o.Servers, o.Verbose = "nats://127.0.0.1:1", []string{"nats://127.0.0.1:1"}, true
			return nil
		}))
	a.until(adapter.Connected)
	s.Shutdown()
	a.until(adapter.Degraded)
	if err := a.Publish(t.Context(), room("x"), nil); err == nil {
		t.Error("Publish without a server: no error")
	}
	s.Restart()
	a.until(adapter.Connected)
	if got := a.current().nc.Opts.Name; got != "belfry" {
		t.Errorf("the connection is named %q, want belfry", got)
	}
}

// TestDrops blocks recv, which the contract forbids, until messages are dropped.
func TestDrops(t *testing.T) {
	s := natstest.NewServer(t)
	var text syncBuffer
	cfg := Config{URL: s.URL(), Logger: slog.New(slog.NewTextHandler(&text, nil))}
	slow := New(cfg)
	slow.times.queue = 8
	slow.times.recount = 10 * time.Millisecond
	blocked := make(chan struct{})
	l, err := slow.Open(t.Context(), func([]byte) { <-blocked })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(sync.OnceFunc(func() { close(blocked) }))
	if err := l.Subscribe(t.Context(), room("x"), room("y")); err != nil {
		t.Fatal(err)
	}
	(&node{link: l.(*link), t: t}).settle()
	b := open(t, quiet(s.URL()))
	for round := range 3 {
		if round == 2 {
			<-time.After(10 * slow.times.recount) // let counts pass without a drop
		}
		const sent = 200
		for range sent {
			b.publish(room("x"), "x")
			b.publish(room("y"), "y")
		}
		want := uint64((round+1)*2*sent - 9) // one message is with recv and 8 are in the queue
		eventually(t, func() error {
			if got := slow.Stats().Dropped; got != want {
				return fmt.Errorf("%d messages counted as dropped, want %d", got, want)
			}
			if log := text.String(); !strings.Contains(log, "messages dropped") {
				return fmt.Errorf("nothing about it in the log: %q", log)
			}
			return nil
		})
	}
	if lines := strings.Count(text.String(), "\n"); lines > 20 {
		t.Errorf("%d lines in the log, want few", lines)
	}
}

// TestDropsOfEndedSubscriptions ends subscriptions on which messages were dropped: these count, and nothing is kept of the subscriptions.
func TestDropsOfEndedSubscriptions(t *testing.T) {
	s := natstest.NewServer(t)
	slow := quiet(s.URL())
	slow.times.queue = 8
	slow.times.recount = 5 * time.Millisecond
	blocked := make(chan struct{})
	l, err := slow.Open(t.Context(), func([]byte) { <-blocked })
	if err != nil {
		t.Fatal(err)
	}
	a, b := &node{link: l.(*link), t: t}, open(t, quiet(s.URL()))
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { close(blocked) })
	const rooms, each = 100, 20
	for i := range rooms {
		a.subscribe(room(fmt.Sprint(i)))
		a.settle()
		for range each {
			b.publish(room(fmt.Sprint(i)), "x")
		}
		b.settle()
		a.settle()
		a.unsubscribe(room(fmt.Sprint(i)))
	}
	eventually(t, func() error {
		if got, want := slow.Stats().Dropped, uint64(rooms*each-9); got != want { // one message is with recv and 8 are in the queue
			return fmt.Errorf("%d messages counted as dropped, want %d", got, want)
		}
		a.stateMu.Lock()
		defer a.stateMu.Unlock()
		if got := len(a.cur.drops); got > 0 {
			return fmt.Errorf("%d subscriptions are kept, want none: all have ended", got)
		}
		return nil
	})
}

// eventually waits until check returns nil.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); ; {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal(err)
		}
	}
}

// A syncBuffer is a bytes.Buffer for concurrent use.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// TestConnectionsThatDoNotLast checks that a server that ends every connection is not asked in a loop.
func TestConnectionsThatDoNotLast(t *testing.T) {
	const wait = 50 * time.Millisecond
	s := natstest.NewServer(t)
	a := open(t, quiet(s.URL(), nats.ReconnectWait(wait), nats.ReconnectJitter(0, 0)))
	start := time.Now()
	const times = 4
	for range times {
		a.until(adapter.Connected)
		_, changed := a.State()
		s.Disconnect()
		select {
		case <-changed:
		case <-time.After(patience):
			t.Fatal("the link did not notice")
		}
	}
	a.until(adapter.Connected)
	if took := time.Since(start); took < times*wait {
		t.Errorf("%d connections were made within %v, want a pause of %v before each", times, took, wait)
	}
}

// TestLastMessages checks that what a connection had brought before it was lost is delivered, and nothing of it after what the next
// one brings.
func TestLastMessages(t *testing.T) {
	s := natstest.NewServer(t)
	first, gate := make(chan struct{}), make(chan struct{})
	var got []string
	done := make(chan struct{})
	l, err := quiet(s.URL()).Open(t.Context(), func(msg []byte) {
		if len(got) == 0 {
			close(first)
			<-gate
		}
		if got = append(got, string(msg)); string(msg) == "end" {
			close(done)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	a, b := &node{link: l.(*link), t: t}, open(t, quiet(s.URL()))
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	release := sync.OnceFunc(func() { close(gate) })
	t.Cleanup(release)
	a.subscribe(room("x"))
	a.settle()
	const count = 100
	for i := range count {
		b.publish(room("x"), fmt.Sprint(i))
	}
	<-first
	c := a.current()
	eventually(t, func() error {
		if got := len(c.msgs); got < count-1 {
			return fmt.Errorf("%d messages are waiting, want %d", got, count-1)
		}
		return nil
	})
	c.nc.Close()
	<-c.closed
	release()
	a.another(c)
	b.publish(room("x"), "end")
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("nothing comes over the new connection")
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if len(got) != count+1 {
		t.Fatalf("%d messages, want %d", len(got), count+1)
	}
	for i := range count {
		if got[i] != fmt.Sprint(i) {
			t.Fatalf("message %d is %q", i, got[i])
		}
	}
}

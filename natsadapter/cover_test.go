package natsadapter

import (
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
	"github.com/belfry-io/belfry/test/kit"
)

// never is longer than a test.
const never = time.Hour

// covering is an adapter that covers already few rooms, for so long.
func covering(url string, uncoverAfter time.Duration) *Adapter {
	a := quiet(url)
	a.times.coverFrom = 10
	a.times.uncoverAfter = uncoverAfter
	return a
}

// uncovered waits until n's connection in use has its own subscriptions and no cover.
func (n *node) uncovered() {
	n.t.Helper()
	kit.Until(n.t, func() error {
		n.mu.Lock()
		defer n.mu.Unlock()
		switch {
		case n.cur == nil || n.covering.Load():
			return errors.New("the connection is covered still")
		case len(n.cur.subs) != len(n.topics):
			return fmt.Errorf("the connection has %d subscriptions, the link %d topics", len(n.cur.subs), len(n.topics))
		case n.cur.cover != nil && n.cur.cover.IsValid():
			return errors.New("the cover stands")
		}
		return nil
	})
}

// TestCover has a node change servers that has rooms beyond number: it is reached in all of them by one subscription, and what is for
// other nodes does not come through.
func TestCover(t *testing.T) {
	servers := natstest.NewCluster(t, 3)
	a, b := open(t, covering(servers[0].URL(), never)), open(t, quiet(servers[1].URL()))
	topics := rooms(200)
	few := []adapter.Topic{{Kind: adapter.Cluster}, {Kind: adapter.Namespace, Namespace: "/"}, {Kind: adapter.Node, Node: "a"}}
	a.subscribe(topics...)
	a.subscribe(few...)
	b.reaches(a, topics[0])
	b.subscribe(room("back"))
	a.reaches(b, room("back"))
	old := a.current()

	servers[0].Shutdown()
	if c := a.another(old); c.cover == nil || len(c.subs) != len(few) {
		t.Fatalf("the new connection has %d subscriptions, want the cover and %d", len(c.subs), len(few))
	}
	b.reaches(a, topics[0])
	others := 0
	for i, topic := range append(topics, few...) {
		b.publish(room(fmt.Sprint("another node's ", i)), "not for a")
		b.publish(topic, fmt.Sprint(i))
		others++
	}
	for i := range len(topics) + len(few) {
		a.expect(fmt.Sprint(i))
	}
	if got := a.adapter.Stats().Overheard; got < uint64(others) {
		t.Errorf("%d messages overheard, want %d or more", got, others)
	}

	a.subscribe(room("late"))
	a.unsubscribe(topics[1])
	b.publish(topics[1], "left")
	b.publish(topics[2], "stayed")
	a.expect("stayed")
	b.reaches(a, room("late"))
	a.reaches(b, room("back"))
}

// TestUncover streams to a node while its cover gives way to its own subscriptions: nothing is lost or out of order.
func TestUncover(t *testing.T) {
	servers := natstest.NewCluster(t, 3)
	adp := covering(natstest.URLs(servers...), 50*time.Millisecond)
	adp.times.linger = 200 * time.Millisecond
	a, b := open(t, adp), open(t, quiet(servers[1].URL()))
	topics := rooms(3000)
	a.subscribe(topics...)
	b.reaches(a, topics[0])
	for range 5 {
		old := a.current()
		old.nc.Close()
		if a.another(old).cover == nil {
			t.Fatal("the new connection has no cover")
		}
		b.reaches(a, topics[0])
		stop := b.stream(topics...)
		a.uncovered()
		last := stop()
		copies := a.numbers(last)
		b.publish(topics[0], "end")
		for copies++; a.next() != "end"; copies++ { // of the last message
		}
		t.Logf("%d messages, %d copies", last, copies)
	}
	for i, topic := range topics {
		b.publish(topic, fmt.Sprint(i))
	}
	for i := range topics {
		a.expect(fmt.Sprint(i))
	}
}

// allowing is an authentication by which clients may subscribe to single rooms, but not to all of them at once, nor to one named secret.
type allowing struct{}

func (allowing) Check(c natsserver.ClientAuthentication) bool {
	c.RegisterUser(&natsserver.User{Permissions: &natsserver.Permissions{Subscribe: &natsserver.SubjectPermission{
		Allow: []string{"belfry.v1.*.r.*.*"},
		Deny:  []string{"belfry.v1.*.r.*.rsecret"},
	}}})
	return true
}

// TestCoverDenied has a server deny the one subscription to all rooms: the link does without, and says nothing of it.
func TestCoverDenied(t *testing.T) {
	s := natstest.Start(t, embedded.Config{Options: &natsserver.Options{CustomClientAuthentication: allowing{}}})
	a, b := open(t, covering(s.URL(), never)), open(t, quiet(s.URL()))
	topics := rooms(200)
	a.subscribe(topics...)
	for round := range 2 {
		old := a.current()
		old.nc.Close()
		<-old.closed
		a.until(adapter.Connected)
		if c := a.current(); c.cover != nil {
			t.Fatal("the new connection has a cover")
		}
		a.uncovered()
		kit.Equal(t, a.adapter.Stats().Refused, 1, "round", round, "refusals in all")
		b.reaches(a, topics[0])
	}
}

// TestDenialUnderCover checks that a link with a cover is at no moment taken for one that is denied nothing.
func TestDenialUnderCover(t *testing.T) {
	var d denials
	d.deny(nil, []string{"belfry.v1.rbelfry.r.r=2F.rsecret"})
	s := startDenying(t, &d)
	a := open(t, covering(s.URL(), never))
	a.subscribe(rooms(200)...)
	a.subscribe(room("secret"))
	a.refused()
	old := a.current()
	old.nc.Close()
	<-old.closed
	state := a.untilState("connected", func(s adapter.State) bool { return s.Status == adapter.Connected })
	if a.current().cover == nil || !errors.Is(state, nats.ErrPermissionViolation) {
		t.Errorf("the reason is %v, want that a room is denied, under a cover", state)
	}
}

// TestFloodUnderCover lets more come in for other nodes than the node takes: it gives up the cover and says that it is not reached,
// until its own subscriptions stand.
func TestFloodUnderCover(t *testing.T) {
	s := natstest.NewServer(t)
	var text kit.Log
	adp := covering(s.URL(), 20*time.Second) // the flood has to arrive within that; the link looks 20 times meanwhile
	adp.cfg.Logger = slog.New(slog.NewTextHandler(&text, nil))
	adp.times.queue = 64
	blocked := make(chan struct{})
	l, err := adp.Open(t.Context(), func([]byte) { <-blocked })
	kit.OK(t, err)
	a := &node{link: l.(*link), t: t}
	t.Cleanup(func() {
		kit.OK(t, l.Close())
	})
	t.Cleanup(sync.OnceFunc(func() { close(blocked) }))
	b := open(t, quiet(s.URL()))
	topics := rooms(200)
	a.subscribe(topics...)
	old := a.current()
	old.nc.Close()
	<-old.closed
	a.until(adapter.Connected)
	_, changed := a.State()
	for range 64 {
		b.publish(topics[0], "one that holds up the others")
	}
	kit.Receive(t, "the state to change", changed)
	kit.Until(t, func() error {
		if !strings.Contains(text.String(), errFlood.Error()) {
			return fmt.Errorf("nothing about it in the log: %q", text.String())
		}
		return nil
	})
	a.until(adapter.Connected)
	a.uncovered()
}

// TestLossUnderCover loses a connection that is covered still: the next one has no cover, the one after that has one again.
func TestLossUnderCover(t *testing.T) {
	s := natstest.NewServer(t)
	a := open(t, covering(s.URL(), never))
	a.subscribe(rooms(200)...)
	for i, want := range []bool{true, false, true} {
		old := a.current()
		old.nc.Close()
		<-old.closed
		a.until(adapter.Connected)
		if got := a.current().cover != nil; got != want {
			t.Fatalf("connection %d: covered %v, want %v", i, got, want)
		}
	}
}

// TestNoCover asks for none.
func TestNoCover(t *testing.T) {
	s := natstest.NewServer(t)
	adp := covering(s.URL(), never)
	adp.cfg.NoCover = true
	a := open(t, adp)
	a.subscribe(rooms(200)...)
	old := a.current()
	old.nc.Close()
	<-old.closed
	a.until(adapter.Connected)
	if a.current().cover != nil {
		t.Error("the new connection has a cover")
	}
	a.uncovered()
}

// TestLameDuckUnderCover has a server that covers a link retire.
func TestLameDuckUnderCover(t *testing.T) {
	servers := natstest.NewCluster(t, 3)
	a, b := open(t, covering(natstest.URLs(servers...), never)), open(t, quiet(natstest.URLs(servers...)))
	topics := rooms(200)
	a.subscribe(topics...)
	old := a.current()
	old.nc.Close()
	<-old.closed
	a.until(adapter.Connected)
	b.reaches(a, topics[0])
	covered := a.current()
	stop := b.stream(topics...)
	notify(covered.lame)
	<-covered.closed
	last := stop()
	a.numbers(last)
	a.uncovered()
}

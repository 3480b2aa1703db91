package wsserver_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
)

// A mortal is an adapter whose links can die, one by one: nothing leaves them any more, or comes.
type mortal struct {
	adapter.Memory
	mu     sync.Mutex // guards byNode
	byNode map[string]*mortalLink
}

type mortalLink struct {
	adapter.Link
	mortal *mortal
	dead   atomic.Bool
}

// Subscribe tells whose link it is: each node subscribes to its own topic.
func (l *mortalLink) Subscribe(ctx context.Context, topics ...adapter.Topic) error {
	for _, topic := range topics {
		if topic.Kind == adapter.Node {
			l.mortal.mu.Lock()
			l.mortal.byNode[topic.Node] = l
			l.mortal.mu.Unlock()
		}
	}
	return l.Link.Subscribe(ctx, topics...)
}

func (m *mortal) Open(ctx context.Context, recv func([]byte)) (adapter.Link, error) {
	l := &mortalLink{mortal: m}
	link, err := m.Memory.Open(ctx, func(msg []byte) {
		if !l.dead.Load() {
			recv(msg)
		}
	})
	l.Link = link
	return l, err
}

func (l *mortalLink) Publish(ctx context.Context, topic adapter.Topic, msg []byte) error {
	if l.dead.Load() {
		return nil
	}
	return l.Link.Publish(ctx, topic, msg)
}

// TestHeirDies: the heir dies while a session is handed over, or is silent for a time. Another node has it
// then, or the leaving one keeps it, and its client has missed nothing.
func TestHeirDies(t *testing.T) {
	for _, step := range giveSteps {
		for _, silent := range []time.Duration{time.Hour, 4 * time.Second} {
			kit.Bubble(t, fmt.Sprintf("%s, for %v", step.name, silent), func(t *testing.T) {
				m := &mortal{byNode: make(map[string]*mortalLink)}
				h := newHandover(t, 3, wsserver.Config{Adapter: m})
				h.say(0, 1)
				kit.EqualSlices(t, heard(h.c), []string{"1"})
				link := m.linkOf(h.srvs[1])
				h.at(step.call, step.after, func() {
					link.dead.Store(true)
					time.AfterFunc(silent, func() { link.dead.Store(false) })
				})
				h.drain(0, wsserver.Drain{Notice: -1, Linger: time.Minute})
				time.Sleep(time.Second)
				h.say(2, 2)
				time.Sleep(40 * time.Second)
				s := h.srvs[0].Stats().Drain
				t.Logf("%+v; away %d %d %d", s, h.srvs[0].Stats().Recovery.Away, h.srvs[1].Stats().Recovery.Away, h.srvs[2].Stats().Recovery.Away)
				kit.Equal(t, s.HandedOver+s.NotHandedOver, 1, "sessions that are counted")
				h.say(0, 3)
				h.back(2, true, "2", "3")
				link.dead.Store(false)
				h.drained()
				time.Sleep(5 * time.Second) // so that all nodes know of each other again, and close in peace
			})
		}
	}
}

// TestBackWhileHeirIsSilent: a client is back while the heir of its session does not answer. It waits, and
// goes on then.
func TestBackWhileHeirIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mortal{byNode: make(map[string]*mortalLink)}
		h := newHandover(t, 3, wsserver.Config{Adapter: m})
		link := m.linkOf(h.srvs[1])
		h.at(wsserver.Give, false, func() { link.dead.Store(true) })
		h.drain(0, wsserver.Drain{Notice: -1, Linger: time.Minute})
		time.Sleep(2 * time.Second)
		h.say(2, 1)
		start := time.Now()
		h.back(2, true, "1")
		kit.Took(t, start, time.Second, 8*time.Second, "the return took")
		h.drained()
		link.dead.Store(false)
		time.Sleep(5 * time.Second)
	})
}

// TestClaimOfHeld: who asks for a session that is being handed over, and goes again, costs nothing.
func TestClaimOfHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandover(t, 2, wsserver.Config{})
		pass := make(chan struct{})
		h.srvs[1].Around(wsserver.Give, func(serve func()) bool {
			<-pass
			serve()
			return true
		})
		h.drain(0, quick)
		time.Sleep(2 * time.Second)
		c := comes(t, h.srvs[1], backAs(h.c, ""))
		synctest.Wait()
		c.Abort()
		time.Sleep(time.Second)
		close(pass)
		h.drained()
		h.given(1, 0)
		h.back(1, true)
	})
}

// linkOf is the link of a server.
func (m *mortal) linkOf(srv *wsserver.Server) *mortalLink {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.byNode[srv.Node()]
}

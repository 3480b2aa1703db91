package ask

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter/internal/envelope"
	"github.com/belfry-io/belfry/test/kit"
)

// A party is the cluster of a test: nodes with an Exchange each, and a wire between them that a test may cut.
type party struct {
	mu    sync.Mutex
	nodes map[string]*node
}

type node struct {
	*Exchange
	party  *party
	name   string
	silent bool // what it says and hears is lost
	gone   bool // the others know
	probed int
}

// newParty returns the Exchanges of nodes of these names, with serve for each of them.
func newParty(ctx context.Context, serve func(*node) map[envelope.Kind]func(*envelope.Broadcast), names ...string) *party {
	p := &party{nodes: make(map[string]*node)}
	for _, name := range names {
		n := &node{party: p, name: name}
		n.Exchange = New(ctx, Config{Node: name, Cluster: n, Serve: serve(n)})
		p.nodes[name] = n
	}
	return p
}

func (n *node) Meet(_ context.Context, b *envelope.Body, choose func(servers, silent []string, cause error) bool) error {
	var alive []string
	for name, other := range n.party.nodes {
		if other != n && !other.gone {
			alive = append(alive, name)
		}
	}
	if choose(alive, nil, nil) {
		return n.Publish(b)
	}
	return nil
}

func (n *node) Publish(b *envelope.Body) error {
	for name, other := range n.party.nodes {
		if other != n && !n.silent && !other.silent && (b.To == "" || b.To == name) {
			other.Receive(&envelope.Broadcast{From: n.name, Body: *b})
		}
	}
	return nil
}

func (n *node) Post(b *envelope.Body) error {
	if !n.Server(b.To) {
		return ErrNode
	}
	return n.Publish(b)
}

func (n *node) Room(ctx context.Context, _ int) error { return ctx.Err() }
func (n *node) Asker(name string) bool                { return n.Server(name) }

func (n *node) Server(name string) bool {
	other := n.party.nodes[name]
	return other != nil && !other.gone
}

func (n *node) Probe(string) {
	n.party.mu.Lock()
	defer n.party.mu.Unlock()
	n.probed++
}

const kindName envelope.Kind = 99 // asks for a node's name

func naming(n *node) map[envelope.Kind]func(*envelope.Broadcast) {
	return map[envelope.Kind]func(*envelope.Broadcast){kindName: func(b *envelope.Broadcast) {
		n.Answer(b, Lookup, func(a *Answer) { _ = a.Send([]byte(n.name)) })
	}}
}

// askNames asks for the names of the other nodes.
func (n *node) askNames(ctx context.Context, kind envelope.Kind) (names []string, c *Call) {
	c = n.New(func(p Page) error {
		names = append(names, string(p.Content))
		return nil
	})
	b := &envelope.Body{Route: envelope.ByCluster, Request: envelope.Request{Kind: kind, Left: time.Minute}}
	n.Ask(ctx, c, b, false)
	n.Wait(ctx, c, b)
	slices.Sort(names)
	return names, c
}

// A request is answered by all; one that nobody knows fails at all, at once; one who is silent is missing when the asker has no more time,
// and the broker is asked for it meanwhile; one who has gone, when that is known.
func TestAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParty(t.Context(), naming, "a", "b", "c")
		a := p.nodes["a"]
		a.SetProbes(true)
		if names, c := a.askNames(t.Context(), kindName); !slices.Equal(names, []string{"b", "c"}) || c.Missing() != nil || c.Cause != nil {
			t.Errorf("got %q, missing %v, %v", names, c.Missing(), c.Cause)
		}
		if names, c := a.askNames(t.Context(), 98); names != nil || fmt.Sprint(c.Missing()) != fmt.Sprint([]Missing{{"b", ErrUnknown}, {"c", ErrUnknown}}) {
			t.Errorf("an unknown kind: got %q, missing %v", names, c.Missing())
		}
		synctest.Wait() // nobody is at it any more
		p.nodes["c"].silent = true
		ctx := kit.Within(t, time.Second)
		names, c := a.askNames(ctx, kindName)
		if !slices.Equal(names, []string{"b"}) || !slices.Equal(c.Missing(), []Missing{{"c", nil}}) || !errors.Is(c.Cause, context.DeadlineExceeded) {
			t.Errorf("a silent node: got %q, missing %v, %v", names, c.Missing(), c.Cause)
		}
		if a.probed == 0 {
			t.Error("the broker was not asked for it")
		}
		time.AfterFunc(time.Second, func() { a.SetAlive([]string{"b"}, []string{"b"}) })
		if _, c := a.askNames(t.Context(), kindName); !slices.Equal(c.Missing(), []Missing{{"c", ErrNode}}) || c.Cause != nil {
			t.Errorf("a node that goes: missing %v, %v", c.Missing(), c.Cause)
		}
		synctest.Wait()
		for name, n := range p.nodes {
			kit.Equal(t, n.State(), (State{}), name, "left")
		}
	})
}

// More requests than the bound of their sort are refused as long as they are under way, and an answer ends with the asker's patience, its
// Forget and its life.
func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan uint64, MaxLookups)
		p := newParty(t.Context(), func(n *node) map[envelope.Kind]func(*envelope.Broadcast) {
			return map[envelope.Kind]func(*envelope.Broadcast){kindName: func(b *envelope.Broadcast) {
				n.Answer(b, Lookup, func(a *Answer) {
					<-a.Context().Done()
					ended <- b.ID
				})
			}}
		}, "a", "b")
		b := p.nodes["b"]
		request := func(kind envelope.Kind, id uint64, left time.Duration) {
			b.Receive(&envelope.Broadcast{From: "a", Body: envelope.Body{Request: envelope.Request{Kind: kind, ID: id, Left: left}}})
		}
		request(kindName, 1, time.Second)
		for id := range uint64(MaxLookups + 1) {
			request(kindName, id+2, time.Hour)
		}
		if s := b.State(); s.Running != MaxLookups || s.Refused != 2 {
			t.Errorf("%+v, want %d, and 2 refused", s, MaxLookups)
		}
		kit.Equal(t, <-ended, 1, "has ended: that whose asker waits for a second")
		request(envelope.KindCancel, 7, 0)
		kit.Equal(t, <-ended, 7, "has ended: that which is forgotten")
		b.SetAlive(nil, nil)
		for range MaxLookups - 2 {
			<-ended
		}
		if err := b.Close(t.Context()); err != nil || b.State().Running != 0 {
			t.Errorf("%v, %+v", err, b.State())
		}
	})
}

package cluster

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/shrink"
)

// confirmTimeout is how long a Join waits for the broker to confirm a subscription.
const confirmTimeout = 2 * time.Second

// A confirmer has the broker confirm what this node subscribes to, all that has gathered in one
// round trip. It does nothing for a link that is no [adapter.Confirmer], whose word counts.
type confirmer struct {
	mu      sync.Mutex // guards what follows. Taken inside Hub.meshMu.
	tickets map[adapter.Topic]*ticket
	denied  map[adapter.Topic]struct{} // what the broker denied when it was asked last
	handed  []adapter.Topic            // the link has been told of them since the last round trip

	peakTickets, peakDenied int // see shrink.Map

	more chan struct{} // has room for one: something was handed
}

// A ticket stands for a subscription that is not confirmed.
type ticket struct {
	times int           // how often it is to be confirmed: a topic may be left and subscribed anew meanwhile
	done  chan struct{} // closed when it is confirmed, or denied
	err   error         // why it is denied; written before done is closed
}

func newConfirmer() *confirmer {
	return &confirmer{tickets: make(map[adapter.Topic]*ticket), denied: make(map[adapter.Topic]struct{}), more: make(chan struct{}, 1)}
}

// expect says that the link is about to be told to subscribe to topics.
func (c *confirmer) expect(topics []adapter.Topic) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, topic := range topics {
		c.open(topic)
	}
}

// open counts a confirmation to come. c.mu must be held.
func (c *confirmer) open(topic adapter.Topic) *ticket {
	t := c.tickets[topic]
	if t == nil {
		t = &ticket{done: make(chan struct{})}
		c.tickets[topic] = t
	}
	t.times++
	return t
}

// forget says that topics are not wanted any more.
func (c *confirmer) forget(topics []adapter.Topic) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, topic := range topics {
		delete(c.denied, topic)
		c.denied = shrink.Map(c.denied, &c.peakDenied)
	}
}

// subscribed says that the link was told to subscribe to topics.
func (c *confirmer) subscribed(topics []adapter.Topic) {
	c.mu.Lock()
	c.handed = append(c.handed, topics...)
	c.mu.Unlock()
	signal(c.more)
}

// pending returns the tickets of those of topics that are not confirmed. The broker is asked anew
// for what it has denied.
func (c *confirmer) pending(topics []adapter.Topic) (tickets []*ticket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, topic := range topics {
		t := c.tickets[topic]
		if _, denied := c.denied[topic]; denied && t == nil {
			t = c.open(topic)
			c.handed = append(c.handed, topic)
			signal(c.more)
		}
		if t != nil {
			tickets = append(tickets, t)
		}
	}
	return tickets
}

// run confirms what is handed until ctx ends.
func (c *confirmer) run(ctx context.Context, link adapter.Link) {
	guarded, _ := link.(adapter.Confirmer)
	for {
		select {
		case <-c.more:
		case <-ctx.Done():
			return
		}
		c.mu.Lock()
		topics := c.handed
		c.handed = nil
		c.mu.Unlock()
		var denied map[adapter.Topic]error
		if guarded != nil {
			var err error
			if denied, err = guarded.Confirm(ctx, topics...); err != nil {
				return // ctx has ended
			}
		}
		c.endTickets(topics, denied)
	}
}

// endTickets ends the tickets of topics.
func (c *confirmer) endTickets(topics []adapter.Topic, denied map[adapter.Topic]error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, topic := range topics {
		err := denied[topic]
		if err != nil {
			c.denied[topic] = struct{}{}
		} else {
			delete(c.denied, topic)
			c.denied = shrink.Map(c.denied, &c.peakDenied)
		}
		t := c.tickets[topic]
		if t == nil {
			continue // what the node needs always: the link's state tells of it
		}
		if t.times--; t.times == 0 {
			delete(c.tickets, topic)
			c.tickets = shrink.Map(c.tickets, &c.peakTickets)
			t.err = err
			close(t.done)
		}
	}
}

// A joining is what a Join waits for.
type joining struct {
	fence   chan []string // gets the nodes that have not answered
	tickets []*ticket     // subscriptions that the broker has yet to confirm
}

// joins counts the Joins that wait for the cluster.
type joins struct {
	waiting         atomic.Int64
	ended, unfenced atomic.Uint64
	took            atomic.Int64 // of all that have ended, in nanoseconds
}

// begin counts one that begins to wait. end is to be called with how it has ended.
func (j *joins) begin() (end func(error)) {
	j.waiting.Add(1)
	begun := time.Now()
	return func(err error) {
		j.waiting.Add(-1)
		j.ended.Add(1)
		j.took.Add(int64(time.Since(begun)))
		if err != nil {
			j.unfenced.Add(1)
		}
	}
}

// fenced waits for what interest returned.
func (h *Hub) fenced(ctx context.Context, j *joining) (err error) {
	if j == nil {
		return nil
	}
	end := h.joins.begin()
	defer func() { end(err) }()
	select {
	case missing := <-j.fence:
		broker, ended := h.confirmed(ctx, j.tickets, len(missing) == 0)
		switch {
		case ended:
			return h.unfenced(ctx)
		case broker != nil || len(missing) > 0:
			return &UnfencedError{Nodes: missing, Names: h.names(missing...), Broker: broker}
		}
		return nil
	case <-ctx.Done():
	case <-h.ctx.Done():
	}
	return h.unfenced(ctx)
}

// unfenced is the error of a Join that has not waited for its end.
func (h *Hub) unfenced(ctx context.Context) error {
	if h.ctx.Err() != nil {
		return fmt.Errorf("cluster: joined on this node only: %w", adapter.ErrClosed)
	}
	return fmt.Errorf("cluster: joined, but not confirmed by the cluster: %w", context.Cause(ctx))
}

// confirmed returns what the broker says of subscriptions, for which it waits if wait is true: no
// answer of another node shows that the broker has taken them where there is no other node. A
// broker that is out of reach is not waited for. ended says that ctx or the Hub has ended first.
func (h *Hub) confirmed(ctx context.Context, tickets []*ticket, wait bool) (broker error, ended bool) {
	h.meshMu.Lock()
	up, refusal := h.state.Status == adapter.Connected, h.refusal()
	h.meshMu.Unlock()
	if !up {
		return refusal, false
	}
	var late <-chan time.Time
	for _, t := range tickets {
		select {
		case <-t.done:
		default:
			if !wait {
				continue
			}
			if late == nil {
				timer := time.NewTimer(confirmTimeout)
				defer timer.Stop()
				late = timer.C
			}
			select {
			case <-t.done:
			case <-late:
				return fmt.Errorf("%w: the subscription was not confirmed within %v", adapter.ErrUnavailable, confirmTimeout), false
			case <-ctx.Done():
				return nil, true
			case <-h.ctx.Done():
				return nil, true
			}
		}
		if t.err != nil {
			return t.err, false
		}
	}
	return nil, false
}

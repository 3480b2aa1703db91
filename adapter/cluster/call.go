package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
)

// CallTimeout is how long the calls of Rooms and Hub that ask other nodes take at the most if their ctx has no deadline.
const CallTimeout = 30 * time.Second

// Why a node has not done what it was asked for. They are wrapped in a NodeError.
var (
	ErrNode    = errors.New("cluster: the node is silent, or has gone")
	ErrBusy    = errors.New("cluster: the node has too much to do")
	ErrUnknown = errors.New("cluster: the node does not know this request")
)

// A NodeError is why a node has not done what it was asked for.
type NodeError struct {
	Node string
	Err  error
}

func (e *NodeError) Error() string { return fmt.Sprintf("node %s: %v", e.Node, e.Err) }

func (e *NodeError) Unwrap() error { return e.Err }

// A PartialError comes with results that are not whole. All calls that ask other nodes end when the nodes that are believed to be alive
// have answered. One that is silent, has left or has failed is named here; a call stops waiting for it as soon as that is known. ctx ends a
// call earlier, and names those that have not answered; without a deadline in ctx, so does [CallTimeout].
//
// That of Close names the nodes that have not confirmed that they have everything.
//
// That a node has crashed, or has lost its broker, is known 20 ms after it was asked, where the broker says that nobody is there ([adapter.Prober]), as NATS
// does; otherwise after 2 s without a word of it. Since a node that reconnects cannot be told from one that has crashed, calls name
// either, for [HubConfig.NameSuspects], 10 s by default; after that they count without it and return nil. A node that the broker still knows, and that
// does not answer, is named for 30 s.
//
// Where the link is down, all other nodes are silent; where it is new, calls wait until the nodes have answered, or had twice the time of a
// round trip to, 250 ms at the least and 2 s at the most.
type PartialError struct {
	Nodes   []string // whose part is missing, in order; not all of it, perhaps
	Clients int      // of BroadcastWithAck: members that were reached and have not answered
	Err     error    // why: ctx's error, a *NodeError, an *UnfencedError, or several, joined; nil if it is a matter of Clients alone
}

func (e *PartialError) Error() string {
	var b strings.Builder
	b.WriteString("cluster: the result is not whole")
	if len(e.Nodes) > 0 {
		b.WriteString(", without nodes " + strings.Join(e.Nodes, ", "))
	}
	if e.Clients > 0 {
		fmt.Fprintf(&b, ", without answers of %d members", e.Clients)
	}
	if e.Err != nil {
		b.WriteString(": " + strings.ReplaceAll(e.Err.Error(), "\n", "; "))
	}
	return b.String()
}

func (e *PartialError) Unwrap() error { return e.Err }

// errLost is why an answer is not whole that was answered: what is missing of it was not repaired in time.
var errLost = errors.New("cluster: a part of the node's answer was lost")

// calls are those of this node whose answers are waited for.
type calls struct {
	mu      sync.Mutex // guards what follows, and everything in the pending calls
	last    uint64     // the id of the last one
	pending map[uint64]*call
	tells   bool                     // the broker says if it does not know a node
	probed  map[string]time.Duration // when the broker was asked last whether a node is there that owes an answer
}

// probeInterval is how long a node may take to answer a call before the broker is asked whether it is there, and how often.
const probeInterval = 20 * time.Millisecond

// A call is a request of this node. Before it is pending, and after it has ended, it is the caller's alone.
type call struct {
	id    uint64
	only  string // the one node that is asked; empty for all
	local bool   // no other node is asked
	parts bool   // a node that has given a part is not missing if it owes others: they are counted otherwise
	nodes map[string]*asked
	left  int           // how many of nodes are waited for
	done  chan struct{} // closed when that is none, or ended says so
	ended bool          // done is closed
	sent  bool          // the request is on its way
	cause error         // why the call ended, or did not reach anybody
	page  page

	// Of a call that members of this node are to answer, too. collect takes what has come when some says so; calls.mu is held.
	some    <-chan struct{}
	collect func()
}

// page takes a page of a node's answer. calls.mu is held.
type page func(from string, n *asked, content []byte, last bool) error

// asked is a node that is asked, as the asker sees it.
type asked struct {
	waited bool // it is believed to be alive, and has not answered
	done   bool // it has answered, or failed
	late   bool // it was met after the request had been sent: its part is welcome, and not missed unless it has begun
	err    error
	next   uint64 // the number of its next page
	buf    []byte // for page
}

// newCall returns a call of this node.
func (h *Hub) newCall(p page) *call {
	h.calls.mu.Lock()
	defer h.calls.mu.Unlock()
	h.calls.last++
	return &call{id: h.calls.last, nodes: make(map[string]*asked), done: make(chan struct{}), page: p}
}

// patience returns ctx with a deadline, and how long that is away.
func patience(ctx context.Context) (context.Context, context.CancelFunc, time.Duration) {
	deadline, ok := ctx.Deadline()
	if ok {
		return ctx, func() {}, max(0, time.Until(deadline))
	}
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	return ctx, cancel, CallTimeout
}

// ask sends a request to whom it concerns and makes c pending; wait is to follow. One that changes nothing is not sent where nobody is
// waited for. Where the link is new, ask waits until the nodes are known that are to be asked, as long as ctx lasts.
func (h *Hub) ask(ctx context.Context, c *call, b *envelope.Body, change bool) {
	c.local = c.local || h.machine == nil
	if c.local {
		h.await(c, nil)
		return
	}
	b.ID = c.id
	body := envelope.AppendBody(nil, b)
	to := topics(b)
	c.cause = h.lockMet(ctx)
	defer h.meshMu.Unlock()
	servers, silent := h.machine.Servers(), h.machine.Named(h.age())
	if c.only != "" {
		silent = nil
		if !slices.Contains(servers, c.only) {
			silent = []string{c.only}
		}
		servers = slices.DeleteFunc(servers, func(id string) bool { return id != c.only })
	}
	for _, id := range silent {
		c.nodes[id] = &asked{err: ErrNode}
	}
	switch {
	case h.state.Status == adapter.Refused:
		c.cause = h.refusal()
	case h.state.Status != adapter.Connected:
		c.cause = adapter.ErrUnavailable
		if h.state.Reason != nil {
			c.cause = fmt.Errorf("%w: %w", adapter.ErrUnavailable, h.state.Reason)
		}
	}
	h.await(c, servers)
	if len(servers) == 0 && !change {
		return
	}
	if err := h.emit(b, to, body); err != nil {
		h.calls.mu.Lock()
		defer h.calls.mu.Unlock()
		c.cause = err
		c.end()
		return
	}
	c.sent = true
}

// await makes c pending, with servers to be waited for besides those of its nodes that are already.
func (h *Hub) await(c *call, servers []string) {
	h.calls.mu.Lock()
	defer h.calls.mu.Unlock()
	for _, id := range servers {
		c.nodes[id] = &asked{waited: true}
	}
	for _, n := range c.nodes {
		if n.waited {
			c.left++
		}
	}
	h.calls.pending[c.id] = c
	if c.left == 0 {
		c.end()
	}
}

// lookAround stops waiting for nodes that are silent or have gone. h.meshMu must be held.
func (h *Hub) lookAround() {
	h.calls.mu.Lock()
	idle := len(h.calls.pending) == 0
	h.calls.mu.Unlock()
	if idle && h.answers.idle() {
		return
	}
	servers, askers := h.machine.Servers(), h.askers()
	h.calls.mu.Lock()
	for _, c := range h.calls.pending {
		for id, n := range c.nodes {
			if n.waited && id != h.node && !slices.Contains(servers, id) {
				n.waited, n.err = false, ErrNode
				c.release()
			}
		}
	}
	h.calls.mu.Unlock()
	h.answers.leave(func(id string) bool { return !slices.Contains(askers, id) })
}

// askers are the nodes, clients among them, that have not left and are not given up. h.meshMu must be held.
func (h *Hub) askers() []string { return append(h.machine.Members(), h.machine.Suspects()...) }

// release notes that one node less is waited for. calls.mu must be held.
func (c *call) release() {
	c.left--
	if c.left == 0 {
		c.end()
	}
}

// end lets wait return. calls.mu must be held.
func (c *call) end() {
	if !c.ended {
		c.ended = true
		close(c.done)
	}
}

// take takes a page of an answer, of a server that is alive or not. What nobody waits for, or comes again, is ignored.
func (k *calls) take(b *envelope.Broadcast, alive bool) {
	a, err := envelope.DecodeAnswer(b.Arg)
	k.mu.Lock()
	defer k.mu.Unlock()
	c := k.pending[b.ID]
	if c == nil {
		return
	}
	n := c.nodes[b.From]
	if n == nil {
		if c.only != "" {
			return
		}
		n = &asked{late: true}
		c.nodes[b.From] = n
	}
	if n.done || err == nil && a.Page < n.next {
		return
	}
	switch {
	case err != nil:
	case a.Status == envelope.Unknown:
		err = ErrUnknown
	case a.Status == envelope.Busy:
		err = ErrBusy
	case a.Status != envelope.Done:
		err = errors.New(a.Text)
	case a.Page > n.next:
		err = errLost
	default:
		err = c.page(b.From, n, b.Payload, !a.More)
	}
	n.next++
	if err == nil && a.More {
		if n.late && !c.ended { // a part of its answer alone would go unnoticed
			n.late = false
			if alive {
				n.waited = true
				c.left++
			} else {
				n.err = ErrNode // until the rest has come
			}
		}
		return
	}
	c.settle(n, err)
}

// settle notes that a node has answered, or failed. calls.mu must be held.
func (c *call) settle(n *asked, err error) {
	n.done, n.err, n.buf = true, err, nil
	if n.waited {
		n.waited = false
		c.release()
	}
}

// wait waits until all that are alive have answered, or ctx or the Hub ends. c is the caller's alone then. forget, if not nil, is the request:
// those who have not answered it are told that nobody waits any more.
func (h *Hub) wait(ctx context.Context, c *call, forget *envelope.Body) {
	closed := h.ctx.Done()
	if c.local {
		closed = nil // it works on this node
	}
	var late <-chan time.Time
	if !c.local {
		ticker := time.NewTicker(probeInterval)
		defer ticker.Stop()
		late = ticker.C
	}
	var cause error
	for waiting := true; waiting; {
		select {
		case <-late:
			h.probeLate(c)
			continue
		case <-c.some:
			h.calls.mu.Lock()
			c.collect()
			h.calls.mu.Unlock()
			continue
		case <-c.done:
		case <-ctx.Done():
			cause = context.Cause(ctx)
		case <-closed:
			cause = adapter.ErrClosed
		}
		waiting = false
	}
	h.calls.mu.Lock()
	delete(h.calls.pending, c.id)
	if len(h.calls.pending) == 0 {
		clear(h.calls.probed)
	}
	if c.collect != nil {
		c.collect() // what has come as well
	}
	if c.left > 0 && !c.ended {
		c.cause = cause
	}
	owing := false
	for id, n := range c.nodes {
		owing = owing || !n.done && id != h.node // also one that is silent: it may hear of the request yet
	}
	h.calls.mu.Unlock()
	if owing && c.sent && forget != nil {
		_ = h.publish(&envelope.Body{
			Route:     forget.Route,
			Namespace: forget.Namespace,
			Request:   envelope.Request{Kind: envelope.KindForget, ID: c.id, To: forget.To},
		}) // if it is refused they wait until the deadline that they know
	}
}

// probeLate asks the broker whether those are there whom c waits for. A node that several calls wait for is asked for once at a time.
func (h *Hub) probeLate(c *call) {
	now := h.age()
	var nodes []string
	h.calls.mu.Lock()
	for id, n := range c.nodes {
		if !h.calls.tells {
			break
		}
		if at, ok := h.calls.probed[id]; n.waited && id != h.node && (!ok || now-at >= probeInterval/2) {
			h.calls.probed[id] = now
			nodes = append(nodes, id)
		}
	}
	h.calls.mu.Unlock()
	for _, id := range nodes {
		h.probe(id)
	}
}

// partial is what is missing of c, which has ended; nil if nothing is. clients are missing too, and errs are other reasons.
func (c *call) partial(clients int, errs ...error) error {
	p := &PartialError{Clients: clients}
	if c.cause != nil {
		errs = append(errs, c.cause)
	}
	for _, id := range slices.Sorted(maps.Keys(c.nodes)) {
		switch n := c.nodes[id]; {
		case n.late:
			continue
		case n.err != nil:
			errs = append(errs, &NodeError{id, n.err})
		case n.done || c.parts && n.next > 0:
			continue
		}
		p.Nodes = append(p.Nodes, id)
	}
	if len(errs) == 1 {
		p.Err = errs[0]
	} else {
		p.Err = errors.Join(errs...)
	}
	if p.Nodes == nil && p.Clients == 0 && p.Err == nil {
		return nil
	}
	return p
}

package ask

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
)

// errLost is why an answer is not whole that was answered: what is missing of it was not repaired in time.
var errLost = errors.New("cluster: a part of the node's answer was lost")

// calls are those of this node whose answers are waited for.
type calls struct {
	mu      sync.Mutex // guards what follows, and everything in the pending calls
	last    uint64     // the id of the last one
	pending map[uint64]*Call
	held    map[string]int       // of these, those that are held, by the node
	unsent  []*envelope.Body     // cancellations of held calls, for which there was no room
	probes  bool                 // the broker tells that it does not know a node
	probed  map[string]time.Time // when the broker was asked last whether a node is there that owes an answer
}

// ProbeInterval is how long a node may take to answer a call before the broker is asked whether it is there, and how often.
const ProbeInterval = 20 * time.Millisecond

// A Call is a request of this node. Before it is asked, and after it has ended, it is the caller's alone.
type Call struct {
	Only  string // the one node that is asked; empty for all
	Local bool   // no other node is asked
	Held  bool   // Only answers it whenever it likes: it is waited for while it is silent, too, until it has gone
	Parts bool   // a node that has given a part is not missing if it owes others: they are counted otherwise
	Cause error  // why the call ended, or did not reach anybody

	id    uint64
	nodes map[string]*asked
	left  int           // how many of nodes are waited for
	done  chan struct{} // closed when that is none, or ended says so
	ended bool          // done is closed
	sent  bool          // the request is on its way
	merge Merge

	// Of a call that members of this node are to answer, too: see Here.
	some    <-chan struct{}
	collect func()
}

// A Page is a part of a node's answer.
type Page struct {
	From    string
	Number  uint64 // from 0
	Last    bool
	Content []byte
}

// A Merge takes the pages of the answers, one at a time. An error says that the node has failed.
type Merge func(Page) error

// asked is a node that is asked, as the asker sees it.
type asked struct {
	waited bool // it is believed to be alive, and has not answered
	done   bool // it has answered, or failed
	late   bool // it was met after the request had been sent: its part is welcome, and not missed unless it has begun
	err    error
	next   uint64 // the number of its next page
}

// New returns a call of this node.
func (x *Exchange) New(merge Merge) *Call {
	x.calls.mu.Lock()
	defer x.calls.mu.Unlock()
	x.calls.last++
	return &Call{id: x.calls.last, nodes: make(map[string]*asked), done: make(chan struct{}), merge: merge}
}

// WaitHere has c wait for members of this node as for another one. When some says so, collect is called as a Merge is; it reports whether it
// was the last time.
func (x *Exchange) WaitHere(c *Call, some <-chan struct{}, collect func() bool) {
	here := &asked{waited: true, next: 1}
	c.nodes[x.cfg.Node] = here
	c.some = some
	c.collect = func() {
		if collect() && !here.done {
			c.nodeDone(here, nil)
		}
	}
}

// ID is the request's number among those of this node; 0 for none.
func (c *Call) ID() uint64 { return c.id }

// SetProbes says whether the broker tells that it does not know a node ([Cluster] Probe).
func (x *Exchange) SetProbes(probes bool) {
	x.calls.mu.Lock()
	defer x.calls.mu.Unlock()
	x.calls.probes = probes
}

// Ask sends a request to whom it concerns and makes c pending; Wait is to follow. One that changes nothing is not sent where nobody is
// waited for. Where the link is new, Ask waits until the nodes are known that are to be asked, as long as ctx lasts.
func (x *Exchange) Ask(ctx context.Context, c *Call, b *envelope.Body, change bool) {
	c.Local = c.Local || x.cfg.Alone
	if c.Local {
		x.add(c, nil)
		return
	}
	b.ID = c.id
	if c.Held {
		x.askHeld(ctx, c, b)
		return
	}
	err := x.cfg.Cluster.Meet(ctx, b, func(servers, silent []string, cause error) bool {
		c.Cause = cause
		if c.Only != "" {
			silent = nil
			if !slices.Contains(servers, c.Only) {
				silent = []string{c.Only}
			}
			servers = slices.DeleteFunc(servers, func(id string) bool { return id != c.Only })
		}
		for _, id := range silent {
			c.nodes[id] = &asked{err: ErrNode}
		}
		x.add(c, servers)
		c.sent = len(servers) > 0 || change
		return c.sent
	})
	if err != nil {
		x.notSent(c, err)
	}
}

// notSent ends c, whose request was not sent.
func (x *Exchange) notSent(c *Call, err error) {
	c.sent = false
	x.calls.mu.Lock()
	defer x.calls.mu.Unlock()
	c.Cause = err
	c.End()
}

// add makes c pending, with servers to be waited for besides those of its nodes that are already.
func (x *Exchange) add(c *Call, servers []string) {
	x.calls.mu.Lock()
	defer x.calls.mu.Unlock()
	for _, id := range servers {
		c.nodes[id] = &asked{waited: true}
	}
	for _, n := range c.nodes {
		if n.waited {
			c.left++
		}
	}
	x.calls.pending[c.id] = c
	if c.Held {
		x.calls.held[c.Only]++
	}
	if c.left == 0 {
		c.End()
	}
}

// countDown notes that one node less is waited for. calls.mu must be held.
func (c *Call) countDown() {
	c.left--
	if c.left == 0 {
		c.End()
	}
}

// End lets Wait return. Only a Merge, or what collects, may call it.
func (c *Call) End() {
	if !c.ended {
		c.ended = true
		close(c.done)
	}
}

// receive takes a page of an answer, of a server that is alive or not. What nobody waits for, or comes again, is ignored.
func (k *calls) receive(b *envelope.Broadcast, alive bool) {
	a, err := envelope.DecodeAnswerHeader(b.Arg)
	k.mu.Lock()
	defer k.mu.Unlock()
	c := k.pending[b.ID]
	if c == nil {
		return
	}
	n := c.nodes[b.From]
	if n == nil {
		if c.Only != "" {
			return
		}
		n = &asked{late: true}
		c.nodes[b.From] = n
	}
	if n.done || err == nil && a.Page < n.next && a.Status == envelope.Done {
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
		err = c.merge(Page{From: b.From, Number: n.next, Last: !a.More, Content: b.Payload})
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
	c.nodeDone(n, err)
}

// nodeDone notes that a node has answered, or failed. calls.mu must be held.
func (c *Call) nodeDone(n *asked, err error) {
	n.done, n.err = true, err
	if n.waited {
		n.waited = false
		c.countDown()
	}
}

// Wait waits until all that are alive have answered, or ctx or the node ends. c is the caller's alone then. request, if not nil, is canceled:
// those who have not answered it are told that nobody waits any more.
func (x *Exchange) Wait(ctx context.Context, c *Call, request *envelope.Body) {
	closed := x.ctx.Done()
	if c.Local {
		closed = nil // it works on this node
	}
	var late <-chan time.Time
	if !c.Local && !c.Held {
		ticker := time.NewTicker(ProbeInterval)
		defer ticker.Stop()
		late = ticker.C
	}
	var cause error
	for waiting := true; waiting; {
		select {
		case <-late:
			x.probeLate(c)
			continue
		case <-c.some:
			x.calls.mu.Lock()
			c.collect()
			x.calls.mu.Unlock()
			continue
		case <-c.done:
		case <-ctx.Done():
			cause = context.Cause(ctx)
		case <-closed:
			cause = adapter.ErrClosed
		}
		waiting = false
	}
	x.calls.mu.Lock()
	delete(x.calls.pending, c.id)
	if c.Held {
		x.calls.unhold(c.Only)
	}
	if len(x.calls.pending) == 0 {
		clear(x.calls.probed)
	}
	if c.collect != nil {
		c.collect() // what has come as well
	}
	if c.left > 0 && !c.ended {
		c.Cause = cause
	}
	owing := false
	for id, n := range c.nodes {
		// Also one that is silent: it may hear of the request yet. One that holds the request does not know that a part of its answer was lost.
		owing = owing || (!n.done || c.Held && n.err == errLost) && id != x.cfg.Node
	}
	x.calls.mu.Unlock()
	if owing && c.sent && request != nil {
		cancel := &envelope.Body{
			Route:     request.Route,
			Namespace: request.Namespace,
			Request:   envelope.Request{Kind: envelope.KindCancel, ID: c.id, To: request.To},
		}
		if c.Held {
			x.cancelHeld(cancel)
			return
		}
		_ = x.cfg.Cluster.Publish(cancel) // if it is refused they wait until the deadline that they know
	}
}

// probeLate asks the broker whether those are there whom c waits for. A node that several calls wait for is asked for once at a time.
func (x *Exchange) probeLate(c *Call) {
	now := time.Now()
	var nodes []string
	x.calls.mu.Lock()
	for id, n := range c.nodes {
		if !x.calls.probes {
			break
		}
		if at, ok := x.calls.probed[id]; n.waited && id != x.cfg.Node && (!ok || now.Sub(at) >= ProbeInterval/2) {
			x.calls.probed[id] = now
			nodes = append(nodes, id)
		}
	}
	x.calls.mu.Unlock()
	for _, id := range nodes {
		x.cfg.Cluster.Probe(id)
	}
}

// A Missing is a node whose part is missing, and why, if that is known.
type Missing struct {
	Node string
	Err  error
}

// Missing are the nodes whose parts are missing of c, which has ended, in order.
func (c *Call) Missing() (nodes []Missing) {
	for _, id := range slices.Sorted(maps.Keys(c.nodes)) {
		n := c.nodes[id]
		if !n.late && (n.err != nil || !n.done && !(c.Parts && n.next > 0)) {
			nodes = append(nodes, Missing{id, n.err})
		}
	}
	return nodes
}

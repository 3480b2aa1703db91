package mesh

import (
	"container/heap"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// A world is a cluster in virtual time: nodes that are clients of brokers, and routes between the brokers. Everything travels hop by
// hop through pipes that keep their order, interest too, as it does in NATS. All randomness comes from the seed.
type world struct {
	rng   *rand.Rand
	now   time.Duration
	queue events
	seq   int

	faults
	brokers []*broker
	clients []*client // all connections there ever were
	nodes   []*node
	emitted int

	failure string
	trace   func(format string, args ...any)
}

// faults are what a link does to messages on their last hop, as probabilities.
type faults struct {
	loss, copies, stale, over float64
	any                       bool // something besides delays may happen in this world
	long                      bool // hangs and cuts may last longer than DeadAfter
}

type event struct {
	at  time.Duration
	seq int
	do  func()
}

type events []event

func (q events) Len() int { return len(q) }
func (q events) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *events) Push(e any)   { *q = append(*q, e.(event)) }
func (q *events) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}

func (w *world) after(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.queue, event{w.now + d, w.seq, do})
}

// run lets the world go on until its clock shows until, or a check fails.
func (w *world) run(until time.Duration) {
	for len(w.queue) > 0 && w.queue[0].at <= until && w.failure == "" {
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		e.do()
	}
	w.now = until
}

func (w *world) fail(format string, args ...any) {
	if w.failure == "" {
		w.failure = fmt.Sprintf("at %v: ", w.now) + fmt.Sprintf(format, args...)
		w.trace("FAILURE: %s", w.failure)
	}
}

func (w *world) chance(p float64) bool { return p > 0 && w.rng.Float64() < p }

// between draws a duration.
func (w *world) between(a, b time.Duration) time.Duration {
	return a + time.Duration(w.rng.Int64N(int64(b-a)+1))
}

// pipe is one direction of a hop: what enters first leaves first.
type pipe struct{ last time.Duration }

func (w *world) through(p *pipe, do func()) {
	p.last = max(p.last, w.now+w.between(0, 8*time.Millisecond))
	w.after(p.last-w.now, do)
}

// stall holds up what is and will be in the pipe.
func (w *world) stall(p *pipe, d time.Duration) { p.last = max(p.last, w.now+d) }

type broker struct {
	interest map[*client]map[string]bool // of all clients, as far as it has come here
	routes   map[*broker]*pipe           // to the others
	cut      map[*broker]bool
}

// client is one connection of a node to a broker.
type client struct {
	node     *node
	broker   *broker
	up, down pipe
	dead     bool
}

func (b *broker) wants(c *client, topic string) bool {
	node, _, private := strings.Cut(topic, "/")
	return b.interest[c][topic] || private && b.interest[c][node]
}

// see takes a change of a client's interest and passes it on.
func (w *world) see(b *broker, c *client, topics []string, on, pass bool) {
	set := b.interest[c]
	if set == nil {
		set = make(map[string]bool)
		b.interest[c] = set
	}
	for _, t := range topics {
		if on {
			set[t] = true
		} else {
			delete(set, t)
		}
	}
	if !pass {
		return
	}
	for _, other := range w.brokers {
		if other != b && !b.cut[other] {
			w.through(b.routes[other], func() {
				if !b.cut[other] {
					w.see(other, c, topics, on, false)
				}
			})
		}
	}
}

// publish takes a message of client c at its broker b.
func (w *world) publish(b *broker, c *client, topic string, msg any) {
	w.hand(b, c, topic, msg)
	for _, other := range w.brokers {
		wanted := slices.ContainsFunc(w.clients, func(r *client) bool { return r.broker == other && b.wants(r, topic) })
		if other == b || b.cut[other] || !wanted {
			continue
		}
		w.through(b.routes[other], func() {
			if !b.cut[other] {
				w.hand(other, c, topic, msg)
			}
		})
	}
}

// hand gives a message to the clients of b, and does to it what links may do.
func (w *world) hand(b *broker, from *client, topic string, msg any) {
	for _, r := range w.clients {
		if r.broker != b || r.dead {
			continue
		}
		if (r == from || !b.wants(r, topic)) && !w.chance(w.over) {
			continue
		}
		deliver := func() { r.node.receive(from.node, msg) }
		for again := true; again; again = w.chance(w.copies) {
			if w.chance(w.loss) {
				w.trace("lost: %s to %s on %s: %v", from.node.id, r.node.id, topic, msg)
				continue
			}
			w.through(&r.down, func() {
				if !r.dead {
					deliver()
				}
			})
		}
		if w.chance(w.stale) {
			w.after(w.between(0, 4*time.Second), deliver)
		}
	}
}

func newWorld(seed uint64, f faults, brokers int) *world {
	w := &world{rng: rand.New(rand.NewPCG(seed, 7)), faults: f, trace: func(string, ...any) {}}
	for range brokers {
		w.brokers = append(w.brokers, &broker{
			interest: make(map[*client]map[string]bool),
			routes:   make(map[*broker]*pipe),
			cut:      make(map[*broker]bool),
		})
	}
	for _, b := range w.brokers {
		for _, other := range w.brokers {
			b.routes[other] = new(pipe)
		}
	}
	return w
}

// node is a machine, and the shell around it: its link with a queue in front, its clock, and its members.
type node struct {
	w      *world
	id     string
	m      *Machine[string]
	opened time.Duration
	armed  time.Duration

	client *client // nil while the link is known to be down
	subs   map[string]bool
	held   bool     // broadcasts wait in parked
	parked []func() // publishes
	sent   uint64   // the last number published

	alive, closed, ready bool
	hung                 bool
	stretch              time.Duration // a Join begins no earlier: the end of the last hang, or when the link was up
	inbox                []func()      // while hung

	checks
}

func hashOf(topic string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(topic))
	if node, _, private := strings.Cut(topic, "/"); private {
		return uint64(hash32(node))<<32 | h.Sum64()&0xffffffff
	}
	return h.Sum64()
}

func hash32(s string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(s))
	return h.Sum32()
}

func config(id string) Config[string] {
	return Config[string]{
		Node:    id,
		Hash:    hashOf,
		Own:     func(topic string) bool { return strings.HasPrefix(topic, "@"+id+"/") },
		Private: func(h uint64) bool { return uint32(h>>32) == hash32("@"+id) },
	}
}

const all = "*"

// open adds a node to the world.
func (w *world) open() *node {
	n := &node{w: w, id: fmt.Sprintf("n%d", len(w.nodes)), opened: w.now, alive: true, held: true, subs: make(map[string]bool)}
	n.m = New(config(n.id))
	n.checks = newChecks()
	n.subs[all], n.subs["@"+n.id] = true, true
	w.nodes = append(w.nodes, n)
	w.trace("open %s", n.id)
	n.connect()
	return n
}

func (n *node) clock() time.Duration { return n.w.now - n.opened }

// connect is what a link does by itself: subscriptions first. Then it says that it is up.
func (n *node) connect() {
	w := n.w
	n.client = &client{node: n, broker: w.brokers[w.rng.IntN(len(w.brokers))]}
	w.clients = append(w.clients, n.client)
	n.announce(n.topics(), true)
	n.stretch = max(n.stretch, w.now)
	n.step("", func() []Effect[string] { return n.m.LinkUp(n.clock()) })
}

func (n *node) topics() []string {
	var topics []string
	for t := range n.subs {
		topics = append(topics, t)
	}
	slices.Sort(topics)
	return topics
}

func (n *node) announce(topics []string, on bool) {
	if c := n.client; c != nil {
		n.w.through(&c.up, func() {
			if !c.dead {
				n.w.see(c.broker, c, topics, on, true)
			}
		})
	}
}

// send publishes.
func (n *node) send(topic string, msg any) {
	c := n.client
	if c == nil {
		n.w.fail("%s sends %v while its link is down", n.id, msg)
		return
	}
	n.w.through(&c.up, func() {
		if !c.dead {
			n.w.publish(c.broker, c, topic, msg)
		}
	})
}

// drop breaks the connection of n: what is on its way is lost. The broker notices at once or later, the node likewise.
func (n *node) drop(broker, self, back time.Duration) {
	w, c := n.w, n.client
	if c == nil || c.dead {
		return
	}
	w.trace("cut %s: noticed after %v, back after %v", n.id, self, back)
	c.dead = true
	w.after(broker, func() {
		var topics []string
		for t := range c.broker.interest[c] {
			topics = append(topics, t)
		}
		slices.Sort(topics)
		w.see(c.broker, c, topics, false, true)
	})
	w.after(self, func() {
		n.awake(func() {
			if n.client == c {
				n.client, n.held = nil, true
				n.step("", func() []Effect[string] { return n.m.LinkDown(n.clock(), n.sent) })
			}
		})
	})
	w.after(self+back, func() {
		n.awake(func() {
			if n.client == nil {
				n.connect()
			}
		})
	})
}

// die stops n without a word.
func (n *node) die() {
	n.w.trace("death of %s", n.id)
	n.alive = false
	n.drop(n.w.between(0, 2*time.Second), time.Hour, time.Hour)
}

// leave closes n.
func (n *node) leave() {
	n.w.trace("%s leaves", n.id)
	n.step("", func() []Effect[string] { return n.m.Close(n.clock()) })
	n.alive, n.closed = false, true
	n.w.after(time.Second, func() { n.drop(0, time.Hour, time.Hour) })
}

// hang stops n for a while: it does nothing and takes nothing, and neither link nor broker notices.
func (n *node) hang(d time.Duration) {
	n.w.trace("%s hangs for %v", n.id, d)
	n.hung, n.stretch = true, max(n.stretch, n.w.now+d)
	n.w.after(d, func() {
		n.hung = false
		inbox := n.inbox
		n.inbox = nil
		for _, do := range inbox {
			n.awake(do)
		}
		n.arm()
	})
}

// awake does something in its turn once n does not hang.
func (n *node) awake(do func()) {
	switch {
	case !n.alive:
	case n.hung:
		n.inbox = append(n.inbox, do)
	default:
		do()
	}
}

func (n *node) receive(from *node, msg any) {
	n.awake(func() {
		n.w.trace("%s < %s: %v", n.id, from.id, msg)
		n.step(from.id, func() []Effect[string] {
			if e, ok := msg.(*emission); ok {
				return n.m.Broadcast(n.clock(), from.id, e.stamp, e.topics, e)
			}
			return n.m.Receive(n.clock(), from.id, msg.(Message))
		})
	})
}

// step runs a step of the machine, which was caused by the node from if that is not empty, and carries out the effects.
func (n *node) step(from string, do func() []Effect[string]) {
	before := n.m.counts.Holes
	effects := do()
	if holes := n.m.counts.Holes - before; holes > 0 {
		n.holed(from, int(holes))
	}
	for _, effect := range effects {
		switch e := effect.(type) {
		case Subscribe[string]:
			for _, t := range e.Topics {
				n.subs[t] = true
			}
			n.announce(e.Topics, true)
		case Unsubscribe[string]:
			for _, t := range e.Topics {
				delete(n.subs, t)
			}
			n.ended(e.Topics)
			n.announce(e.Topics, false)
		case Send[string]:
			if e.To == "" {
				n.send(all, e.Message)
			} else {
				n.send("@"+e.To, e.Message)
			}
		case Deliver[string]:
			n.delivered(e.Broadcast.(*emission))
		case Joined[string]:
			n.joined(e.Wait.(*join), e.Missing)
		case Ready[string]:
			n.ready = true
		case Release[string]:
			n.held = false
			for _, send := range n.parked {
				send()
			}
			n.parked = nil
		}
	}
	n.arm()
}

// arm lets the machine tick at the time that it asks for, and at no other.
func (n *node) arm() {
	at := n.opened + n.m.Next()
	n.armed = at
	n.w.after(max(0, at-n.w.now), func() {
		if n.alive && !n.hung && n.armed == at {
			n.armed = -1
			n.step("", func() []Effect[string] { return n.m.Tick(n.clock()) })
		}
	})
}

package mesh

import (
	"container/heap"
	"fmt"
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

	operations            int // what was done to the world, each of it something
	emitted, unions, wide int // wide are the unions of so many rooms that they travel by the namespace's topic
	requests              int
	missed, unknown       int
	probes                int // of nodes that were not there
	swift                 int // Joins that found no fence under way
	sessions

	roomy   bool // whatever is lost can be repaired
	steady  bool // nothing is lost but with a connection, and no node hangs
	mortal  bool // nothing is lost at all, but nodes are killed
	weak    bool // few hashes for all topics
	mute    bool // the brokers do not say that nobody is there
	distant bool // some nodes are far away from their brokers
	limits  Limits

	failure string
	trace   func(format string, args ...any)
}

// faults are what a link does to messages on their last hop, as probabilities.
type faults struct {
	loss, copies, stale, over float64
	any                       bool // something besides delays may happen in this world
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

// node returns the node with this id, or nil.
func (w *world) node(id string) *node {
	for _, n := range w.nodes {
		if n.id == id {
			return n
		}
	}
	return nil
}

// pipe is one direction of a hop: what enters first leaves first.
type pipe struct{ last, length time.Duration }

// maxHop is how long something takes through a pipe without length.
const maxHop = 8 * time.Millisecond

func (w *world) through(p *pipe, do func()) {
	p.last = max(p.last, w.now+p.length+w.between(0, maxHop))
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
	since    time.Duration
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

// probe answers client c at its broker b whether anybody wants a topic: only if nobody does.
func (w *world) probe(b *broker, c *client, topic string, absent func()) {
	if !slices.ContainsFunc(w.clients, func(r *client) bool { return r != c && b.wants(r, topic) }) {
		w.probes++
		w.through(&c.down, func() {
			if !c.dead {
				absent()
			}
		})
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
		deliver := func() { r.node.receive(from.node, msg.(*letter)) }
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

// breakRoute ends a route in both directions, and with it the interest that came by it.
func (w *world) breakRoute(a, b *broker) {
	a.cut[b], b.cut[a] = true, true
	for _, c := range w.clients {
		if c.broker == a {
			delete(b.interest, c)
		}
		if c.broker == b {
			delete(a.interest, c)
		}
	}
}

// mendRoute restores a route: each side tells the other its interest first.
func (w *world) mendRoute(a, b *broker) {
	w.trace("the route is back")
	a.cut[b], b.cut[a] = false, false
	for _, c := range w.clients {
		if c.dead || c.broker != a && c.broker != b {
			continue
		}
		from, to := a, b
		if c.broker == b {
			from, to = b, a
		}
		var topics []string
		for topic := range from.interest[c] {
			topics = append(topics, topic)
		}
		w.through(from.routes[to], func() { w.see(to, c, topics, true, false) })
	}
}

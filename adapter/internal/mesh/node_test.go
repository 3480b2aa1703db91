package mesh

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/belfry-io/belfry/adapter/internal/rooms"
)

// node is a machine, and the shell around it: its link with a queue in front, its clock, and its rooms with their members.
type node struct {
	w      *world
	id     string
	m      *Machine[string, *emission, *emission, *join]
	opened time.Duration
	armed  time.Duration

	client *client // nil while the link is known to be down
	subs   map[string]bool
	held   bool     // broadcasts wait in parked
	parked []func() // publishes
	sent   uint64   // the last number published

	alive, closing, closed, ready bool
	hung                          bool
	deaf                          bool          // it takes nothing, and sends as ever
	emitter                       bool          // it has no members
	distance                      time.Duration // to its broker
	stretch                       time.Duration // a Join begins no earlier: the end of the last hang, or when the link was up
	inbox                         []func()      // while hung
	greeted                       bool          // the message that it takes is a hello

	index   rooms.Index[*member]
	members []*member // those of index
	born    int       // how many there ever were

	checks
}

// letter is what goes over a link: to is the one that it is for, or empty.
type letter struct {
	to  string
	msg any
}

func (l *letter) String() string { return fmt.Sprintf("to %q: %+v", l.to, l.msg) }

// repair is an emission that is sent again.
type repair struct{ *emission }

const (
	all       = "*"  // the topic of the cluster
	namespace = "ns" // the topic of the namespace
	maxUnion  = 4    // rooms of a broadcast that travels by their topics
)

// topicOf is the topic of a room: private for the id of a member, which is its node's and a number.
func topicOf(room string) string {
	if id, _, own := strings.Cut(room, "."); own {
		return "@" + id + "/" + room
	}
	return room
}

func hashOf(topic string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(topic))
	if name, ok := strings.CutPrefix(topic, "@"); ok {
		id, _, _ := strings.Cut(name, "/")
		return uint64(hash32(id))<<32 | h.Sum64()&0xffffffff
	}
	return h.Sum64()
}

func hash32(s string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(s))
	return h.Sum32()
}

// weakHash has seven values for all topics that are not private.
func weakHash(topic string) uint64 {
	if strings.HasPrefix(topic, "@") {
		return hashOf(topic) &^ 0xfffffffe // two for each node
	}
	return hashOf(topic) % 7
}

// named is the name of a node.
func named(id string) string { return "host of " + id }

func config(id string, hash func(string) uint64) Config[string] {
	own := "@" + id
	return Config[string]{
		Node: id,
		Name: named(id),
		Hash: hash,
		Own:  func(topic string) bool { return topic == all || topic == own || strings.HasPrefix(topic, own+"/") },
		Mine: func(h uint64) bool { return h == hash(all) || h>>32 == uint64(hash32(id)) },
	}
}

// open adds a node to the world.
func (w *world) open() *node {
	n := &node{w: w, id: fmt.Sprintf("n%d", len(w.nodes)), opened: w.now, alive: true, held: true, subs: make(map[string]bool)}
	hash := hashOf
	if w.weak {
		hash = weakHash
	}
	cfg := config(n.id, hash)
	cfg.Limits = w.limits
	n.emitter = len(w.nodes) >= 2 && w.chance(0.15)
	cfg.Client = n.emitter
	if w.distant && w.chance(0.6) {
		n.distance = []time.Duration{farthest / 6, farthest / 3, farthest / 2, farthest}[w.rng.IntN(4)]
		if len(w.nodes) > 0 { // of those that are farthest one is enough: the way to another would be longer than anybody waits
			n.distance = min(n.distance, farthest/2)
		}
	}
	n.m = New[string, *emission, *emission, *join](cfg)
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
	n.client = &client{node: n, broker: w.brokers[w.rng.IntN(len(w.brokers))], since: w.now}
	n.client.up.length, n.client.down.length = n.distance, n.distance
	w.clients = append(w.clients, n.client)
	n.announce(n.topics(), true)
	n.stretch = max(n.stretch, w.now)
	clear(n.named)
	n.m.Linked(Broker{RoundTrip: 2 * n.distance, Probes: !w.mute})
	n.step(func() []Effect { return n.m.LinkUp(n.clock()) })
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
func (n *node) send(topic string, l *letter) {
	c := n.client
	if c == nil {
		n.w.fail("%s sends %v while its link is down", n.id, l)
		return
	}
	n.w.through(&c.up, func() {
		if !c.dead {
			if e, ok := l.msg.(*emission); ok {
				e.handed = append(e.handed, topic)
			}
			n.w.publish(c.broker, c, topic, l)
		}
	})
}

// probe asks the broker who is there.
func (n *node) probe(id string) {
	c := n.client
	if c == nil || n.w.mute {
		n.w.fail("%s asks its broker, which does not answer", n.id)
		return
	}
	n.w.through(&c.up, func() {
		if !c.dead {
			n.w.probe(c.broker, c, "@"+id, func() {
				n.awake(func() { n.step(func() []Effect { return n.m.Unreachable(n.clock(), id) }) })
			})
		}
	})
}

func (n *node) receive(from *node, l *letter) {
	if l.to != "" && l.to != n.id || n.deaf {
		return
	}
	n.awake(func() {
		n.w.trace("%s < %s: %+v", n.id, from.id, l.msg)
		n.hears[from], n.heardAt[from], n.knows[from.id] = true, n.w.now, true
		n.step(func() []Effect {
			switch msg := l.msg.(type) {
			case *emission:
				return n.m.Broadcast(n.clock(), from.id, msg.incoming(false))
			case repair:
				return n.m.Broadcast(n.clock(), from.id, msg.incoming(true))
			}
			fence, ok := l.msg.(*Fence)
			n.greeted = ok && fence.Hello
			effects := n.m.Receive(n.clock(), from.id, l.msg.(Message))
			n.heard(from, l.msg.(Message))
			return effects
		})
	})
}

// step runs a step of the machine and carries out the effects. What a broadcast changes comes after all of them.
func (n *node) step(do func() []Effect) {
	deliver := n.carryOut(do())
	for len(deliver) > 0 {
		d := deliver[0]
		deliver = deliver[1:]
		if d.settled != nil {
			d.settled()
			continue
		}
		e, past, step := d.Broadcast, d.Past, d.step
		n.delivered(e, past, step)
		n.cause = e.from
		n.apply(e, past, step)
		n.cause = nil
		if e.kind != packet {
			deliver = append(deliver, n.carryOut(n.m.Resume(n.clock(), e.from.id))...)
		}
	}
	n.steady()
	n.arm()
}

// delivery is what is to be delivered, of the machine's step with this number.
type delivery struct {
	Deliver[*emission]
	step    int
	settled func() // instead, where a Settle has ended behind what is delivered
}

// carryOut carries out the effects of a step of the machine, but for what is to be delivered.
func (n *node) carryOut(effects []Effect) (deliver []delivery) {
	n.steps++
	for _, effect := range effects {
		switch e := effect.(type) {
		case Subscribe[string]:
			for _, t := range e.Topics {
				n.subs[t], n.behind[t], n.entered[t], n.begun[t] = true, n.fenced, moment{n.steps - 1, n.cause}, n.w.now
			}
			n.announce(e.Topics, true)
		case Unsubscribe[string]:
			for _, t := range e.Topics {
				delete(n.subs, t)
				delete(n.behind, t)
				delete(n.entered, t)
			}
			n.ended(e.Topics)
			n.announce(e.Topics, false)
		case Send:
			if nack, ok := e.Message.(*Nack); ok && !n.w.any && !n.w.weak {
				n.asksForNothing(nack)
			}
			topic := all
			if e.To != "" {
				topic = "@" + e.To
			}
			if fence, ok := e.Message.(*Fence); ok {
				n.fenced = max(n.fenced, fence.Number)
			}
			if ack, ok := e.Message.(*Ack); ok && n.greeted {
				n.answers(ack, e.To)
			}
			n.send(topic, &letter{e.To, e.Message})
		case Probe:
			n.probe(e.Node)
		case Resend[*emission]:
			n.send("@"+e.To, &letter{e.To, repair{e.Broadcast}})
		case Deliver[*emission]:
			deliver = append(deliver, delivery{Deliver: e, step: n.steps})
		case Settled[*join]:
			deliver = append(deliver, delivery{settled: func() { e.Wait.settled(e.Unsettled) }})
		case Lost:
			n.lost(e)
		case Joined[*join]:
			n.joined(e.Wait, e.Missing)
		case Ready:
			n.isReady()
		case Release:
			n.held = false
			for _, send := range n.parked {
				send()
			}
			n.parked = nil
		case Closed:
			n.alive, n.closed = false, true
			n.closes()
			n.w.after(100*time.Millisecond+2*n.distance, func() { n.drop(0, time.Hour, time.Hour) }) // what it has sent goes out
		}
	}
	return deliver
}

// maxLate is how late a tick may be.
const maxLate = 20 * time.Millisecond

// arm lets the machine tick at the time that it asks for, or a little later, and at no other.
func (n *node) arm() {
	at := n.opened + n.m.Next()
	if at == n.armed {
		return
	}
	n.armed = at
	if n.w.chance(0.1) && at > n.w.now {
		n.w.after(n.w.between(0, at-n.w.now-1), n.early)
	}
	n.w.after(max(0, at-n.w.now)+n.w.between(0, maxLate), func() {
		if n.alive && !n.hung && n.armed == at {
			n.armed = -1
			n.step(func() []Effect { return n.m.Tick(n.clock()) })
		}
	})
}

// early lets the machine tick before it asks for it: then there is nothing to be done, or it would have been late.
func (n *node) early() {
	if next := n.m.Next(); n.alive && !n.hung && n.clock() < next {
		n.step(func() []Effect {
			effects := n.m.Tick(n.clock())
			if len(effects) > 0 {
				n.w.fail("%s does %T at %v, and has asked for a tick at %v", n.id, effects[0], n.clock(), next)
			}
			return effects
		})
	}
}

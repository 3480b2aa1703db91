package cluster

import (
	"slices"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
	"github.com/belfry-io/belfry/adapter/internal/mesh"
)

// receive takes a message from the link, from one goroutine at a time.
func (h *Hub) receive(msg []byte) {
	h.assembly.expire(h.age())
	m, err := read(msg)
	if err == nil && m.From == h.node {
		return // the link delivers more than was asked
	}
	if err == nil && m.Chunk != nil {
		if msg = h.assembly.add(h.age(), m.From, m.Chunk); msg == nil {
			return
		}
		from := m.From
		m, err = read(msg)
		if err == nil && (m.Chunk != nil || m.From != from) {
			err = envelope.ErrMalformed
		}
	}
	if err != nil {
		h.malformed(err)
		return
	}
	if m.To != "" && m.To != h.node {
		return // so does one that brings what is for another node
	}
	if nack, ok := m.Mesh.(*mesh.Nack); ok && len(nack.Ranges) > 0 && h.writer.crowded() {
		return // it is asked again
	}
	h.step(func() []mesh.Effect {
		if b := m.Broadcast; b != nil {
			return h.machine.Broadcast(h.age(), m.From, mesh.Incoming[adapter.Topic, *envelope.Broadcast]{
				Stamp:     b.Stamp,
				Topics:    topics(&b.Body),
				Size:      len(msg),
				Repaired:  b.Repaired,
				Changes:   b.Changes(),
				Broadcast: b,
			})
		}
		if _, nobody := m.Mesh.(*mesh.Unreachable); nobody {
			return h.machine.Unreachable(h.age(), m.From)
		}
		return h.machine.Receive(h.age(), m.From, m.Mesh)
	})
}

// read decodes a message. All nodes that it names are nodes by their form: their ids are parts of
// topics, which drivers rely on.
func read(msg []byte) (*envelope.Message, error) {
	m, err := envelope.Decode(msg)
	if err != nil {
		return nil, err
	}
	named := validNode(m.From)
	heard := func(list []mesh.Gossip) bool {
		return !slices.ContainsFunc(list, func(h mesh.Gossip) bool { return !validNode(h.Node) })
	}
	switch msg := m.Mesh.(type) {
	case *mesh.Ack:
		named = named && heard(msg.Gossip) && !slices.ContainsFunc(msg.Members, func(id string) bool { return !validNode(id) })
	case *mesh.Heartbeat:
		named = named && heard(msg.Gossip)
	}
	if !named {
		return nil, envelope.ErrMalformed
	}
	return m, nil
}

func (h *Hub) malformed(err error) {
	h.meshMu.Lock()
	h.counts.malformed++
	first := h.counts.malformed == 1
	h.meshMu.Unlock()
	if first {
		h.log.Warn("belfry: a message that is not understood was ignored; further ones are only counted", "error", err)
	}
}

// step takes a step of the machine and deals with what comes of it, in order: broadcasts are handed
// to the members, requests are served.
func (h *Hub) step(do func() []mesh.Effect) {
	h.receiving.Lock()
	defer h.receiving.Unlock()
	h.meshMu.Lock()
	results := h.apply(do())
	h.meshMu.Unlock()
	for i := 0; i < len(results); i++ {
		switch e := results[i].(type) {
		case mesh.Lost:
			h.lost(e)
		case mesh.Membership: // behind what the nodes have sent that have gone
			h.endHeld()
		case mesh.Deliver[*envelope.Broadcast]:
			b := e.Broadcast
			h.deliver(b, e.Past)
			if b.Changes() { // what came behind it is judged by what this node receives now
				h.meshMu.Lock()
				results = append(results, h.apply(h.machine.Resume(h.age(), b.From))...)
				h.meshMu.Unlock()
			}
		}
	}
}

// deliver hands a broadcast to those whom it is for. Members of rooms whose topics are past do not
// get it.
func (h *Hub) deliver(b *envelope.Broadcast, past []bool) {
	if past != nil {
		b.Rooms = selecting(&b.Body, past)
	}
	switch b.Route {
	case envelope.ByCluster, envelope.ByNode:
		h.ask.Receive(b)
	default:
		if r := h.lookup(b.Namespace); r != nil {
			_, err := r.handOver(b, b.Stamp.Sequence)
			r.unframed(err)
		}
	}
}

// A Loss is a broadcast that was due on this node and will not come.
type Loss struct {
	Node    string // that sent it
	Name    string // of that node; empty if it is not known
	Unknown bool   // any number of broadcasts, or none: no node remembers what was sent
}

// lost reports broadcasts that will not come.
func (h *Hub) lost(e mesh.Lost) {
	h.meshMu.Lock()
	h.counts.lost++
	first, name := h.counts.lost == 1, h.machine.Name(e.Node)
	h.meshMu.Unlock()
	if first {
		h.log.Error("belfry: broadcasts of another node were lost; further ones are only counted",
			append(other(e.Node, name), "after", e.After, "upto", e.Upto, "unknown", e.Unknown)...)
	}
	if h.cfg.OnLoss != nil {
		h.tellLoss(Loss{Node: e.Node, Name: name, Unknown: e.Unknown})
	}
}

// tellLoss calls OnLoss, which is the program's: a panic is its own.
func (h *Hub) tellLoss(l Loss) {
	if p := guard(func() { h.cfg.OnLoss(l) }); p != nil {
		h.log.Error("belfry: OnLoss panicked", "error", p, "stack", string(p.stack))
	}
}

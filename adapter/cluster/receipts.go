package cluster

import (
	"maps"
	"time"

	"github.com/belfry-io/belfry/adapter/internal/envelope"
)

// Watermarks are, for each node, a number up to which all of its broadcasts that concern this node
// were handed to the members here, or are lost for good. This node's own is that of its last one.
// Watermarks waits for what is being handed to them.
func (h *Hub) Watermarks() map[string]uint64 {
	if h.machine == nil {
		return nil
	}
	h.receiving.Lock()
	defer h.receiving.Unlock()
	h.meshMu.Lock()
	defer h.meshMu.Unlock()
	marks := h.machine.Lows()
	marks[h.node] = h.machine.Last()
	return marks
}

// Receipts say what a session that has come from another node had there: that it does not get again,
// however late it comes here.
type Receipts struct {
	Marks map[string]uint64          // by origin, the Watermarks of the other node
	Had   map[string]map[uint64]bool // by origin, the keys of what it had besides

	since time.Time
}

// receiptsFor bounds how long receipts are kept: no node sends again what is older.
const receiptsFor = time.Minute

// Has reports whether the session had what its origin knows by a key.
func (g *Receipts) Has(origin string, key uint64) bool {
	return key != 0 && (key <= g.Marks[origin] || g.Had[origin][key])
}

// over reports whether nothing can come any more that the session had, since this node has it all.
func (g *Receipts) over(marks map[string]uint64) bool {
	if time.Since(g.since) > receiptsFor {
		return true
	}
	for origin, mark := range g.Marks {
		if mark > marks[origin] {
			return false
		}
	}
	for origin, keys := range g.Had {
		for key := range keys {
			if key > marks[origin] {
				return false
			}
		}
	}
	return true
}

// allReceipts are those of the sessions and members of a namespace. Rooms.mu guards them.
type allReceipts struct {
	byID    map[string]*Receipts
	highest map[string]uint64 // by origin, the highest key that any of them has
}

// SetReceipts has a session or a member of this node not get what it had elsewhere. It is for a step of
// InOrder.
func (r *Rooms) SetReceipts(id string, g *Receipts) {
	r.mu.Lock()
	defer r.mu.Unlock()
	gs := &r.receipts
	if gs.byID == nil {
		gs.byID, gs.highest = make(map[string]*Receipts), make(map[string]uint64)
	}
	g.since = time.Now()
	gs.byID[id] = g
	gs.note(g)
}

// ReceiptsOf are those of a session or a member; nil for none.
func (r *Rooms) ReceiptsOf(id string) *Receipts {
	r = r.lock(false)
	defer r.mu.Unlock()
	return r.receipts.byID[id]
}

func (gs *allReceipts) note(g *Receipts) {
	for origin, mark := range g.Marks {
		gs.highest[origin] = max(gs.highest[origin], mark)
	}
	for origin, keys := range g.Had {
		for key := range keys {
			if key < requestKey(0) {
				gs.highest[origin] = max(gs.highest[origin], key)
			}
		}
	}
}

// spare has those not get a broadcast that had it elsewhere.
func (gs *allReceipts) spare(b *envelope.Body, origin string, key uint64) {
	if key == 0 || key < requestKey(0) && key > gs.highest[origin] {
		return
	}
	for id, g := range gs.byID {
		if g.Has(origin, key) {
			b.Except = append(b.Except[:len(b.Except):len(b.Except)], id)
		}
	}
}

// ExpireReceipts drops those that are of no use any more.
func (h *Hub) ExpireReceipts() {
	h.roomsMu.Lock()
	all := make([]*Rooms, 0, len(h.rooms))
	for _, r := range h.rooms {
		all = append(all, r)
	}
	h.roomsMu.Unlock()
	var marks map[string]uint64
	for _, r := range all {
		r.mu.Lock()
		some := len(r.receipts.byID) > 0
		r.mu.Unlock()
		if !some {
			continue
		}
		if marks == nil {
			marks = h.Watermarks()
		}
		r.mu.Lock()
		gs := &r.receipts
		maps.DeleteFunc(gs.byID, func(_ string, g *Receipts) bool { return g.over(marks) })
		if clear(gs.highest); len(gs.byID) == 0 {
			*gs = allReceipts{}
		}
		for _, g := range gs.byID {
			gs.note(g)
		}
		r.mu.Unlock()
	}
}

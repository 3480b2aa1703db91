package cluster

import (
	"context"

	"github.com/belfry-io/belfry/adapter/internal/ask"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
)

// Count returns how many members are selected, without fetching them. It holds up the namespace for
// as long as a walk through the rooms that are selected and left out takes, or not at all for a
// single room and for all members. See [PartialError].
func (r *Rooms) Count(ctx context.Context, s Selection) (int, error) {
	count := r.count(s.Rooms, s.Except)
	err := r.askAll(ctx, envelope.KindCount, s, func(p ask.Page) error {
		n, err := envelope.Number(p.Content)
		count += int(n)
		return err
	})
	return count, err
}

// count returns how many members of this node are selected.
func (r *Rooms) count(rooms, except []string) int {
	r = r.lock(false)
	defer r.mu.Unlock()
	return r.index.Count(rooms, except)
}

// serveCount is Count for another node.
func (h *Hub) serveCount(b *envelope.Broadcast) {
	h.ask.Answer(b, ask.Lookup, func(a *ask.Answer) {
		n := 0
		if r := h.lookup(b.Namespace); r != nil {
			n = r.count(b.Rooms, b.Except)
		}
		_ = a.Send(envelope.AppendNumber(nil, uint64(n))) // an error means that nobody waits for it
	})
}

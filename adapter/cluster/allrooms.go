package cluster

import (
	"context"

	"github.com/belfry-io/belfry/adapter/internal/ask"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
)

// AllRooms returns the [Rooms.Names] of all nodes, each once, in no order. See [PartialError].
func (r *Rooms) AllRooms(ctx context.Context) ([]string, error) {
	names := r.Names()
	known := make(map[string]struct{}, len(names))
	for _, name := range names {
		known[name] = struct{}{}
	}
	err := r.askAll(ctx, envelope.KindAllRooms, Selection{}, func(p ask.Page) error {
		more, err := envelope.Strings(p.Content)
		for _, name := range more {
			if _, ok := known[name]; !ok {
				known[name] = struct{}{}
				names = append(names, name)
			}
		}
		return err
	})
	return names, err
}

// serveAllRooms is AllRooms for another node.
func (h *Hub) serveAllRooms(b *envelope.Broadcast) {
	h.answerFromRooms(b, func(a *ask.Answer, r *Rooms) error {
		var item []byte
		for _, name := range r.Names() {
			item = envelope.AppendString(item[:0], name)
			if err := a.Add(item); err != nil {
				return err
			}
		}
		return nil
	})
}

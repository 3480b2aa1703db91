package cluster

import (
	"context"
	"slices"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/internal/ask"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
)

// AllRooms returns the names of the rooms that have a member on any node, each once, in no order,
// without the rooms of the members' own ids. See [PartialError].
func (r *Rooms) AllRooms(ctx context.Context) ([]string, error) {
	names := r.shared()
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
		for _, name := range r.shared() {
			item = envelope.AppendString(item[:0], name)
			if err := a.Add(item); err != nil {
				return err
			}
		}
		return nil
	})
}

// shared returns the rooms with a member on this node, without those that are the own of a member of any node.
func (r *Rooms) shared() []string {
	r = r.lock(false)
	names := r.index.Shared()
	r.mu.Unlock()
	return slices.DeleteFunc(names, func(name string) bool { return roomTopic(r.namespace, name).Kind == adapter.Private })
}

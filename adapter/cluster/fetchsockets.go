package cluster

import (
	"context"
	"slices"

	"github.com/belfry-io/belfry/adapter/internal/ask"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
)

// A MemberInfo describes a fetched member.
type MemberInfo struct {
	ID    string
	Node  string   // the id of its node
	Rooms []string // its own, then the others in the order of joining
	Data  []byte   // the result of its Describe; the caller's
}

// FetchSockets returns the selected members, those of this node first. See [PartialError].
func (r *Rooms) FetchSockets(ctx context.Context, s Selection) ([]MemberInfo, error) {
	var infos []MemberInfo
	r.describe(s.Rooms, s.Except, func(m *envelope.MemberInfo) error {
		infos = append(infos, MemberInfo{ID: m.ID, Node: r.hub.node, Rooms: m.Rooms, Data: slices.Clone(m.Data)})
		return nil
	})
	err := r.askAll(ctx, envelope.KindFetchSockets, s, func(p ask.Page) error {
		members, err := envelope.MemberInfos(p.Content)
		for _, m := range members {
			infos = append(infos, MemberInfo{ID: m.ID, Node: p.From, Rooms: m.Rooms, Data: m.Data})
		}
		return err
	})
	return infos, err
}

// serveFetchSockets is FetchSockets for another node.
func (h *Hub) serveFetchSockets(b *envelope.Broadcast) {
	h.answerFromRooms(b, func(a *ask.Answer, r *Rooms) error {
		var item []byte
		return r.describe(b.Rooms, b.Except, func(m *envelope.MemberInfo) error {
			item = m.Append(item[:0])
			return a.Add(item)
		})
	})
}

// describe calls each for the members that are selected, until it returns an error. One that leaves
// meanwhile is passed over.
func (r *Rooms) describe(rooms, except []string, each func(*envelope.MemberInfo) error) error {
	for _, id := range r.selectIDs(rooms, except) {
		locked := r.lock(false)
		member, ok := locked.index.Get(id)
		in := locked.index.RoomsOf(id)
		locked.mu.Unlock()
		if !ok {
			continue
		}
		if err := each(&envelope.MemberInfo{ID: id, Rooms: in, Data: r.describeOne(id, member)}); err != nil {
			return err
		}
	}
	return nil
}

// describeOne calls Describe of a member, which is the program's: a panic is its own.
func (r *Rooms) describeOne(id string, m Member) (data []byte) {
	if p := guard(func() { data = m.Describe() }); p != nil {
		r.hub.log.Error("belfry: a member that cannot be described", "namespace", r.namespace,
			"member", id, "error", p, "stack", string(p.stack))
	}
	return data
}

package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
)

// A Selection is the members of any of Rooms, or all of the namespace if there are none, without the members of any of Except, on all
// nodes. A member's id is a room with the member in it.
type Selection struct {
	Rooms  []string
	Except []string
	Local  bool // on this node alone
}

// MemberInfo is what Fetch finds out about a member.
type MemberInfo struct {
	ID    string
	Node  string   // where it is
	Rooms []string // its own, then the others in the order of joining
	Data  []byte   // what its Describe returned; it is the caller's
}

// Fetch returns the members that are selected, those of this node first. See [PartialError].
func (r *Rooms) Fetch(ctx context.Context, s Selection) ([]MemberInfo, error) {
	var infos []MemberInfo
	r.describe(s.Rooms, s.Except, func(m *envelope.Member) error {
		infos = append(infos, MemberInfo{ID: m.ID, Node: r.hub.node, Rooms: m.Rooms, Data: slices.Clone(m.Data)})
		return nil
	})
	err := r.gather(ctx, envelope.KindFetch, s, func(from string, _ *asked, content []byte, _ bool) error {
		members, err := envelope.Members(content)
		for _, m := range members {
			infos = append(infos, MemberInfo{ID: m.ID, Node: from, Rooms: m.Rooms, Data: m.Data})
		}
		return err
	})
	return infos, err
}

// Count returns how many members are selected, without fetching them. See [PartialError].
func (r *Rooms) Count(ctx context.Context, s Selection) (int, error) {
	count := len(r.selectIDs(s.Rooms, s.Except))
	err := r.gather(ctx, envelope.KindCount, s, func(_ string, _ *asked, content []byte, _ bool) error {
		n, err := envelope.Number(content)
		count += int(n)
		return err
	})
	return count, err
}

// AllRooms returns the names of the rooms that have a member on any node, each once and in no order, without those of the members' own.
// See [PartialError].
func (r *Rooms) AllRooms(ctx context.Context) ([]string, error) {
	names := r.shared()
	known := make(map[string]struct{}, len(names))
	for _, name := range names {
		known[name] = struct{}{}
	}
	err := r.gather(ctx, envelope.KindRooms, Selection{}, func(_ string, _ *asked, content []byte, _ bool) error {
		more, err := envelope.Strings(content)
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

// gather sends a request that changes nothing, and waits for the answers, of which p takes the pages.
func (r *Rooms) gather(ctx context.Context, kind envelope.Kind, s Selection, p page) error {
	if s.Local {
		return nil
	}
	ctx, cancel, left := patience(ctx)
	defer cancel()
	b := r.request(kind, s.Rooms, s.Except, left)
	c := r.hub.newCall(p)
	r.hub.ask(ctx, c, b, false)
	r.hub.wait(ctx, c, b)
	return c.partial(0)
}

// request is the body of a request about the members that are selected. It has its place among what is emitted to the same rooms.
func (r *Rooms) request(kind envelope.Kind, rooms, except []string, left time.Duration) *envelope.Body {
	b := &envelope.Body{
		Route:     envelope.ByCluster,
		Namespace: r.namespace,
		Rooms:     distinct(rooms),
		Except:    except,
		Request:   envelope.Request{Kind: kind, Left: left},
	}
	if len(b.Rooms) > 0 {
		b.Flags |= envelope.InRooms
	}
	return b
}

// look answers what another node wants to know.
func (h *Hub) look(a *answer, b *envelope.Broadcast) {
	var err error
	if r := h.lookup(b.Namespace); r != nil {
		var item []byte
		switch b.Kind {
		case envelope.KindFetch:
			err = r.describe(b.Rooms, b.Except, func(m *envelope.Member) error {
				item = m.Append(item[:0])
				return a.add(item)
			})
		case envelope.KindCount:
			err = a.add(envelope.AppendNumber(nil, uint64(len(r.selectIDs(b.Rooms, b.Except)))))
		case envelope.KindRooms:
			for _, name := range r.shared() {
				item = envelope.AppendString(item[:0], name)
				if err = a.add(item); err != nil {
					break
				}
			}
		}
	} else if b.Kind == envelope.KindCount {
		err = a.add(envelope.AppendNumber(nil, 0))
	}
	if err == nil {
		_ = a.flush(false) // an error means that nobody waits for it, or that the asker knows
	}
}

func (r *Rooms) selectIDs(rooms, except []string) []string {
	r = r.lock(false)
	defer r.mu.Unlock()
	return r.index.SelectIDs(nil, rooms, except)
}

// shared returns the rooms with a member on this node, without those that are the own of a member of any node.
func (r *Rooms) shared() []string {
	r = r.lock(false)
	names := r.index.Shared()
	r.mu.Unlock()
	return slices.DeleteFunc(names, func(name string) bool { return roomTopic(r.namespace, name).Kind == adapter.Private })
}

// describe calls each for the members that are selected, until it returns an error. One that leaves meanwhile is passed over.
func (r *Rooms) describe(rooms, except []string, each func(*envelope.Member) error) error {
	for _, id := range r.selectIDs(rooms, except) {
		locked := r.lock(false)
		member, ok := locked.index.Get(id)
		in := locked.index.RoomsOf(id)
		locked.mu.Unlock()
		if !ok {
			continue
		}
		if err := each(&envelope.Member{ID: id, Rooms: in, Data: r.data(id, member)}); err != nil {
			return err
		}
	}
	return nil
}

// data is what a member says of itself, which is the program's: a panic is its own.
func (r *Rooms) data(id string, m Member) (data []byte) {
	defer func() {
		if p := recover(); p != nil {
			r.hub.cfg.Logger.Error("belfry: a member that cannot be described", "namespace", r.namespace, "member", id, "error", fmt.Sprint(p))
		}
	}()
	return m.Describe()
}

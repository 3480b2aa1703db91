package cluster

import (
	"context"
	"time"

	"github.com/belfry-io/belfry/adapter/internal/ask"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
)

// A Selection selects the members of any of Rooms, or all members of the namespace if Rooms is
// empty, without the members of any of Except, on all nodes. A member's id is a room with that
// member in it.
type Selection struct {
	Rooms  []string
	Except []string
	Local  bool // on this node alone
}

// askAll sends a request that changes nothing, and waits for the answers, whose pages merge takes.
func (r *Rooms) askAll(ctx context.Context, kind envelope.Kind, s Selection, merge ask.Merge) error {
	if s.Local {
		return nil
	}
	ctx, cancel, left := patience(ctx)
	defer cancel()
	b := r.request(kind, Broadcast{Rooms: s.Rooms, Except: s.Except}, left)
	c := r.hub.ask.New(merge)
	r.hub.ask.Ask(ctx, c, b, false)
	r.hub.ask.Wait(ctx, c, b)
	return r.hub.incomplete(c, 0)
}

// request is the body of a request about the members that b selects, with b's payload. It has its
// place among what is emitted to the same rooms.
func (r *Rooms) request(kind envelope.Kind, b Broadcast, left time.Duration) *envelope.Body {
	body := &envelope.Body{
		Route:     envelope.ByCluster,
		Namespace: r.namespace,
		Rooms:     distinct(b.Rooms),
		Except:    b.Except,
		Payload:   b.Payload,
		Trace:     b.Trace,
		Request:   envelope.Request{Kind: kind, Left: left},
	}
	if len(body.Rooms) > 0 {
		body.Flags |= envelope.InRooms
	}
	if b.Volatile {
		body.Flags |= envelope.Volatile
	}
	return body
}

// answerFromRooms answers what another node wants to know of the members of a namespace here, if
// there are any. It is for requests that change nothing.
func (h *Hub) answerFromRooms(b *envelope.Broadcast, answer func(a *ask.Answer, r *Rooms) error) {
	h.ask.Answer(b, ask.Lookup, func(a *ask.Answer) {
		var err error
		if r := h.lookup(b.Namespace); r != nil {
			err = answer(a, r)
		}
		if err == nil {
			_ = a.Flush(false) // an error means that nobody waits for it, or that the asker knows
		}
	})
}

func (r *Rooms) selectIDs(rooms, except []string) []string {
	r = r.lock(false)
	defer r.mu.Unlock()
	return r.index.SelectIDs(nil, rooms, except)
}

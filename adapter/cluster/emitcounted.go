package cluster

import (
	"context"

	"github.com/belfry-io/belfry/adapter/internal/ask"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
)

// EmitCounted is Emit, and then waits until every node has delivered the broadcast to its
// members. It returns how many have taken it, as [Member.Deliver] says. It asks all nodes, while
// Emit reaches only those with a member of the rooms: use it only for the count.
//
// It keeps the order of Emit, and this node's members have it whatever the error. With a
// [PartialError] comes the number of members that are known to have taken it; others may have, too.
// After any other error no member has it.
func (r *Rooms) EmitCounted(ctx context.Context, b Broadcast) (int, error) {
	ctx, cancel, left := patience(ctx)
	defer cancel()
	taken := 0
	c := r.hub.ask.New(func(p ask.Page) error {
		n, err := envelope.Number(p.Content)
		taken += int(n)
		return err
	})
	body := r.request(envelope.KindEmitCounted, b, left)
	body.ID = c.ID()
	here, err := r.handOver(&envelope.Broadcast{From: r.hub.node, Body: *body}, requestKey(body.ID))
	if err != nil {
		return 0, unencoded(err)
	}
	if taken = here; b.Local {
		return taken, nil
	}
	r.hub.ask.Ask(ctx, c, body, true)
	r.hub.ask.Wait(ctx, c, nil)
	return taken, r.hub.incomplete(c, 0)
}

// serveEmitCounted hands a broadcast of another node to the members of this one, in its place, and
// answers how many have taken it.
func (h *Hub) serveEmitCounted(b *envelope.Broadcast) {
	taken := 0
	if r := h.lookup(b.Namespace); r != nil {
		var err error
		if taken, err = r.handOver(b, requestKey(b.ID)); err != nil {
			h.ask.Refuse(b, envelope.Failed, unencoded(err).Error())
			return
		}
	}
	h.ask.AnswerNumber(b, taken)
}

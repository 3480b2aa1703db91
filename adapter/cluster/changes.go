package cluster

import (
	"context"
	"errors"
	"slices"

	"github.com/belfry-io/belfry/adapter/internal/ask"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
)

// What SocketsJoin, SocketsLeave and DisconnectSockets share: they change members, each in its
// place among the broadcasts.

// changeSockets changes the selected members: by here on this node, at once, and then waits until
// the other nodes have done it.
func (r *Rooms) changeSockets(
	ctx context.Context, kind envelope.Kind, s Selection, arg []byte, here func(b *envelope.Body, late bool) *joining,
) error {
	ctx, cancel, left := patience(ctx)
	defer cancel()
	b := r.request(kind, Broadcast{Rooms: s.Rooms, Except: s.Except}, left)
	b.Arg = arg
	wait := here(b, false)
	r.tellAll()
	if s.Local {
		return r.hub.fenced(ctx, wait)
	}
	var unfenced []string
	var broker error
	c := r.hub.ask.New(func(p ask.Page) error {
		nodes, err := envelope.Strings(p.Content)
		unfenced = append(unfenced, nodes...)
		return err
	})
	r.hub.ask.Ask(ctx, c, b, true)
	if r.hub.history != nil {
		here(b, true) // a session may have come to this node just before its holder was told
	}
	r.hub.ask.Wait(ctx, c, nil)
	var local *UnfencedError
	var errs []error
	switch err := r.hub.fenced(ctx, wait); {
	case errors.As(err, &local):
		unfenced, broker = append(unfenced, local.Nodes...), local.Broker
	case err != nil && c.Cause == nil:
		errs = append(errs, err) // otherwise the cause is the same
	}
	if len(unfenced) > 0 || broker != nil {
		slices.Sort(unfenced)
		unfenced = slices.Compact(unfenced)
		errs = append(errs, &UnfencedError{Nodes: unfenced, Names: r.hub.names(unfenced...), Broker: broker})
	}
	err := r.hub.incomplete(c, 0, errs...)
	if p, ok := err.(*PartialError); ok && p.Nodes == nil && len(errs) == 1 && c.Cause == nil {
		return errs[0] // it is done everywhere
	}
	return err
}

// serveChange changes members of this node by here, in the place of the request, and answers when
// that is done everywhere.
func (h *Hub) serveChange(b *envelope.Broadcast, here func(*Rooms) *joining) {
	var wait *joining
	tell := func() {} // not on this goroutine, which others wait for
	if r := h.lookup(b.Namespace); r != nil {
		wait = here(r)
		tell = r.tellAll
	}
	begun := h.ask.Answer(b, ask.Changing, func(a *ask.Answer) {
		tell()
		var unfenced *UnfencedError
		switch err := h.fenced(a.Context(), wait); {
		case errors.As(err, &unfenced):
			nodes := unfenced.Nodes
			if unfenced.Broker != nil {
				nodes = append(nodes, h.node) // its broker brings it nothing, whoever emits
			}
			for _, node := range nodes {
				if err := a.Add(envelope.AppendString(nil, node)); err != nil {
					return
				}
			}
		case err != nil:
			return // nobody waits for it any more
		}
		_ = a.Flush(false)
	})
	if !begun {
		h.ask.Go(tell)
	}
}

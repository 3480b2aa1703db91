package cluster

import (
	"context"
	"errors"
	"slices"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/internal/ask"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
)

// JoinMembers puts the selected members into rooms, in one step on each node, in its place among
// the broadcasts of this goroutine: earlier broadcasts select members by the earlier rooms, later
// ones by the new rooms. If the broker has lost some of them, this holds for those that have a room
// in common with the selection.
//
// nil means that it is done and live everywhere, as for [Rooms.Join]. An error that is or wraps an
// [*UnfencedError] means that the members have joined, but may not be live on all nodes; see also
// [PartialError]. After [ErrRoomName] nothing was joined. On this node the members join before
// JoinMembers waits for others, whatever the error.
func (r *Rooms) JoinMembers(ctx context.Context, s Selection, rooms ...string) error {
	if !slices.ContainsFunc(rooms, func(name string) bool { return !validName(name) }) {
		return r.changeMembers(ctx, envelope.KindJoin, s, appendStrings(rooms), rooms)
	}
	return ErrRoomName
}

// LeaveMembers takes the selected members out of rooms, in its place as JoinMembers. nil means that
// it is done everywhere.
func (r *Rooms) LeaveMembers(ctx context.Context, s Selection, rooms ...string) error {
	return r.changeMembers(ctx, envelope.KindLeave, s, appendStrings(rooms), rooms)
}

// DisconnectMembers calls Disconnect of the selected members, in its place as JoinMembers: they
// first get what was emitted before to the same selection, even if the broker has lost it and it is
// sent again. nil means that all nodes have called Disconnect; what that starts may still run.
func (r *Rooms) DisconnectMembers(ctx context.Context, s Selection, close bool) error {
	arg := []byte{0}
	if close {
		arg[0] = 1
	}
	return r.changeMembers(ctx, envelope.KindDisconnect, s, arg, nil)
}

func appendStrings(list []string) (arg []byte) {
	for _, s := range list {
		arg = envelope.AppendString(arg, s)
	}
	return arg
}

// changeMembers changes the members that are selected, here at once, and waits until that is done elsewhere.
func (r *Rooms) changeMembers(ctx context.Context, kind envelope.Kind, s Selection, arg []byte, names []string) error {
	if len(names) == 0 && kind != envelope.KindDisconnect {
		return nil
	}
	ctx, cancel, left := patience(ctx)
	defer cancel()
	b := r.request(kind, s.Rooms, s.Except, left)
	b.Arg = arg
	wait := r.change(b, names)
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
		errs = append(errs, &UnfencedError{Nodes: slices.Compact(unfenced), Broker: broker})
	}
	err := incomplete(c, 0, errs...)
	if p, ok := err.(*PartialError); ok && p.Nodes == nil && len(errs) == 1 && c.Cause == nil {
		return errs[0] // it is done everywhere
	}
	return err
}

// change changes the members on this node that b selects, in one step. The result is for fenced. What there is to tell listeners of is
// left to tellAll.
func (r *Rooms) change(b *envelope.Body, names []string) (wait *joining) {
	if b.Kind == envelope.KindDisconnect {
		for _, m := range r.Select(b.Rooms, b.Except) {
			m.Disconnect(len(b.Arg) > 0 && b.Arg[0] == 1)
		}
		return nil
	}
	r = r.lock(false)
	defer r.mu.Unlock()
	ids := r.index.SelectIDs(nil, b.Rooms, b.Except)
	var changed []adapter.Topic
	for _, name := range names {
		others, empty := false, false // there are members of which it is not the own room; the last of them has left
		for _, id := range ids {
			m, _ := r.index.Get(id)
			if b.Kind == envelope.KindJoin {
				if joined, created := r.index.Join(id, name); joined {
					r.joined(id, m, name, created)
				}
				others = others || name != id
			} else if left, deleted := r.index.Leave(id, name); left {
				r.left(id, m, name, deleted)
				empty = empty || name != id && r.index.Empty(name)
			}
		}
		if others || empty {
			changed = append(changed, roomTopic(r.namespace, name))
		}
	}
	if b.Kind == envelope.KindJoin {
		return r.interest(changed...)
	}
	r.disinterest(changed...)
	return nil
}

// change does what another node asks for, and confirms it when it is done everywhere.
func (h *Hub) change(b *envelope.Broadcast) {
	var names []string
	if b.Kind != envelope.KindDisconnect {
		var err error
		names, err = envelope.Strings(b.Arg)
		if err == nil && b.Kind == envelope.KindJoin && slices.ContainsFunc(names, func(name string) bool { return !validName(name) }) {
			err = ErrRoomName
		}
		if err != nil {
			h.ask.Refuse(b, envelope.Failed, err.Error())
			return
		}
	}
	var wait *joining
	tell := func() {} // not on this goroutine, which others wait for
	if r := h.lookup(b.Namespace); r != nil {
		wait = r.change(&b.Body, names)
		tell = r.tellAll
	}
	begun := h.ask.Begin(b, ask.Changing, func(a *ask.Answer) {
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

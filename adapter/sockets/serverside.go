package sockets

import (
	"context"
	"errors"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/sockets/payload"
)

// ServerSideEmit sends an event to the programs of the other servers of the cluster, which handle
// it by their OnServerSide; clients do not get it. It does not wait for them. Each server handles
// the events of one goroutine in order, one at a time, so a handler that blocks holds up this
// node's later events. A server without a handler for the event ignores it. Beyond 1,024 events of
// this node, or 4 MiB, that wait for the handlers, a server drops further ones.
//
// args are those of [Broadcast.Emit], and the end of ctx is ignored likewise. After an error, which
// wraps [cluster.ErrOverflow], [cluster.ErrTooLarge] or adapter.ErrClosed, no server got the event.
func (ns *Namespace) ServerSideEmit(ctx context.Context, event string, args ...any) error {
	ctx, sp := ns.begins(ctx, Sending{Op: "server-side emit", Event: event})
	payload, err := ns.serverSide(event, args)
	if err == nil {
		err = ns.rooms.ServerSideEmit(context.WithoutCancel(ctx), payload, sp.trace)
	}
	return sp.over(wrapEvent("server-side emit", event, err))
}

// ServerSideEmitWithAck is ServerSideEmit, and then waits for the answers of these servers, as far
// as they are alive, until ctx ends; without a deadline in ctx, at most [cluster.CallTimeout]. It
// returns them in the order of arrival; if there is no other server, none, at once. A server
// handles events that are to be answered concurrently.
//
// With an error come the answers so far. It wraps an [*cluster.PartialError], which names the nodes
// that have not answered, and an [*cluster.NodeError] for each node that has failed: its handler
// has returned an error or not called Ack. If a node has no handler, the error wraps
// [cluster.ErrUnknown], at once, while Socket.IO waits for a timeout.
func (ns *Namespace) ServerSideEmitWithAck(ctx context.Context, event string, args ...any) (responses []ServerResponse, err error) {
	ctx, sp := ns.begins(ctx, Sending{Op: "server-side emit", Event: event, Waits: true})
	defer func() { sp.over(err) }()
	payload, err := ns.serverSide(event, args)
	if err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, wrapEvent("server-side emit", event, err)
	}
	ctx, cancel, err := ns.begin(ctx, cluster.CallTimeout)
	defer cancel()
	if err != nil {
		return nil, wrapEvent("server-side emit", event, err)
	}
	answers, err := ns.rooms.ServerSideEmitWithAck(ctx, payload, sp.trace)
	responses = make([]ServerResponse, 0, len(answers))
	for _, a := range answers {
		r, e := parseResponse(a.Payload)
		if e != nil {
			err = errors.Join(err, &cluster.NodeError{Node: a.Node, Err: e})
			continue
		}
		responses = append(responses, ServerResponse{a.Node, r})
	}
	return responses, wrapEvent("server-side emit", event, err)
}

// serverSide makes the payload of a server-side event: its name and its arguments. They do not
// depend on the codec of the clients.
func (ns *Namespace) serverSide(event string, args []any) ([]byte, error) {
	if err := ns.usable(); err != nil {
		return nil, err
	}
	values, err := payload.Limits.MarshalEvent(event, args...)
	if err != nil {
		return nil, err
	}
	return payload.AppendArgs(nil, values), nil
}

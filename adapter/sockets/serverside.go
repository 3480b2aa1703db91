package sockets

import (
	"context"
	"errors"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/packet"
)

// ServerSideEmit sends an event to the programs of the servers of the cluster, but for the one whose namespace this is, which handle it by
// their OnServerSide; the clients do not get it. It does not wait for them. What one goroutine emits is handled one at a time and in order on
// each server, where a handler that blocks holds up this node's later events; an event that nobody handles there is ignored. Where more
// than 1,024 events of this node wait for the handlers, or 4 MiB, further ones are dropped.
//
// args are those of [Broadcast.Emit]. After an error nobody got the event; it wraps [cluster.ErrOverflow], [cluster.ErrTooLarge] or
// adapter.ErrClosed. ctx may have ended: the event goes out all the same.
func (ns *Namespace) ServerSideEmit(ctx context.Context, event string, args ...any) error {
	payload, err := ns.serverSide(event, args)
	if err == nil {
		err = ns.rooms.EmitToServers(context.WithoutCancel(ctx), payload)
	}
	return wrapEvent("server-side emit", event, err)
}

// ServerSideEmitWithAck is ServerSideEmit that waits for the answers of these servers, as far as they are alive, until ctx ends; without a
// deadline in ctx, no longer than [cluster.CallTimeout]. It returns them in the order of coming: none, at once, if there is no such server.
// Events that are to be answered are handled concurrently, with each other and with those that are not.
//
// With an error come the answers so far. It wraps an [*cluster.PartialError], which names the nodes that have not answered, and an
// [*cluster.NodeError] for each that has failed: its handler has returned an error or not called Ack, or has none, and then the
// error wraps [cluster.ErrUnknown]: it does not take a time-out to find out, as it does with Socket.IO.
func (ns *Namespace) ServerSideEmitWithAck(ctx context.Context, event string, args ...any) ([]ServerResponse, error) {
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
	answers, err := ns.rooms.CallServers(ctx, payload)
	responses := make([]ServerResponse, 0, len(answers))
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

// serverSide makes the payload of a server-side event: its name and its arguments. They do not depend on the codec of the clients.
func (ns *Namespace) serverSide(event string, args []any) ([]byte, error) {
	if err := ns.usable(); err != nil {
		return nil, err
	}
	values, err := packet.ClusterLimits().MarshalEvent(event, args...)
	if err != nil {
		return nil, err
	}
	return values.AppendBlob(nil), nil
}

package cluster

import (
	"context"
	"fmt"

	"github.com/belfry-io/belfry/adapter"
)

// Settle waits until every broadcast that the other nodes had sent when it began, to topics that
// this node receives, was handed to the members here, or was counted as lost. Calls that come
// together share what it asks. It takes one or two round trips if nothing is missing, and a few
// seconds at the most.
//
// It returns the nodes of which that is not certain: those that are silent, or become so, or take
// too long to send again what is missing. An error says that this node is not connected, wraps
// ctx's cause, or is [adapter.ErrClosed]: then it is certain of no node. Without an adapter there is
// nothing to wait for. Settle must not be called by what is called with broadcasts, such as
// HubConfig.OnDelivery.
func (h *Hub) Settle(ctx context.Context) (unsettled []string, err error) {
	if h.ctx.Err() != nil {
		return nil, adapter.ErrClosed
	}
	if h.machine == nil {
		return nil, nil
	}
	err = h.lockMet(ctx)
	if err == nil {
		err = h.unavailable()
	}
	if err != nil {
		h.meshMu.Unlock()
		return nil, err
	}
	settled := make(chan []string, 1)
	h.apply(h.machine.Settle(h.age(), settled))
	h.meshMu.Unlock()
	select {
	case unsettled = <-settled:
	case <-ctx.Done():
		return nil, fmt.Errorf("cluster: not all broadcasts of other nodes have come yet: %w", context.Cause(ctx))
	case <-h.ctx.Done():
		return nil, adapter.ErrClosed
	}
	// The machine has let go of all that was due. Whoever still hands it to the members has held
	// this lock since before.
	h.receiving.Lock()
	defer h.receiving.Unlock()
	return unsettled, nil
}

// unavailable says that, and why, the node is not connected. h.meshMu must be held.
func (h *Hub) unavailable() error {
	switch {
	case h.state.Status == adapter.Refused:
		return h.refusal()
	case h.state.Status == adapter.Connected:
		return nil
	case h.state.Reason != nil:
		return fmt.Errorf("%w: %w", adapter.ErrUnavailable, h.state.Reason)
	}
	return adapter.ErrUnavailable
}

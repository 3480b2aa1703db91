package wsserver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/belfry-io/belfry/adapter/cluster"
)

// How keys come here: whenever a server is met, or is back, it is asked for all keys that it knows.
// So a node that starts later knows the keys of nodes that had left before, and nothing that a client
// sends costs a message.

// callKeys is the call by which a node asks another for its keys. The answer is a byte that says whether
// it has a Recovery, and what export returns.
const callKeys = "keys"

const (
	withRecovery    = 'r'
	withoutRecovery = '-'
)

const (
	keysTimeout   = 5 * time.Second
	keysAgain     = time.Second // after the first call that has failed, and twice as long after each other one
	keysAgainMost = time.Minute
)

// A peer is another server of the cluster.
type peer struct {
	alive  bool
	off    bool    // it knows no such call: it is not asked
	asking *asking // the last; nil if it was never asked
}

// An asking is that a peer is asked until it has answered, as long as it is alive.
type asking struct {
	end  context.CancelFunc
	call chan struct{} // closed when the call under way has ended; nil outside of one. Guarded by keyring.mu
}

// serve has the other nodes told what keys there are. It is called at once after the Hub is made.
func (k *keyring) serve(hub *cluster.Hub) {
	hub.Handle(callKeys, func(context.Context, string, []byte) ([]byte, error) { return k.told(), nil })
}

// told is what this node answers to callKeys.
func (k *keyring) told() []byte {
	has := byte(withoutRecovery)
	if k.recovers {
		has = withRecovery
	}
	return append([]byte{has}, k.export()...)
}

// follow learns the keys of the nodes that it meets, until ctx ends. It is called once, and returns
// when all that it has started has ended.
func (k *keyring) follow(ctx context.Context, hub *cluster.Hub) {
	if k.shared {
		return
	}
	var tasks sync.WaitGroup
	for ctx.Err() == nil {
		nodes, changed := hub.Nodes()
		k.meet(ctx, hub, &tasks, nodes, changed)
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
	k.meet(ctx, hub, &tasks, nil, nil)
	tasks.Wait()
}

// meet notes the servers of the cluster, and begins to ask those that are alive and were not.
func (k *keyring) meet(
	ctx context.Context, hub *cluster.Hub, tasks *sync.WaitGroup, nodes []cluster.Node, changed <-chan struct{},
) {
	k.mu.Lock()
	defer k.mu.Unlock()
	before := k.peers
	k.peers = make(map[string]*peer, len(nodes))
	for _, n := range nodes {
		if n.ID == k.node {
			continue
		}
		p := before[n.ID]
		if p == nil {
			p = new(peer)
		}
		delete(before, n.ID)
		k.peers[n.ID] = p
		switch was := p.alive; {
		case !n.Suspect && !was && !p.off:
			asked, end := context.WithCancel(ctx)
			a := &asking{end, make(chan struct{})}
			p.asking = a
			tasks.Go(func() { k.ask(asked, hub, n, p, a) })
		case n.Suspect && was:
			p.stop()
		}
		p.alive = !n.Suspect
	}
	for _, p := range before {
		p.stop()
	}
	k.seen = changed
	close(k.looked)
	k.looked = make(chan struct{})
}

// stop ends the asking of a peer that is not alive any more.
func (p *peer) stop() {
	if p.asking != nil {
		p.asking.end()
	}
}

// ask asks a node until it has answered, or ctx ends. A node that knows no such call is asked twice:
// the first call may have come before its serve.
func (k *keyring) ask(ctx context.Context, hub *cluster.Hub, n cluster.Node, p *peer, a *asking) {
	defer a.end()
	unknown, logged := false, false
	for again := keysAgain; ; again = min(2*again, keysAgainMost) {
		err := k.fetch(ctx, hub, n)
		ended := ctx.Err() != nil
		off := errors.Is(err, cluster.ErrUnknown) && unknown
		k.mu.Lock()
		close(a.call)
		a.call, p.off = nil, p.off || off
		k.mu.Unlock()
		switch {
		case err == nil || ended:
			return
		case off:
			k.log.Warn("belfry: a server of the cluster does not tell its keys: it is of an older version. No request reaches its"+
				" sessions from here, and none is recovered. Run the same version on all servers", "other", n.ID, "other_name", n.Name)
			return
		case errors.Is(err, cluster.ErrUnknown):
			unknown = true
		case !logged:
			logged = true
			k.log.Warn("belfry: a server has not told its keys yet, and is asked again: until it has, sessions that began there"+
				" are not recovered here, and requests for them are refused", "other", n.ID, "other_name", n.Name, "error", err)
		}
		select {
		case <-time.After(again):
		case <-ctx.Done():
			return
		}
		k.mu.Lock()
		a.call = make(chan struct{})
		k.mu.Unlock()
	}
}

// fetch asks a node once.
func (k *keyring) fetch(ctx context.Context, hub *cluster.Hub, n cluster.Node) error {
	ctx, cancel := context.WithTimeout(ctx, keysTimeout)
	defer cancel()
	told, err := hub.Call(ctx, n.ID, callKeys, nil)
	if err != nil {
		return err
	}
	if len(told) == 0 {
		return fmt.Errorf("%w: none", errKeys)
	}
	switch keys := told[1:]; {
	case k.recovers != (told[0] == withRecovery):
		k.log.Warn("belfry: of this server and another one has a Recovery, and one has none: no session moves between them."+
			" Set Config.Recovery on all servers, or on none", "other", n.ID, "other_name", n.Name)
		return k.learn(keys)
	case len(keys) == 0 && !k.shared:
		k.log.Warn("belfry: a server has a Recovery.Secret, and this one has none: neither serves requests for sessions of the"+
			" other, or recovers them. Set the same on all servers, or none", "other", n.ID, "other_name", n.Name)
		return nil
	default:
		return k.learn(keys)
	}
}

// awaitKey reports whether the key of a node is known here. While that node, or, if it has gone, any
// other one is being asked for keys, awaitKey waits for the answer, until ctx ends, for keysTimeout at the
// most: a node that has just started may have clients before it has keys. It sends nothing. Without
// follow it waits until ctx ends.
func (k *keyring) awaitKey(ctx context.Context, node string) bool {
	for {
		k.mu.Lock()
		known := node == k.node || k.shared || k.keys[node] != nil
		var wait <-chan struct{}
		peers := maps.Values(k.peers)
		if p := k.peers[node]; p != nil {
			peers = slices.Values([]*peer{p})
		}
		for p := range peers {
			if p.alive && p.asking != nil && p.asking.call != nil {
				wait = p.asking.call
			}
		}
		seen, looked := k.seen, k.looked
		k.mu.Unlock()
		if known {
			return true
		}
		if wait == nil {
			select {
			case <-seen: // follow has not looked yet
				wait = looked
			default:
				return false
			}
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return false
		}
	}
}

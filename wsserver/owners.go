package wsserver

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/wsserver/internal/engine"
	"github.com/belfry-io/belfry/wsserver/internal/engineio"
)

// ownerPatience is how long a request waits for the node that has its session, since that was heard last: it is
// suspect after 2 s of silence, or as soon as the broker says that nobody is there, as while it connects anew.
const ownerPatience = 1750 * time.Millisecond

var (
	errOwnerSilent = errors.New("wsserver: the node that has the session is silent")
	errOwnerGone   = errors.New("wsserver: the node that has the session has gone")
)

// owners are the other servers of the cluster, as those see them who want something of a session there.
type owners struct {
	silence func(node string) time.Duration // since it was heard last

	mu     sync.Mutex // guards what follows
	all    map[string]*owner
	looked chan struct{} // closed when all is another map
}

// An owner is a server between two changes of its standing: it is alive, or it is suspect.
type owner struct {
	suspect  bool
	lost     context.Context // ends when it is suspect and was silent for ownerPatience, or has gone
	lose     context.CancelCauseFunc
	patience *time.Timer // nil unless it is suspect
}

func newOwners(silence func(node string) time.Duration) *owners {
	return &owners{silence: silence, looked: make(chan struct{})}
}

// follow keeps up with the servers of the cluster, until ctx ends.
func (x *owners) follow(ctx context.Context, hub *cluster.Hub) {
	for ctx.Err() == nil {
		nodes, changed := hub.Nodes()
		x.look(nodes)
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
	x.look(nil)
}

// look takes a list of the servers, this one among them.
func (x *owners) look(nodes []cluster.Node) {
	x.mu.Lock()
	defer x.mu.Unlock()
	before := x.all
	x.all = make(map[string]*owner, len(nodes))
	for _, n := range nodes {
		o := before[n.ID]
		if o == nil {
			o = new(owner)
			o.lost, o.lose = context.WithCancelCause(context.Background())
		}
		delete(before, n.ID)
		switch {
		case n.Suspect && !o.suspect:
			o.patience = time.AfterFunc(ownerPatience-x.silence(n.ID), func() { o.lose(errOwnerSilent) })
		case !n.Suspect && o.suspect:
			o.patience.Stop()
			if o.lost.Err() != nil {
				o = new(owner)
				o.lost, o.lose = context.WithCancelCause(context.Background())
			}
		}
		o.suspect = n.Suspect
		x.all[n.ID] = o
	}
	for _, o := range before {
		if o.patience != nil {
			o.patience.Stop()
		}
		o.lose(errOwnerGone)
	}
	close(x.looked)
	x.looked = make(chan struct{})
}

// lost ends when a server is silent for too long, or has gone; at once for one that is not known.
func (x *owners) lost(node string) context.Context {
	x.mu.Lock()
	defer x.mu.Unlock()
	if o := x.all[node]; o != nil {
		return o.lost
	}
	return noOwner
}

// noOwner is the life of a server that is not there.
var noOwner = func() context.Context {
	ctx, end := context.WithCancel(context.Background())
	end()
	return ctx
}()

// find returns a server that is alive. It waits for one that is suspect, and while this node has not met its
// cluster, until ctx ends; why says that a request for a session there is refused.
func (x *owners) find(ctx context.Context, hub *cluster.Hub, node string) (o *owner, why *engineio.Error) {
	for {
		x.mu.Lock()
		o, looked := x.all[node], x.looked
		suspect := o != nil && o.suspect
		x.mu.Unlock()
		switch {
		case o != nil && !suspect:
			return o, nil
		case o != nil && o.lost.Err() != nil:
			return nil, engine.ErrSilent
		case o == nil:
			met, _ := hub.Met()
			nodes, _ := hub.Nodes()
			if met && !slices.ContainsFunc(nodes, func(n cluster.Node) bool { return n.ID == node }) {
				return nil, errNoSession
			}
			if !met && hub.Ready(ctx) != nil {
				return nil, engine.ErrSilent
			}
			if !met {
				continue
			}
		}
		var lost <-chan struct{}
		if o != nil {
			lost = o.lost.Done()
		}
		select {
		case <-looked:
		case <-lost:
		case <-ctx.Done():
			return nil, engine.ErrSilent
		}
	}
}

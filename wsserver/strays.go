package wsserver

import (
	linked "container/list"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/wsserver/internal/engine"
	"github.com/belfry-io/belfry/wsserver/internal/engineio"
)

// callStray is the call by which a node passes on a request for a session of another.
const callStray = "engine"

// strays has the requests that come to this node for sessions of others. What goes over the cluster, and what
// not, is decided here: an id that is forged, of a node that has gone, or of a session that has ended
// costs no message.
type strays struct {
	srv    *Server
	owners *owners

	mu     sync.Mutex                 // guards what follows
	absent map[string]*linked.Element // ids of sessions that their nodes do not have: they never come back
	order  linked.List                // of these ids, the latest in front
}

// maxAbsentSIDs is how many ids of sessions that have ended are remembered.
const maxAbsentSIDs = 10_000

func newStrays(srv *Server) *strays {
	return &strays{srv: srv, owners: newOwners(srv.hub.Silence), absent: make(map[string]*linked.Element)}
}

// serve has the requests of other nodes served.
func (x *strays) serve() {
	x.srv.hub.HandleHeld(callStray, func(c *cluster.Held) {
		x.srv.engine.Serve(&strayCall{Held: c, gate: x.owners.lost(c.From())})
	})
}

// A strayCall is a call of another node, the gate.
type strayCall struct {
	*cluster.Held
	gate context.Context // ends when that is silent for too long, or has gone

	mu   sync.Mutex  // guards what follows
	stop func() bool // ends what waits for that; nil without OnSilent
}

// OnSilent implements [engine.Call]. It comes before the answer.
func (c *strayCall) OnSilent(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stop = context.AfterFunc(c.gate, f)
}

func (c *strayCall) Done() {
	c.mu.Lock()
	stop := c.stop
	c.mu.Unlock()
	if stop != nil {
		stop()
	}
	c.Held.Done()
}

var (
	errNoSession = &engineio.Error{
		Code: engineio.CodeUnknownSID, Message: "Session ID unknown", Refusal: engineio.RefusedSession,
	}
	errStrayUpgrade = &engineio.Error{
		Code: engineio.CodeBadRequest, Message: "another node has the session: go on with polling", Refusal: engineio.RefusedStray,
	}
)

// Find implements [engine.Network].
func (x *strays) Find(r *http.Request, sid string, upgrade bool) (server string, refusal *engineio.Error) {
	node, ok := engineSIDNode(sid)
	if !ok || node == x.srv.hub.Node() {
		return "", errNoSession
	}
	known := x.srv.keys.checkEngineSID(sid)
	if errors.Is(known, errSIDForged) || x.isAbsent(sid) {
		return "", errNoSession
	}
	ctx, cancel := context.WithTimeout(r.Context(), ownerPatience)
	defer cancel()
	if _, why := x.owners.find(ctx, x.srv.hub, node); why != nil {
		return "", why
	}
	if known != nil && (!x.srv.keys.awaitKey(ctx, node) || x.srv.keys.checkEngineSID(sid) != nil) {
		return "", errNoSession
	}
	if upgrade {
		if more, ok := x.srv.refusals[engineio.RefusedStray].allow(); ok {
			x.srv.cfg.Logger.Warn("belfry: a WebSocket reached another node than its session's, and was refused: its client goes on with"+
				" polling. Have clients begin with a WebSocket (transports: [\"websocket\", \"polling\"]), or the load balancer send"+
				" all requests of a client to one node", "remote", r.RemoteAddr, "others since the last line", more)
		}
		return "", errStrayUpgrade
	}
	return node, nil
}

// Call implements [engine.Network].
func (x *strays) Call(ctx context.Context, node string, call []byte, sent func(tell func([]byte) error)) (
	answer []byte, tell func([]byte) error, err error,
) {
	o, refusal := x.owners.find(ctx, x.srv.hub, node)
	if refusal != nil {
		return nil, nil, refusal
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(o.lost, func() { cancel(context.Cause(o.lost)) })()
	told := func(tell func([]byte) error) func([]byte) error {
		return func(note []byte) error { return tooLarge(tell(note)) }
	}
	answer, tell, err = x.srv.hub.CallHeld(ctx, node, callStray, call, func(tell func([]byte) error) {
		if sent != nil {
			sent(told(tell))
		}
	})
	if err != nil {
		return nil, nil, tooLarge(err)
	}
	return answer, told(tell), nil
}

// tooLarge is an error of the cluster as [engine.Network] has it.
func tooLarge(err error) error {
	if errors.Is(err, cluster.ErrTooLarge) {
		return fmt.Errorf("%w: %w", engine.ErrTooLarge, err)
	}
	return err
}

// Absent implements [engine.Network].
func (x *strays) Absent(sid string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.absent[sid] != nil {
		return
	}
	x.absent[sid] = x.order.PushFront(sid)
	if len(x.absent) > maxAbsentSIDs {
		delete(x.absent, x.order.Remove(x.order.Back()).(string))
	}
}

func (x *strays) isAbsent(sid string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := x.absent[sid]
	if e != nil {
		x.order.MoveToFront(e)
	}
	return e != nil
}

var _ engine.Network = (*strays)(nil)

// follow has what depends on the other servers keep up with them.
func (srv *Server) follow() {
	ctx, unfollow := context.WithCancel(context.Background())
	srv.unfollow = unfollow
	srv.keys.serve(srv.hub)
	if srv.strays != nil {
		srv.strays.serve()
		srv.runs.Go(func() { srv.strays.owners.follow(ctx, srv.hub) })
	}
	if srv.strays != nil || srv.recovery != nil {
		srv.runs.Go(func() { srv.keys.follow(ctx, srv.hub) })
	}
}

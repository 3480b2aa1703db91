package engine

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver/internal/engineio"
	"github.com/belfry-io/belfry/wsserver/internal/transport"
)

// gated has rigs pass all requests of their clients that poll through a gate, but for those that begin a session.
var gated bool

// TestBehindGate: what is true of a client that polls is true of one whose requests all come to another server.
func TestBehindGate(t *testing.T) {
	gated = true
	defer func() { gated = false }()
	for name, test := range map[string]func(*testing.T){
		"SendingData": TestSendingData, "ReceivingData": TestReceivingData, "Overlap": TestOverlap, "UpgradeDuringPost": TestUpgradeDuringPost, "PollOutlastsTimeouts": TestPollOutlastsTimeouts,
		"AbortedRequest": TestAbortedRequest, "ClientCloses": TestClientCloses, "ServerCloses": TestServerCloses,
		"TooSlow": TestTooSlow, "ShutPolling": TestShutPolling, "BadPayload": TestBadPayload, "PostTooLarge": TestPostTooLarge,
		"RefusedBody": TestRefusedBody, "PostOctetStream": TestPostOctetStream, "Upgrade": TestUpgrade,
		"UpgradeEndsPoll": TestUpgradeEndsPoll, "ProbeFails": TestProbeFails,
		"EndClosesProbe": TestEndClosesProbe, "UpgradeOfEnded": TestUpgradeOfEnded, "CloseInPause": TestCloseInPause,
		"CloseExpired": TestCloseExpired, "AbortInEnded": TestAbortInEnded, "Heartbeat": TestHeartbeat, "Vanished": TestVanished,
		"PausePolling": TestPausePolling, "PauseUpgrade": TestPauseUpgrade, "AcceptTimeout": TestAcceptTimeout,
		"Incomplete": TestIncomplete, "NoThrottle": TestNoThrottle, "Charge": TestCharge, "HeldEnd": TestHeldEnd,
		"Refused": TestRefused, "UpgradeSchedules": TestUpgradeSchedules,
	} {
		if kit.Raced && name == "UpgradeSchedules" {
			continue // hundreds of schedules, each of which the detector sees without a gate
		}
		t.Run(name, test)
	}
}

// A wire is the way from gates to an owner, in one process.
type wire struct {
	owner *Server
	gate  string // where calls come from, as the owner knows it
	mute  bool   // notes do not get there

	mu     sync.Mutex
	calls  map[*wireCall]struct{}
	absent []string
	late   int // calls that are watched for silence once they may have been answered and done
}

func (n *wire) Find(_ *http.Request, _ string, upgrade bool) (string, *engineio.Error) {
	if upgrade {
		return "", engineio.ErrBadRequest
	}
	return "owner", nil
}

func (n *wire) Absent(sid string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.absent = append(n.absent, sid)
}

func (n *wire) Call(ctx context.Context, server string, call []byte, sent func(tell func([]byte) error)) (
	answer []byte, tell func([]byte) error, err error,
) {
	c := &wireCall{wire: n, gate: n.gate, payload: call, answer: make(chan []byte, 1)}
	n.mu.Lock()
	n.calls[c] = struct{}{}
	n.mu.Unlock()
	served := make(chan struct{})
	go func() {
		defer close(served)
		n.owner.Serve(c)
	}()
	if sent != nil {
		sent(c.tell)
	}
	select {
	case answer := <-c.answer:
		return answer, c.tell, nil
	case <-ctx.Done():
		<-served
		c.end()
		return nil, nil, ctx.Err()
	}
}

// A wireCall is a call under way.
type wireCall struct {
	wire    *wire
	gate    string
	payload []byte
	answer  chan []byte

	mu     sync.Mutex
	onNote func([]byte)
	onEnd  func()
	silent func()
	ended  bool // the asker has gone
	done   bool
}

func (c *wireCall) Payload() []byte { return c.payload }
func (c *wireCall) From() string    { return c.gate }

func (c *wireCall) OnSilent(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.silent = f
	if c.onNote != nil || c.done {
		c.wire.mu.Lock()
		c.wire.late++
		c.wire.mu.Unlock()
	}
}

func (c *wireCall) Answer(b []byte) error {
	c.mu.Lock()
	ended := c.ended
	c.mu.Unlock()
	if ended {
		return errors.New("the asker has gone")
	}
	c.answer <- append([]byte(nil), b...)
	return nil
}

func (c *wireCall) OnNote(f func([]byte)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onNote = f
}

func (c *wireCall) OnEnd(f func()) {
	c.mu.Lock()
	c.onEnd = f
	ended := c.ended && !c.done
	c.mu.Unlock()
	if ended {
		f()
	}
}

func (c *wireCall) Done() {
	c.mu.Lock()
	c.done = true
	c.mu.Unlock()
	c.wire.mu.Lock()
	defer c.wire.mu.Unlock()
	delete(c.wire.calls, c)
}

func (c *wireCall) tell(b []byte) error {
	if c.wire.mute {
		return nil
	}
	c.mu.Lock()
	f, done := c.onNote, c.done
	c.mu.Unlock()
	if f != nil && !done {
		f(b)
	}
	return nil
}

// end is that the asker has gone.
func (c *wireCall) end() {
	c.mu.Lock()
	c.ended = true
	f, done := c.onEnd, c.done
	c.mu.Unlock()
	if f != nil && !done {
		f()
	}
}

// fallSilent is that nothing comes of the gate.
func (n *wire) fallSilent() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.calls {
		go c.silent()
	}
}

// newGate returns a server that passes requests on to r's.
func (r *rig) newGate(cfg Config) (*Server, *wire) {
	n := &wire{owner: r.srv, gate: "gate", calls: make(map[*wireCall]struct{})}
	cfg.Network, cfg.Open = n, nil
	gate := New(cfg)
	r.t.Cleanup(func() {
		gate.CloseSessions(errors.New("the test ends"))
		kit.OK(r.t, gate.Close(context.Background()))
		kit.Eventually(r.t, "all calls to be done", func() bool { // a call is done behind its answer
			n.mu.Lock()
			defer n.mu.Unlock()
			return len(n.calls) == 0
		})
		kit.Equal(r.t, n.late, 0, "calls that are watched for silence too late")
	})
	return gate, n
}

// TestGateCloses: a gate that closes answers the requests that wait there, and their sessions live on.
func TestGateCloses(t *testing.T) {
	gated = true
	defer func() { gated = false }()
	polled(t, nil, func(t *testing.T, r *rig, sid string, o *owner) {
		poll := r.startAndWait("GET", sid, "")
		poll.waits()
		kit.Equal(t, r.gate.Stats().Waiting, 1, "requests that wait at the gate")
		kit.Equal(t, r.srv.Stats().Held, 1, "requests that wait at the owner")
		r.gate.Leave()
		r.gate.CloseSessions(errors.New("closing"))
		poll.want(200, "6")
		kit.Equal(t, poll.answer.Header.Get("Connection"), "", "the connection goes on") // Go's client has taken the header away
		kit.Equal(t, r.srv.Stats().Held, 0, "requests that wait at the owner")
		kit.OK(t, r.gate.Close(t.Context()))
		o.lives(t)
		r.start("GET", sid, "").want(503, "server shutting down\n")
		r.gate = nil
		o.send("more")
		r.wantPoll(sid, "4more")
		o.lives(t)
	})
}

// TestGateTold: the owner counts what a client has taken when the gate says so, and the next request waits for that.
func TestGateTold(t *testing.T) {
	gated = true
	defer func() { gated = false }()
	polled(t, nil, func(t *testing.T, r *rig, sid string, o *owner) {
		o.send("one")
		r.wantPoll(sid, "4one")
		synctest.Wait()
		kit.Equal(t, r.srv.Stats().Served, 1, "requests served")
		kit.Equal(t, r.gate.Stats().Forwarded, 1, "requests passed on")
		kit.Equal(t, o.session.carrier().Taken(), 4, "bytes taken")
		time.Sleep(24 * time.Second)
		poll := r.startAndWait("GET", sid, "")
		poll.want(200, "2")
		r.post(sid, "3")
		o.lives(t)
	})
}

// TestGateFallsSilent: a request that waits through a gate of which nothing comes ends, and the session goes on, with the next
// request; if the gate has an answer that its client may not have, the session ends.
func TestGateFallsSilent(t *testing.T) {
	gated = true
	defer func() { gated = false }()
	polled(t, nil, func(t *testing.T, r *rig, sid string, o *owner) {
		poll := r.startAndWait("GET", sid, "")
		r.wire.fallSilent()
		synctest.Wait()
		kit.Equal(t, r.srv.Stats().Held, 0, "requests that wait at the owner")
		poll.cancel()
		r.gate = nil
		o.send("one")
		r.wantPoll(sid, "4one")
		o.lives(t)
	})
	polled(t, nil, func(t *testing.T, r *rig, sid string, o *owner) {
		r.wire.mute = true // nobody says that the client has its answer
		o.send("one")
		r.wantPoll(sid, "4one")
		gate := r.gate
		r.gate = nil
		poll := r.startAndWait("GET", sid, "")
		o.send("two")
		poll.waits()
		r.wire.fallSilent()
		poll.want(200, "1")
		r.wantOver(sid, transport.ErrAborted)
		r.gate = gate
	})
}

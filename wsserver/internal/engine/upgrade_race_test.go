package engine

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver/internal/engineio"
)

// probing opens a WebSocket that probes for a new session, and returns the server's end of it.
func (r *rig) probing() (sid string, ws *socket, c *connection) {
	r.t.Helper()
	sid = r.openPolling()
	ws = r.probe(sid)
	s := r.srv.session(sid)
	s.mu.Lock()
	defer s.mu.Unlock()
	return sid, ws, s.probe()
}

// atOnce runs two functions at the same time. The scheduler likes to begin with the one that was started last: the second, if order is true.
func atOnce(order bool, first, second func()) {
	if !order {
		first, second = second, first
	}
	var both sync.WaitGroup
	both.Go(first)
	both.Go(second)
	both.Wait()
}

// TestUpgradeMeetsEnd: a WebSocket fails while it takes over the session. Then either the session ends with it, or it polls on.
func TestUpgradeMeetsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		broken := errors.New("broken")
		took := 0
		for i := range 300 {
			sid, ws, c := r.probing()
			s := c.session
			atOnce(i%2 == 0, func() {
				if c.takeOver() {
					took++
				}
			}, func() { c.Closing(broken) })
			s.mu.Lock()
			ended := s.ended
			s.mu.Unlock()
			if moved := s.Transport() == engineio.TransportWebSocket; moved != ended {
				t.Fatalf("the WebSocket carries the session: %v, which has ended: %v", moved, ended)
			}
			c.abort()
			s.Abort()
			ws.nc.Close()
			r.gone(sid)
		}
		t.Logf("%d took over", took)
	})
}

// TestProbeMeetsEnd: a probe comes while its WebSocket is given up, and maybe another comes. Polls wait again if none probes, and do not if
// one does.
func TestProbeMeetsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		for i := range 300 {
			sid, ws, c := r.probing()
			atOnce(i%2 == 0, func() { c.Message(false, []byte("2probe")) }, c.endProbe)
			for answer := ""; answer != "end"; { // the second probe may have its answer
				m, err := ws.read()
				if answer = m; err != nil {
					answer = "end"
				}
			}
			ws.nc.Close()
			synctest.Wait()
			poll := r.start("GET", sid, "")
			time.Sleep(200 * time.Millisecond)
			poll.waits()
			kit.Require(t, !t.Failed(), "in round %d", i)
			c.session.Abort()
			poll.want(200, "1")
		}
	})
}

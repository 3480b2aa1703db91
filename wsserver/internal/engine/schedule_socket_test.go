package engine

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"testing/synctest"
	"time"
)

// probe opens a WebSocket for the session and upgrades to it, or gives it up on the way: then it returns nil.
func (s *schedule) probe() *socket {
	give := s.n(10) // how far it gets: 0 to 5 are ways to give up
	var early []string
	pipelined := s.n(3) == 0
	if pipelined {
		early = []string{"2probe"}
	}
	ws, err := s.r.openSocket(s.sid, early...)
	if err != nil {
		s.failed(err)
		return nil
	}
	aborted := func() *socket {
		s.mu.Lock()
		s.sum.Aborted++
		s.mu.Unlock()
		ws.nc.Close()
		synctest.Wait() // the server knows: another may probe
		return nil
	}
	s.wait()
	if give == 0 {
		return aborted()
	}
	if !pipelined {
		first := "2probe"
		switch give {
		case 1:
			first = "2prob"
		case 2:
			first = "b2probe"
		case 3:
			first = "5" // without a probe
		}
		ws.send(first)
		if give <= 3 {
			if _, err := ws.read(); err == nil {
				s.t.Errorf("%q was answered", first)
			}
			return aborted()
		}
	}
	if pong, err := ws.read(); err != nil || pong != "3probe" {
		s.failed(fmt.Errorf("the probe was answered with %q, %w", pong, err))
		return aborted()
	}
	s.wait()
	switch give {
	case 4:
		return aborted()
	case 5: // the upgrade's time passes
		if m, err := ws.read(); err == nil {
			s.t.Errorf("a probe that does nothing got %q", m)
		}
		return aborted()
	case 6: // a second one at the same time is closed, and the first goes on
		second, err := s.r.openSocket(s.sid)
		if err != nil {
			s.failed(err)
			return aborted()
		}
		if m, err := second.read(); !errors.Is(err, io.EOF) {
			s.t.Errorf("a second probe got %q, %v", m, err)
		}
		second.nc.Close()
	}
	s.mu.Lock()
	s.paused = true
	s.mu.Unlock()
	s.busy.Wait() // the server answers the poll that is under way
	s.wait()
	ws.send("5")
	return ws
}

// socket carries on over the WebSocket.
func (s *schedule) socket(ws *socket) {
	ws.nc.SetDeadline(time.Now().Add(time.Hour)) // what is lost would be waited for
	var sending sync.WaitGroup
	sending.Go(func() {
		for s.sent < s.want {
			s.wait()
			m := message("up", s.sent)
			if m[0] != 'b' {
				m = "4" + m
			}
			s.sent++
			if err := ws.send(m); err != nil {
				s.failed(err)
				return
			}
		}
	})
	for len(s.got) < s.want {
		packet, err := ws.read()
		var ping bool
		if err == nil {
			ping, err = s.take(packet)
		}
		if ping {
			sending.Go(func() { ws.send("3") })
		}
		if err != nil {
			s.failed(err)
			break
		}
	}
	sending.Wait()
}

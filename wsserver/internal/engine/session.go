package engine

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"

	"github.com/belfry-io/belfry/adapter/shrink"
	"github.com/belfry-io/belfry/wsserver/internal/engineio"
	"github.com/belfry-io/belfry/wsserver/internal/outbox"
	"github.com/belfry-io/belfry/wsserver/internal/transport"
)

// A Session is a client's session, whatever carries it at the moment. Its methods may be called concurrently, and from its Receiver.
type Session struct {
	server   *Server
	sid      string
	receiver Receiver

	// What carries the session: one of them is not nil. Only an upgrade changes them, and sets ws first.
	polling atomic.Pointer[transport.Polling]
	ws      atomic.Pointer[transport.WebSocket]

	beat  engineio.Deadline // of a ping, or of its answer
	limit engineio.Deadline // of Accept, then of a message that is not complete, then of the end

	receiving sync.Mutex // held while the receiver is given messages: a POST may still run when the WebSocket takes over

	mu       sync.Mutex // guards what follows
	probe    *channel   // the WebSocket that probes
	taken    uint32     // what the client had taken when that was looked at last, in bytes; it wraps
	looks    uint8      // how often that was the same, up to its most
	state    engineio.Session
	halted   bool   // what carries the session does not read
	partial  bool   // a message has begun and is not complete
	began    uint32 // when it has: of millis
	arrived  int32  // of what is incomplete, since the limit was armed, in bytes
	parts    int32  // the receiver has of a message that is not complete, in bytes
	pauses   int32
	onward   int32 // how much is read on although pauses says not to, in bytes
	held     bool  // the warden has it paused
	behind   bool  // what has come waits to be inflated, and nothing is read
	accepted bool
	ended    bool
	told     bool // the receiver has been told so
	gone     bool // nothing is left of the transport

	more  bool // what the last Message returned; guarded by receiving
	whole bool // a message was completed since the last fed; guarded by receiving
}

// open is the packet that the client gets first.
func (s *Session) open(upgrades []string) []byte {
	cfg := &s.server.cfg
	return engineio.Open{
		SID:          s.sid,
		Upgrades:     upgrades,
		PingInterval: cfg.PingInterval,
		PingTimeout:  cfg.PingTimeout,
		MaxPayload:   cfg.MaxPayload,
	}.Packet()
}

// begin starts the deadlines.
func (s *Session) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.server.pingDelay.Arm(&s.beat, s)
	if s.server.cfg.AcceptTimeout > 0 && !s.accepted {
		s.server.acceptDelay.Arm(&s.limit, s)
	} else {
		s.accepted = true
	}
}

// Accept says that the owner wants the session: without it, the session ends after Config.AcceptTimeout.
func (s *Session) Accept() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.accepted {
		s.accepted = true
		s.limitMessage()
	}
}

// Transport is what carries the session.
func (s *Session) Transport() engineio.Transport {
	if s.ws.Load() != nil {
		return engineio.TransportWebSocket
	}
	return engineio.TransportPolling
}

// Append queues a frame of a broadcast, and Send one for this client alone: see [outbox.Queue]. Frames are whole messages of a WebSocket,
// whatever carries the session.
func (s *Session) Append(f *outbox.Frame) bool {
	ws, polling := s.carrier()
	if ws != nil {
		return ws.Append(f)
	}
	return polling.Append(f)
}

// Send returns [net.ErrClosed] if the session takes no more frames.
func (s *Session) Send(f *outbox.Frame) error {
	ws, polling := s.carrier()
	if ws != nil {
		return ws.Send(f)
	}
	if !polling.Append(f) && !f.Volatile {
		return net.ErrClosed
	}
	return nil
}

// carrier returns what carries the session: one of them is not nil.
func (s *Session) carrier() (*transport.WebSocket, *transport.Polling) {
	if ws := s.ws.Load(); ws != nil {
		return ws, nil
	}
	if polling := s.polling.Load(); polling != nil {
		return nil, polling
	}
	return s.ws.Load(), nil
}

// A outlet is what is on its way to the client, as what carries the session knows it.
type outlet interface {
	Waiting() (out, in outbox.Waiting)
	Taken() uint32
	PingTaken() bool
	DropVolatile()
}

// outlet returns that of what carries the session.
func (s *Session) outlet() outlet {
	if ws, polling := s.carrier(); ws == nil {
		return polling
	} else {
		return ws
	}
}

// payload takes the body of a POST request.
func (s *Session) payload(body []byte) error {
	s.receiving.Lock()
	defer s.receiving.Unlock()
	n := len(body)
	err := engineio.DecodePayload(body, s.take)
	if err == nil {
		s.fed(n, false)
	}
	return err
}

// receive takes a message of a WebSocket.
func (s *Session) receive(binary bool, data []byte) error {
	s.receiving.Lock()
	defer s.receiving.Unlock()
	return s.take(binary, data)
}

// take gives a packet its meaning. receiving must be held.
func (s *Session) take(binary bool, data []byte) error {
	s.mu.Lock()
	event, payload, err := s.state.Receive(binary, data)
	if event == engineio.EventPong {
		s.answered()
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	switch event {
	case engineio.EventClose:
		s.leave()
	case engineio.EventMessage:
		n := len(payload)
		s.more, err = s.receiver.Message(binary, payload)
		s.whole = s.whole || !s.more
		s.assemble(n)
	}
	return err
}

// leave ends the session that the client has closed (Engine.IO 4, "Protocol", packet close).
func (s *Session) leave() {
	if !s.end(transport.ErrPeerClosed, s.server.closeDelay) {
		return
	}
	if ws, polling := s.carrier(); ws != nil {
		ws.Close(transport.CloseNoStatus)
	} else {
		polling.Dismiss()
	}
}

// An ending says how a session ends, as far as its client is concerned.
type ending uint8

const (
	endOrderly  ending = iota // what was sent to the client before still reaches it, if it receives
	endShutdown               // likewise, but little time is left: none for a client that polls, does not at the moment, and has missed nothing
	endVanished               // the client does not answer: one that polls will fetch nothing more
)

// Close ends the session: what was sent to the client before still reaches it, if it receives.
func (s *Session) Close(reason error) { s.close(reason, endOrderly) }

func (s *Session) close(reason error, how ending) {
	delay := s.server.closeDelay
	if _, polling := s.carrier(); polling != nil {
		switch how {
		case endOrderly:
			delay = s.server.pollCloseDelay
		case endShutdown:
			delay = s.server.pollShutDelay
		}
	}
	if !s.end(reason, delay) {
		if how == endShutdown {
			s.hurry()
		}
		return
	}
	// From here on, no WebSocket takes over.
	switch ws, polling := s.carrier(); {
	case ws != nil:
		ws.Close(transport.CloseNoStatus)
	case how == endVanished, how == endShutdown && polling.Idle():
		polling.Abort()
	default:
		polling.Close()
	}
}

// hurry is for a session that has ended, and waits for its client to fetch what is left, when the server shuts down.
func (s *Session) hurry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, polling := s.carrier(); polling != nil && !s.gone {
		s.server.pollShutDelay.Arm(&s.limit, s)
	}
}

// Abort ends what carries the session, at once. The session itself has ended, or ends with an error of the network.
func (s *Session) Abort() { s.fail(errAborted) }

// fail ends the session, unless it has ended, and what carries it, at once: nothing that waits is kept.
func (s *Session) fail(reason error) {
	s.end(reason, s.server.closeDelay)
	if ws, polling := s.carrier(); ws != nil {
		ws.Abort()
	} else {
		polling.Abort()
	}
}

var errAborted = errors.New("engine: aborted")

// end ends the session, but for what carries it, which has delay to do so, and tells the receiver. It reports false if that was done before.
func (s *Session) end(reason error, delay *engineio.Delay) bool {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return false
	}
	s.ended = true
	s.state.End()
	s.server.cfg.Budget.Give(int(s.parts))
	s.server.deadlines.Stop(&s.beat)
	if !s.gone {
		delay.Arm(&s.limit, s)
	}
	probe := s.probe
	s.probe = nil
	s.mu.Unlock()
	if probe != nil {
		probe.refuse()
	}
	s.receiver.Ended(reason)
	s.mu.Lock()
	s.told = true
	last := s.gone
	s.mu.Unlock()
	if last {
		s.server.live.Done() // vanish came meanwhile, from another goroutine
	}
	return true
}

// vanish says that nothing is left of what carried the session.
func (s *Session) vanish() {
	s.server.mu.Lock()
	delete(s.server.sessions, s.sid)
	s.server.sessions = shrink.Map(s.server.sessions, &s.server.peakSessions)
	s.server.mu.Unlock()
	s.mu.Lock()
	s.gone = true
	s.server.deadlines.Stop(&s.limit)
	last := s.told
	s.mu.Unlock()
	if last {
		s.server.live.Done()
	}
}

// drop ends a session that came to nothing before it was known.
func (s *Session) drop(err error) {
	s.end(err, s.server.closeDelay)
	s.vanish()
}

// closing says why nothing more comes from the client.
func (s *Session) closing(err error) { s.end(err, s.server.closeDelay) }

// poller is the session as its Polling sees it.
type poller Session

func (p *poller) Payload(body []byte) error { return (*Session)(p).payload(body) }
func (p *poller) Large()                    { (*Session)(p).large() }
func (p *poller) Closing(err error) {
	s := (*Session)(p)
	s.closing(err)
	if ws := s.ws.Load(); ws != nil {
		ws.Close(transport.CloseNoStatus) // a POST that came before the WebSocket took over
	}
}
func (p *poller) Closed() { (*Session)(p).vanish() }

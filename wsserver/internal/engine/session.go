package engine

import (
	"net"
	"sync"
	"sync/atomic"

	"github.com/belfry-io/belfry/wsserver/internal/engineio"
	"github.com/belfry-io/belfry/wsserver/internal/transport"
)

// A Session is a client's session, whatever carries it at the moment. Its methods may be called concurrently, and from its Owner.
type Session struct {
	server *Server
	sid    string
	owner  Owner

	carried atomic.Pointer[Carrier] // by what: first, until an upgrade changes it, under mu
	first   Carrier

	beat engineio.Deadline // of a ping, or of its answer

	receiving sync.Mutex // held while the owner is given messages: a POST may still run when the WebSocket takes over

	mu       sync.Mutex // guards what follows
	rare     *rare      // nil while it would be empty
	taken    uint32     // what the client had taken when that was looked at last, in bytes; it wraps
	looks    uint8      // how often that was the same, up to its most
	state    engineio.State
	halted   bool   // what carries the session does not read
	partial  bool   // a message has begun and is not complete
	began    uint32 // when it has: of millis
	arrived  int32  // of what is incomplete, since the limit was armed, in bytes
	parts    int32  // the owner has of a message that is not complete, in bytes
	pauses   int32
	onward   int32 // how much is read on although pauses says not to, in bytes
	held     bool  // the warden has it paused
	behind   bool  // what has come waits to be inflated, and nothing is read
	accepted bool
	ended    bool
	told     bool // the owner has been told so
	gone     bool // nothing is left of the transport

	throttle *throttle // nil until the client has sent something for which there are rates

	more  bool // what the last Message returned; guarded by receiving
	whole bool // a message was completed since the last fed; guarded by receiving

	counted int32 // events since the last spend; guarded by receiving
}

// ID is the session's id, the secret of its client.
func (s *Session) ID() string { return s.sid }

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

// arm starts the deadlines.
func (s *Session) arm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.server.pingDelay.Arm(&s.beat, s)
	if s.server.cfg.AcceptTimeout > 0 && !s.accepted {
		s.armLimit(s.server.acceptDelay)
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
func (s *Session) Transport() engineio.Transport { return s.carrier().Kind() }

// Close ends the session: what was sent to the client before still reaches it, if it receives.
func (s *Session) Close(reason error) { s.end(ownerError{reason}, endOrderly) }

// GoAway is Close when the server goes away, and the client is to connect to another: it has closeTimeout to take what is left.
func (s *Session) GoAway(reason error) { s.end(ownerError{reason}, endGoingAway) }

// HeardAll reports, once nothing is left of the session after GoAway, whether the client has shown that it had everything that was sent
// before.
func (s *Session) HeardAll() bool { return s.carried.Load() != nil && s.carrier().HeardAll() }

// Abort ends the session, unless it has ended, and what carries it, at once.
func (s *Session) Abort() { s.end(errAborted, endAborted) }

// Append queues a frame of a broadcast, and Send one for this client alone: see [outbox.Queue]. Append returns false if the frame was not
// queued: the session takes no more, or f is volatile and was dropped.
func (s *Session) Append(f *Frame) bool { return s.carrier().Append(&f.out) }

// AppendAlone is Append of a frame that nothing would gather with: it is written at once if nothing is ahead of it.
func (s *Session) AppendAlone(f *Frame) bool { return s.carrier().Send(&f.out) }

// Send returns [net.ErrClosed] if the session takes no more frames.
func (s *Session) Send(f *Frame) error {
	if !s.carrier().Send(&f.out) && !f.out.Volatile {
		return net.ErrClosed
	}
	return nil
}

// receivePayload takes the body of a POST request.
func (s *Session) receivePayload(body []byte) error {
	s.receiving.Lock()
	defer s.receiving.Unlock()
	n := len(body)
	err := engineio.DecodePayload(body, s.receivePacket)
	if err == nil {
		s.fed(n, false)
	}
	return err
}

// receiveMessage takes a message of a WebSocket.
func (s *Session) receiveMessage(binary bool, data []byte) error {
	s.receiving.Lock()
	defer s.receiving.Unlock()
	return s.receivePacket(binary, data)
}

// receivePacket gives a packet its meaning. receiving must be held.
func (s *Session) receivePacket(binary bool, data []byte) error {
	s.server.received.Add(1)
	s.server.receivedBytes.Add(uint64(len(data)))
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
		s.end(transport.ErrPeerClosed, endDismissed)
	case engineio.EventMessage:
		n := len(payload)
		if s.more, err = s.owner.Message(binary, payload); err != nil {
			err = ownerError{err}
		}
		s.whole = s.whole || !s.more
		s.assemble(n)
	}
	return err
}

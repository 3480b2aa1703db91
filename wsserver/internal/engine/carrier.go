package engine

import (
	"github.com/belfry-io/belfry/wsserver/internal/engineio"
	"github.com/belfry-io/belfry/wsserver/internal/outbox"
	"github.com/belfry-io/belfry/wsserver/internal/transport"
)

// A Carrier carries a session: it takes frames to the client, and gives what comes from it to the session. Its methods may be called
// concurrently, and under the session's mu; none waits. One that may take a session over from polling is an [outbox.Heir] as well.
type Carrier interface {
	Kind() engineio.Transport

	// Append queues a frame of a broadcast, and Send one for this client alone, for which it may write at once. They return false if the
	// frame was not queued: the carrier has ended, or the frame is volatile and was dropped.
	Append(f *outbox.Frame) bool
	Send(f *outbox.Frame) bool

	// Pause stops receiving until Resume, which may be called without it. A little may still come.
	Pause()
	Resume()

	// Close ends the carrier after what was queued has been taken, GoAway likewise, and tells the client that the server goes away if it
	// can, Dismiss ends it when the client has closed the session itself, and Abort at once. How long to wait before Abort is the caller's decision. The session is told when nothing is left of the carrier.
	Close()
	GoAway()
	Dismiss()
	Abort()

	// Idle reports whether an end would be noticed by nobody at the moment, since the client neither listens nor has missed anything.
	Idle() bool

	// HeardAll reports, once nothing is left of the carrier after GoAway, whether the client has shown that it had everything.
	HeardAll() bool

	Waiting() (out, in outbox.Waiting) // what waits for the client, and what has come of a message that is not complete
	Taken() uint32                     // how many bytes the client has taken in all; it wraps
	PingTaken() bool                   // whether the client has got the last ping
	DropVolatile()                     // of what waits
}

// carrier returns what carries the session.
func (s *Session) carrier() Carrier { return *s.carried.Load() }

// start makes c the first carrier of a new session, and the session known.
func (s *Session) start(c Carrier) {
	s.first = c
	s.carried.Store(&s.first)
	s.server.add(s)
}

// polling returns what carries the session if that is polling; else nil.
func (s *Session) polling() *transport.Polling {
	p, _ := s.carrier().(*transport.Polling)
	return p
}

// polls reports whether clients fetch what is for them: a carrier of that sort sees nothing of a client that does not ask.
func polls(c Carrier) bool { return c.Kind() == engineio.TransportPolling }

// A pollingSession is a session that polls, as its Polling sees it.
type pollingSession struct {
	session *Session
	polling transport.Polling
}

// newPolling makes the Polling of a session.
func newPolling(s *Session) *transport.Polling {
	p := &pollingSession{session: s}
	p.polling.Init(s.server.shared, p)
	return &p.polling
}

// Payload implements [transport.ExchangeReceiver], as the methods behind it do.
func (p *pollingSession) Payload(body []byte) error { return p.session.receivePayload(body) }

func (p *pollingSession) Large() { p.session.large() }

func (p *pollingSession) Closing(err error) {
	p.session.end(err, endCarrier)
	if c := p.session.carrier(); c != &p.polling {
		c.Close() // a POST that came before another carrier took over
	}
}

func (p *pollingSession) Closed() { p.session.markGone() }

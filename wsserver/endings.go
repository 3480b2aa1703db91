package wsserver

import (
	"errors"
	"log/slog"
	"sync/atomic"

	"github.com/belfry-io/belfry/wsserver/internal/engine"
	"github.com/belfry-io/belfry/wsserver/internal/engineio"
	"github.com/belfry-io/belfry/wsserver/internal/outbox"
	"github.com/belfry-io/belfry/wsserver/internal/transport"
)

// Ended is how many connections have ended, by their reason.
type Ended struct {
	ByClient       uint64 // the client closed it, or went away with a FIN
	ByServer       uint64 // Socket.Close, Socket.CloseTransport and Server.Close
	TransportError uint64 // it failed, or broke the rules of HTTP or WebSocket
	ParseError     uint64 // the client broke the rules of Engine.IO or Socket.IO
	PingTimeout    uint64 // the client did not answer a ping, or did not take it
	ConnectTimeout uint64 // the client connected to no namespace in time
	TooSlow        uint64 // the client took less than Config.SlowRate
	Behind         uint64 // more than Config.QueueBytes waited for the client for all of Config.BehindFor
	Incomplete     uint64 // a message of the client came more slowly than Config.SlowRate
	OverBudget     uint64 // Config.BudgetBytes was used up
}

// An ending is a reason for the end of a connection.
type ending uint8

const (
	endedByClient ending = iota
	endedByServer
	endedTransportError
	endedParseError
	endedPingTimeout
	endedConnectTimeout
	endedTooSlow
	endedBehind
	endedIncomplete
	endedOverBudget
	numEndings
)

// endingOf classes the end of a session.
func endingOf(err error) ending {
	for _, known := range [...]struct {
		err error
		is  ending
	}{
		{ErrServerClose, endedByServer}, {ErrForcedClose, endedByServer}, {ErrShutdown, endedByServer},
		{ErrParse, endedParseError}, {engineio.ErrParse, endedParseError},
		{engineio.ErrPingTimeout, endedPingTimeout}, {engine.ErrNotAccepted, endedConnectTimeout}, {engine.ErrIncomplete, endedIncomplete},
		{outbox.ErrTooSlow, endedTooSlow}, {outbox.ErrBehind, endedBehind}, {engine.ErrOverBudget, endedOverBudget},
		{transport.ErrPeerClosed, endedByClient},
	} {
		if errors.Is(err, known.err) {
			return known.is
		}
	}
	return endedTransportError
}

// endings counts the ends of connections, and logs those that the server has decided on since a client did not keep up.
type endings struct {
	counts [numEndings]atomic.Uint64
	logged [numEndings]rarely
}

// note counts the end of a connection. Of each reason, one a minute is logged at Warn.
func (e *endings) note(log *slog.Logger, remote string, why ending, reason error) {
	e.counts[why].Add(1)
	switch why {
	case endedTooSlow, endedBehind, endedIncomplete, endedOverBudget:
		if more, ok := e.logged[why].take(); ok {
			log.Warn("belfry: connection closed: the client does not keep up", "remote", remote, "reason", reason, "others since the last line", more)
			return
		}
	}
	log.Debug("belfry: connection ends", "remote", remote, "reason", reason)
}

// stats returns the counts.
func (e *endings) stats() Ended {
	n := func(why ending) uint64 { return e.counts[why].Load() }
	return Ended{
		ByClient: n(endedByClient), ByServer: n(endedByServer), TransportError: n(endedTransportError), ParseError: n(endedParseError),
		PingTimeout: n(endedPingTimeout), ConnectTimeout: n(endedConnectTimeout), TooSlow: n(endedTooSlow), Behind: n(endedBehind),
		Incomplete: n(endedIncomplete), OverBudget: n(endedOverBudget),
	}
}

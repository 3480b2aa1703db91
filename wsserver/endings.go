package wsserver

import (
	"log/slog"
	"sync/atomic"

	"github.com/belfry-io/belfry/wsserver/internal/engine"
)

// Ended counts the connections that have ended, by reason.
type Ended struct {
	ByClient       uint64 // the client closed it, or went away
	ByServer       uint64 // Socket.Close, Socket.CloseTransport, Server.Drain and Server.Close
	TransportError uint64 // it failed, or broke the rules of HTTP or WebSocket
	ParseError     uint64 // the client broke the rules of Engine.IO or Socket.IO
	PingTimeout    uint64 // the client did not answer a ping, or did not take it
	ConnectTimeout uint64 // the client connected to no namespace in time
	TooSlow        uint64 // the client took less than Config.Limits.SlowRate
	Behind         uint64 // more than Config.Limits.QueueBytes waited for the client for all of Config.Limits.BehindFor
	Incomplete     uint64 // a message of the client came more slowly than Config.Limits.SlowRate
	TooFast        uint64 // the client sent more than Config.Limits.EventRate or ByteRate for all of Config.Limits.FastFor
	OverBudget     uint64 // Config.Limits.BudgetBytes was used up
}

// endings counts the ends of connections, and logs those that the server has decided on since a
// client did not keep up.
type endings struct {
	counts [engine.NumReasons]atomic.Uint64
	logged [engine.NumReasons]rarely
}

// note counts the end of a connection. Of each reason, one a minute is logged at Warn.
func (e *endings) note(log *slog.Logger, remote string, why engine.Reason, reason error) {
	e.counts[why].Add(1)
	var fault string
	switch why {
	case engine.ReasonTooSlow, engine.ReasonBehind, engine.ReasonIncomplete, engine.ReasonOverBudget:
		fault = "the client does not keep up"
	case engine.ReasonTooFast, engine.ReasonNotAccepted:
		fault = "a limit for clients was reached"
	}
	if fault != "" {
		if more, ok := e.logged[why].allow(); ok {
			log.Warn("belfry: connection closed: "+fault, "remote", remote, "reason", reason, "others since the last line", more)
			return
		}
	}
	log.Debug("belfry: connection ends", "remote", remote, "reason", reason)
}

// stats returns the counts.
func (e *endings) stats() Ended {
	n := func(why engine.Reason) uint64 { return e.counts[why].Load() }
	return Ended{
		ByClient: n(engine.ReasonClient), ByServer: n(engine.ReasonOwner), TransportError: n(engine.ReasonTransport), ParseError: n(engine.ReasonParse),
		PingTimeout: n(engine.ReasonPingTimeout), ConnectTimeout: n(engine.ReasonNotAccepted), TooSlow: n(engine.ReasonTooSlow), Behind: n(engine.ReasonBehind),
		Incomplete: n(engine.ReasonIncomplete), TooFast: n(engine.ReasonTooFast), OverBudget: n(engine.ReasonOverBudget),
	}
}

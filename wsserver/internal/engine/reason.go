package engine

import (
	"errors"

	"github.com/belfry-io/belfry/wsserver/internal/engineio"
	"github.com/belfry-io/belfry/wsserver/internal/outbox"
	"github.com/belfry-io/belfry/wsserver/internal/transport"
)

// A Reason is why a session has ended.
type Reason uint8

const (
	ReasonOwner       Reason = iota // its owner: the error is that of [Session.Close] or of Message, or what Server.CloseSessions was given
	ReasonClient                    // the client closed it
	ReasonTransport                 // what carried it failed, or the client broke the rules of HTTP or WebSocket
	ReasonParse                     // the client broke the rules of Engine.IO
	ReasonPingTimeout               // the client did not answer a ping, or did not take it
	ReasonNotAccepted               // the end of Config.AcceptTimeout
	ReasonIncomplete                // the rest of a message came too slowly
	ReasonTooSlow                   // the client took less than Config.SlowRate
	ReasonBehind                    // too much waited for the client for all of Config.BehindFor
	ReasonTooFast                   // the client was held back for all of Rates.For
	ReasonOverBudget                // what waits in the server, in all, has used up its budget
	NumReasons
)

// Errors of the engine's own.
var (
	errNotAccepted = errors.New("engine: session was not accepted in time")
	errIncomplete  = errors.New("engine: the rest of a message comes too slowly")
	errTooFast     = errors.New("engine: the client sends more than it may")
	errOverBudget  = errors.New("engine: the memory for waiting data is used up")
	errAborted     = errors.New("engine: aborted")
)

// reasonOf classes an error of a carrier, of the rules or of the owner, and returns that as it was.
func reasonOf(err error) (Reason, error) {
	var own ownerError
	if errors.As(err, &own) {
		return ReasonOwner, own.error
	}
	for _, known := range [...]struct {
		err error
		is  Reason
	}{
		{transport.ErrPeerClosed, ReasonClient},
		{engineio.ErrParse, ReasonParse},
		{engineio.ErrPingTimeout, ReasonPingTimeout},
		{errNotAccepted, ReasonNotAccepted},
		{errIncomplete, ReasonIncomplete},
		{outbox.ErrTooSlow, ReasonTooSlow},
		{outbox.ErrBehind, ReasonBehind},
		{errTooFast, ReasonTooFast},
		{errOverBudget, ReasonOverBudget},
	} {
		if errors.Is(err, known.err) {
			return known.is, err
		}
	}
	return ReasonTransport, err
}

// An ownerError is one of the owner's, on its way through the carrier.
type ownerError struct{ error }

func (e ownerError) Unwrap() error { return e.error }

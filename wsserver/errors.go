package wsserver

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// Why a socket disconnected: the cause of its context wraps one of these errors. Their texts begin
// with Socket.IO's name for the reason.
var (
	ErrClientDisconnect = errors.New("client namespace disconnect") // the client left the namespace
	ErrServerDisconnect = errors.New("server namespace disconnect") // Socket.Disconnect, or a middleware refused
	ErrTransportClose   = errors.New("transport close")             // the client closed its connection, or went away
	ErrTransport        = errors.New("transport error")             // the connection failed, or broke the rules of WebSocket
	ErrPingTimeout      = errors.New("ping timeout")                // the client did not answer a ping
	ErrParse            = errors.New("parse error")                 // the client broke the rules of Engine.IO or Socket.IO
	ErrServerClose      = errors.New("forced server close")         // Socket.Close
	ErrForcedClose      = errors.New("forced close")                // Socket.CloseTransport
	ErrShutdown         = errors.New("server shutting down")        // Server.Close, Server.Drain
	ErrTooSlow          = errors.New("too slow")                    // the client does not take what is sent to it: Config.Limits.SlowAfter, BehindFor
	ErrTooFast          = errors.New("too fast")                    // the client sends too much: Config.Limits.EventRate, ByteRate
	ErrOverBudget       = errors.New("over budget")                 // the server's memory for waiting data was used up: Config.Limits.BudgetBytes
	ErrConnectTimeout   = errors.New("connect timeout")             // the client connected to no namespace
)

// Errors of a Socket that do not end it.
var (
	ErrNotConnected = errors.New("wsserver: the socket is not connected yet")
	ErrTooManyRooms = errors.New("wsserver: the socket would be in more rooms than Config.Limits.MaxRooms: have it leave some first, or raise the limit")
	ErrTooManyAcks  = fmt.Errorf("wsserver: the socket waits for %d acknowledgements already", maxAcks)
)

// A ConnectError refuses a client that connects, if a middleware returns it: see [Namespace.Use].
type ConnectError struct {
	Message string // the client's err.message
	Data    any    // the client's err.data: anything that encoding/json takes; nil for none
}

func (e *ConnectError) Error() string { return e.Message }

// An AckError answers a client that waits for an acknowledgement, if a [Handler] returns it. The
// acknowledgement's only argument is {"error": {"message": Message, "data": Data}}. It is not
// reported as a failure of the handler, unless the client does not wait for an answer or already
// has it.
type AckError struct {
	Message string
	Data    any // anything that [Socket.Emit] takes; nil for none
}

func (e *AckError) Error() string { return e.Message }

// A PanicError is a panic of a handler. It is passed to Config.OnError.
type PanicError struct {
	Value any    // the argument of panic
	Stack []byte // as runtime/debug.Stack writes it
}

// onPanic is deferred around a call of what belongs to the program. A panic of that ends here, and handle gets
// it as a *PanicError. Nothing else in this package recovers.
func onPanic(handle func(error)) {
	if value := recover(); value != nil {
		handle(&PanicError{Value: value, Stack: debug.Stack()})
	}
}

func (e *PanicError) Error() string { return fmt.Sprintf("wsserver: panic: %v\n%s", e.Value, e.Stack) }

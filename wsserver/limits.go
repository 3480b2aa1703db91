package wsserver

import (
	"time"

	"github.com/belfry-io/belfry/adapter/packet"
)

// Limits bound what clients may send, and what may wait for them. The zero value has the defaults.
type Limits struct {
	// MaxPayload bounds one message of a client, in bytes, and its attachments together. Zero means
	// 1,000,000.
	MaxPayload int

	// Packet bounds what a packet may claim, also the server's own: how many attachments and
	// arguments it has, and how deep they are nested. A field that is zero has its default;
	// AttachmentBytes has MaxPayload. All servers and emitters of a cluster should have the same.
	Packet packet.Limits

	// HandshakeBytes bounds what is kept of a connection's first request, its query and the headers
	// of HTTP.KeepHeaders together, and likewise the auth of its sockets. A larger request is
	// refused with the status 431, a larger auth with "auth too large". Nothing is cut: half a
	// token would mean something else. Zero means 64 KiB.
	HandshakeBytes int

	// MaxSockets bounds the namespaces that one connection is in at a time. A socket counts until
	// its handlers have ended. Further CONNECTs are refused with "too many namespaces on one
	// connection". Zero means 256.
	MaxSockets int

	// MaxNamespaces bounds the namespaces that exist because clients connected to a name that a
	// parent matches ([Server.OfFunc]). Beyond it, clients are told "too many namespaces". Zero
	// means 1,000.
	MaxNamespaces int

	// MaxEvents bounds the events of a socket that wait for its handlers. Another bound is 1 MiB,
	// and less while BudgetBytes runs short. At a bound, the server does not read from the socket's
	// connection, except to find out whether the client is still there. Zero means 256.
	MaxEvents int

	// QueueBytes is how many bytes may wait for a client before the client is judged by SlowRate,
	// SlowAfter and BehindFor, and volatile events are dropped. A client that reads stays, however
	// much is sent to it at once. Zero means 1 MiB.
	QueueBytes int

	// A client is disconnected with ErrTooSlow if it takes less than SlowRate bytes a second, over
	// the time SlowAfter, while more than QueueBytes wait for it. What it takes is what its TCP has
	// acknowledged; over TLS and Unix sockets what was written; of a client that polls, what its
	// requests carry away. A connection also ends if a message or a request of the client comes
	// more slowly than that. Zero means 1,024 bytes a second, over 15 s.
	SlowRate  int
	SlowAfter time.Duration

	// BehindFor is how long more than QueueBytes may wait for a client without a break, while more
	// keeps coming, before the client is disconnected with ErrTooSlow: it takes enough but never
	// catches up. Zero means 60 s.
	BehindFor time.Duration

	// BudgetBytes bounds the memory of all that waits in the server, in both directions: frames
	// queued for clients, events for handlers that are busy, and messages of which a part has come.
	// A frame that many clients wait for counts once.
	//
	// When the budget is used up, the server stops reading, drops volatile events, and then
	// disconnects clients with ErrOverBudget until an eighth is free: first those with more than
	// QueueBytes waiting in either direction, then any, those first for which something has waited
	// longest.
	//
	// Zero means half of the process' memory limit (GOMEMLIMIT), or without one a quarter of the
	// machine's memory, and 64 MiB at the least.
	BudgetBytes int
}

// defaults returns l with all zero values replaced, but for those that the engine replaces.
func (l Limits) defaults() Limits {
	set(&l.MaxPayload, 1_000_000)
	set(&l.Packet.AttachmentBytes, l.MaxPayload)
	set(&l.HandshakeBytes, 64<<10)
	set(&l.MaxSockets, 256)
	set(&l.MaxNamespaces, 1000)
	set(&l.MaxEvents, 256)
	set(&l.QueueBytes, 1<<20)
	return l
}

package wsserver

import (
	"errors"
	"fmt"
	"time"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/wsserver/internal/engine"
)

// Limits bound what clients may send, and what may wait for them. The zero value has the defaults.
type Limits struct {
	// MaxPayload bounds one message of a client, in bytes, and its attachments together. Zero means
	// 1,000,000. Where a client's requests may reach any node, one POST of more than 32 MiB in all is
	// refused with 413 by other nodes than its session's.
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

	// MaxConnections bounds the connections of all clients together, and requests that are about to
	// begin one. Beyond it, clients are told to try again later, with the status 503. Here and
	// below, the change from polling to a WebSocket is no new connection. Zero means no bound.
	MaxConnections int

	// PerAddress bounds the connections of one address, and its requests that are about to begin
	// one. For IPv6 that is a /64. Behind a proxy of HTTP.TrustedProxies it is the last address in
	// X-Forwarded-For that is not itself a trusted proxy's. Connections without an address, as over
	// a Unix socket, are not bounded. Beyond it, clients get the status 429. Zero means no bound.
	PerAddress int

	// PerKey bounds the connections with the same HTTP.Key. Beyond it, clients get the status 429.
	// Zero means no bound.
	PerKey int

	// Handshakes bounds the connections that begin, in a second, so that those that there are do not
	// notice when many clients come back at once. A request beyond it waits for its turn, before
	// HTTP.AllowRequest and all else that costs time, for up to HandshakeWait; so at most Handshakes
	// times HandshakeWait requests wait, with a goroutine of the http.Server each. Beyond that,
	// clients get the status 503, and the official client tries again by itself. With PerAddress,
	// no address has more than that many requests in the queue. Use it with [Server.Pace]. Zero means no bound, and 5 s.
	Handshakes    int
	HandshakeWait time.Duration

	// EventRate bounds the packets of a client in a second, but for its acknowledgements, and
	// EventBurst how many may come at once, after a pause; likewise ByteRate and ByteBurst the bytes
	// that it sends. They are for a connection, with all its sockets. A client that sends more is
	// held back: its connection is not read until it has made up for it, except to find out whether
	// the client is still there. What was read before is handled. A client that is held back for
	// FastFor, without a break in which half of a burst could come, is disconnected with
	// ErrTooFast. Rates of zero mean no bound, bursts of zero a second's worth, and FastFor 30 s.
	EventRate, EventBurst int
	ByteRate, ByteBurst   int
	FastFor               time.Duration

	// MaxRooms bounds the rooms that a socket joins, besides its own room: [Socket.Join] beyond it
	// returns ErrTooManyRooms. What the program does with many sockets, as SocketsJoin, is not
	// bounded. Zero means no bound.
	MaxRooms int

	// NamespacesPerAddress bounds the namespaces, of those that MaxNamespaces counts, that clients of
	// one address have made, so that one cannot use them all up. Beyond it, clients are told "too
	// many namespaces". Zero means no bound.
	NamespacesPerAddress int
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
	set(&l.HandshakeWait, 5*time.Second)
	set(&l.EventBurst, l.EventRate)
	set(&l.ByteBurst, l.ByteRate)
	set(&l.FastFor, 30*time.Second)
	return l
}

// handshakeQueue is how many requests may wait to begin a connection: the turn of the last one comes
// just before its wait ends.
func (l *Limits) handshakeQueue() int {
	return max(1, int(float64(l.Handshakes)*l.HandshakeWait.Seconds())-1)
}

// leastByteRate is less than the pings, requests and headers of a client that sends nothing else.
const leastByteRate = 1024

// check reports what is wrong with l, before its zero values are replaced.
func (l Limits) check(http HTTPConfig, wrong func(field, format string, args ...any)) {
	for _, limit := range [...]struct {
		field string
		value int
	}{
		{"MaxPayload", l.MaxPayload}, {"HandshakeBytes", l.HandshakeBytes}, {"MaxSockets", l.MaxSockets},
		{"MaxNamespaces", l.MaxNamespaces}, {"MaxEvents", l.MaxEvents}, {"QueueBytes", l.QueueBytes},
		{"SlowRate", l.SlowRate}, {"BudgetBytes", l.BudgetBytes}, {"MaxConnections", l.MaxConnections},
		{"PerAddress", l.PerAddress}, {"PerKey", l.PerKey}, {"Handshakes", l.Handshakes},
		{"EventRate", l.EventRate}, {"EventBurst", l.EventBurst}, {"ByteRate", l.ByteRate},
		{"ByteBurst", l.ByteBurst}, {"MaxRooms", l.MaxRooms}, {"NamespacesPerAddress", l.NamespacesPerAddress},
	} {
		if limit.value < 0 {
			wrong("Limits."+limit.field, "%d is negative", limit.value)
		}
	}
	for _, duration := range [...]struct {
		field string
		value time.Duration
	}{
		{"SlowAfter", l.SlowAfter}, {"BehindFor", l.BehindFor}, {"HandshakeWait", l.HandshakeWait}, {"FastFor", l.FastFor},
	} {
		if duration.value < 0 {
			wrong("Limits."+duration.field, "%v is negative", duration.value)
		}
	}
	if whole := l.defaults(); l.BudgetBytes > 0 && l.BudgetBytes < max(whole.QueueBytes, whole.MaxPayload) {
		wrong("Limits.BudgetBytes", "%d for all clients is less than QueueBytes (%d) or MaxPayload (%d) for one",
			l.BudgetBytes, whole.QueueBytes, whole.MaxPayload)
	}
	for field, bytes := range map[string]int{"Limits.ByteRate": l.ByteRate, "Limits.ByteBurst": l.ByteBurst} {
		if bytes > 0 && bytes < leastByteRate {
			wrong(field, "%d bytes are less than clients need that are idle: at least %d", bytes, leastByteRate)
		}
	}
	if l.EventBurst > 0 && l.EventRate == 0 {
		wrong("Limits.EventBurst", "it has no effect without EventRate")
	}
	if l.ByteBurst > 0 && l.ByteRate == 0 {
		wrong("Limits.ByteBurst", "it has no effect without ByteRate")
	}
	if l.PerKey > 0 && http.Key == nil {
		wrong("Limits.PerKey", "it needs HTTP.Key, which says whose a connection is")
	}
	if err := l.Packet.Check(); err != nil {
		wrong("Limits.Packet", "%w", err)
	}
}

// SetLimits changes limits while the server runs. It may be called concurrently, and takes effect
// at once, for connections that there are, too, with these exceptions: MaxConnections, PerAddress,
// PerKey, MaxSockets, MaxNamespaces, NamespacesPerAddress, MaxRooms and HandshakeBytes end nothing
// that stands already; and PerAddress, PerKey and NamespacesPerAddress, if they were zero, count
// only connections that begin later.
//
// MaxPayload, Packet, QueueBytes, SlowRate, SlowAfter and BehindFor cannot change: they must be as
// in Config. If they are not, or if a limit is wrong, SetLimits changes nothing and returns an error
// that says so for each.
func (srv *Server) SetLimits(l Limits) error {
	if srv.unusable != nil {
		return srv.unusable
	}
	var errs []error
	wrong := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("wsserver: SetLimits: %s: %w", field, fmt.Errorf(format, args...)))
	}
	l.check(srv.cfg.HTTP, wrong)
	l = l.defaults()
	srv.setting.Lock()
	defer srv.setting.Unlock()
	now := srv.bounds.Load()
	for _, fixed := range [...]struct {
		field string
		same  bool
	}{
		{"MaxPayload", l.MaxPayload == now.MaxPayload}, {"Packet", l.Packet == now.Packet || l.MaxPayload != now.MaxPayload}, // which it goes by
		{"QueueBytes", l.QueueBytes == now.QueueBytes}, {"SlowRate", l.SlowRate == now.SlowRate},
		{"SlowAfter", l.SlowAfter == now.SlowAfter}, {"BehindFor", l.BehindFor == now.BehindFor},
	} {
		if !fixed.same {
			wrong("Limits."+fixed.field,
				"it cannot change while the server runs: keep the value of Config, or make a new Server")
		}
	}
	if errs != nil {
		return errors.Join(errs...)
	}
	srv.setLimits(l)
	return nil
}

// setLimits makes l, which has its defaults, the limits from now on. srv.setting must be held, but
// by New.
func (srv *Server) setLimits(l Limits) {
	srv.bounds.Store(&l)
	srv.inboxes.Store(&inboxLimits{events: l.MaxEvents, budget: srv.budget})
	srv.turnstile.set(&l)
	srv.setAccepts(&l)
	srv.budget.SetLimit(int64(l.BudgetBytes))
	srv.engine.SetRates(engine.Rates{
		Events: l.EventRate, EventBurst: l.EventBurst,
		Bytes: l.ByteRate, ByteBurst: l.ByteBurst, For: l.FastFor,
	})
}

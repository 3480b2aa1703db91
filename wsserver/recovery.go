package wsserver

import (
	linked "container/list"
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/belfry-io/belfry/adapter/cluster"
)

// A Recovery has a server keep the session of a client that goes away without a farewell: its
// connection broke, or the server closed it. A client that comes back in time gets a socket with the
// same id, rooms and data, and each event that it has missed, once and in order: to itself, and to
// its rooms as they were when each was sent. [Socket.Recovered] is true then, in its middlewares and
// its OnConnect handlers. Otherwise it gets a new socket, and its own "recovered" is false. Both
// cost a client that is connected nothing but the offset that recoverable events carry, which its
// handlers see as one more argument.
//
// Volatile events, and those that ask for an acknowledgement, are not sent again. A client that a
// program has disconnected, or that has left by itself, is not away. While a client is away,
// SocketsJoin, SocketsLeave and DisconnectSockets reach its session as they would its socket;
// nothing else shows it.
//
// All nodes of a cluster have a Recovery, or none.
type Recovery struct {
	// MaxAway is how long a client may be away. Zero means 2 minutes.
	MaxAway time.Duration

	// LogBytes bounds the memory for events that clients may have missed, of all namespaces
	// together. The oldest go first: a client that would need them is not recovered. Zero means
	// 64 MiB.
	LogBytes int

	// MaxSessions is how many clients may be away at a time. One more ends the session of the one
	// that went first. Zero means 100,000.
	MaxSessions int

	// SkipMiddlewares has recovered sockets connect without the middlewares of their namespace, as
	// Socket.IO does. By default these run, so that somebody who may not come back does not.
	SkipMiddlewares bool

	// Data is a value of the type that the program gives to [Socket.SetData]. The data of a socket
	// that comes from another node comes as JSON, and becomes a value of this type. nil means what
	// encoding/json makes of it for an any.
	Data any

	// Secret is what the nodes sign the secrets of their clients with; all nodes have the same. Empty
	// means that each node makes its own key, and tells it to the others.
	Secret []byte
}

// The defaults of a Recovery.
const (
	defaultMaxAway     = 2 * time.Minute
	defaultLogBytes    = 64 << 20
	defaultMaxSessions = 100_000
)

func (r Recovery) defaults() Recovery {
	if r.MaxAway == 0 {
		r.MaxAway = defaultMaxAway
	}
	if r.LogBytes == 0 {
		r.LogBytes = defaultLogBytes
	}
	if r.MaxSessions == 0 {
		r.MaxSessions = defaultMaxSessions
	}
	return r
}

// log is what the Hub is to remember: a client may have lost its connection so long before the
// server notices.
func (c *Config) log() *cluster.RecoveryConfig {
	if c.Recovery == nil {
		return nil
	}
	r := c.Recovery.defaults()
	return &cluster.RecoveryConfig{LogBytes: r.LogBytes, Keep: r.MaxAway + c.PingInterval + 2*c.PingTimeout + recoveryTick}
}

// recoveryTick is how often sessions and log are looked at for what is over.
const recoveryTick = time.Second

// recovery has the sessions of clients that are away. A nil *recovery has none, and costs nothing.
type recovery struct {
	cfg  Recovery
	srv  *Server
	stop context.CancelFunc
	runs sync.WaitGroup

	toldKeys sync.Map // nodes that were told the keys of others

	mu         sync.Mutex // guards what follows. Taken inside life.mu, and before Rooms.mu
	closed     bool
	waiting    linked.List               // of *session, the one that went first at the front
	ends       map[*Socket]chan struct{} // sockets that are waited for
	claims     uint64                    // so far
	moved      map[seat]movedSession     // of this node, that others have now
	offered    map[seat]offer            // sessions that other nodes give, until that is over
	doubts     map[string]time.Time      // nodes that do not answer, since when
	absent     map[string]time.Time      // sessions that no node had, since when
	departures map[*Socket]departure     // of sockets that a drain has ended, until they have left
	inherited  map[*Socket]*inheritance  // of those that have come from other nodes, until they have gone
	sure       map[*Socket]uint64        // of sockets that end: as in session
	counts     RecoveryStats
}

func newRecovery(srv *Server) *recovery {
	ctx, stop := context.WithCancel(context.Background())
	rec := &recovery{
		cfg: srv.cfg.Recovery.defaults(), srv: srv, stop: stop,
		ends:  make(map[*Socket]chan struct{}),
		moved: make(map[seat]movedSession),

		offered:    make(map[seat]offer),
		doubts:     make(map[string]time.Time),
		absent:     make(map[string]time.Time),
		departures: make(map[*Socket]departure),
		inherited:  make(map[*Socket]*inheritance),
		sure:       make(map[*Socket]uint64),
	}
	rec.serveMoves()
	rec.serveGifts()
	rec.runs.Go(func() { rec.run(ctx) })
	return rec
}

// run ends what is over, until ctx ends.
func (rec *recovery) run(ctx context.Context) {
	tick := time.NewTicker(recoveryTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for {
				rec.mu.Lock()
				first := rec.waiting.Front()
				over := first != nil && !now.Before(first.Value.(*session).expires)
				rec.mu.Unlock()
				if !over {
					break
				}
				rec.end(first.Value.(*session))
			}
			rec.mu.Lock()
			maps.DeleteFunc(rec.absent, func(_ string, at time.Time) bool { return now.Sub(at) >= absentFor })
			maps.DeleteFunc(rec.moved, func(_ seat, m movedSession) bool { return !now.Before(m.until) })
			rec.mu.Unlock()
			rec.expireOffers(now)
			rec.srv.hub.ExpireReceipts()
			rec.srv.hub.ExpireLog()
		}
	}
}

// close ends all sessions.
func (rec *recovery) close() {
	if rec == nil {
		return
	}
	rec.stop()
	rec.runs.Wait()
	rec.mu.Lock()
	rec.closed = true
	var all []*session
	for e := rec.waiting.Front(); e != nil; e = e.Next() {
		all = append(all, e.Value.(*session))
	}
	rec.mu.Unlock()
	for _, k := range all {
		rec.end(k)
	}
}

// count changes the counts.
func (rec *recovery) count(change func(*RecoveryStats)) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	change(&rec.counts)
}

// A RecoveryStats counts the clients that were away and came back.
type RecoveryStats struct {
	Here      uint64          // that this node had
	Elsewhere uint64          // that came from another node
	Refused   RecoveryRefused // those that got a new socket

	Away       int    // sessions whose client is away now
	Evicted    uint64 // sessions that were given up for Recovery.MaxSessions
	LogEntries int    // events and changes of rooms in the log now
	LogBytes   int    // what they take
}

// RecoveryRefused counts the clients that came back and were not recovered, by reason.
type RecoveryRefused struct {
	Forged  uint64 // the client's secret is not one of this cluster's
	Unknown uint64 // nobody has the session: it has expired, or was ended
	LogGone uint64 // the log has forgotten what the client has missed: Recovery.LogBytes
	TooMuch uint64 // the client has missed more than Limits.QueueBytes
	Owner   uint64 // the node that had the session is gone, or did not answer
	Busy    uint64 // its earlier socket did not end in time, or it came twice at once
}

func (rec *recovery) stats() (s RecoveryStats) {
	if rec == nil {
		return s
	}
	rec.mu.Lock()
	s = rec.counts
	s.Away = rec.waiting.Len()
	rec.mu.Unlock()
	s.LogEntries, s.LogBytes = rec.srv.hub.ExpireLog()
	return s
}

// refuse counts a client that is not recovered.
func (rec *recovery) refuse(s *Socket, why refused) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	r := &rec.counts.Refused
	*map[refused]*uint64{
		refusedForged: &r.Forged, refusedUnknown: &r.Unknown, refusedLogGone: &r.LogGone,
		refusedTooMuch: &r.TooMuch, refusedOwner: &r.Owner, refusedBusy: &r.Busy,
	}[why]++
	rec.srv.cfg.Logger.Debug("belfry: a client that came back gets a new socket", "remote", s.conn.handshake.remote(), "reason", why)
}

// refused is why a client that came back is not recovered.
type refused string

const (
	refusedForged  refused = "its secret is not of this cluster"
	refusedUnknown refused = "nobody has its session"
	refusedLogGone refused = "the log has forgotten what it has missed"
	refusedTooMuch refused = "it has missed too much"
	refusedOwner   refused = "the node that had its session is gone"
	refusedBusy    refused = "its earlier socket has not ended, or it came twice"
)

// LogValue implements [slog.LogValuer].
func (r refused) LogValue() slog.Value { return slog.StringValue(string(r)) }

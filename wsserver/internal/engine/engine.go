// Package engine is an Engine.IO 4 server: an [http.Handler] that opens sessions for clients, carries their messages over HTTP long-polling
// or a WebSocket, moves a session from one to the other, and finds out when its client is gone.
//
// What the messages mean is the business of each session's [Owner]. The rules are those of package engineio, which does no I/O; bytes
// are moved by package transport.
package engine

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/cors"

	"github.com/belfry-io/belfry/wsserver/internal/budget"
	"github.com/belfry-io/belfry/wsserver/internal/engineio"
	"github.com/belfry-io/belfry/wsserver/internal/outbox"
	"github.com/belfry-io/belfry/wsserver/internal/transport"
)

const (
	closeTimeout     = 5 * time.Second  // for a client to close its end of a WebSocket once the server has closed its own, or to hear that it goes away
	pollShutTimeout  = time.Second      // for a client that polls to ask for what was sent to it, when the server shuts down
	pollCloseTimeout = 30 * time.Second // for a client that polls to fetch what was sent before the server closed its session
)

// A Config is what a Server is made of. Durations and sizes have no defaults here: all are to be set, unless said otherwise.
type Config struct {
	Path           string // prefix of the requests, with a slash at its end
	PingInterval   time.Duration
	PingTimeout    time.Duration
	UpgradeTimeout time.Duration // for a WebSocket that probes to take over its session

	// AcceptTimeout is how long a session may go before its owner calls [Session.Accept]. Zero means that it need not.
	AcceptTimeout time.Duration

	Transports engineio.Transport // those enabled, joined with |; zero means all

	// DisableUpgrades keeps sessions from changing their transport.
	DisableUpgrades bool

	MaxPayload int            // of one message or POST request of a client, in bytes
	QueueBytes int            // from where on what waits for a client has it judged: see [outbox.Config]
	Budget     *budget.Budget // of all that waits, either way; nil means no bound

	// What a client has to keep, in what it takes and in what it sends: see [outbox.Pace], whose defaults zero values stand for.
	SlowRate             int // bytes a second
	SlowAfter, BehindFor time.Duration

	CompressMessages int // WebSocket messages of so many bytes are compressed for clients that can (permessage-deflate); zero means none
	CompressHTTP     int // payloads of so many bytes are compressed for clients that can; zero means none

	// Cookie makes the cookie that is set, with the session's id as its value, when r begins a session by polling; nil, from it or in its
	// place, means none.
	Cookie func(r *http.Request) *http.Cookie

	// Allow decides on a request that would open a session, or upgrade one. The text of its error goes to the client; an [*engineio.Error]
	// is the refusal itself. nil allows all.
	Allow func(r *http.Request, opens bool) error

	// NewSID makes the id of a new session, in characters that a query takes as they are; nil stands for [engineio.NewSID].
	NewSID func() string

	// Network has the sessions of other servers; nil if there are no others.
	Network Network

	// CORS, if it is not nil, sets the headers of cross-origin resource sharing, and answers its preflights.
	CORS *cors.Cors

	// Open makes the owner of a new session, which may not be used before Open has returned. If it returns none, its error refuses as
	// that of Allow does; without an error, the server is closing.
	Open func(r *http.Request, s *Session) (Owner, error)

	Logger *slog.Logger
}

// An Owner has a session, and receives its messages. No method may block: other sessions wait meanwhile.
type Owner interface {
	// Message takes a message of the client. They come one at a time and in order. payload is the owner's to modify until it
	// returns. more says that the message is a part of something that is not complete: the client has to go on at Config.Pace. An error
	// ends the session.
	Message(binary bool, payload []byte) (more bool, err error)

	// Moved says that another carrier has taken the session over.
	Moved()

	// Waiting returns how many bytes of the client's messages wait to be dealt with, and for how long the first of them have.
	Waiting() (bytes int, oldest time.Duration)

	// Ended says that the session has ended, and err what happened. It is called once; a Message that was on its way may still come after
	// it.
	Ended(why Reason, err error)

	// Gone says that nothing is left of the session. It is called once, after Ended.
	Gone()
}

// A Server holds the sessions of clients. Its methods may be called concurrently.
type Server struct {
	cfg       Config
	pace      outbox.Pace
	shared    *transport.Shared
	deadlines *engineio.Deadlines

	pingDelay, takenDelay, restDelay, pongDelay                                        *engineio.Delay // of the heartbeat
	upgradeDelay, acceptDelay, messageDelay, closeDelay, pollShutDelay, pollCloseDelay *engineio.Delay

	rates          atomic.Pointer[Rates] // nil for no bound
	throttleDelays [len(throttleLooks)]*engineio.Delay
	warden         *warden

	live sync.WaitGroup // sessions and strays that are not gone yet

	mu           sync.Mutex               // guards what follows
	closed       error                    // why, once CloseSessions was called
	sessions     map[string]*Session      // by id
	peakSessions int                      // see shrink.Map
	strays       map[*connection]struct{} // that came to take over a session, and do not carry it
	strayGets    map[*strayGet]struct{}   // requests that wait for other servers

	accepted, heldBack      atomic.Uint64
	received, receivedBytes atomic.Uint64
	refused                 [engineio.NumRefusals]atomic.Uint64
	byPolling, byWebSocket  atomic.Int64 // sessions, by what carries them
	forwarded, served       atomic.Uint64
	heldGets                atomic.Int64 // of other servers
}

// New returns a server. Close it in the end.
func New(cfg Config) *Server {
	if cfg.NewSID == nil {
		cfg.NewSID = engineio.NewSID
	}
	pace := outbox.Pace{Rate: cfg.SlowRate, Over: cfg.SlowAfter, Behind: cfg.BehindFor}.Defaults()
	srv := &Server{
		cfg:       cfg,
		pace:      pace,
		sessions:  make(map[string]*Session),
		strays:    make(map[*connection]struct{}),
		strayGets: make(map[*strayGet]struct{}),
		deadlines: engineio.NewDeadlines(),
		shared: transport.New(transport.Config{
			MaxMessage:   cfg.MaxPayload,
			QueueBytes:   cfg.QueueBytes,
			Pace:         pace,
			Budget:       cfg.Budget,
			Deflate:      cfg.CompressMessages,
			CompressHTTP: cfg.CompressHTTP,
			Logger:       cfg.Logger,
		}),
	}
	srv.pingDelay = srv.deadlines.Delay(cfg.PingInterval)
	look := cfg.look()
	srv.takenDelay = srv.deadlines.Delay(look)
	srv.restDelay = srv.deadlines.Delay(cfg.PingTimeout - look)
	srv.pongDelay = srv.deadlines.Delay(cfg.PingTimeout)
	srv.upgradeDelay = srv.deadlines.Delay(cfg.UpgradeTimeout)
	srv.acceptDelay = srv.deadlines.Delay(cfg.AcceptTimeout)
	srv.messageDelay = srv.deadlines.Delay(pace.Patience())
	srv.closeDelay = srv.deadlines.Delay(closeTimeout)
	srv.pollShutDelay = srv.deadlines.Delay(pollShutTimeout)
	srv.pollCloseDelay = srv.deadlines.Delay(pollCloseTimeout)
	for i, d := range throttleLooks {
		srv.throttleDelays[i] = srv.deadlines.Delay(d)
	}
	srv.warden = newWarden(srv)
	return srv
}

// enter counts one more session or stray as live; if the server closes, it returns why.
func (srv *Server) enter() error {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.closed == nil {
		srv.live.Add(1)
	}
	return srv.closed
}

// newSession makes a session for a request, which is an upgrade or not. If there is to be none, it answers the request and returns nil.
func (srv *Server) newSession(w http.ResponseWriter, r *http.Request, upgrade bool) *Session {
	if srv.enter() != nil {
		srv.shuttingDown(w)
		return nil
	}
	s := &Session{server: srv, sid: srv.cfg.NewSID()}
	var err error
	if s.owner, err = srv.cfg.Open(r, s); s.owner != nil {
		return s
	}
	srv.live.Done()
	if err != nil {
		srv.refuse(w, upgrade, engineio.RefusalOf(err))
	} else {
		srv.shuttingDown(w)
	}
	return nil
}

// add makes a session known. If the server was closed meanwhile, the session is closed, too.
func (srv *Server) add(s *Session) {
	srv.accepted.Add(1)
	srv.carried(s.Transport()).Add(1)
	srv.mu.Lock()
	srv.sessions[s.sid] = s
	closed := srv.closed
	srv.mu.Unlock()
	if closed != nil {
		s.end(ownerError{closed}, endShutdown)
		return
	}
	s.arm()
}

func (srv *Server) session(sid string) *Session {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return srv.sessions[sid]
}

// Len is the number of sessions.
func (srv *Server) Len() int {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return len(srv.sessions)
}

// Stats counts what a server has done since its beginning.
type Stats struct {
	Accepted uint64                       // sessions
	Refused  [engineio.NumRefusals]uint64 // requests
	HeldBack uint64                       // times that a client was, by Rates

	Polling, WebSocket int // sessions that are open now, by what carries them

	Forwarded uint64 // requests that were passed on to other servers
	Served    uint64 // requests that other servers have passed on
	Held      int    // of these, those that wait now for something for their client
	Waiting   int    // requests that wait now for other servers

	Received      uint64 // messages, and packets of the protocol such as pongs
	ReceivedBytes uint64 // of these, inflated, and without what frames them

	Outbox outbox.Stats
}

// Stats returns the counts as they are now.
func (srv *Server) Stats() Stats {
	s := Stats{
		Accepted: srv.accepted.Load(), HeldBack: srv.heldBack.Load(),
		Polling: int(srv.byPolling.Load()), WebSocket: int(srv.byWebSocket.Load()),
		Received: srv.received.Load(), ReceivedBytes: srv.receivedBytes.Load(),
		Forwarded: srv.forwarded.Load(), Served: srv.served.Load(), Held: int(srv.heldGets.Load()),
		Outbox: srv.shared.Stats(),
	}
	srv.mu.Lock()
	s.Waiting = len(srv.strayGets)
	srv.mu.Unlock()
	for why := range s.Refused {
		s.Refused[why] = srv.refused[why].Load()
	}
	return s
}

// carried counts the sessions that a transport carries.
func (srv *Server) carried(by engineio.Transport) *atomic.Int64 {
	if by == engineio.TransportPolling {
		return &srv.byPolling
	}
	return &srv.byWebSocket
}

// Owners returns the owners of the sessions that there are, in no order.
func (srv *Server) Owners() []Owner {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	owners := make([]Owner, 0, len(srv.sessions))
	for _, s := range srv.sessions {
		owners = append(owners, s.owner)
	}
	return owners
}

// Leave has answers close their HTTP connections from now on, so that clients that connect anew reach another server by a new one.
func (srv *Server) Leave() { srv.shared.Leave() }

// CloseSessions refuses new sessions and ends those that there are, for reason. Requests that wait for other servers are answered.
func (srv *Server) CloseSessions(reason error) {
	srv.mu.Lock()
	srv.closed = reason
	srv.mu.Unlock()
	for _, s := range srv.all() {
		s.end(ownerError{reason}, endShutdown)
	}
	srv.letStraysGo()
}

// Close waits, after CloseSessions, until all sessions are gone: no longer than ctx allows, and then with an error. Nothing that the server has
// started is left.
func (srv *Server) Close(ctx context.Context) error {
	gone := make(chan struct{})
	go func() {
		srv.live.Wait()
		close(gone)
	}()
	var err error
	select {
	case <-gone:
	case <-ctx.Done():
		err = fmt.Errorf("engine: close: sessions have not ended: %w", context.Cause(ctx))
		for _, s := range srv.all() {
			s.Abort()
		}
		for _, c := range srv.allStrays() {
			c.abort()
		}
	}
	srv.warden.close()
	srv.shared.Close()
	srv.deadlines.Close()
	return err
}

func (srv *Server) all() []*Session {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return slices.Collect(maps.Values(srv.sessions))
}

func (srv *Server) allStrays() []*connection {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return slices.Collect(maps.Keys(srv.strays))
}

// setStray says whether a connection is a stray.
func (srv *Server) setStray(c *connection, is bool) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if is {
		srv.strays[c] = struct{}{}
	} else {
		delete(srv.strays, c)
	}
}

// Package engine is an Engine.IO 4 server: an [http.Handler] that opens sessions for clients, carries their messages over HTTP long-polling
// or a WebSocket, moves a session from one to the other, and finds out when its client is gone.
//
// What the messages mean is the business of each session's [Receiver]. The rules are those of package engineio, which does no I/O; bytes
// are moved by package transport.
package engine

import (
	"context"
	"errors"
	"fmt"
	"html"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
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
	closeTimeout     = 5 * time.Second  // for a client to close its end of a WebSocket once the server has closed its own
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
	Pace       outbox.Pace    // what a client has to keep, in what it takes and in what it sends
	Budget     *budget.Budget // of all that waits, either way; nil means no bound

	CompressMessages int // WebSocket messages of so many bytes are compressed for clients that can (permessage-deflate); zero means none
	CompressHTTP     int // payloads of so many bytes are compressed for clients that can; zero means none

	// Cookie makes the cookie that is set, with the session's id as its value, when r begins a session by polling; nil, from it or in its
	// place, means none.
	Cookie func(r *http.Request) *http.Cookie

	// Allow decides on a request that would open a session, or upgrade one. The text of its error goes to the client; an [*engineio.Error]
	// is the refusal itself. nil allows all.
	Allow func(r *http.Request, opens bool) error

	// CORS, if it is not nil, sets the headers of cross-origin resource sharing, and answers its preflights.
	CORS *cors.Cors

	// Open makes the receiver of a new session, which may not be used before Open has returned. nil refuses: the server is closing.
	Open func(r *http.Request, s *Session) Receiver

	Logger *slog.Logger
}

// A Receiver is the owner of a session. No method may block: other sessions wait meanwhile.
type Receiver interface {
	// Message takes a message of the client. They come one at a time and in order. payload is the receiver's to modify until it
	// returns. more says that the message is a part of something that is not complete: the client has to go on at Config.Pace. An error
	// ends the session.
	Message(binary bool, payload []byte) (more bool, err error)

	// Waiting returns how many bytes of the client's messages wait to be dealt with, and for how long the first of them have.
	Waiting() (bytes int, oldest time.Duration)

	// Ended says that the session has ended, for a reason that is one of this package, [engineio.ErrParse] and its like,
	// [transport.ErrPeerClosed], [outbox.ErrTooSlow], [outbox.ErrBehind], an error of Message or the network, or what [Session.Close] was
	// given.
	// It is called once; a Message that was on its way may still come after it.
	Ended(reason error)
}

// Why a session ends.
var (
	// ErrNotAccepted is the end of AcceptTimeout.
	ErrNotAccepted = errors.New("engine: session was not accepted in time")

	// ErrIncomplete is a message that was begun and comes too slowly.
	ErrIncomplete = errors.New("engine: the rest of a message comes too slowly")

	// ErrOverBudget is a session that had to go since what waits in the server, in all, has used up its budget.
	ErrOverBudget = errors.New("engine: the memory for what waits is used up")
)

// A Server holds the sessions of clients. Its methods may be called concurrently.
type Server struct {
	cfg        Config
	transports *transport.Transports
	deadlines  *engineio.Deadlines

	pingDelay, takenDelay, restDelay, pongDelay                                        *engineio.Delay // of the heartbeat
	upgradeDelay, acceptDelay, messageDelay, closeDelay, pollShutDelay, pollCloseDelay *engineio.Delay

	warden *warden

	live sync.WaitGroup // sessions and refused WebSockets that are not gone yet

	mu           sync.Mutex            // guards what follows
	closed       error                 // why, once Shut was called
	sessions     map[string]*Session   // by id
	peakSessions int                   // see shrink.Map
	strays       map[*channel]struct{} // WebSockets that came to take over a session, and do not carry it

	accepted, refused atomic.Uint64
}

// New returns a server. Close it in the end.
func New(cfg Config) *Server {
	cfg.Pace = cfg.Pace.Defaults()
	srv := &Server{
		cfg:       cfg,
		sessions:  make(map[string]*Session),
		strays:    make(map[*channel]struct{}),
		deadlines: engineio.NewDeadlines(),
		transports: transport.New(transport.Config{
			MaxMessage:   cfg.MaxPayload,
			QueueBytes:   cfg.QueueBytes,
			Pace:         cfg.Pace,
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
	srv.messageDelay = srv.deadlines.Delay(cfg.Pace.Patience())
	srv.closeDelay = srv.deadlines.Delay(closeTimeout)
	srv.pollShutDelay = srv.deadlines.Delay(pollShutTimeout)
	srv.pollCloseDelay = srv.deadlines.Delay(pollCloseTimeout)
	srv.warden = newWarden(srv)
	return srv
}

// ServeHTTP serves the requests below Config.Path, and answers all others with 404.
func (srv *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		w.Header().Set("Connection", "close") // unless somebody reads the body
		defer transport.Linger(w, r)
	}
	switch policy := srv.cfg.CORS; {
	case !strings.HasPrefix(r.URL.Path, srv.cfg.Path):
		http.NotFound(w, r)
	case policy == nil:
		srv.serve(w, r)
	default:
		if r.Header.Get("Origin") == "" && policy.OriginAllowed(r) {
			w.Header().Set("Access-Control-Allow-Origin", "*") // every origin is: the answer is the same for all
		}
		policy.ServeHTTP(w, r, srv.serveShared)
	}
}

// serveShared serves what the policy of cross-origin resource sharing leaves. It takes a request for a preflight only if that names the method
// to come; any other OPTIONS has no meaning here but the same.
func (srv *Server) serveShared(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	srv.serve(w, r)
}

// serve serves a request whose path is ours.
func (srv *Server) serve(w http.ResponseWriter, r *http.Request) {
	var session *Session // that the request names
	request := engineio.Request{
		Method:     r.Method,
		Query:      r.URL.Query(),
		Origin:     r.Header["Origin"],
		Upgrade:    transport.IsUpgrade(r),
		Transports: srv.cfg.Transports,
		Session: func(sid string) (engineio.Transport, bool) {
			if session = srv.session(sid); session == nil {
				return 0, false
			}
			return session.Transport(), true
		},
	}
	if srv.cfg.Allow != nil {
		request.Allow = func() error { return srv.cfg.Allow(r, session == nil) }
	}
	action, refusal := request.Verify()
	if refusal != nil {
		srv.refuse(w, request.Upgrade, refusal)
		return
	}
	switch action {
	case engineio.ActionOpen:
		if request.Upgrade {
			srv.openWebSocket(w, r)
		} else {
			srv.openPolling(w, r)
		}
	case engineio.ActionPoll, engineio.ActionSend:
		polling := session.polling.Load()
		switch {
		case polling == nil: // it was upgraded meanwhile
			srv.refuse(w, false, engineio.ErrBadRequest)
		case action == engineio.ActionPoll:
			polling.Get(w, r)
		default:
			w.Header().Del("Connection")
			polling.Post(w, r)
		}
	case engineio.ActionUpgrade:
		if srv.cfg.DisableUpgrades {
			srv.refuse(w, true, engineio.ErrBadRequest)
			return
		}
		session.upgrade(w, r)
	}
}

// refuse answers a request that breaks a rule: an upgrade in plain words, as the reference does, and others in JSON.
func (srv *Server) refuse(w http.ResponseWriter, upgrade bool, refusal *engineio.Error) {
	srv.refused.Add(1)
	if !upgrade {
		transport.Refuse(w, refusal)
		return
	}
	h, body := w.Header(), html.EscapeString(refusal.Message)
	h.Set("Connection", "close")
	h.Set("Content-Type", "text/html")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	status := http.StatusBadRequest
	if refusal.TooLarge {
		status = refusal.Status()
	}
	w.WriteHeader(status)
	w.Write([]byte(body))
}

// shuttingDown answers a request for a session that a server which closes will not open.
func (srv *Server) shuttingDown(w http.ResponseWriter) {
	srv.refused.Add(1)
	w.Header().Set("Connection", "close")
	http.Error(w, "server shutting down", http.StatusServiceUnavailable)
}

// openPolling begins a session with the answer to a GET request (Engine.IO 4, "Handshake").
func (srv *Server) openPolling(w http.ResponseWriter, r *http.Request) {
	s := srv.newSession(r)
	if s == nil {
		srv.shuttingDown(w)
		return
	}
	polling := new(transport.Polling)
	polling.Init(srv.transports, (*poller)(s))
	s.polling.Store(polling)
	srv.add(s)
	if srv.cfg.Cookie != nil {
		if cookie := srv.cfg.Cookie(r); cookie != nil {
			cookie.Value = s.sid
			http.SetCookie(w, cookie)
		}
	}
	if err := srv.transports.WritePayload(w, r, s.open(srv.upgrades()), true); err != nil {
		s.Abort() // nobody knows of it
	}
}

// upgrades are the transports that a session which polls may change to.
func (srv *Server) upgrades() []string {
	if t := srv.cfg.Transports; srv.cfg.DisableUpgrades || t != 0 && t&engineio.TransportWebSocket == 0 {
		return nil
	}
	return []string{engineio.TransportWebSocket.String()}
}

// openWebSocket begins a session with a WebSocket.
func (srv *Server) openWebSocket(w http.ResponseWriter, r *http.Request) {
	s := srv.newSession(r)
	if s == nil {
		srv.shuttingDown(w)
		return
	}
	nc, early, deflated, err := transport.Upgrade(w, r, srv.cfg.CompressMessages > 0)
	if err != nil {
		srv.refused.Add(1)
		srv.cfg.Logger.Debug("belfry: handshake refused", "remote", r.RemoteAddr, "error", err)
		s.drop(err)
		return
	}
	c := &channel{session: s, state: channelOpen}
	srv.transports.Serve(&c.ws, nc, deflated, c)
	s.ws.Store(&c.ws)
	srv.add(s)
	s.Send(&outbox.Frame{Bytes: transport.AppendFrame(nil, transport.OpText, s.open(nil))})
	c.ws.Start(early)
}

// newSession makes a session for a request; nil if the server is closed.
func (srv *Server) newSession(r *http.Request) *Session {
	srv.mu.Lock()
	closed := srv.closed
	if closed == nil {
		srv.live.Add(1)
	}
	srv.mu.Unlock()
	if closed != nil {
		return nil
	}
	s := &Session{server: srv, sid: engineio.NewSID()}
	if s.receiver = srv.cfg.Open(r, s); s.receiver == nil {
		srv.live.Done()
		return nil
	}
	return s
}

// add makes a session known. If the server was closed meanwhile, the session is closed, too.
func (srv *Server) add(s *Session) {
	srv.accepted.Add(1)
	srv.mu.Lock()
	srv.sessions[s.sid] = s
	closed := srv.closed
	srv.mu.Unlock()
	if closed != nil {
		s.close(closed, endShutdown)
		return
	}
	s.begin()
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
	Accepted uint64 // sessions
	Refused  uint64 // requests
	Outbox   outbox.Stats
}

// Stats returns the counts as they are now.
func (srv *Server) Stats() Stats {
	return Stats{srv.accepted.Load(), srv.refused.Load(), srv.transports.Stats()}
}

// Shut refuses new sessions and ends those that there are, for reason.
func (srv *Server) Shut(reason error) {
	srv.mu.Lock()
	srv.closed = reason
	srv.mu.Unlock()
	for _, s := range srv.all() {
		s.close(reason, endShutdown)
	}
}

// Close waits, after Shut, until all sessions are gone: no longer than ctx allows, and then with an error. Nothing that the server has
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
			c.ws.Abort()
		}
	}
	srv.warden.close()
	srv.transports.Close()
	srv.deadlines.Close()
	return err
}

func (srv *Server) all() []*Session {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return slices.Collect(maps.Values(srv.sessions))
}

func (srv *Server) allStrays() []*channel {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return slices.Collect(maps.Keys(srv.strays))
}

// stray says whether a WebSocket is one.
func (srv *Server) stray(c *channel, is bool) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if is {
		srv.strays[c] = struct{}{}
	} else {
		delete(srv.strays, c)
	}
}

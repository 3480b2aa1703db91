package engine

import (
	"html"
	"net/http"
	"strconv"
	"strings"

	"github.com/belfry-io/belfry/wsserver/internal/engineio"
	"github.com/belfry-io/belfry/wsserver/internal/transport"
)

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
	var unknown string   // the id of one that is not here
	request := engineio.Request{
		Method:     r.Method,
		Query:      r.URL.Query(),
		Origin:     r.Header["Origin"],
		Upgrade:    transport.IsUpgrade(r),
		Transports: srv.cfg.Transports,
		Session: func(sid string) (engineio.Transport, bool) {
			if session = srv.session(sid); session == nil {
				unknown = sid
				return 0, false
			}
			return session.Transport(), true
		},
	}
	if srv.cfg.Allow != nil {
		request.Allow = func() error { return srv.cfg.Allow(r, session == nil) }
	}
	action, refusal := request.Verify()
	if unknown != "" && srv.forward(w, r, unknown) {
		return
	}
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
		polling := session.polling()
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
		srv.upgrade(w, r, session)
	}
}

// forward has a request served that is for a session of another node, and reports whether it was.
func (srv *Server) forward(w http.ResponseWriter, r *http.Request, sid string) bool {
	node := engineio.SIDNode(sid)
	return srv.cfg.Stray != nil && node != "" && node != srv.cfg.Node && srv.cfg.Stray(w, r, sid, node)
}

// refuse answers a request that breaks a rule: an upgrade in plain words, as the reference does, and others in JSON.
func (srv *Server) refuse(w http.ResponseWriter, upgrade bool, refusal *engineio.Error) {
	srv.refused[refusal.Refusal].Add(1)
	if srv.shared.Leaving() {
		w.Header().Set("Connection", "close")
	}
	if !upgrade {
		transport.Refuse(w, refusal)
		return
	}
	h, body := w.Header(), html.EscapeString(refusal.Message)
	h.Set("Connection", "close")
	h.Set("Content-Type", "text/html")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	if refusal.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(refusal.RetryAfter))
	}
	status := http.StatusBadRequest
	if refusal.Answer != 0 {
		status = refusal.Answer
	}
	w.WriteHeader(status)
	w.Write([]byte(body))
}

// shuttingDown answers a request for a session that a server which closes will not open.
func (srv *Server) shuttingDown(w http.ResponseWriter) {
	srv.refused[engineio.RefusedClosing].Add(1)
	w.Header().Set("Connection", "close")
	http.Error(w, "server shutting down", http.StatusServiceUnavailable)
}

// openPolling begins a session with the answer to a GET request (Engine.IO 4, "Handshake").
func (srv *Server) openPolling(w http.ResponseWriter, r *http.Request) {
	s := srv.newSession(w, r, false)
	if s == nil {
		return
	}
	s.start(newPolling(s))
	if srv.cfg.Cookie != nil {
		if cookie := srv.cfg.Cookie(r); cookie != nil {
			cookie.Value = s.sid
			http.SetCookie(w, cookie)
		}
	}
	if err := srv.shared.WritePayload(w, r, s.open(srv.upgrades()), true, nil); err != nil {
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
	s := srv.newSession(w, r, true)
	if s == nil {
		return
	}
	nc, early, deflated, err := transport.Upgrade(w, r, srv.cfg.CompressMessages > 0)
	if err != nil {
		srv.refused[engineio.RefusedRules].Add(1)
		srv.cfg.Logger.Debug("belfry: handshake refused", "remote", r.RemoteAddr, "error", err)
		s.endUnopened(err)
		return
	}
	c := new(webSocket)
	c.init(s, nil)
	srv.shared.Serve(&c.ws, nc, deflated, &c.connection)
	c.carry(&c.ws)
	c.ws.Start(early)
}

// upgrade serves a request for a WebSocket that is to take over a session.
func (srv *Server) upgrade(w http.ResponseWriter, r *http.Request, s *Session) {
	if srv.enter() != nil {
		srv.shuttingDown(w)
		return
	}
	nc, early, deflated, err := transport.Upgrade(w, r, srv.cfg.CompressMessages > 0)
	if err != nil {
		srv.refused[engineio.RefusedRules].Add(1)
		srv.cfg.Logger.Debug("belfry: upgrade refused", "remote", r.RemoteAddr, "error", err)
		srv.live.Done()
		return
	}
	c := new(webSocket)
	c.init(s, &c.ws)
	srv.shared.Serve(&c.ws, nc, deflated, &c.connection)
	c.offer()
	c.ws.Start(early)
}

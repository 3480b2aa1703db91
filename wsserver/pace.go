package wsserver

import (
	"context"
	"net"

	"golang.org/x/time/rate"
)

// acceptsPerHandshake is how many network connections are accepted for each connection that may
// begin: the official client polls, and then upgrades. Those of WebSockets alone leave room for refusals.
const acceptsPerHandshake = 2

// Pace returns a listener for an http.Server that accepts two connections for each that may begin
// by Limits.Handshakes, and as many as there are without that limit. When many clients come back at
// once, most of them so wait in the kernel, where they cost nothing, and not as goroutines that all
// want to run at the same time as those of clients that are connected. Pages that are served by the
// same http.Server wait behind them, too.
//
// Several listeners of a server share the rate. Closing the result closes l.
func (srv *Server) Pace(l net.Listener) net.Listener {
	p := &pacedListener{Listener: l, limiter: srv.accepts}
	p.closed, p.close = context.WithCancel(context.Background())
	return p
}

type pacedListener struct {
	net.Listener
	limiter *rate.Limiter
	closed  context.Context
	close   context.CancelFunc
}

func (p *pacedListener) Accept() (net.Conn, error) {
	p.limiter.Wait(p.closed) // an error means that it is closed, as the next line says, too
	return p.Listener.Accept()
}

func (p *pacedListener) Close() error {
	err := p.Listener.Close()
	p.close() // who waits finds it closed
	return err
}

// setAccepts follows a change of the limits.
func (srv *Server) setAccepts(l *Limits) {
	if l.Handshakes == 0 {
		srv.accepts.SetLimit(rate.Inf)
		return
	}
	srv.accepts.SetBurst(max(1, l.Handshakes*acceptsPerHandshake/200)) // of 5 ms
	srv.accepts.SetLimit(rate.Limit(l.Handshakes * acceptsPerHandshake))
}

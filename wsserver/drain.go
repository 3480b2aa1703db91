package wsserver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// A Drain says how a server that is to end sends its clients to other nodes: see [Server.Drain]. The
// zero value works.
type Drain struct {
	// Notice is how long new clients are still served while load balancers notice that the server is
	// not ready any more. Zero means 5 s, a negative value none.
	Notice time.Duration

	// Over is the time over which the connections end, evenly. It bounds what handlers may take, too.
	// Few connections take less: ten end in a second, if Rate allows. So many that Rate does not
	// allow it take longer, unless ctx has a deadline. Zero means 30 s.
	Over time.Duration

	// Rate is how many connections end in a second at the most. Zero means 1,000.
	Rate int

	// Linger is for how long the server still answers for sessions that it has handed over to other
	// nodes, after the last connection. Without any it is over at once. Zero means 5 s, a negative
	// value none.
	Linger time.Duration
}

// defaults replaces zero values.
func (how Drain) defaults() (Drain, error) {
	if how.Over < 0 || how.Rate < 0 {
		return how, errors.New("wsserver: drain: Over and Rate must not be negative: zero means their defaults")
	}
	for _, d := range [...]struct {
		value    *time.Duration
		standard time.Duration
	}{{&how.Notice, 5 * time.Second}, {&how.Over, 30 * time.Second}, {&how.Linger, 5 * time.Second}} {
		if *d.value == 0 {
			*d.value = d.standard
		}
		*d.value = max(0, *d.value)
	}
	if how.Rate == 0 {
		how.Rate = 1000
	}
	return how, nil
}

// A DrainState is how far a drain has come.
type DrainState string

// The states of a drain, in their order.
const (
	DrainNone    DrainState = ""        // Drain was not called
	DrainNotice  DrainState = "notice"  // new clients are still served: Drain.Notice
	DrainEnding  DrainState = "ending"  // connections end
	DrainLinger  DrainState = "linger"  // none is left: Drain.Linger
	DrainStopped DrainState = "stopped" // Drain has returned
)

// DrainStats says how far a drain has come.
type DrainStats struct {
	State DrainState
	Total int // connections that there were when the first of them ended, and those that came later
	Left  int // of these, those that are open
	Ended int // that Drain has ended; the others went by themselves
	Cut   int // of these, those that did not get their time: a handler still ran, or ctx has ended

	HandedOver    uint64 // sessions that other nodes have taken over
	NotHandedOver uint64 // sessions that no other node has taken
}

// Drain sends all clients to other nodes, in small even steps, so that they do not come back all at
// once. It returns when no connection is left, or ctx ends; the program then calls Close or
// Shutdown. It does these things one after the other:
//
//   - From the start [Server.Readiness] is [StateDraining]. New clients are served for how.Notice,
//     and then refused with the status 503.
//   - Connections end in random order, so that no room loses all its members at once. Those that have
//     handlers running, or wait for an acknowledgement, come later, up to half of how.Over. After that
//     their sockets handle no further events, and the connection ends when the handler that runs has
//     returned, or at the end of how.Over: then it is cut.
//   - Clients are not told that they are disconnected, so the official client reconnects by itself.
//     Their sockets end with ErrShutdown, and [Socket.Moving] is true.
//
// If ctx has a deadline before that, more than how.Rate connections end in a second, so that all
// have their turn. When ctx ends, those that are left are cut. The error says how many connections
// were cut, and why: it wraps the cause of ctx, or names sockets whose handlers did not return.
//
// Close ends Drain at once; the error then wraps ErrShutdown, and so it does after Close. A second
// call waits for the first one, and returns what that does: its own ctx ends the wait alone, and its
// how means nothing. A handler must not call Drain: it would hold up its own connection.
func (srv *Server) Drain(ctx context.Context, how Drain) error {
	if srv.unusable != nil {
		return srv.unusable
	}
	how, err := how.defaults()
	if err != nil {
		return err
	}
	d, first, err := srv.beginDrain(ctx, how)
	if err != nil {
		return err
	}
	if first {
		d.err = d.run()
		d.enter(DrainStopped)
		close(d.done)
		return d.err
	}
	select {
	case <-d.done:
		return d.err
	case <-ctx.Done():
		return fmt.Errorf("wsserver: drain: it goes on: %w", context.Cause(ctx))
	}
}

var errDrainClosed = fmt.Errorf("wsserver: drain: the server was closed: %w", ErrShutdown)

// beginDrain returns the server's drain, and whether it is a new one, which the caller is to run.
func (srv *Server) beginDrain(ctx context.Context, how Drain) (d *drainer, first bool, err error) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.closed {
		return nil, false, errDrainClosed
	}
	if d := srv.drain.Load(); d != nil {
		return d, false, nil
	}
	d = &drainer{srv: srv, how: how, done: make(chan struct{}), stats: DrainStats{State: DrainNotice}}
	d.deadline, _ = ctx.Deadline()
	d.ctx, d.cancel = context.WithCancelCause(ctx)
	srv.drain.Store(d)
	return d, true, nil
}

// drainStats says how far the drain has come.
func (srv *Server) drainStats() (s DrainStats) {
	if d := srv.drain.Load(); d != nil {
		s = d.progress()
	}
	s.HandedOver, s.NotHandedOver = srv.counts.handedOver.Load(), srv.counts.notHandedOver.Load()
	return s
}

// refusesNew reports whether a drain refuses new clients.
func (srv *Server) refusesNew() bool {
	d := srv.drain.Load()
	return d != nil && d.progress().State != DrainNotice
}

// A drainer is a server's drain. The goroutine of [Server.Drain] runs it.
type drainer struct {
	srv      *Server
	how      Drain
	deadline time.Time       // of ctx; zero for none
	ctx      context.Context // ends with that of Drain, and when the server is closed
	cancel   context.CancelCauseFunc

	done chan struct{} // closed when Drain has returned
	err  error         // what it has returned; valid once done is closed

	mu    sync.Mutex // guards what follows
	stats DrainStats // without Left and the sessions

	queue drainQueue // used by run alone
}

func (d *drainer) enter(state DrainState) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stats.State = state
}

// count adds to the counts.
func (d *drainer) count(total, ended, cut int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stats.Total += total
	d.stats.Ended += ended
	d.stats.Cut += cut
}

func (d *drainer) progress() DrainStats {
	left := d.srv.engine.Len()
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.stats
	s.Left = left
	if s.State == DrainNotice {
		s.Total = left
	}
	return s
}

// run is the drain.
func (d *drainer) run() error {
	defer d.cancel(nil)
	log := d.srv.cfg.Logger
	log.Info("belfry: the server drains", "connections", d.srv.engine.Len(), "notice", d.how.Notice, "over", d.how.Over)
	d.sleep(d.notice())
	d.enter(DrainEnding)
	d.srv.engine.Leave()
	handedOver := d.srv.recovery.handOver(d.ctx)
	names := d.endAll()
	handedOver()
	if d.ctx.Err() == nil && d.srv.counts.handedOver.Load() > 0 {
		d.enter(DrainLinger)
		d.sleep(d.how.Linger)
	}
	err := d.result(names)
	s := d.progress()
	log.Info("belfry: the server has drained", "ended", s.Ended, "cut", s.Cut, "left", s.Left, "error", err)
	return err
}

// notice is how long new clients are served: at most for half of the time that there is.
func (d *drainer) notice() time.Duration {
	if d.deadline.IsZero() {
		return d.how.Notice
	}
	return min(d.how.Notice, time.Until(d.deadline)/2)
}

// result cuts what is left, if ctx has ended, and says what was cut. names are of sockets whose
// connections were cut since their handlers did not return.
func (d *drainer) result(names []string) error {
	cause := context.Cause(d.ctx)
	if errors.Is(cause, errDrainClosed) {
		return cause
	}
	var errs []error
	if cause != nil {
		if n := d.cutRest(); n > 0 {
			errs = append(errs, fmt.Errorf("wsserver: drain: %d of %d connections were cut: %w", n, d.progress().Total, cause))
		}
	}
	if len(names) > 0 {
		errs = append(errs, stuckError(names))
	}
	return errors.Join(errs...)
}

// maxNamed bounds the sockets that an error names.
const maxNamed = 5

// stuckError says which sockets had handlers running at the end of Drain.Over.
func stuckError(names []string) error {
	more := ""
	if n := len(names) - maxNamed; n > 0 {
		names, more = names[:maxNamed], fmt.Sprintf(" and %d more", n)
	}
	return fmt.Errorf("wsserver: drain: connections were cut while handlers of these sockets ran: %q%s", names, more)
}

// cutRest ends all connections that are left, at once, and returns how many.
func (d *drainer) cutRest() (n int) {
	for _, c := range d.srv.connections() {
		c.halt()
		c.session.GoAway(ErrShutdown)
		n++
	}
	d.count(0, n, n)
	return n
}

// sleep reports whether the time has passed before the end of the drain.
func (d *drainer) sleep(t time.Duration) bool {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
		return d.ctx.Err() == nil
	case <-d.ctx.Done():
		return false
	}
}

package natsadapter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/adapter"
)

// subscribeBatch is how many subscriptions a new connection is given before other calls of the link
// may go on.
const subscribeBatch = 1000

// retryNeeds is how often a node tries at the most what it may, since the server has refused
// something.
const retryNeeds = time.Second

// shortLife is the age below which a connection that is lost counts as a failed attempt, so that a
// server that accepts connections only to close them is not asked in a loop.
const shortLife = time.Second

// run keeps the link connected until it is closed.
func (l *link) run() {
	outside := l.adapter.times.retryOutside
	for attempt := 0; l.ctx.Err() == nil; attempt++ {
		c, err := l.connect(true)
		if err != nil {
			l.fail(err)
			if attempt == 0 {
				l.first <- err
			}
			if isOutside(err) {
				l.pause(outside)
				outside = min(2*outside, 16*l.adapter.times.retryOutside)
			} else {
				l.pause(l.options.ReconnectWait)
			}
			continue
		}
		outside = l.adapter.times.retryOutside
		select {
		case l.inflow <- c:
		case <-l.ctx.Done():
			l.end(c)
			return
		}
		since := time.Now()
		l.mu.Lock()
		l.use(c, nil)
		l.mu.Unlock()
		l.refresh()
		if attempt == 0 {
			l.first <- nil
		} else {
			l.log.Info("natsadapter: connected", "server", c.server.url.Host)
		}
		if c.cover != nil {
			l.tasks.Go(func() { l.uncover(c) })
		}
		l.serve(c)
		if time.Since(since) < shortLife {
			l.pause(l.options.ReconnectWait)
		}
	}
}

// pause waits between attempts.
func (l *link) pause(wait time.Duration) {
	if jitter := l.options.ReconnectJitter; jitter > 0 {
		wait += rand.N(jitter)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.ctx.Done():
	}
}

// serve looks after c, and after the connections that replace it, until one is lost or the link is
// closed.
func (l *link) serve(c *conn) {
	var replace, recount <-chan time.Time // nil while there is no need
	try, tried := time.After(l.adapter.times.rehearse), time.Time{}
	lame := false
	wait := l.adapter.times.retryRefused
	for {
		select {
		case <-l.ctx.Done():
			l.end(c)
			return
		case <-c.closed:
			l.known.learn(c.nc, c.server)
			l.end(c)
			return
		case <-c.slow:
			if recount == nil {
				recount = time.After(l.adapter.times.recount)
			}
			continue
		case <-recount:
			recount = nil
			if l.countDrops(c) || len(c.msgs) == cap(c.msgs) { // nats.go tells only of the first drop in a row
				recount = time.After(l.adapter.times.recount)
			}
			continue
		case <-try:
			try, tried = time.After(l.adapter.times.rehearse), time.Now()
			if err := l.rehearse(c); isOutside(err) {
				l.detach(c, err)
				l.end(c)
				return
			}
			continue
		case <-c.refusal:
			try = time.After(time.Until(tried.Add(retryNeeds)))
			if replace == nil {
				replace = time.After(wait)
				wait = min(2*wait, 16*l.adapter.times.retryRefused)
			}
			continue
		case <-c.lame:
			lame = true
			l.log.Info("natsadapter: the server is going away, changing to another one", "server", c.server.url.Host)
		case <-replace:
			replace = nil
			if !lame && !l.isRefused(c) {
				continue
			}
		}
		l.known.learn(c.nc, c.server)
		next, err := l.connect(false)
		if err != nil {
			l.log.Warn("natsadapter: no other connection yet", "server", c.server.url.Host, "error", err)
			replace = time.After(l.options.ReconnectWait + l.options.ReconnectJitter)
			continue
		}
		l.countDrops(c)
		l.replace(c, next)
		c, replace, recount, lame = next, nil, nil, false
		if !l.isRefused(c) {
			wait = l.adapter.times.retryRefused
		}
	}
}

// connect makes a connection that has all subscriptions, or, if it may be covered, one that stands
// in for those of the rooms. It is in conns then.
func (l *link) connect(cover bool) (*conn, error) {
	var failed error
	for _, s := range l.known.order() {
		c, err := l.dial(s, cover)
		if err == nil {
			return c, nil
		}
		if err = fmt.Errorf("%s: %w", s.url.Host, err); failed == nil {
			failed = err
		} else {
			failed = fmt.Errorf("%w; %w", failed, err)
		}
		if l.ctx.Err() != nil {
			break
		}
	}
	return nil, failed
}

// dial is connect for one server.
func (l *link) dial(s server, cover bool) (*conn, error) {
	c := newConn(s)
	o := l.options
	setServer(&o, s)
	o.ClosedCB = func(nc *nats.Conn) {
		l.detach(c, nc.LastError())
		close(c.closed)
	}
	o.LameDuckModeHandler = func(*nats.Conn) { notify(c.lame) }
	o.AsyncErrorCB = func(_ *nats.Conn, sub *nats.Subscription, err error) { l.trouble(c, sub, err) }
	nc, err := o.Connect()
	if err != nil {
		if isTransient(err) {
			return nil, err
		}
		return nil, &configError{err}
	}
	l.adapter.stats.connections.Add(1)
	c.nc, c.msgs = nc, make(chan *nats.Msg, l.adapter.times.queue)

	if err := l.rehearse(c); err != nil {
		l.end(c)
		return nil, err
	}
	if err := l.begin(c, cover); err != nil {
		l.end(c)
		return nil, fmt.Errorf("subscriptions: %w", err)
	}
	c.limit = int(nc.MaxPayload()) // what the account allows is told behind the greeting, and known by now
	return c, nil
}

// begin gives c all subscriptions, or the cover in the place of the rooms', if cover allows that.
func (l *link) begin(c *conn, cover bool) error {
	l.mu.Lock()
	l.conns = append(l.conns, c) // from here on Subscribe sees to new topics
	few := slices.Collect(maps.Keys(l.few))
	rooms := len(l.topics) - len(few)
	l.mu.Unlock()
	covered := l.takeCover(c, cover, rooms)
	refused, err := l.subscribeNew(c, few)
	switch {
	case err != nil:
		return err
	case covered && !(refused && l.coverRefused(c)):
		l.adapter.stats.covered.Add(1)
		return nil
	}
	c.cover = nil
	_, err = l.subscribeNew(c, l.roomSubjects())
	return err
}

// roomSubjects returns the subjects of all rooms that are wanted.
func (l *link) roomSubjects() []string {
	l.wantedMu.RLock()
	defer l.wantedMu.RUnlock()
	subjects := make([]string, 0, len(l.topics))
	for subject, topic := range l.topics {
		if topic.Kind == adapter.Room {
			subjects = append(subjects, subject)
		}
	}
	return subjects
}

// subscribeNew subscribes subjects on c, which is not in use yet, and waits until the server has
// them. It reports whether the server has refused something: the state shall never have been
// Connected then.
func (l *link) subscribeNew(c *conn, subjects []string) (refused bool, err error) {
	for batch := range slices.Chunk(subjects, subscribeBatch) {
		if err := l.subscribeAll(c, batch); err != nil {
			return false, err
		}
	}
	asked := time.Now()
	if err := c.nc.FlushTimeout(l.adapter.times.syncFlush); err != nil {
		return false, err
	}
	if c.trip == 0 { // the first flush has few subscriptions before it
		c.trip = time.Since(asked)
	}
	if !isRefusal(c.nc.LastError()) {
		return false, nil
	}
	select { // trouble is about to be told
	case <-c.refusal:
		notify(c.refusal) // for serve
	case <-c.closed:
	case <-l.ctx.Done():
	}
	return true, nil
}

// subscribeAll subscribes those of subjects on c that the link still wants.
func (l *link) subscribeAll(c *conn, subjects []string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, subject := range subjects {
		if _, ok := l.topics[subject]; ok {
			if err := c.subscribe(subject); err != nil {
				return err
			}
		}
	}
	return nil
}

// use makes c the connection to publish on, in the place of old, which may be nil. mu must be held.
func (l *link) use(c, old *conn) {
	l.stateMu.Lock()
	if l.cur == nil && !l.closed {
		l.ups++
	}
	l.cur, l.old, l.outage = c, old, none
	l.limit, l.trip = c.limit, c.trip
	l.stateMu.Unlock()
}

// end closes c and waits until it has ended.
func (l *link) end(c *conn) {
	l.detach(c, c.nc.LastError())
	c.nc.Close()
	<-c.closed
}

// detach takes c, which is lost or about to be closed, out of use.
func (l *link) detach(c *conn, reason error) {
	l.mu.Lock()
	l.conns = slices.DeleteFunc(l.conns, func(o *conn) bool { return o == c })
	used := l.cur == c
	if used {
		if reason == nil {
			reason = nats.ErrConnectionClosed
		}
		if !isOutside(reason) {
			reason = fmt.Errorf("connection to %s lost: %w", c.server.url.Host, reason)
		}
		l.stateMu.Lock()
		l.cur = nil
		l.setDown(reason)
		l.stateMu.Unlock()
	}
	l.mu.Unlock()
	if used {
		l.refresh()
		l.logDown(reason)
	}
}

// replace puts next in the place of old, which is closed in the end. For the time of linger both
// deliver: other servers may not have heard of next's subscriptions yet. read takes what next
// brings only after the last message of old.
func (l *link) replace(old, next *conn) {
	l.mu.Lock()
	// What was published on old shall be at its server before anything goes out on next.
	if err := old.nc.FlushTimeout(l.adapter.times.closeFlush); err != nil {
		l.log.Debug("natsadapter: the connection that is replaced", "error", err)
	}
	l.use(next, old)
	l.mu.Unlock()
	l.refresh()

	linger := time.NewTimer(l.adapter.times.linger)
	defer linger.Stop()
	poll := time.NewTicker(l.adapter.times.linger/50 + time.Millisecond)
	defer poll.Stop()
	for waiting := true; waiting; {
		select {
		case <-poll.C:
			waiting = len(next.msgs) < cap(next.msgs)/2
		case <-linger.C:
			waiting = false
		case <-old.closed:
			waiting = false
		case <-next.closed:
			waiting = false
		case <-l.ctx.Done():
			waiting = false
		}
	}
	// The answer comes behind all that the server had for old.
	if err := old.nc.FlushTimeout(l.adapter.times.closeFlush); err != nil {
		l.log.Debug("natsadapter: the connection that is replaced", "error", err)
	}
	l.end(old)
	select {
	case l.inflow <- next:
	case <-l.ctx.Done():
	}
	l.stateMu.Lock()
	l.old = nil
	l.stateMu.Unlock()
	l.refresh()
}

// isTransient reports whether a connection that failed with err may come about without a change of
// the configuration.
func isTransient(err error) bool {
	for _, e := range []error{nats.ErrNoServers, nats.ErrTimeout, nats.ErrConnectionClosed, nats.ErrStaleConnection,
		nats.ErrMaxConnectionsExceeded, nats.ErrMaxAccountConnectionsExceeded,
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, e) {
			return true
		}
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Op != "remote error" // a TLS alert: the other side wants another certificate
	}
	_, ok := errors.AsType[net.Error](err)
	return ok
}

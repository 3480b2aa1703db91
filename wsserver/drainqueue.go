package wsserver

import (
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/time/rate"
)

const (
	drainStep    = 50 * time.Millisecond // what is due within it is one batch
	drainBatch   = 250                   // connections of a batch at the most
	drainScan    = 1000                  // connections that are looked at for a batch
	drainLeast   = 10                    // connections that end in a second, if Rate allows, however few there are
	drainLogging = 5 * time.Second       // between two lines about the progress
)

// A drainQueue is the connections that a drain has yet to end. They are in one of its lists.
type drainQueue struct {
	next   []*conn // in the order in which they end
	spared []*conn // that were busy when their turn came; until half
	halted []*conn // that end when the handlers that run have returned
	stuck  []string

	pace *rate.Limiter
	half time.Time // from here on nobody is spared
	end  time.Time // from here on no handler is waited for
	last time.Time // before the deadline of ctx, with time for the last clients to go; zero for none
}

// endAll ends all connections, and returns when nothing is left of them, or the drain's ctx ends. It
// names the sockets whose handlers did not return in time.
func (d *drainer) endAll() (stuck []string) {
	q := &d.queue
	q.pace = rate.NewLimiter(rate.Limit(d.how.Rate), 1)
	d.collect()
	begun := time.Now()
	over := max(d.how.Over, time.Duration(float64(len(q.next))/float64(d.how.Rate)*float64(time.Second)))
	if !d.deadline.IsZero() {
		left := time.Until(d.deadline)
		left -= min(left/10, time.Second)
		over = min(over, left)
		q.last = begun.Add(left)
	}
	q.half, q.end = begun.Add(over/2), begun.Add(over)
	for logged := begun; d.srv.engine.Len() > 0; {
		batch := d.due(time.Now())
		if !d.endBatch(batch) || len(batch) == 0 && !d.sleep(drainStep) {
			break
		}
		if time.Since(logged) >= drainLogging {
			logged = time.Now()
			s := d.progress()
			d.srv.cfg.Logger.Info("belfry: the server drains", "left", s.Left, "of", s.Total)
		}
	}
	return q.stuck
}

// endBatch ends connections, at the pace. It reports false if the drain's ctx has ended.
func (d *drainer) endBatch(batch []*conn) bool {
	for _, c := range batch {
		if !d.sleep(d.queue.pace.Reserve().Delay()) {
			return false
		}
		d.srv.recovery.sendAway(c)
		d.count(0, 1, 0)
	}
	return true
}

// collect queues the connections that there are. Nothing is queued before.
func (d *drainer) collect() {
	d.queue.next = shuffled(d.srv.connections())
	d.count(len(d.queue.next), 0, 0)
}

func shuffled(conns []*conn) []*conn {
	rand.Shuffle(len(conns), func(i, j int) { conns[i], conns[j] = conns[j], conns[i] })
	return conns
}

// due takes the connections from the queue that end next, and sets the pace for them. Their sockets
// handle nothing more.
func (d *drainer) due(now time.Time) (batch []*conn) {
	q := &d.queue
	if len(q.next) == 0 || !now.Before(q.half) && len(q.spared) > 0 {
		q.next, q.spared = shuffled(append(q.next, q.spared...)), nil
	}
	if len(q.next)+len(q.halted) == 0 {
		d.collect() // who came late
	}
	perSecond := q.rate(now, d.how.Rate)
	q.pace.SetLimit(rate.Limit(perSecond))
	q.pace.SetBurst(max(1, int(perSecond/200)))
	most := min(drainBatch, max(1, int(perSecond*drainStep.Seconds())))
	halted := q.halted
	q.halted = nil
	for _, c := range halted {
		if len(batch) < most {
			batch = d.take(c, now, batch)
		} else {
			q.halted = append(q.halted, c)
		}
	}
	for range min(drainScan, len(q.next)) {
		if len(batch) == most {
			break
		}
		c := q.next[0]
		q.next[0], q.next = nil, q.next[1:] // nothing keeps what has ended
		batch = d.take(c, now, batch)
	}
	return batch
}

// take adds a connection whose turn has come to a batch, or to the list in which it waits.
func (d *drainer) take(c *conn, now time.Time, batch []*conn) []*conn {
	q := &d.queue
	switch {
	case c.over():
	case now.Before(q.half) && c.busy():
		q.spared = append(q.spared, c)
	case c.halt():
		return append(batch, c)
	case now.Before(q.end):
		q.halted = append(q.halted, c)
	default:
		q.stuck = append(q.stuck, c.running()...)
		d.count(0, 0, 1)
		return append(batch, c)
	}
	return batch
}

// rate is how many connections are to end in a second: what is left over the time that is left, and
// no more than most, unless the deadline of ctx is too close.
func (q *drainQueue) rate(now time.Time, most int) float64 {
	left := float64(len(q.next) + len(q.spared) + len(q.halted))
	until := func(t time.Time) float64 { return left / max(t.Sub(now), drainStep).Seconds() }
	perSecond := min(max(until(q.end), drainLeast), float64(most))
	if !q.last.IsZero() {
		perSecond = max(perSecond, until(q.last))
	}
	return perSecond
}

// connections returns the connections that have not ended.
func (srv *Server) connections() (all []*conn) {
	for _, owner := range srv.engine.Owners() {
		if c := owner.(*conn); !c.over() {
			all = append(all, c)
		}
	}
	return all
}

// over reports whether the connection has ended.
func (c *conn) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// busy reports whether handlers of the connection's sockets run, or a socket waits for an
// acknowledgement.
func (c *conn) busy() bool {
	for _, s := range c.all() {
		if s.inbox.busy() || s.acks.any() {
			return true
		}
	}
	return false
}

// halt has the sockets handle no events behind those that they handle now: the client is about to be
// sent to another node. It reports whether none handles any.
func (c *conn) halt() bool {
	c.mu.Lock()
	c.moving = true // no further socket connects
	c.mu.Unlock()
	idle := true
	for _, s := range c.all() {
		idle = s.inbox.halt() && idle
	}
	return idle
}

// running names the sockets whose handlers run.
func (c *conn) running() (names []string) {
	for _, s := range c.all() {
		if s.inbox.busy() {
			names = append(names, fmt.Sprintf("%s of %s", s.ID(), s.name))
		}
	}
	return names
}

// Moving reports whether [Server.Drain] has ended the socket's connection, or is about to: the client
// is expected on another node in a moment, so that a program need not tell others that it has gone.
func (s *Socket) Moving() bool {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	return s.conn.moving
}

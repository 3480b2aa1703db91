package wsserver

import (
	"time"

	"github.com/belfry-io/belfry/adapter/cluster"
)

// departure is what is known of the end of a socket that a drain has ended.
type departure struct {
	conn   *conn
	queued uint64 // what has this number in the log, or a lower one, was queued before the end
	at     time.Time
}

// heard reports whether the client had for certain what was queued; ok is false while that is not decided.
func (p *departure) heard() (heard, ok bool) {
	p.conn.mu.Lock()
	how := p.conn.farewell
	p.conn.mu.Unlock()
	switch how {
	case farewellHeard:
		return true, true
	case farewellOpen:
		return false, time.Since(p.at) > partingFor
	}
	return false, true
}

// A farewell is what is known of the end of a connection.
type farewell uint8

const (
	farewellOpen  farewell = iota // something is left of it
	farewellGone                  // nothing is
	farewellHeard                 // nothing is, and the client has shown that it had everything
)

// sendAway ends a connection whose client is to go to another node.
func (rec *recovery) sendAway(c *conn) {
	if rec != nil {
		for _, s := range c.all() {
			if s.life.at() == connected {
				s.seat.ns.rooms.InOrder(func(_ *cluster.Rooms, last uint64) {
					rec.mu.Lock()
					defer rec.mu.Unlock()
					if !s.life.over() { // else nobody would remove it
						rec.departures[s] = departure{conn: c, queued: last, at: time.Now()}
					}
				})
			}
		}
	}
	c.session.GoAway(ErrShutdown)
}

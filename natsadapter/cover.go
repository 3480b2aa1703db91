package natsadapter

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
)

// The cover is one subscription to all rooms of the cluster. It stands in for the many of a node on
// a connection that takes the place of a lost one: so the node is reached after one round trip, not
// after one subscription for each of its rooms; what is sent to the rooms of others alone is left
// aside. Then uncover gives the connection its own subscriptions, and ends the cover when all of
// them have stood for a while. Servers tell each other of subscriptions in their order, so there is
// no moment without either. While there are both, messages come twice.

const (
	// uncoverBatch is how many subscriptions a covered connection is given before the server is
	// waited for: what is published meanwhile gets between two batches.
	uncoverBatch = 500

	// floodChecks is how often a link looks at its queue while it waits with uncovering.
	floodChecks = 20
)

// errFlood is why a link gives up its cover.
var errFlood = errors.New("too many messages for other nodes; subscribing room by room")

// takeCover subscribes c to all rooms if that is allowed, and worth it for so many. It reports
// whether it has.
func (l *link) takeCover(c *conn, allowed bool, rooms int) bool {
	// A connection that was lost under its cover may have been overwhelmed by it.
	lost := l.covering.Swap(false)
	if !allowed || lost || l.bare || l.adapter.cfg.NoCover || rooms < l.adapter.times.coverFrom {
		return false
	}
	cover, err := c.nc.ChanSubscribe(l.naming.allRooms(), c.msgs)
	if err != nil {
		return false // the connection is lost, which will show
	}
	c.cover = cover
	l.covering.Store(true)
	return true
}

// coverRefused reports whether the server has denied c's cover; there will be no other one on this
// link then.
func (l *link) coverRefused(c *conn) bool {
	l.stateMu.Lock()
	defer l.stateMu.Unlock()
	if c.exposed {
		l.bare = true
		l.covering.Store(false)
		l.log.Info("natsadapter: the server denies subscribing to all rooms at once; subscribing room by room", "subject", l.naming.allRooms())
	}
	return c.exposed
}

// uncover subscribes c to what its cover stands in for, and ends the cover. It returns early if c
// ends.
func (l *link) uncover(c *conn) {
	// Above all the servers forget the subscriptions of one that was lost, for which they stop
	// everything else.
	flooded := !l.rest(c, l.adapter.times.uncoverAfter)
	if flooded {
		l.suspend(c)
	}
	for batch := range slices.Chunk(l.roomSubjects(), uncoverBatch) {
		err := l.subscribeAll(c, batch)
		if err == nil {
			err = c.nc.FlushTimeout(l.adapter.times.syncFlush)
		}
		if err != nil {
			if !errors.Is(err, nats.ErrConnectionClosed) {
				l.log.Warn("natsadapter: a new connection is given up", "server", c.server.url.Host, "error", fmt.Errorf("subscriptions: %w", err))
			}
			c.nc.Close() // serve sees it
			return
		}
		if !flooded && c.flooded() {
			flooded = true
			l.suspend(c)
		}
	}
	l.covering.Store(false)
	if flooded {
		l.resume(c)
		return
	}
	// A server looks up who is to get a message before it hands it over: one that was looked up
	// before the last subscriptions came may have to come by the cover yet.
	l.rest(c, l.adapter.times.linger)
	l.endCover(c)
}

// rest waits until the servers have done what they have to do for a change, unless c ends. It
// reports false at once if too much comes in meanwhile.
func (l *link) rest(c *conn, d time.Duration) bool {
	tick := time.NewTicker(max(d/floodChecks, 1))
	defer tick.Stop()
	for range floodChecks {
		if c.flooded() {
			return false
		}
		select {
		case <-tick.C:
		case <-c.closed:
			return true
		case <-l.ctx.Done():
			return true
		}
	}
	return true
}

// flooded reports whether more comes in than is taken.
func (c *conn) flooded() bool { return len(c.msgs) > cap(c.msgs)/2 }

// endCover ends the subscription to all rooms on c.
func (l *link) endCover(c *conn) {
	l.countDrops(c)
	if err := c.cover.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		l.log.Warn("natsadapter: unsubscribe from all rooms", "error", err)
	}
}

// suspend ends the cover of c early, and takes c out of use, since subscriptions are missing then.
func (l *link) suspend(c *conn) {
	l.mu.Lock()
	used := l.cur == c
	if used {
		l.stateMu.Lock()
		l.cur = nil
		l.setDown(errFlood)
		l.stateMu.Unlock()
	}
	l.mu.Unlock()
	if used {
		l.refresh()
		l.log.Warn("natsadapter: not connected any more to all rooms at once", "server", c.server.url.Host, "error", errFlood)
	}
	l.endCover(c)
}

// resume undoes suspend, unless c has ended or was replaced.
func (l *link) resume(c *conn) {
	l.mu.Lock()
	if l.cur == nil && slices.Contains(l.conns, c) {
		l.use(c, nil)
	}
	l.mu.Unlock()
	l.refresh()
}

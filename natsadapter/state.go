package natsadapter

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/adapter"
)

// maxTold bounds link.told.
const maxTold = 1024

// State implements [adapter.Link].
func (l *link) State() (adapter.State, <-chan struct{}) {
	l.stateMu.Lock()
	defer l.stateMu.Unlock()
	return l.state, l.changed
}

// refresh works the state out anew from what it depends on, and tells of a change.
func (l *link) refresh() {
	l.stateMu.Lock()
	defer l.stateMu.Unlock()
	state := adapter.State{Status: adapter.Connected, Connections: l.ups, RoundTrip: l.trip}
	switch {
	case l.closed:
		state.Status = adapter.Closed
	case l.cur == nil:
		state.Status, state.Reason = adapter.Degraded, l.down
		if l.outage == excluded {
			state.Status = adapter.Refused
		}
	default:
		reason := l.cur.reason()
		if reason == nil && l.old != nil {
			reason = l.old.reason() // what is refused there no longer lags behind what is not, until old has ended
		}
		state.Reason = reason
	}
	if state.Status == l.state.Status && state.Connections == l.state.Connections && fmt.Sprint(state.Reason) == fmt.Sprint(l.state.Reason) {
		return
	}
	l.state = state
	close(l.changed)
	l.changed = make(chan struct{})
}

// An outage says what link.down tells of.
type outage uint8

const (
	none          outage = iota // what is over, or nothing yet
	lasting                     // why there is no connection
	misconfigured               // why there is none, and that trying again alone will not help
	excluded                    // what the server denies the node, which it needs
)

// setDown records why there is no connection. What began an outage stays its reason, so that it
// does not change with every attempt; but that the configuration is wrong is worth a change, and so
// is a permission that is missing, as long as it is. stateMu must be held.
func (l *link) setDown(err error) {
	grade := lasting
	if _, ok := errors.AsType[*configError](err); ok {
		grade = misconfigured
	}
	if isOutside(err) {
		grade = excluded
	}
	if l.outage < grade || l.outage == excluded {
		l.outage, l.down = grade, fmt.Errorf("natsadapter: %w", err)
	}
}

// logDown logs why there is no connection.
func (l *link) logDown(err error) {
	if l.ctx.Err() != nil {
		return
	}
	l.stateMu.Lock()
	skipped, ok := l.outages.allow(time.Now())
	l.stateMu.Unlock()
	switch {
	case !ok:
	case isOutside(err):
		l.log.Error("natsadapter: the node is kept out of the cluster, trying again", "error", err, "skipped", skipped)
	default:
		l.log.Warn("natsadapter: not connected, trying again", "error", err, "skipped", skipped)
	}
}

// fail tells that there is no connection, since none could be made.
func (l *link) fail(err error) {
	l.stateMu.Lock()
	l.setDown(err)
	l.stateMu.Unlock()
	l.refresh()
	l.logDown(err)
}

// trouble takes what nats.go reports of c beside the results of calls. It is called from a
// goroutine of nats.go.
func (l *link) trouble(c *conn, sub *nats.Subscription, err error) {
	defer c.hear(err)
	switch {
	case errors.Is(err, nats.ErrSlowConsumer):
		l.stateMu.Lock()
		if _, ok := c.drops[sub]; !ok {
			c.drops[sub] = 0
		}
		l.stateMu.Unlock()
		notify(c.slow)
	case isRefusal(err):
		l.refuse(c, err)
	default:
		l.stateMu.Lock()
		skipped, ok := l.troubles.allow(time.Now())
		l.stateMu.Unlock()
		if ok {
			l.log.Warn("natsadapter: trouble on a connection", "server", c.server.url.Host, "error", err, "skipped", skipped)
		}
	}
}

// isRefusal reports whether err is the server's refusal of a subscription or message.
func isRefusal(err error) bool {
	return errors.Is(err, nats.ErrPermissionViolation) || errors.Is(err, nats.ErrMaxSubscriptionsExceeded)
}

// refuse records that the server refuses something on c, which no call of nats.go returns as an
// error.
func (l *link) refuse(c *conn, err error) {
	l.adapter.stats.refused.Add(1)
	missing := refusedPermission(err)
	l.mu.Lock()
	l.stateMu.Lock()
	topic, wanted := l.topics[missing.subject]
	switch {
	case slices.Contains(l.needs, missing):
		c.denied[missing] = struct{}{}
		l.stateMu.Unlock()
		l.mu.Unlock()
		notify(c.refusal)
		return
	case missing.subject == "":
		err = &denial{"something", err}
		if errors.Is(err, nats.ErrMaxSubscriptionsExceeded) {
			err = &denial{"further subscriptions", nats.ErrMaxSubscriptionsExceeded}
			c.full = err
		}
		if c.other == nil {
			c.other = err
		}
	case missing.publish:
		err = &denial{"permission to " + missing.String(), nats.ErrPermissionViolation}
		if c.other == nil {
			c.other = err
		}
	case wanted:
		err = &denial{fmt.Sprintf("permission to %s, for %s", missing, topic), nats.ErrPermissionViolation}
		c.refused[missing.subject] = err
		l.few[missing.subject] = struct{}{} // on the next connection it shows at once
	default: // the cover, or unsubscribed meanwhile
		c.exposed = c.exposed || missing.subject == l.naming.allRooms()
		l.stateMu.Unlock()
		l.mu.Unlock()
		notify(c.refusal)
		return
	}
	skipped, tell := 0, false
	if key := err.Error(); !l.told[key] {
		if skipped, tell = l.refusals.allow(time.Now()); tell {
			if len(l.told) == maxTold {
				clear(l.told)
			}
			l.told[key] = true
		}
	}
	l.stateMu.Unlock()
	l.mu.Unlock()
	l.refresh()
	notify(c.refusal)
	if tell {
		l.log.Error("natsadapter: refused", "server", c.server.url.Host, "error", err, "skipped", skipped)
	}
}

// isRefused reports whether the server refuses something on c.
func (l *link) isRefused(c *conn) bool {
	l.stateMu.Lock()
	defer l.stateMu.Unlock()
	return c.reason() != nil
}

// countDrops counts the messages that were dropped on c since the last count, and reports whether
// there were any.
func (l *link) countDrops(c *conn) bool {
	l.stateMu.Lock()
	dropped := c.left
	c.left = 0
	for sub := range c.drops {
		dropped += c.dropped(sub)
	}
	l.stateMu.Unlock()
	if dropped == 0 {
		return false
	}
	l.adapter.stats.dropped.Add(uint64(dropped))
	l.log.Error("natsadapter: messages dropped, the receiver is too slow", "server", c.server.url.Host, "dropped", dropped)
	return true
}

// A limiter lets one line a second into the log. Its zero value is ready for use.
type limiter struct {
	next    time.Time
	skipped int
}

// allow reports whether a line may go out now, and how many did not since the last one.
func (l *limiter) allow(now time.Time) (skipped int, ok bool) {
	if now.Before(l.next) {
		l.skipped++
		return 0, false
	}
	skipped, l.skipped = l.skipped, 0
	l.next = now.Add(time.Second)
	return skipped, true
}

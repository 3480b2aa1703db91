package natsadapter

import (
	"errors"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/shrink"
)

// A conn is one connection of a link to NATS. It is used until it is lost or replaced, and never
// again.
type conn struct {
	nc     *nats.Conn
	server server
	trip   time.Duration  // to the server and back, as it was before the connection was used
	limit  int            // the largest message that the server takes, as it said when all subscriptions stood
	msgs   chan *nats.Msg // one for all subscriptions: only so do messages keep their order across subjects

	closed  chan struct{} // closed when nc has ended: nothing comes into msgs any more
	lame    chan struct{} // gets a value when the server is about to go away
	refusal chan struct{} // gets a value when the server has refused something
	slow    chan struct{} // gets a value when messages were dropped

	subs map[string]*nats.Subscription // by subject; guarded by link.mu
	peak int                           // of subs; see shrink.Map

	cover *nats.Subscription // to all rooms, in the place of theirs, or nil; not changed any more once messages are read

	// Guarded by link.stateMu.
	refused map[string]error           // by subject: subscriptions that the server denies
	exposed bool                       // it denies the cover
	denied  map[permission]struct{}    // what the node needs, and the server denies
	full    error                      // the server takes no further subscriptions
	shown   string                     // the one of these that is the reason for being Degraded
	other   error                      // the first refusal that concerns no subscription
	drops   map[*nats.Subscription]int // those that have dropped messages, and how many of these are counted
	left    int                        // messages that were dropped on ended subscriptions, and are not counted yet

	heardMu sync.Mutex    // guards what follows
	heard   error         // what nats.go has reported last, and trouble has dealt with
	more    chan struct{} // closed when heard changes
}

func newConn(s server) *conn {
	return &conn{
		server:  s,
		closed:  make(chan struct{}),
		lame:    make(chan struct{}, 1),
		refusal: make(chan struct{}, 1),
		slow:    make(chan struct{}, 1),
		subs:    map[string]*nats.Subscription{},
		refused: map[string]error{},
		denied:  map[permission]struct{}{},
		more:    make(chan struct{}),
		drops:   map[*nats.Subscription]int{},
	}
}

// notify puts a value into c, which has room for one, unless there is one already.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// subscribe makes the connection receive subject. link.mu must be held. That the connection has
// ended is no error: the next one gets all subscriptions.
func (c *conn) subscribe(subject string) error {
	if c.subs[subject] != nil {
		return nil
	}
	sub, err := c.nc.ChanSubscribe(subject, c.msgs)
	if err != nil {
		if errors.Is(err, nats.ErrConnectionClosed) {
			return nil
		}
		return err
	}
	c.subs[subject] = sub
	return nil
}

// unsubscribe undoes subscribe. link.mu must be held.
func (c *conn) unsubscribe(subject string) error {
	sub := c.subs[subject]
	if sub == nil {
		return nil
	}
	delete(c.subs, subject)
	c.subs = shrink.Map(c.subs, &c.peak)
	if err := sub.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		return err
	}
	return nil
}

// dropped returns how many messages were dropped on sub since the last call of it; none if sub has
// ended, when sub does not tell any more and is forgotten. link.stateMu must be held.
func (c *conn) dropped(sub *nats.Subscription) int {
	total, err := sub.Dropped()
	if err != nil {
		delete(c.drops, sub)
		return 0
	}
	since := total - c.drops[sub]
	c.drops[sub] = total
	return since
}

// saveDrops keeps how many messages were dropped on sub, which is about to end. link.stateMu must
// be held.
func (c *conn) saveDrops(sub *nats.Subscription) {
	c.left += c.dropped(sub)
	delete(c.drops, sub)
}

// reason returns one of the things that the server refuses on this connection, the same one for as
// long as it is refused, or nil. link.stateMu must be held.
func (c *conn) reason() error {
	if c.other != nil {
		return c.other
	}
	if err := c.refused[c.shown]; err != nil {
		return err
	}
	for subject, err := range c.refused {
		c.shown = subject
		return err
	}
	return nil
}

// deniedPermission finds the permission in the server's words, which reach the client in no other
// form.
var deniedPermission = regexp.MustCompile(`(?i)permissions violation for (subscription|publish) to "([^"]+)"`)

// refusedPermission returns the permission that err says is missing. Its subject is empty if err
// says something else.
func refusedPermission(err error) permission {
	if m := deniedPermission.FindStringSubmatch(err.Error()); m != nil {
		return permission{strings.EqualFold(m[1], "publish"), m[2]}
	}
	return permission{}
}

// A denial is a refusal of the server, in the words of an operator.
type denial struct {
	text string
	err  error
}

func (d *denial) Error() string {
	return "natsadapter: the server denies " + d.text + ": " + d.err.Error()
}
func (d *denial) Unwrap() []error { return []error{adapter.ErrRefused, d.err} }

// A configError is an error that trying again does not mend.
type configError struct{ err error }

func (e *configError) Error() string { return e.err.Error() }
func (e *configError) Unwrap() error { return e.err }

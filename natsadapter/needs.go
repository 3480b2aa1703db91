package natsadapter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/adapter"
)

// A permission is what a user of the server may have: to publish to a subject, or to subscribe to
// it.
type permission struct {
	publish bool
	subject string
}

func (p permission) String() string {
	if p.publish {
		return "publish to " + p.subject
	}
	return "subscribe to " + p.subject
}

// needed returns the permissions that needs amount to. Who may subscribe to a wildcard may be
// denied a part of it, which no server says then: so a node's subject is among them by itself, too.
func (n naming) needed(needs adapter.Needs) ([]permission, error) {
	var list []permission
	add := func(p permission) {
		if !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	for _, topic := range needs.Publish {
		subject, err := n.publish(topic)
		if err != nil {
			return nil, err
		}
		add(permission{true, subject})
	}
	for _, topic := range needs.Subscribe {
		whole, err := n.subscribe(topic)
		if err != nil {
			return nil, err
		}
		subject, _ := n.publish(topic) // as above
		add(permission{false, whole})
		add(permission{false, subject})
	}
	return list, nil
}

// An outsideError says what of the node's needs the server denies, so that the link is Refused.
type outsideError struct{ denied []permission }

func (e *outsideError) Error() string {
	names := make([]string, len(e.denied))
	for i, p := range e.denied {
		names[i] = p.String()
	}
	return fmt.Sprintf("the server denies the node what it needs, permission to %s: %v", strings.Join(names, ", and to "), nats.ErrPermissionViolation)
}

func (e *outsideError) Unwrap() []error {
	return []error{adapter.ErrRefused, nats.ErrPermissionViolation}
}

func isOutside(err error) bool {
	_, ok := errors.AsType[*outsideError](err)
	return ok
}

// trialHeader marks a message that is for nobody: its sender tries what it may. No other message of
// a link has a header.
const trialHeader = "Belfry-Trial"

// rehearse tries all that the node needs on c. An [*outsideError] says what the server denies; any
// other error that c is of no use.
func (l *link) rehearse(c *conn) error {
	if len(l.needs) == 0 {
		return nil
	}
	err := l.try(c)
	if outside := l.outside(c); outside != nil {
		return outside
	}
	return err
}

// try does what the node needs to be allowed, and waits until the server has seen it.
func (l *link) try(c *conn) error {
	for _, p := range l.needs {
		if p.publish {
			trial := nats.NewMsg(p.subject)
			if c.nc.HeadersSupported() { // where they are turned off, whoever receives it counts a message that is not understood
				trial.Header.Set(trialHeader, "1")
			}
			if err := c.nc.PublishMsg(trial); err != nil {
				return err
			}
			continue
		}
		// A subscription that is there already the server does not look at anew.
		trial, err := c.nc.Subscribe(p.subject, func(*nats.Msg) {})
		if err != nil {
			return err
		}
		defer trial.Unsubscribe() // fails where c has ended
	}
	ctx, cancel := context.WithTimeout(l.ctx, l.adapter.times.syncFlush)
	defer cancel()
	return c.sync(ctx)
}

// outside returns an error if the server has denied something on c that the node needs.
func (l *link) outside(c *conn) error {
	l.stateMu.Lock()
	defer l.stateMu.Unlock()
	var denied []permission
	for _, p := range l.needs {
		if _, ok := c.denied[p]; ok {
			denied = append(denied, p)
		}
	}
	if denied == nil {
		return nil
	}
	return &outsideError{denied}
}

// sync waits until the server has dealt with all that c was told before, and what it has refused is
// noted.
func (c *conn) sync(ctx context.Context) error {
	if err := c.nc.FlushWithContext(ctx); err != nil {
		return err
	}
	for {
		c.heardMu.Lock()
		heard, more := c.heard, c.more
		c.heardMu.Unlock()
		// nats.go keeps what came last before the answer, and reports all of it in order, from a
		// goroutine of its own.
		if last := c.nc.LastError(); !isRefusal(last) || last == heard {
			return nil
		}
		select {
		case <-more:
		case <-c.closed:
			return nats.ErrConnectionClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// hear notes that what nats.go reports was dealt with.
func (c *conn) hear(err error) {
	c.heardMu.Lock()
	defer c.heardMu.Unlock()
	c.heard = err
	close(c.more)
	c.more = make(chan struct{})
}

// Confirm implements [adapter.Confirmer].
func (l *link) Confirm(ctx context.Context, topics ...adapter.Topic) (map[adapter.Topic]error, error) {
	l.mu.Lock()
	c := l.cur
	l.mu.Unlock()
	if c == nil {
		return nil, ctx.Err()
	}
	bounded, cancel := context.WithTimeout(ctx, l.adapter.times.syncFlush)
	defer cancel()
	if err := c.sync(bounded); err != nil {
		return nil, ctx.Err() // c has ended, or does not answer and is about to
	}
	l.stateMu.Lock()
	defer l.stateMu.Unlock()
	var denied map[adapter.Topic]error
	for _, topic := range topics {
		subject, err := l.naming.subscribe(topic)
		if err == nil {
			err = c.refused[subject]
		}
		if err == nil {
			err = c.full
		}
		if err == nil {
			continue
		}
		if denied == nil {
			denied = make(map[adapter.Topic]error)
		}
		denied[topic] = err
	}
	return denied, nil
}

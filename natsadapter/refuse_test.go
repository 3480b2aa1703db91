package natsadapter

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/natsadapter/embedded"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/test/kit"
)

// denials is an authentication by which clients may do everything but what the subjects in it name; it may change any time and holds
// for connections made from then on.
type denials struct {
	publish, subscribe atomic.Pointer[[]string]
}

func (d *denials) deny(publish, subscribe []string) {
	d.publish.Store(&publish)
	d.subscribe.Store(&subscribe)
}

func (d *denials) Check(c natsserver.ClientAuthentication) bool {
	c.RegisterUser(&natsserver.User{Permissions: &natsserver.Permissions{
		Publish:   &natsserver.SubjectPermission{Deny: *d.publish.Load()},
		Subscribe: &natsserver.SubjectPermission{Deny: *d.subscribe.Load()},
	}})
	return true
}

// startDenying starts a server that denies what d says.
func startDenying(t *testing.T, d *denials) *natstest.Server {
	t.Helper()
	return natstest.Start(t, embedded.Config{Options: &natsserver.Options{CustomClientAuthentication: d}})
}

func TestDeniedSubscription(t *testing.T) {
	var d denials
	d.deny(nil, []string{"belfry.v1.rbelfry.r.r=2F.rsecret"})
	s := startDenying(t, &d)
	var text kit.Log
	a := open(t, New(Config{URL: s.URL(), Logger: slog.New(slog.NewTextHandler(&text, nil))}))
	b := open(t, quiet(s.URL()))

	a.subscribe(room("open"), room("secret"))
	reason := a.refused()
	if !errors.Is(reason, nats.ErrPermissionViolation) || !strings.Contains(reason.Error(), `room "secret"`) ||
		!strings.Contains(reason.Error(), "belfry.v1.rbelfry.r.r=2F.rsecret") {
		t.Errorf("the reason is %v, want a permission violation with topic and subject", reason)
	}
	b.publish(room("open"), "1")
	a.expect("1")
	a.unsubscribe(room("secret"))
	a.until(adapter.Connected)
	a.subscribe(room("secret"))
	a.refused()
	kit.Equal(t, a.adapter.Stats().Refused, 2, "refusals counted")
	kit.Until(t, func() error {
		if !strings.Contains(text.String(), "secret") {
			return errors.New("the refusal is not in the log")
		}
		return nil
	})
	if got := strings.Count(text.String(), "refused"); got != 1 {
		t.Errorf("the refusal is in the log %d times, want once:\n%s", got, text.String())
	}
}

// TestDenialThatEnds checks that a link gets what it was denied as soon as it may have it, and that it misses nothing else by that.
func TestDenialThatEnds(t *testing.T) {
	var d denials
	d.deny(nil, []string{"belfry.v1.rbelfry.r.r=2F.rsecret"})
	s := startDenying(t, &d)
	adp := quiet(s.URL())
	adp.times.retryRefused = 20 * time.Millisecond
	adp.times.linger = 20 * time.Millisecond
	a, b := open(t, adp), open(t, quiet(s.URL()))
	a.subscribe(room("open"), room("secret"))
	a.refused()
	_, changed := a.State()
	kit.Until(t, func() error {
		if got := adp.Stats().Connections; got < 4 {
			return errors.New("the link does not try again")
		}
		return nil
	})
	select {
	case <-changed:
		state, _ := a.State()
		t.Errorf("the state changed though the denial lasts; it is %v (%v) now", state.Status, state.Reason)
	default:
	}
	d.deny(nil, nil)
	a.until(adapter.Connected)
	b.publish(room("secret"), "1")
	b.publish(room("open"), "2")
	a.expect("1")
	for a.next() != "2" { // copies of the first may come while two connections overlap
	}
}

// TestDenialOverReconnects checks that a link that is denied something is not taken for connected at any moment of a reconnect.
func TestDenialOverReconnects(t *testing.T) {
	var d denials
	d.deny(nil, []string{"belfry.v1.rbelfry.r.r=2F.rsecret"})
	s := startDenying(t, &d)
	a := open(t, quiet(s.URL(), nats.ReconnectWait(time.Millisecond), nats.ReconnectJitter(0, 0)))
	a.subscribe(room("secret"))
	a.refused()
	ctx, cancel := context.WithCancel(t.Context())
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			state, changed := a.State()
			if state.Reason == nil {
				t.Errorf("the state is %v without a reason", state.Status)
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	})
	for range 20 {
		s.Disconnect()
		before := a.adapter.Stats().Refused
		kit.Until(t, func() error {
			if a.adapter.Stats().Refused == before {
				return errors.New("the link did not come back")
			}
			return nil
		})
	}
	cancel()
	watch.Wait()
}

func TestDeniedPublish(t *testing.T) {
	var d denials
	d.deny([]string{"belfry.v1.rbelfry.r.>"}, nil)
	s := startDenying(t, &d)
	adp := quiet(s.URL())
	adp.times.retryRefused = 20 * time.Millisecond
	adp.times.linger = 20 * time.Millisecond
	a := open(t, adp)
	a.publish(room("x"), "1")
	if reason := a.refused(); !errors.Is(reason, nats.ErrPermissionViolation) || !strings.Contains(reason.Error(), ".rx") {
		t.Errorf("the reason is %v, want a permission violation with the subject", reason)
	}
	d.deny(nil, nil)
	a.until(adapter.Connected)
	b := open(t, quiet(s.URL()))
	b.subscribe(room("x"))
	a.reaches(b, room("x"))
}

func TestTooManySubscriptions(t *testing.T) {
	s := natstest.Start(t, embedded.Config{Options: &natsserver.Options{MaxSubs: 2}})
	adp := quiet(s.URL())
	adp.times.retryRefused = 20 * time.Millisecond
	adp.times.linger = 20 * time.Millisecond
	a, b := open(t, adp), open(t, quiet(s.URL()))
	a.subscribe(room("1"), room("2"), room("3"))
	kit.ErrorIs(t, a.refused(), nats.ErrMaxSubscriptionsExceeded, "the reason")
	a.unsubscribe(room("1"))
	a.until(adapter.Connected)
	b.reaches(a, room("2"))
	b.reaches(a, room("3"))
}

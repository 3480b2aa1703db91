package natsadapter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/cluster"
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

// TestDeniedRoom checks that a room which is denied is an error of each Join of it, and of nothing else.
func TestDeniedRoom(t *testing.T) {
	for _, others := range []bool{false, true} {
		t.Run(fmt.Sprintf("others=%v", others), func(t *testing.T) {
			t.Parallel()
			const subject = root + "r.r=2F.rsecret"
			s := startGuarded(t, nil, []string{subject})
			a := s.visit("free", false)
			if others {
				a.must(a.add("open"))
			}
			b := s.visit("bound", false)
			b.must(b.ready())
			b.must(b.add("open"))
			ctx := kit.Within(t, kit.Patience)
			id := b.hub.NewID()
			b.must(b.rooms.Add(ctx, id, b))
			for what, id := range map[string]string{"Join": b.id, "Join of another member": id, "Join once more": b.id} {
				checkRefusal(t, what, b.rooms.Join(ctx, id, "secret"), "subscribe to "+subject, `room "secret" of "/"`)
			}
			checkRefusal(t, "Join of several rooms", b.rooms.Join(ctx, b.id, "open", "secret", "x"), subject)
			b.must(b.rooms.Join(ctx, b.id, "open", "y"))
			b.rooms.Leave(b.id, "secret")
			b.rooms.Leave(id, "secret")
			checkRefusal(t, "Join after it was left", b.rooms.Join(ctx, id, "secret"), subject)
			checkRefusal(t, "SocketsJoin", b.rooms.SocketsJoin(ctx, cluster.Selection{}, "secret"), subject)
			kit.Equal(t, b.hub.State().Status, adapter.Connected, "the state")
			kit.Until(t, func() error {
				if reason := b.hub.State().Reason; !errors.Is(reason, adapter.ErrRefused) || !strings.Contains(reason.Error(), subject) {
					return fmt.Errorf("the state's reason is %v, want it to name %s", reason, subject)
				}
				return nil
			})
			if others {
				err := a.rooms.SocketsJoin(ctx, cluster.Selection{Rooms: []string{b.id}}, "secret")
				var unfenced *cluster.UnfencedError
				if !errors.As(err, &unfenced) || len(unfenced.Nodes) != 1 || unfenced.Nodes[0] != b.hub.Node() {
					t.Errorf("SocketsJoin from another node: %v, want the node that is denied the room", err)
				}
			}

			// What the server allows again is confirmed when it stands.
			s.deny(nil, nil)
			b.adapter.times.retryRefused = time.Millisecond
			s.disconnect()
			kit.Until(t, func() error { return b.rooms.Join(ctx, b.id, "secret") })
		})
	}
}

// TestDeniedBySubscriptions checks that a Join beyond the number of subscriptions that a user may have fails.
func TestDeniedBySubscriptions(t *testing.T) {
	o := guardedOptions(nil, nil)
	o.MaxSubs = 12
	s := startServer(t, o)
	g := s.visit("bound", false)
	s.must(g.ready())
	s.must(g.add("0"))
	var err error
	for i := 1; i < 30 && err == nil; i++ {
		err = g.rooms.Join(t.Context(), g.id, fmt.Sprint(i))
	}
	if !errors.Is(err, adapter.ErrRefused) || !errors.Is(err, nats.ErrMaxSubscriptionsExceeded) {
		t.Errorf("Join: %v, want %v", err, nats.ErrMaxSubscriptionsExceeded)
	}
}

// TestPermissionsChange checks that a node is out of the cluster as soon as a reload of the server takes a permission from it, and is back, with what
// it has missed, when it gets that again.
func TestPermissionsChange(t *testing.T) {
	for _, d := range denied {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			s := startGuarded(t, nil, nil)
			if strings.HasPrefix(d.subscribe, "n.*") { // no server tells that it withholds a part of what it has allowed as a whole
				s.rehearse = 50 * time.Millisecond
			}
			a, b := s.visit("free", false), s.visit("bound", false)
			for _, g := range []*guest{a, b} {
				g.must(g.ready())
				g.must(g.add("r"))
			}
			emit := func(g *guest) error {
				return g.rooms.Emit(cluster.Broadcast{Rooms: []string{"r"}, Payload: []byte("x")})
			}
			a.must(emit(a))
			b.must(emit(b))
			has := func(g *guest, n int64) {
				t.Helper()
				kit.Until(t, func() error {
					if got := g.got.Load(); got != n {
						return fmt.Errorf("%d broadcasts have come, want %d", got, n)
					}
					return nil
				})
			}
			has(a, 2)
			has(b, 2)

			s.deny(subjects(d.publish), subjects(d.subscribe))
			told := 0
			kit.Until(t, func() error { // a permission to publish is missed when it is used
				for _, to := range [][]string{{"r"}, nil, {a.id}} {
					if b.rooms.Emit(cluster.Broadcast{Rooms: to, Except: []string{"r"}, Payload: []byte("x")}) != nil {
						told++
					}
				}
				if d.publish == "n.*.c" { // is used in answers
					_, _ = a.rooms.Count(t.Context(), cluster.Selection{})
				}
				if state := b.hub.State(); state.Status != adapter.Refused {
					return fmt.Errorf("the state is %v (%v), want %v", state.Status, state.Reason, adapter.Refused)
				}
				return nil
			})
			checkRefusal(t, "Ready", b.ready(), d.missing...)
			checkRefusal(t, "Join", b.rooms.Join(t.Context(), b.id, "later"), d.missing...)
			checkRefusal(t, "Broadcast", emit(b), d.missing...)
			a.must(emit(a))

			s.deny(nil, nil)
			kit.Until(t, func() error { return b.ready() })
			b.must(emit(b))
			has(a, 4)
			has(b, 5) // one of its own was refused, and delivered here
			b.must(b.rooms.Join(t.Context(), b.id, "later", "even later"))
		})
	}
}

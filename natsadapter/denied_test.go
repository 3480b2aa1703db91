package natsadapter

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/test/kit"
)

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

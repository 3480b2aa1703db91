package natsadapter

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/test/kit"
)

// nobodysRoom is the subject of a room that nobody has.
const nobodysRoom = root + "r.r=2F.r=FF"

// denied are permissions that a node may lack, with what it is told. Subjects are without root.
var denied = []struct {
	name               string
	publish, subscribe string
	missing            []string
}{
	{"subscribe to its own node's subjects", "", "n.>", []string{"subscribe to " + root + "n.r"}},
	{"subscribe to nodes, not to private rooms", "", "n.*.c", []string{"subscribe to " + root + "n.r"}},
	{"subscribe to private rooms", "", "n.*.p.>", []string{"subscribe to " + root + "n.rnobody.p.r=2F.r=FF"}},
	{"subscribe to the cluster", "", "c", []string{"subscribe to " + root + "c"}},
	{"subscribe to namespaces", "", "s.>", []string{"subscribe to " + root + "s.r=2F"}},
	{"subscribe to rooms", "", "r.>", []string{"subscribe to " + nobodysRoom}},
	{"subscribe to rooms of the root namespace", "", "r.r=2F.*", []string{"subscribe to " + nobodysRoom}},
	{"subscribe to anything", "", ">", []string{
		"subscribe to " + root + "c", "subscribe to " + root + "n.r", "subscribe to " + root + "s.r=2F", "subscribe to " + nobodysRoom}},
	{"publish to the cluster", "c", "", []string{"publish to " + root + "c"}},
	{"publish to namespaces", "s.*", "", []string{"publish to " + root + "s.r=2F"}},
	{"publish to rooms", "r.>", "", []string{"publish to " + nobodysRoom}},
	{"publish to nodes", "n.*.c", "", []string{"publish to " + root + "n.rnobody.c"}},
	{"publish to private rooms", "n.*.p.>", "", []string{"publish to " + root + "n.rnobody.p.r=2F.r=FF"}},
	{"publish to anything", ">", "", []string{
		"publish to " + root + "c", "publish to " + root + "s.r=2F", "publish to " + nobodysRoom, "publish to " + root + "n.rnobody.c"}},
	{"publish and subscribe to rooms", "r.>", "r.>", []string{"subscribe to " + nobodysRoom, "publish to " + nobodysRoom}},
	{"anything", ">", ">", []string{"subscribe to " + root + "c", "publish to " + root + "c"}},
}

func subjects(pattern string) []string {
	switch pattern {
	case "":
		return nil
	case ">":
		return []string{">"}
	}
	return []string{root + pattern}
}

// TestOutside checks that a node which lacks any permission that nodes need is outside of the cluster, and says so: nothing works by accident.
func TestOutside(t *testing.T) {
	for _, d := range denied {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			s := startGuarded(t, subjects(d.publish), subjects(d.subscribe))

			alone := s.visit("bound", false)
			checkRefusal(t, "Ready without another node", alone.ready(), d.missing...)
			checkRefusal(t, "Join without another node", alone.add("r"), d.missing...)
			state := alone.hub.State()
			kit.Equal(t, state.Status, adapter.Refused, "the state")
			checkRefusal(t, "the state's reason", state.Reason, d.missing...)
			kit.Until(t, func() error {
				for _, m := range d.missing {
					if !strings.Contains(alone.log.String(), m) {
						return fmt.Errorf("the log does not name %q:\n%s", m, alone.log)
					}
				}
				return nil
			})

			a, b, c := s.visit("free", false), s.visit("bound", false), s.visit("free", false)
			a.must(a.ready())
			a.must(a.add("r"))
			c.must(c.add("r"))
			checkRefusal(t, "Ready", b.ready(), d.missing...)
			err := b.add("r")
			checkRefusal(t, "Join", err, d.missing...)
			var unfenced *cluster.UnfencedError
			if !errors.As(err, &unfenced) {
				t.Errorf("Join: %v, want an %T", err, unfenced)
			}
			_, err = b.rooms.Count(t.Context(), cluster.Selection{})
			checkRefusal(t, "Count", err, d.missing...)
			for range 20 {
				a.must(a.rooms.Emit(cluster.Broadcast{Rooms: []string{"r"}, Payload: []byte("x")}))
				checkRefusal(t, "Emit", b.rooms.Emit(cluster.Broadcast{Rooms: []string{"r"}, Payload: []byte("x")}), d.missing...)
			}
			kit.Until(t, func() error {
				if got := c.got.Load(); got < 20 {
					return fmt.Errorf("%d of 20 broadcasts have come to the third node", got)
				}
				return nil
			})
			kit.Equal(t, b.got.Load(), 20, "broadcasts that the node outside has got: its own")
			for _, g := range []*guest{a, c} {
				kit.Equal(t, g.got.Load(), 20, "broadcasts that a node of the cluster has got: the other's")
				if got := g.hub.Stats().Nodes; len(got) != 1 {
					t.Errorf("a node of the cluster knows %v, want the other one alone", got)
				}
				kit.Equal(t, g.hub.Stats().Malformed, 0, "messages not understood")
			}
			kit.Equal(t, b.hub.Stats().Refused, 20, "broadcasts refused")
		})
	}
}

// TestOutsideClient checks that a node without members needs to publish what others need, and to subscribe to less.
func TestOutsideClient(t *testing.T) {
	for _, d := range denied {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			s := startGuarded(t, subjects(d.publish), subjects(d.subscribe))
			g := s.visit("bound", true)
			err := g.ready()
			spared := d.publish == "" && (strings.HasPrefix(d.subscribe, "r.") || strings.HasPrefix(d.subscribe, "s."))
			switch {
			case d.subscribe == "n.*.p.>": // a part of what the node subscribes to for itself, that no other node uses
			case spared && err != nil:
				t.Errorf("Ready: %v, want nil", err)
			case !spared:
				if d.name == "subscribe to anything" {
					d.missing = d.missing[:2]
				}
				if d.name == "publish and subscribe to rooms" {
					d.missing = d.missing[1:]
				}
				checkRefusal(t, "Ready", err, d.missing...)
				checkRefusal(t, "Emit", g.rooms.Emit(cluster.Broadcast{Payload: []byte("x")}), d.missing...)
			}
		})
	}
}

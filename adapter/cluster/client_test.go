package cluster

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
	"github.com/belfry-io/belfry/adapter/internal/mesh"
	"github.com/belfry-io/belfry/test/kit"
)

// withClient returns two nodes and a client that have met, each behind a sieve: the client is the last.
func withClient(t *testing.T) ([]*Hub, []*sieve) {
	t.Helper()
	memory := new(adapter.Memory)
	hubs, sieves := make([]*Hub, 3), make([]*sieve, 3)
	for i := range hubs {
		sieves[i] = newSieve(memory)
		hubs[i] = openWith(t, HubConfig{Adapter: sieves[i], Client: i == 2})
	}
	return hubs, sieves
}

// A client is no server to anybody, and what it emits arrives all the same, and is repaired.
func TestClientEmits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, sieves := withClient(t)
		for i, want := range [][]string{{hubs[1].Node()}, {hubs[0].Node()}, {hubs[0].Node(), hubs[1].Node()}} {
			slices.Sort(want)
			for _, got := range [][]string{hubs[i].Stats().Nodes, ids(hubs[i])} {
				if slices.Sort(got); !slices.Equal(got, want) {
					t.Errorf("node %d knows %v, want %v", i, got, want)
				}
			}
		}
		_, x := add(t, hubs[0], "red")
		_, y := add(t, hubs[1], "red", "blue")
		n := 0
		sieves[0].set(func(m *envelope.Message) bool {
			if broadcasts(m) {
				n++
			}
			return broadcasts(m) && n%3 == 0
		})
		var want []string
		for i := range 30 {
			want = append(want, fmt.Sprint(i))
			say(t, hubs[2], want[i], Broadcast{Rooms: []string{"red", "blue"}[:1+i%2]})
		}
		time.Sleep(time.Second)
		got(t, "x", x, want...)
		got(t, "y", y, want...)
		if s := hubs[0].Stats(); s.Repaired < 10 || s.Missed+s.Unknown != 0 {
			t.Errorf("%+v, want repairs of the client's broadcasts", s)
		}
		kit.OK(t, closing(t, t.Context(), hubs[2], 0, 0), "Close of the client")
	})
}

// A Join waits for clients, since they emit, too: one that has not heard of it is named.
func TestJoinWaitsForClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, sieves := withClient(t)
		id, m := add(t, hubs[0])
		r := hubs[0].Rooms("/", frame)
		kit.OK(t, r.Join(t.Context(), id, "red"))
		say(t, hubs[2], "1", Broadcast{Rooms: []string{"red"}})
		got(t, "the member", m, "1")
		sieves[2].set(func(m *envelope.Message) bool {
			_, fence := m.Mesh.(*mesh.Fence)
			return fence
		})
		start := time.Now()
		err := r.Join(t.Context(), id, "blue")
		var unfenced *UnfencedError
		if !errors.As(err, &unfenced) || !slices.Equal(unfenced.Nodes, []string{hubs[2].Node()}) || time.Since(start) < 200*time.Millisecond {
			t.Errorf("Join with a client that does not answer: %v after %v, want an error that names it", err, time.Since(start))
		}
		sieves[2].set(nil)
		time.Sleep(3 * time.Second)
		kit.OK(t, r.Join(t.Context(), id, "green"), "Join when it is back")
	})
}

// Other nodes' members join for a client's sake, too: what it emits after SocketsJoin reaches them.
func TestClientMovesMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := withClient(t)
		_, x := add(t, hubs[0], "red")
		_, y := add(t, hubs[1])
		r := hubs[2].Rooms("/", frame)
		kit.OK(t, r.SocketsJoin(t.Context(), Selection{Rooms: []string{"red"}}, "blue"))
		say(t, hubs[2], "to blue", Broadcast{Rooms: []string{"blue"}})
		got(t, "x", x, "to blue")
		got(t, "y", y)
		kit.Got(r.Count(t.Context(), Selection{})).Is(t, 2, "Count")
		idle(t, hubs...)
	})
}

package test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
)

// TestClusterAgainstModel emits to random rooms, unions and exceptions from random nodes: every socket gets exactly what a model of
// sets predicts, each once, those of each origin in order.
func TestClusterAgainstModel(t *testing.T) {
	t.Parallel()
	const nodes, sockets, rooms, phases = 3, 300, 100, 5
	broadcasts := 10_000
	if kit.Raced {
		broadcasts /= 5
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))

	servers := make([]*wsserver.Server, nodes)
	var urls []string
	for i, a := range adapters(t, nodes) {
		servers[i] = newServer(t, wsserver.Config{Adapter: a})
		urls = append(urls, serve(t, servers[i]))
	}
	waitForNodes(t, servers)

	type member struct {
		*client
		server *wsserver.Socket
		rooms  map[string]bool
		want   [nodes][]int // numbers of each origin that the model has it receive
	}
	members := make([]*member, sockets)
	byRoom := func(m *member, names []string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return m.rooms[name] || m.server.ID() == name })
	}
	for i := range members {
		c := dial(t, urls[i%nodes])
		s, ok := servers[i%nodes].Of("/").Socket(c.id)
		if !ok {
			t.Fatalf("socket %s is not on its node", c.id)
		}
		members[i] = &member{client: c, server: s, rooms: make(map[string]bool)}
	}
	room := func() string { return fmt.Sprintf("room %d", rng.IntN(rooms)) }
	pick := func(max int) []string {
		names := make([]string, rng.IntN(max+1))
		for i := range names {
			names[i] = room()
			if rng.IntN(10) == 0 {
				names[i] = members[rng.IntN(sockets)].server.ID()
			}
		}
		return names
	}
	var sent [nodes]int
	for phase := range phases {
		// Membership changes while nothing is under way, so that the model is exact.
		for _, m := range members {
			for name := range m.rooms {
				if rng.IntN(3) == 0 {
					delete(m.rooms, name)
					m.server.Leave(name)
				}
			}
			for range rng.IntN(4) {
				name := room()
				m.rooms[name] = true
				join(t, func() error { return m.server.Join(t.Context(), name) })
			}
		}
		type emission struct {
			n          int
			to, except []string
		}
		var plan [nodes][]emission
		for range broadcasts / phases {
			origin := rng.IntN(nodes)
			e := emission{n: sent[origin], to: append(pick(6), room()), except: pick(2)}
			if rng.IntN(200) == 0 {
				e.to = nil // everybody
			}
			sent[origin]++
			plan[origin] = append(plan[origin], e)
			for _, m := range members {
				if (e.to == nil || byRoom(m, e.to)) && !byRoom(m, e.except) {
					m.want[origin] = append(m.want[origin], e.n)
				}
			}
		}
		var emitting sync.WaitGroup
		for origin, emissions := range plan {
			emitting.Go(func() {
				for _, e := range emissions {
					b := servers[origin].Except(e.except...)
					if e.to != nil {
						b = b.To(e.to...)
					}
					if err := b.Emit(t.Context(), "n", origin, e.n); err != nil {
						t.Errorf("node %d: %v", origin, err)
					}
				}
				servers[origin].Emit(t.Context(), "end", origin, phase)
			})
		}
		emitting.Wait()
		// What a node has emitted before its end, has come before it.
		for _, m := range members {
			var got [nodes][]int
			for ends := 0; ends < nodes; {
				var event string
				var origin, n int
				m.next(t, &event, &origin, &n)
				if event == "end" {
					ends++
					continue
				}
				got[origin] = append(got[origin], n)
			}
			for origin := range nodes {
				if want := m.want[origin]; !slices.Equal(got[origin], want) {
					t.Fatalf("seed %d, phase %d: a socket on %s got %d of node %d, want %d; first difference %v",
						seed, phase, m.url, len(got[origin]), origin, len(want), difference(got[origin], want))
				}
				m.want[origin] = nil
			}
		}
	}
	for _, srv := range servers {
		if s := srv.Stats().Adapter; s.Missed+s.Stale+s.Overtaken+s.Refused+s.Lost+s.Malformed > 0 {
			t.Errorf("a healthy cluster counted trouble: %+v", s)
		}
	}
}

func difference(got, want []int) string {
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			return fmt.Sprintf("at %d: got %v, want %v", i, got[min(i, len(got)):min(i+5, len(got))], want[min(i, len(want)):min(i+5, len(want))])
		}
	}
	return ""
}

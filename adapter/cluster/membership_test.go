package cluster

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/test/kit"
)

// Joins, leaves and removals of many goroutines in few rooms orphan no member, leave no interest behind, and are told as they were.
func TestConcurrentMembership(t *testing.T) {
	total := 200_000
	if testing.Short() || kit.Raced {
		total = 20_000
	}
	seed := uint64(time.Now().UnixNano())
	synctest.Test(t, func(t *testing.T) {
		hubs, wires := cluster(t, 2)
		ledgers := []*ledger{keepLedger(t, hubs[0].Rooms("/", frame)), keepLedger(t, hubs[1].Rooms("/", frame))}
		const workers, rooms = 8, 3
		ids := make([]string, workers)
		in := make([]map[string]bool, workers) // what a worker has done to its own member
		shared := []string{hubs[0].NewID(), hubs[1].NewID()}
		var tasks sync.WaitGroup
		for i := range workers {
			h := hubs[i%2]
			ids[i], _ = add(t, h)
			in[i] = make(map[string]bool)
			tasks.Go(func() {
				r := h.Rooms("/", frame)
				rng := rand.New(rand.NewPCG(seed, uint64(i)))
				for range total / workers {
					name := fmt.Sprint("room", rng.IntN(rooms))
					switch rng.IntN(6) {
					case 0: // a member that others handle too
						_ = r.Join(t.Context(), shared[i%2], name)
					case 1:
						r.Leave(shared[i%2], name)
					case 2:
						if rng.IntN(4) == 0 {
							r.Remove(shared[i%2])
						} else {
							_ = r.Add(t.Context(), shared[i%2], new(member))
						}
					default:
						if in[i][name] {
							r.Leave(ids[i], name)
						} else if err := r.Join(t.Context(), ids[i], name); err != nil {
							t.Errorf("seed %d: Join: %v", seed, err)
							return
						}
						in[i][name] = !in[i][name]
					}
					if rng.IntN(500) == 0 { // now and then all rest until interest ends, or nearly
						time.Sleep(time.Duration(rng.IntN(1500)) * time.Millisecond)
					}
				}
			})
		}
		tasks.Wait()
		time.Sleep(2 * time.Second)
		for n, h := range hubs {
			r := h.Rooms("/", frame)
			ledgers[n].want(r)
			for i, id := range ids {
				if i%2 != n {
					continue
				}
				count := 1
				for name, is := range in[i] {
					if slices.Contains(r.Of(id), name) != is || slices.Contains(r.Members(name), id) != is {
						t.Errorf("seed %d: %s in %s: want %v; its rooms are %q, the room's members %q", seed, id, name, is, r.Of(id), r.Members(name))
					}
					if is {
						count++
					}
				}
				kit.Equal(t, len(r.Of(id)), count, "seed", seed, "rooms of", id)
			}
			want := map[adapter.Topic]bool{{Kind: adapter.Namespace, Namespace: "/"}: true}
			for _, name := range r.all() {
				if strings.HasPrefix(name, "room") {
					want[roomTopic("/", name)] = true
				}
			}
			if got := wires[n].subscriptions(); !maps.Equal(got, want) {
				t.Errorf("seed %d: node %d is subscribed to %v, want %v", seed, n, got, want)
			}
			for _, id := range r.IDs() {
				r.Remove(id)
			}
		}
		time.Sleep(2 * time.Second)
		for n, h := range hubs {
			if got := wires[n].subscriptions(); len(got) != 0 || len(h.Rooms("/", frame).all()) != 0 {
				t.Errorf("seed %d: node %d is left with interest in %v and rooms %q", seed, n, got, h.Rooms("/", frame).all())
			}
			if ledgers[n].want(h.Rooms("/", frame)); ledgers[n].told < total/4 {
				t.Errorf("seed %d: node %d: %d events told, want more", seed, n, ledgers[n].told)
			}
			if s := h.Stats(); s.Missed != 0 || s.Lost != 0 {
				t.Errorf("seed %d: node %d: %+v", seed, n, s)
			}
		}
	})
}

// A leave and a join of the same room at the same moment, of two members or of one, leave the room subscribed if somebody is in it.
func TestLeaveRacesJoin(t *testing.T) {
	rooms := 15_000
	if testing.Short() || kit.Raced {
		rooms = 3_000
	}
	for _, c := range []struct {
		name string
		same bool
	}{{"of two members", false}, {"of one member", true}} {
		kit.Bubble(t, c.name, func(t *testing.T) {
			hubs, wires := cluster(t, 2)
			r := hubs[0].Rooms("/", frame)
			led := keepLedger(t, r)
			joiner, _ := add(t, hubs[0])
			leaver := joiner
			impatient, cancel := context.WithCancel(t.Context())
			cancel()
			name := func(i int) string { return fmt.Sprint("room", i) }
			if !c.same {
				leaver, _ = add(t, hubs[0])
				for i := range rooms {
					_ = r.Join(impatient, leaver, name(i))
				}
			}
			var at [2]atomic.Int64
			race := func(self int, do func(room string)) {
				for i := range rooms {
					at[self].Store(int64(i))
					for at[1-self].Load() < int64(i) {
						runtime.Gosched()
					}
					do(name(i))
				}
				at[self].Store(int64(rooms))
			}
			var tasks sync.WaitGroup
			tasks.Go(func() { race(0, func(room string) { r.Leave(leaver, room) }) })
			tasks.Go(func() { race(1, func(room string) { _ = r.Join(impatient, joiner, room) }) })
			tasks.Wait()
			led.want(r)
			time.Sleep(2 * time.Second)
			subscribed := wires[0].subscriptions()
			wrong := 0
			for i := range rooms {
				members := r.Members(name(i))
				if !c.same && !slices.Equal(members, []string{joiner}) || subscribed[roomTopic("/", name(i))] != (len(members) > 0) {
					wrong++
				}
			}
			if wrong > 0 {
				t.Errorf("%d of %d joins are orphaned, or have left interest behind", wrong, rooms)
			}
			r.Remove(leaver)
			r.Remove(joiner)
			time.Sleep(2 * time.Second)
			kit.Equal(t, len(wires[0].subscriptions()), 0, "subscriptions left")
		})
	}
}

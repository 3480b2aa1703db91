package cluster

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
	"github.com/belfry-io/belfry/test/kit"
)

// What changes memberships has its place among the broadcasts also where it waits for a repair: what was emitted before is selected by
// the rooms of before, what comes behind by those of after.
func TestChangesBehindALoss(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(t *testing.T, r *Rooms)
		before []string  // the rooms of what is emitted before
		after  Broadcast // and what is emitted after
		x      []string  // what the member that is changed gets
	}{
		{"leave", func(t *testing.T, r *Rooms) {
			change(t, r.SocketsLeave(t.Context(), Selection{Rooms: []string{"red"}, Except: []string{"stays"}}, "red"))
		},
			[]string{"red"}, Broadcast{Rooms: []string{"red"}}, []string{"before"}},
		{"leave all", func(t *testing.T, r *Rooms) {
			change(t, r.SocketsLeave(t.Context(), Selection{Except: []string{"stays"}}, "red"))
		},
			nil, Broadcast{Rooms: []string{"red", "1", "2", "3", "4"}}, []string{"before"}},
		{"join", func(t *testing.T, r *Rooms) {
			change(t, r.SocketsJoin(t.Context(), Selection{Rooms: []string{"red"}, Except: []string{"stays"}}, "muted"))
		},
			[]string{"red"}, Broadcast{Rooms: []string{"red"}, Except: []string{"muted"}}, []string{"before"}},
		{"join a room of the union", func(t *testing.T, r *Rooms) {
			change(t, r.SocketsJoin(t.Context(), Selection{Rooms: []string{"red"}}, "new"))
		},
			[]string{"red"}, Broadcast{Rooms: []string{"red", "new"}}, []string{"before", "after"}},
		{"disconnect", func(t *testing.T, r *Rooms) {
			change(t, r.DisconnectSockets(t.Context(), Selection{Rooms: []string{"red"}, Except: []string{"stays"}}, false))
		},
			[]string{"red"}, Broadcast{Rooms: []string{"red"}}, []string{"before", "disconnect false"}},
	} {
		for _, lose := range []string{"the broadcast before", "both", "nothing"} {
			kit.Bubble(t, c.name+", lost: "+lose, func(t *testing.T) {
				hubs, sieves := sifted(t, 2)
				_, x := add(t, hubs[0], "red")
				_, y := add(t, hubs[0], "red", "stays")
				r := hubs[1].Rooms("/", frame)
				sieves[0].set(func(m *envelope.Message) bool {
					return repairs(m) || broadcasts(m) && m.Broadcast.Stamp.Sequence < 3 && (lose == "both" || lose == "the broadcast before" && m.Broadcast.Route != envelope.ByCluster)
				})
				var wg sync.WaitGroup
				say(t, hubs[1], "before", Broadcast{Rooms: c.before})
				synctest.Wait()
				wg.Go(func() { c.change(t, r) })
				synctest.Wait()
				say(t, hubs[1], "after", c.after)
				synctest.Wait() // what has come waits for what has not
				sieves[0].set(nil)
				wg.Wait()
				settle() // what waited comes with what it waited for, and is not asked for
				got(t, "the member that was changed", x, c.x...)
				got(t, "the member that was not", y, "before", "after")
				if s := hubs[0].Stats(); (lose != "nothing") != (s.Repaired > 0) || s.Overtaken+s.Missed+s.Unknown != 0 {
					t.Errorf("%+v", s)
				}
				if members := hubs[0].Rooms("/", frame).Members("red"); c.name == "leave all" && len(members) != 1 {
					t.Errorf("%q are in red, want the one that stays", members)
				}
				idle(t, hubs...)
			})
		}
	}
}

func change(t *testing.T, err error) {
	t.Helper()
	kit.OK(t, err, "the change")
}

// Many changes and broadcasts in a row, of which many are lost: the same comes as if nothing were.
func TestManyChangesOverLosses(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	run := func(lossy bool) (came []string) {
		synctest.Test(t, func(t *testing.T) {
			hubs, sieves := sifted(t, 2)
			_, m := add(t, hubs[0], "red")
			r := hubs[1].Rooms("/", frame)
			n := int(seed % 7)
			if lossy {
				sieves[0].set(func(m *envelope.Message) bool {
					if m.Broadcast != nil {
						n++
					}
					return m.Broadcast != nil && n%3 != 0
				})
			}
			var wg sync.WaitGroup
			for i := range 60 {
				say(t, hubs[1], fmt.Sprint(i), Broadcast{Rooms: []string{"red"}, Except: []string{"muted"}})
				if i%2 == 1 {
					wg.Go(func() {
						if i%4 == 1 {
							change(t, r.SocketsJoin(t.Context(), Selection{Rooms: []string{"red"}}, "muted"))
						} else {
							change(t, r.SocketsLeave(t.Context(), Selection{Rooms: []string{"red"}}, "muted"))
						}
					})
					synctest.Wait()
				}
			}
			wg.Wait()
			time.Sleep(5 * time.Second)
			came = m.take()
			if s := hubs[0].Stats(); lossy && s.Repaired == 0 || s.Missed+s.Unknown != 0 {
				t.Errorf("%+v", s)
			}
			idle(t, hubs...)
		})
		return came
	}
	var want []string
	for i := range 60 {
		if i%4 < 2 {
			want = append(want, fmt.Sprint(i))
		}
	}
	for _, lossy := range []bool{false, true} {
		kit.EqualSlices(t, run(lossy), want, "seed", seed, "lossy", lossy)
	}
}

// While too much waits for the broker besides broadcasts, questions for more are not answered; they come again.
func TestCrowdedWriterIgnoresNacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, sieves := sifted(t, 2)
		_, m := add(t, hubs[1], "red")
		crowd := func(by int) {
			hubs[0].writer.mu.Lock()
			defer hubs[0].writer.mu.Unlock()
			hubs[0].writer.others += by
		}
		crowd(maxOthers + 1)
		sieves[1].set(broadcasts)
		say(t, hubs[0], "1", Broadcast{Rooms: []string{"red"}})
		synctest.Wait()
		sieves[1].set(nil)
		say(t, hubs[0], "2", Broadcast{Rooms: []string{"red"}})
		time.Sleep(3 * time.Second)
		got(t, "the member while the writer is crowded", m)
		kit.Equal(t, hubs[0].Stats().Resent, 0, "sent again by a crowded writer")
		if got := hubs[1].Stats().Nodes; len(got) != 1 {
			t.Errorf("the crowded node is not among %v", got)
		}
		crowd(-maxOthers - 1)
		time.Sleep(2 * time.Second)
		got(t, "the member", m, "1", "2")
	})
}

// The count of what waits goes back to nothing, whatever becomes of it.
func TestWriterCountsOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, sieves := sifted(t, 2)
		add(t, hubs[1], "red")
		check := func(when string) {
			t.Helper()
			synctest.Wait()
			w := hubs[0].writer
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.others != 0 || w.bytes != 0 || len(w.jobs)+len(w.parked) != 0 {
				t.Errorf("%s: %d and %d bytes wait in %d and %d jobs", when, w.others, w.bytes, len(w.jobs), len(w.parked))
			}
		}
		check("at the beginning")
		for i := range 20 {
			sieves[1].set(broadcasts)
			say(t, hubs[0], text(uint64(i), 2000), Broadcast{Rooms: []string{"red"}})
			synctest.Wait()
			sieves[1].set(nil)
			if i%2 == 0 { // what was to be said is out of date
				sieves[0].wire.set(adapter.State{Status: adapter.Degraded, Reason: errors.New("away")})
				time.Sleep(time.Duration(i) * 50 * time.Millisecond)
				sieves[0].wire.set(adapter.State{Status: adapter.Connected})
			}
			time.Sleep(time.Second)
			check(fmt.Sprint("after ", i))
		}
	})
}

package cluster

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter/internal/envelope"
	"github.com/belfry-io/belfry/test/kit"
)

// Rooms whose topics are past do not select; a broadcast whose topics are all past selects nobody, and not everybody.
func TestSelecting(t *testing.T) {
	none := []string{nobody}
	for _, c := range []struct {
		name  string
		route envelope.Route
		flags uint64
		rooms []string
		past  []bool
		want  []string
	}{
		{"a union, one past", envelope.ByRoom, 0, []string{"a", "b", "c"}, []bool{false, true, false}, []string{"a", "c"}},
		{"a union, all past", envelope.ByRoom, 0, []string{"a", "b"}, []bool{true, true}, none},
		{"many rooms in their places, some past", envelope.ByNamespace, envelope.InRooms, []string{"a", "b", "c", "d", "e"},
			[]bool{false, true, false, false, true, false}, []string{"b", "c", "e"}},
		{"many rooms in their places, the namespace past", envelope.ByNamespace, envelope.InRooms, []string{"a", "b"},
			[]bool{true, true, false}, []string{"b"}},
		{"many rooms in their places, all past", envelope.ByNamespace, envelope.InRooms, []string{"a", "b"}, []bool{false, true, true}, none},
		{"the namespace, past", envelope.ByNamespace, 0, nil, []bool{true}, none},
		{"many rooms, past", envelope.ByNamespace, 0, []string{"a", "b", "c", "d", "e"}, []bool{true}, none},
		{"many rooms, not past", envelope.ByNamespace, 0, []string{"a", "b", "c", "d", "e"}, []bool{false}, []string{"a", "b", "c", "d", "e"}},
		{"a request in rooms, one past", envelope.ByCluster, envelope.InRooms, []string{"a", "b"}, []bool{false, true, false}, []string{"b"}},
		{"a request in rooms, the cluster past", envelope.ByCluster, envelope.InRooms, []string{"a", "b"}, []bool{true, false, true}, []string{"a"}},
		{"a request in rooms, all past", envelope.ByCluster, envelope.InRooms, []string{"a", "b"}, []bool{false, true, true}, none},
		{"a request to all, past", envelope.ByCluster, 0, nil, []bool{false, true}, none},
		{"a request to all, the cluster past", envelope.ByCluster, 0, nil, []bool{true, false}, nil},
		{"a request to many rooms, past", envelope.ByCluster, 0, []string{"a", "b", "c", "d", "e"}, []bool{false, true}, none},
	} {
		b := &envelope.Body{Route: c.route, Flags: c.flags, Rooms: c.rooms}
		kit.EqualSlices(t, selecting(b, c.past), c.want, c.name)
	}
	if validName(nobody) {
		t.Errorf("%q may be the name of a room", nobody)
	}
}

// late has x in red and y in blue, of which y has joined only after something was said, and lost here, that say says to both rooms, or to
// blue alone. It returns when that has been repaired.
func late(t *testing.T, say func(h *Hub)) (hubs []*Hub, x, y *member) {
	t.Helper()
	hubs, sieves := sifted(t, 2)
	_, x = add(t, hubs[0], "red")
	id, y := add(t, hubs[0])
	sieves[0].set(broadcasts)
	say(hubs[1])
	synctest.Wait()
	if n := sieves[0].set(nil); n == 0 {
		t.Error("nothing was lost")
	}
	kit.OK(t, hubs[0].Rooms("/", frame).Join(t.Context(), id, "blue"))
	got(t, "x before the repair", x)
	time.Sleep(time.Second)
	synctest.Wait()
	if s := hubs[0].Stats(); s.Repaired == 0 && len(x.got) > 0 || s.Missed+s.Unknown != 0 {
		t.Errorf("%+v, want a repair", s)
	}
	return hubs, x, y
}

// A union that is repaired reaches those who were in its rooms when it was sent, by the rooms that they were in, and nobody who has come
// since by another.
func TestUnionPastInOneRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, x, y := late(t, func(h *Hub) {
			say(t, h, "both", Broadcast{Rooms: []string{"red", "blue"}})
			say(t, h, "blue", Broadcast{Rooms: []string{"blue"}})
			say(t, h, "many", Broadcast{Rooms: []string{"red", "blue", "1", "2", "3"}}) // by the namespace, where y has been as long as x
		})
		got(t, "x", x, "both", "many")
		got(t, "y, which joined later", y)
		say(t, hubs[1], "new", Broadcast{Rooms: []string{"red", "blue"}})
		got(t, "x", x, "new")
		got(t, "y", y, "new")
	})
}

// The same for requests, which every node gets, on the topic of the cluster.
func TestRequestPastInOneRoom(t *testing.T) {
	for _, c := range []struct {
		name  string
		rooms []string
		toX   bool
	}{
		{"both rooms", []string{"blue", "red"}, true},
		{"the late room alone", []string{"blue"}, false},
	} {
		kit.Bubble(t, c.name, func(t *testing.T) {
			var wg sync.WaitGroup
			s := Selection{Rooms: c.rooms}
			hubs, x, y := late(t, func(h *Hub) {
				r := h.Rooms("/", frame)
				wg.Go(func() {
					if err := r.SocketsJoin(t.Context(), s, "joined"); err != nil {
						t.Errorf("SocketsJoin: %v", err)
					}
				})
				synctest.Wait()
				wg.Go(func() {
					acks, err := r.EmitWithAck(t.Context(), Broadcast{Rooms: c.rooms, Payload: []byte("asked")}) // x keeps silent
					if (acks.Members == 1) != c.toX || len(acks.Answers) != 0 || (err != nil) != c.toX {
						t.Errorf("EmitWithAck: %+v, %v", acks, err)
					}
				})
				synctest.Wait()
				wg.Go(func() {
					if n, err := r.Count(t.Context(), s); (n == 1) != c.toX || n > 1 || err != nil {
						t.Errorf("Count: %d, %v", n, err)
					}
				})
			})
			if c.toX {
				got(t, "x", x, "asked")
			}
			got(t, "y, which joined later", y)
			joined := hubs[0].Rooms("/", frame).Members("joined")
			if len(joined) > 1 || (len(joined) == 1) != c.toX {
				t.Errorf("%q were moved, want x: %v", joined, c.toX)
			}
			wg.Wait()
		})
	}
}

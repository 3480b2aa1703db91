package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
)

func TestBroadcastAcrossNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := cluster(t, 3)
		a1, m1 := add(t, hubs[0], "red")
		a2, m2 := add(t, hubs[0], "red", "blue")
		b1, m3 := add(t, hubs[1], "blue", a1) // in somebody else's room
		c1, m4 := add(t, hubs[2])
		members := map[string]*member{a1: m1, a2: m2, b1: m3, c1: m4}
		names := map[string]string{a1: "a1", a2: "a2", b1: "b1", c1: "c1"}
		other := new(member) // in another namespace
		kit.OK(t, hubs[1].Rooms("/other", frame).Add(t.Context(), hubs[1].NewID(), other))
		for i, c := range []struct {
			from int
			b    Broadcast
			want []string
		}{
			{0, Broadcast{Rooms: []string{"red"}}, []string{a1, a2}},
			{1, Broadcast{Rooms: []string{"red"}}, []string{a1, a2}},
			{2, Broadcast{Rooms: []string{"red", "blue"}}, []string{a1, a2, b1}},
			{2, Broadcast{Rooms: []string{"blue", "red", "blue", "red"}}, []string{a1, a2, b1}},
			{0, Broadcast{Rooms: []string{"red", "blue", "x", "y", "z"}}, []string{a1, a2, b1}}, // by the namespace
			{1, Broadcast{}, []string{a1, a2, b1, c1}},
			{1, Broadcast{Rooms: []string{"nobody"}}, nil},
			{2, Broadcast{Rooms: []string{a1}}, []string{a1, b1}},
			{1, Broadcast{Rooms: []string{a1}}, []string{a1, b1}},
			{0, Broadcast{Rooms: []string{c1}}, []string{c1}},
			{0, Broadcast{Rooms: []string{c1, "blue"}}, []string{c1, a2, b1}},
			{0, Broadcast{Rooms: []string{"red", "blue"}, Except: []string{a2}}, []string{a1, b1}}, // the sender, say
			{2, Broadcast{Except: []string{"blue", c1}}, []string{a1}},
			{2, Broadcast{Rooms: []string{"red"}, Except: []string{"red"}}, nil},
			{1, Broadcast{Rooms: []string{"red"}, Except: []string{a1}}, []string{a2}},
			{0, Broadcast{Local: true}, []string{a1, a2}},
			{0, Broadcast{Rooms: []string{"blue"}, Local: true}, []string{a2}},
			{2, Broadcast{Rooms: []string{"blue"}, Local: true}, nil},
		} {
			payload := fmt.Sprint("packet ", i)
			say(t, hubs[c.from], payload, c.b)
			settle()
			for id, m := range members {
				var want []string
				if slices.Contains(c.want, id) {
					want = []string{payload}
				}
				got(t, fmt.Sprintf("%s of packet %d, %+v from node %d,", names[id], i, c.b.Rooms, c.from), m, want...)
			}
		}
		say(t, hubs[0], "maybe", Broadcast{Rooms: []string{"red", c1}, Volatile: true})
		settle()
		got(t, "a1", m1, "volatile maybe")
		got(t, "c1", m4, "volatile maybe")
		got(t, "the other namespace", other)
		for i, h := range hubs {
			if s := h.Stats(); s.Missed+s.Overtaken+s.Lost+s.Malformed+s.Refused != 0 {
				t.Errorf("node %d: %+v", i, s)
			}
		}
	})
}

// A broadcast to one room travels to the nodes with a member of it, and to no others.
func TestNodesWithoutMembersGetNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, wires := cluster(t, 4)
		from, _ := add(t, hubs[0], "red")
		add(t, hubs[1], "red")
		add(t, hubs[2], "blue") // node 3 has nobody at all
		for range 100 {
			say(t, hubs[0], "x", Broadcast{Rooms: []string{"red"}})
			say(t, hubs[1], "x", Broadcast{Rooms: []string{from}})
		}
		settle()
		kit.Equal(t, len(wires[0].received()), 100, "broadcasts that node 0 received: those to its member")
		kit.Equal(t, len(wires[1].received()), 100, "broadcasts that node 1 received: those to red")
		for _, i := range []int{2, 3} {
			if got := wires[i].received(); len(got) != 0 {
				t.Errorf("node %d received %d broadcasts without a member: %v", i, len(got), got[0])
			}
		}
	})
}

// Interest ends a second after the last member has left, and not before.
func TestInterestLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, wires := cluster(t, 2)
		id, m := add(t, hubs[1], "red")
		hubs[1].Rooms("/", frame).Leave(id, "red")
		time.Sleep(900 * time.Millisecond)
		say(t, hubs[0], "x", Broadcast{Rooms: []string{"red"}})
		settle()
		kit.Equal(t, len(wires[1].received()), 1, "broadcasts received while interest lingers")
		got(t, "a member that has left", m)
		time.Sleep(200 * time.Millisecond)
		say(t, hubs[0], "y", Broadcast{Rooms: []string{"red"}})
		settle()
		kit.Equal(t, len(wires[1].received()), 1, "broadcasts received after the linger: no more")
		kit.OK(t, hubs[1].Rooms("/", frame).Join(t.Context(), id, "red"))
		say(t, hubs[0], "z", Broadcast{Rooms: []string{"red"}})
		settle()
		got(t, "a member that is back", m, "z")
	})
}

func TestErrorsOfRooms(t *testing.T) {
	h := open(t, nil)
	r := h.Rooms("/", frame)
	if h.Rooms("/", nil) != r || h.Rooms("/x", frame) == r {
		t.Error("there is one set of rooms for each namespace")
	}
	id, m := h.NewID(), new(member)
	kit.ErrorIs(t, r.Join(t.Context(), id, "red"), ErrMember, "Join before Add")
	kit.OK(t, r.Add(t.Context(), id, m))
	if err := r.Add(t.Context(), id, m); !errors.Is(err, ErrMemberID) || !strings.Contains(err.Error(), id) {
		t.Errorf("second Add: %v, want ErrMemberID with the id", err)
	}
	for _, name := range []string{strings.Repeat("x", MaxRoomName+1), "\xff"} {
		kit.ErrorIs(t, r.Join(t.Context(), id, "fine", name), ErrRoomName, "Join of", name)
	}
	kit.EqualSlices(t, r.Of(id), []string{id}, "rooms after refused Joins")
	kit.OK(t, r.Join(t.Context(), id, "red", "green", "red"))
	kit.EqualSlices(t, r.Of(id), []string{id, "red", "green"}, "rooms")
	if got, ok := r.Get(id); !ok || got != m {
		t.Errorf("Get: %v %v", got, ok)
	}
	if got := r.Select([]string{"red"}, nil); len(got) != 1 || got[0] != m {
		t.Errorf("Select: %v", got)
	}
	r.Leave(id, "blue", "red")
	r.Remove("nobody")
	if got := r.all(); len(got) != 2 || r.Len() != 1 || !slices.Equal(r.IDs(), []string{id}) || !slices.Equal(r.Members("green"), []string{id}) {
		t.Errorf("names %q, %d members, ids %q, in green %q", got, r.Len(), r.IDs(), r.Members("green"))
	}
	r.Remove(id)
	kit.ErrorIs(t, r.Join(t.Context(), id, "red"), ErrMember, "Join after Remove")
	if r.Of(id) != nil || r.Len() != 0 || len(r.all()) != 0 {
		t.Errorf("left behind: %q, %d members, rooms %q", r.Of(id), r.Len(), r.all())
	}
}

func TestHostileRoomNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := cluster(t, 2)
		names := []string{"", "*", ">", "a.b", "a b", "\x00", "\r\nPUB x 1", "#", "room", "ROOM", "/", "../x", "ü", "\u202e", "{}", "$SYS.>",
			strings.Repeat("x", MaxRoomName), hubs[0].NewID() + "x", strings.Repeat("A", 10) + ".BBBBBBBBBB", "cluster", hubs[1].Node()}
		members := make([]*member, len(names))
		for i, name := range names {
			_, members[i] = add(t, hubs[1], name)
		}
		for i, name := range names {
			say(t, hubs[0], fmt.Sprint(i), Broadcast{Rooms: []string{name}})
		}
		settle()
		for i, name := range names {
			got(t, fmt.Sprintf("the member of %.40q", name), members[i], fmt.Sprint(i))
		}
	})
}

// A frame that cannot be made is logged, and costs nothing but itself.
func TestUnframeable(t *testing.T) {
	var log bytes.Buffer
	h := NewHub(HubConfig{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	defer h.Close(context.Background())
	_, m := add(t, h)
	say(t, h, "unframeable", Broadcast{})
	say(t, h, "x", Broadcast{})
	kit.EqualSlices(t, m.take(), []string{"x"}, "the second")
	if !strings.Contains(log.String(), "no frame for it") {
		t.Errorf("logged %q", log.String())
	}
}

// Broadcasts of one goroutine come in their order, also across rooms.
func TestOrderAcrossRooms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := cluster(t, 2)
		_, m := add(t, hubs[1], "red", "blue")
		_, local := add(t, hubs[0], "red", "blue")
		var want []string
		for i := range 2000 {
			payload := fmt.Sprint(i)
			b := Broadcast{Rooms: [][]string{{"red"}, {"blue"}, {"red", "blue"}, nil}[i%4]}
			say(t, hubs[0], payload, b)
			want = append(want, payload)
		}
		settle()
		got(t, "the remote member", m, want...)
		got(t, "the local member", local, want...)
		if s := hubs[1].Stats(); s.Received != 2000 || s.Copies != 500 || s.Missed+s.Overtaken+s.Stale+s.Unwanted != 0 {
			t.Errorf("%+v, want 2000 received and a copy of each union", s)
		}
	})
}

package cluster

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/belfry-io/belfry/test/kit"
)

// held are the namespaces that a Hub keeps rooms of.
func held(h *Hub) int {
	h.roomsMu.Lock()
	defer h.roomsMu.Unlock()
	return len(h.rooms)
}

// Rooms without members can be given up, and whoever has kept them reaches the namespace all the same.
func TestDiscard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := cluster(t, 2)
		id, _ := add(t, hubs[0], "red")
		_, other := add(t, hubs[1], "red")
		kept := hubs[0].Rooms("/", frame)
		if kept.Discard() || held(hubs[0]) != 1 {
			t.Fatal("rooms with a member were discarded")
		}
		kept.Remove(id)
		if !kept.Discard() || kept.Discard() || held(hubs[0]) != 0 {
			t.Fatalf("rooms without a member: the Hub holds %d, want to discard them once", held(hubs[0]))
		}

		// Nobody is here: the other node gets it, and nothing is kept for it.
		b := Broadcast{Rooms: []string{"red"}, Payload: []byte("to the others")}
		kit.OK(t, kept.Emit(b))
		settle()
		got(t, "the other node's member", other, "to the others")
		if kept.Len() != 0 || len(kept.all()) != 0 || len(kept.Select(nil, nil)) != 0 || held(hubs[0]) != 0 {
			t.Errorf("discarded rooms have something, or are held")
		}
		kept.Remove(id)
		kept.Leave(id, "red")

		// There are new rooms: those that were kept are them.
		id, m := add(t, hubs[0], "red")
		b.Payload = []byte("to all")
		kit.OK(t, kept.Emit(b))
		settle()
		got(t, "the new member", m, "to all")
		got(t, "the other node's member", other, "to all")
		if _, ok := kept.Get(id); !ok || !slices.Equal(kept.Of(id), []string{id, "red"}) || !slices.Equal(kept.Members("red"), []string{id}) || !slices.Equal(kept.IDs(), []string{id}) {
			t.Errorf("the kept rooms do not show the new member")
		}
		kit.OK(t, kept.Join(t.Context(), id, "blue"), "Join through the kept rooms")
		say(t, hubs[1], "from there", Broadcast{Rooms: []string{"blue"}})
		settle()
		got(t, "the new member", m, "from there")
		kept.Remove(id)
		if !hubs[0].Rooms("/", frame).Discard() || held(hubs[0]) != 0 {
			t.Error("the new rooms were not discarded")
		}

		// An Add through rooms that were kept makes them the Hub's again.
		id, m = hubs[0].NewID(), new(member)
		kit.OK(t, kept.Add(t.Context(), id, m))
		say(t, hubs[1], "hello again", Broadcast{Rooms: []string{id}})
		settle()
		got(t, "a member added to the kept rooms", m, "hello again")
	})
}

// Members come and go while others discard: each that has been added is reached, whoever holds which Rooms.
func TestDiscardRace(t *testing.T) {
	h := open(t, nil)
	kept := h.Rooms("/", frame)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 500 {
				id, m := h.NewID(), new(member)
				r := kept
				if j%2 == 0 {
					r = h.Rooms("/", frame)
				}
				if err := r.Add(t.Context(), id, m); err != nil {
					t.Error(err)
				}
				if err := kept.Emit(Broadcast{Rooms: []string{id}, Payload: fmt.Append(nil, j)}); err != nil {
					t.Error(err)
				}
				if got := m.take(); len(got) != 1 || got[0] != fmt.Sprint(j) {
					t.Errorf("member %d.%d got %q, want its number", i, j, got)
				}
				r.Remove(id)
				h.Rooms("/", frame).Discard()
			}
		})
	}
	wg.Wait()
	h.Rooms("/", frame).Discard()
	if held(h) != 0 || kept.Len() != 0 {
		t.Errorf("in the end: %d rooms held, %d members", held(h), kept.Len())
	}
}

package cluster

import (
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter/internal/envelope"
	"github.com/belfry-io/belfry/test/kit"
)

// Two rooms of the namespace "/" whose topics have the same hash: one stream to the mesh.
const (
	twinA = "SREm9eHY6AM"
	twinB = "2Dm60aCuvDN"
)

func TestTwins(t *testing.T) {
	if a, b := roomTopic("/", twinA), roomTopic("/", twinB); a == b || hash(a) != hash(b) {
		t.Fatalf("the hashes of %v and %v are %#x and %#x, want the same", a, b, hash(a), hash(b))
	}
}

// Rooms with the same hash stay apart for their members, whoever is in which, and whatever is lost.
func TestRoomsWithOneHash(t *testing.T) {
	for _, lossy := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			hubs, sieves := sifted(t, 3)
			_, a := add(t, hubs[0], twinA)
			_, b := add(t, hubs[1], twinB)
			_, both := add(t, hubs[1], twinA, twinB)
			if lossy {
				for i, s := range sieves {
					rng := rand.New(rand.NewPCG(1, uint64(i)))
					s.set(func(m *envelope.Message) bool { return broadcasts(m) && rng.IntN(3) == 0 })
				}
			}
			var wantA, wantB, wantAll []string
			for i := range 100 {
				payload := string(rune('!' + i))
				wantAll = append(wantAll, payload)
				switch i % 4 {
				case 0:
					say(t, hubs[2], payload, Broadcast{Rooms: []string{twinA}})
					wantA = append(wantA, payload)
				case 1:
					say(t, hubs[2], payload, Broadcast{Rooms: []string{twinB}})
					wantB = append(wantB, payload)
				case 2:
					say(t, hubs[2], payload, Broadcast{Rooms: []string{twinA, twinB}})
					wantA, wantB = append(wantA, payload), append(wantB, payload)
				case 3: // by the topic of the namespace, in its place on both
					say(t, hubs[2], payload, Broadcast{Rooms: []string{"1", twinA, "2", "3", "4", twinB}})
					wantA, wantB = append(wantA, payload), append(wantB, payload)
				}
			}
			time.Sleep(10 * time.Second)
			got(t, "the member of one", a, wantA...)
			got(t, "the member of the other", b, wantB...)
			got(t, "the member of both", both, wantAll...)
			for i, h := range hubs[:2] {
				if s := h.Stats(); s.Missed+s.Unknown != 0 || lossy && s.Repaired == 0 {
					t.Errorf("lossy: %v, node %d: %+v, want nothing missed", lossy, i, s)
				}
			}
		})
	}
}

// A room joins the stream of another while that has a hole, and leaves it: what is for the one that stays comes, and the topics that are
// subscribed are those that have members.
func TestRoomsWithOneHashThatComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, sieves := sifted(t, 2)
		_, a := add(t, hubs[0], twinA)
		id, b := add(t, hubs[0])
		r := hubs[0].Rooms("/", frame)
		sieves[0].set(broadcasts)
		say(t, hubs[1], "1", Broadcast{Rooms: []string{twinA}})
		say(t, hubs[1], "not joined yet", Broadcast{Rooms: []string{twinB}})
		settle()
		sieves[0].set(nil)
		kit.OK(t, r.Join(t.Context(), id, twinB))
		say(t, hubs[1], "2", Broadcast{Rooms: []string{twinB}})
		say(t, hubs[1], "3", Broadcast{Rooms: []string{twinA}})
		time.Sleep(2 * time.Second)
		got(t, "the member of the first", a, "1", "3")
		if came := b.take(); !slices.Equal(came, []string{"2"}) && !slices.Equal(came, []string{"not joined yet", "2"}) {
			t.Errorf("the member of the second got %q, want 2, at the most with what its room was told before", came)
		}
		r.Leave(r.Members(twinA)[0], twinA)
		time.Sleep(2 * time.Second)
		if s := sieves[0].subscriptions(); s[roomTopic("/", twinA)] || !s[roomTopic("/", twinB)] {
			t.Errorf("subscribed to %v, want the second room alone", s)
		}
		say(t, hubs[1], "nobody", Broadcast{Rooms: []string{twinA}}) // which does not come, and looks like a loss
		say(t, hubs[1], "4", Broadcast{Rooms: []string{twinB}})
		time.Sleep(2 * time.Second)
		got(t, "the member of the first", a)
		got(t, "the member of the second", b, "4")
		if s := hubs[0].Stats(); s.Missed+s.Unknown != 0 {
			t.Errorf("%+v, want nothing missed", s)
		}
	})
}

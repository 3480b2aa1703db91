package mesh

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
)

// A union of many rooms travels by the topic of the namespace. It has its place on the stream of each of its rooms all the same: what comes behind
// it in one of them waits for it.
func TestUnionOfManyRoomsIsMissedInEach(t *testing.T) {
	rooms := []string{namespace, "r", "a", "b", "c", "d"}
	for _, others := range []string{"r", "d"} { // the first of its rooms and the last
		s := newScript(t)
		s.receives("o", 0, namespace, others)
		s.gets("o", 1, []uint64{0}, others)
		s.delivers("o1")
		union := []uint64{0, 0, 0, 0, 0, 0}
		union[slices.Index(rooms, others)] = 1
		s.gets("o", 3, []uint64{2}, others) // 2 is the union
		s.delivers()
		s.asks("o", missing(others, 1, 2))
		s.gets("o", 4, []uint64{0}, namespace) // to all: it may overtake
		s.delivers("o4")
		s.repaired("o", 2, union, rooms...)
		s.delivers("o2", "o3")
		s.hears("o", beat(0, 4, tail(namespace, 4), tail(others, 3)))
		s.empty("o", 4)
		s.counted(Counts{Delivered: 4, Repaired: 1, Overtaken: 2})
	}
}

// It waits itself for what is missing in any of its rooms, and what is behind it by the namespace's topic waits with it.
func TestUnionOfManyRoomsWaits(t *testing.T) {
	s := newScript(t)
	s.receives("o", 0, namespace, "r", "a")
	s.gets("o", 3, []uint64{0, 1, 2, 0, 0, 0}, namespace, "r", "a", "b", "c", "d")
	s.asks("o", missing("a", 0, 2), missing("r", 0, 1))
	s.gets("o", 4, []uint64{3}, namespace)
	s.gets("o", 1, []uint64{0}, "r")
	s.delivers("o1")
	s.gets("o", 2, []uint64{0}, "a")
	s.delivers("o2", "o3", "o4")
}

// At the end of a room's stream, the heartbeat names the topic on which the union travelled, which every node with a member of the room receives.
func TestUnionOfManyRoomsAtTheEnd(t *testing.T) {
	s := newScript(t)
	s.receives("o", 0, namespace, "r")
	s.gets("o", 1, []uint64{0}, "r")
	s.hears("o", beat(0, 2, tail(namespace, 2), tail("r", 1)))
	s.asks("o", missing(namespace, 0, 2))
	s.gets("o", 3, []uint64{2}, "r") // shows the same hole
	s.delivers()
	s.wait(nackInterval)
	s.asks("o", missing(namespace, 0, 2), missing("r", 1, 2))
	s.repaired("o", 2, []uint64{0, 1, 0, 0, 0, 0}, namespace, "r", "a", "b", "c", "d")
	s.delivers("o2", "o3")
	s.hears("o", &Gone{})
	s.hears("o", beat(2, 3, tail("r", 3)))
	s.empty("o", 3)
	s.wait(maxNackInterval)
	s.asks("o")
}

// A room that was joined after a union has come by the namespace's topic does not wait for it: its repair is a copy.
func TestUnionOfManyRoomsFromBeforeTheJoin(t *testing.T) {
	s := newScript(t)
	s.receives("o", 0, namespace)
	s.gets("o", 1, []uint64{0, 0, 0, 0, 0, 0}, namespace, "r", "a", "b", "c", "d")
	s.delivers("o1")
	s.joins(2, "r")
	s.answers("o", 1)
	s.gets("o", 2, []uint64{1}, "r")
	s.delivers("o2")
	s.LinkDown(s.at, s.Last())
	s.joins(3, "a") // presumed answered
	s.did(s.LinkUp(s.at))
	s.gets("o", 3, []uint64{1}, "a")
	s.delivers()
	s.asks("o", missing("a", 0, 1))
	s.repaired("o", 1, []uint64{0, 0, 0, 0, 0, 0}, namespace, "r", "a", "b", "c", "d")
	s.delivers("o3")
	s.counted(Counts{Delivered: 3, Copies: 1})
}

// Where it is past in one room, it goes to the others; the topic that it has travelled on selects nobody.
func TestUnionOfManyRoomsPast(t *testing.T) {
	s := newScript(t)
	s.receives("o", 5, namespace, "b")
	s.joins(2, "a")
	s.answers("o", 7)
	s.gets("o", 6, []uint64{0, 5, 4}, namespace, "a", "b")
	s.delivers("o6")
	kit.EqualSlices(t, effects[Deliver[string]](s)[0].Past, []bool{false, true, false}, "past")
}

// What is missed is sent again, on whichever of its topics it was missed; heartbeats and lists name those that something travelled on, and no others.
func TestUnionOfManyRoomsIsAnswered(t *testing.T) {
	s := newScript(t)
	s.knows("o", 0)
	s.wait(HeartbeatInterval)
	s.emits(10, "r")                                                 // 1
	s.emitsOn(1, 10, namespace, "r", "a", "b", "c", "d")             // 2
	s.emits(10, "a")                                                 // 3
	stamp := s.emitsOn(1, 10, namespace, "@o/1", "r", "a", "b", "c") // 4
	kit.EqualSlices(t, stamp.Prev, []uint64{2, 0, 2, 3, 2, 2},
		"the union is behind what was on each topic before, whatever way it went")
	for _, topic := range []string{namespace, "r", "a", "b", "c"} {
		s.nacked(missing(topic, 3, 4))
		s.resent(4, 4, Gone{})
		s.nacked(missing(topic, 1, 2))
		s.resent(2, 2, Gone{})
	}
	if got := effects[Resend[string]](s)[0]; !slices.Equal(got.Stamp.Prev, []uint64{0, 1, 0, 0, 0, 0}) {
		t.Errorf("sent %+v again, want it as it was", got)
	}
	want := []Tail{tail(namespace, 4), tail("a", 3), tail("r", 1)}
	s.wait(HeartbeatInterval)
	if got := sent[*Heartbeat](s, ""); len(got) != 1 || got[0].Upto != 4 || !slices.Equal(got[0].Tails, want) {
		t.Errorf("%+v, want one heartbeat up to 4 with %v", got, want)
	}
	s.hears("o", &Resync{About: old})
	if got := sent[*Heartbeat](s, "o"); len(got) != 1 || !slices.Equal(got[0].Tails, want) {
		t.Errorf("the list is %+v, want %v", got, want)
	}
}

// The links of unions count towards the bounds of the ring, so that it does not grow with their rooms.
func TestRingOfWideUnions(t *testing.T) {
	const rooms = 1000
	d := Limits{}.defaults()
	d.RingBytes, d.RingStamps = d.RingBytes>>6, d.RingStamps>>6
	r := newRing(d)
	add := func(n int) {
		for range n {
			hashes := make([]uint64, rooms)
			for i := range hashes {
				hashes[i] = r.newest*rooms + uint64(i) + 1
			}
			r.add(0, hashes, 1, "payload", 10, r.newest)
		}
	}
	add(10)
	r.check(t, 0, 0, 10*linked(10, rooms), 10*rooms)
	if linked(10, rooms) < rooms*16 {
		t.Errorf("a union of %d rooms counts %d bytes, less than its links", rooms, linked(10, rooms))
	}
	add(100)
	if r.bytes > d.RingBytes || r.bytes < d.RingBytes*9/10 || r.links > linksPerStamp*d.RingStamps || len(r.ends) != r.links {
		t.Errorf("%d bytes, %d links, %d streams", r.bytes, r.links, len(r.ends))
	}
	if r.stripped <= r.horizon { // or losses would be unknown that can be counted
		t.Errorf("payloads up to %d are gone, and stamps up to %d: stamps are to stay longer", r.stripped, r.horizon)
	}
	r = newRing(Limits{RingStamps: 10})
	add(1)
	r.check(t, 0, 0, linked(10, rooms), rooms) // one is there however many rooms it has
	add(1)
	r.check(t, 1, 1, linked(10, rooms), rooms)
	for range 100 {
		r.add(0, []uint64{1}, 1, "payload", 10, r.newest)
	}
	r.check(t, r.newest-10, r.newest-10, 100, 1)
	kit.Equal(t, r.links, 10, "links of 10 numbers")
}

// A Gone names a bounded number of links, and the asker goes on at its end.
func TestGoneOfWideUnions(t *testing.T) {
	s := newScript(t, limited(Limits{RingBytes: 1}))
	s.knows("o", 0)
	topics := []string{namespace}
	for i := range maxGoneLinks/2 - 1 {
		topics = append(topics, fmt.Sprint("room", i))
	}
	for range 5 {
		s.emitsOn(1, 10, topics...)
	}
	s.emits(10, "a")
	for after := uint64(0); after < 4; after += 2 {
		s.nacked(missing(namespace, after, 5))
		got := sent[*Gone](s, "o")
		if len(got) != 1 || len(got[0].Stubs) != 2 || got[0].Stubs[0].Sequence != after+1 || len(got[0].Stubs[0].Links) != len(topics) {
			t.Fatalf("behind %d, %d are gone in one answer, want 2", after, len(got[0].Stubs))
		}
	}
	s = newScript(t, limited(Limits{RingBytes: 1}))
	s.knows("o", 0)
	s.emitsOn(1, 10, append(topics, topics...)...) // by itself larger than the bound
	s.emitsOn(1, 10, append(topics, "x")...)
	s.emits(10, "a")
	s.nacked(missing(namespace, 0, 2))
	if got := sent[*Gone](s, "o"); len(got) != 1 || len(got[0].Stubs) != 1 || got[0].Stubs[0].Sequence != 1 {
		t.Errorf("%d answers, want one that names 1 alone", len(got))
	}
}

// The links of what is held take their room, too.
func TestHeldWideUnions(t *testing.T) {
	const rooms = 1000
	s := newScript(t, limited(Limits{HeldBytes: 3 * (heldOverhead + linkBytes*rooms)}))
	s.receives("o", 0, namespace)
	topics, prev := []string{namespace}, make([]uint64, rooms)
	for i := range rooms - 1 {
		topics = append(topics, fmt.Sprint("room", i))
	}
	for seq := uint64(2); seq < 7; seq++ {
		prev[0] = seq - 1
		s.gets("o", seq, prev, topics...)
	}
	if p := s.peers["o"]; len(p.held) != 2 || p.bytes < 2*rooms*16 || p.bytes != s.heldBytes {
		t.Errorf("%d are held, in %d bytes", len(p.held), p.bytes)
	}
	s.counted(Counts{Unheld: 3})
	s.gets("o", 1, []uint64{0}, namespace)
	s.delivers("o1", "o2", "o3")
	kit.Equal(t, s.heldBytes, 0, "bytes held of nothing")
	s.wait(time.Second)
}

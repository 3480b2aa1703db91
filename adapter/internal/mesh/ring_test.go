package mesh

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
)

func newRing(l Limits) *ring[string] {
	return &ring[string]{limits: l.defaults(), ends: make(map[uint64]ends)}
}

func (r *ring[string]) check(t *testing.T, s, bare uint64, bytes, streams int) {
	t.Helper()
	if r.horizon != s || r.stripped != bare || r.bytes != bytes || len(r.ends) != streams || len(r.entries)-r.head != int(r.newest-r.horizon) {
		t.Fatalf("of %d: horizon %d, bare %d, %d bytes, %d streams, %d entries; want %d, %d, %d, %d, %d",
			r.newest, r.horizon, r.stripped, r.bytes, len(r.ends), len(r.entries)-r.head, s, bare, bytes, streams, int(r.newest-s))
	}
}

func TestLinks(t *testing.T) {
	r := newRing(Limits{})
	for _, want := range []struct{ hashes, prev []uint64 }{
		{[]uint64{1}, []uint64{0}},
		{[]uint64{2, 1}, []uint64{0, 1}},
		{[]uint64{3}, []uint64{0}},
		{[]uint64{1, 2, 3}, []uint64{2, 2, 3}},
		{[]uint64{7, 1, 7, 7}, []uint64{0, 4, 0, 0}}, // topics of one stream
		{[]uint64{1, 7, 7}, []uint64{5, 5, 5}},
		{nil, nil},
	} {
		got := r.add(0, want.hashes, len(want.hashes), "payload", 10, r.newest)
		kit.EqualSlices(t, got.Prev, want.prev, "broadcast", got.Sequence, "on", want.hashes, "previous")
	}
}

// Payloads leave by their bytes, the oldest first, and stamps by their number; a topic that is forgotten begins at the horizon.
func TestRingIsBounded(t *testing.T) {
	r := newRing(Limits{RingBytes: 35, RingStamps: 6})
	for range 3 {
		r.add(0, []uint64{1}, 1, "payload", 10, r.newest)
	}
	r.check(t, 0, 0, 30, 1)
	for range 3 {
		r.add(0, []uint64{2}, 1, "payload", 10, r.newest)
	}
	r.check(t, 0, 3, 30, 2)
	r.add(0, []uint64{2}, 1, "payload", 35, r.newest)
	r.check(t, 1, 6, 35, 2)
	r.add(0, []uint64{2}, 1, "payload", 100, r.newest) // larger than all
	r.add(0, []uint64{2}, 1, "payload", 1, r.newest)
	r.check(t, 3, 8, 1, 1)
	kit.EqualSlices(t, r.add(0, []uint64{1, 2}, 2, "payload", 1, r.newest).Prev, []uint64{3, 9},
		"previous: the horizon 3 and the known 9")
	for range 5000 {
		r.add(0, []uint64{2}, 1, "payload", 1, r.newest)
	}
	r.check(t, r.newest-6, r.newest-6, 6, 1)
	if n := len(r.entries); n > 2500 {
		t.Errorf("%d entries for 6 numbers", n)
	}
}

// Numbers that have not been handed to the link are kept beyond all limits, and begin their age when they are.
func TestUnsentNumbersStay(t *testing.T) {
	r := newRing(Limits{RingBytes: 35, RingStamps: 6, RingAge: time.Second})
	for range 20 {
		r.add(0, []uint64{1}, 1, "payload", 10, 5)
	}
	r.check(t, 5, 5, 150, 1)
	r.expire(time.Hour, 5)
	r.check(t, 5, 5, 150, 1)
	r.renew(time.Hour, 5)
	r.expire(time.Hour+time.Second-1, 20)
	r.check(t, 5, 5, 150, 1)
	r.trim(20)
	r.check(t, 14, 17, 30, 1)
	r.expire(time.Hour+time.Second, 20)
	r.check(t, 14, 20, 0, 1)
	r.expire(time.Hour+2*time.Second, 20)
	r.check(t, 20, 20, 0, 0)
	if r.entries != nil {
		t.Error("an empty ring has entries")
	}
	if got := r.add(time.Hour, []uint64{1}, 1, "payload", 10, 20); got.Sequence != 21 || got.Prev[0] != 20 {
		t.Errorf("number %d with previous %v, want 21 and 20", got.Sequence, got.Prev)
	}
}

// The machine keeps what is behind `sent`, and lets it go only when it was released.
func TestUnsentBroadcastsStay(t *testing.T) {
	s := emitted(t, 3, 10, limited(Limits{RingBytes: 20, RingStamps: 4, RingAge: time.Second}))
	s.did(s.LinkDown(s.at, 2))
	for range 10 {
		s.emits(10, "a")
	}
	s.wait(time.Minute)
	s.ring.check(t, 2, 2, 110, 1)
	s.did(s.LinkUp(s.at))
	s.wait(FenceTimeout)
	if len(effects[Release](s)) != 1 {
		t.Fatal("not released at the end of the opening")
	}
	s.wait(HeartbeatInterval)
	s.nacked(missing("a", 11, 13))
	s.resent(12, 13, Gone{Horizon: 2})
	s.emits(10, "a") // now they leave as any
	s.nacked(missing("a", 11, 14))
	s.resent(13, 14, Gone{Horizon: 10, Stubs: []Stub{number(12, "a", 11)}})
}

// An idle ring forgets what is old: payloads after RingAge, stamps after twice that.
func TestRingExpires(t *testing.T) {
	s := emitted(t, 3, 10)
	s.wait(15 * time.Second)
	s.emits(10, "b")
	s.wait(15*time.Second + HeartbeatInterval)
	s.ring.check(t, 0, 3, 10, 2)
	s.wait(30 * time.Second)
	s.ring.check(t, 3, 4, 0, 1)
	s.wait(15 * time.Second)
	s.ring.check(t, 4, 4, 0, 0)
	if got := s.emits(10, "a"); got.Prev[0] != 4 {
		t.Errorf("previous %v, want the horizon 4", got.Prev)
	}
}

// since agrees with a plain search, whatever was sent on which topics, and wherever the end is.
func TestSince(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 40 {
		r := newRing(Limits{RingStamps: 30})
		var sent [][]uint64 // on which streams each number travelled
		for range rng.IntN(50) {
			hashes := make([]uint64, 1+rng.IntN(4))
			for i := range hashes {
				hashes[i] = uint64(rng.IntN(6))
			}
			travels := 1 + rng.IntN(len(hashes))
			sent = append(sent, hashes[:travels])
			r.add(0, hashes, travels, "payload", 1, r.newest)
		}
		for a := uint64(0); a <= r.newest; a++ {
			for b := a; b <= r.newest; b++ {
				want := make(map[uint64]uint64)
				for seq := max(a, r.horizon) + 1; seq <= b; seq++ {
					for _, h := range sent[seq-1] {
						want[h] = seq
					}
				}
				got := make(map[uint64]uint64)
				for _, tail := range r.since(a, b) {
					got[tail.Hash] = max(got[tail.Hash], tail.Sequence)
					if want[tail.Hash] == 0 || tail.Sequence > want[tail.Hash] {
						t.Fatalf("(%d, %d] lists %v, want %v", a, b, tail, want)
					}
				}
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Fatalf("(%d, %d] lists %v, want %v", a, b, got, want)
				}
			}
		}
	}
}

func TestLimits(t *testing.T) {
	d := Limits{}.defaults()
	if d != (Limits{RingBytes: 64 << 20, RingStamps: 1 << 19, RingAge: 30 * time.Second, HeldBytes: 8 << 20, HeldTotal: 64 << 20,
		Ranges: 1000, Repairs: 512, Tails: 1 << 15}) {
		t.Errorf("defaults %+v", d)
	}
	if got := (Limits{RingBytes: -1, RingStamps: 1 << 20, RingAge: -1, HeldBytes: -1, HeldTotal: -1, Ranges: 1001, Repairs: 513, Tails: -1}).defaults(); got != d {
		t.Errorf("limits out of range become %+v, want the defaults", got)
	}
	set := Limits{RingBytes: 1, RingStamps: 2, RingAge: 3, HeldBytes: 4, HeldTotal: 5, Ranges: 6, Repairs: 7, Tails: 8}
	kit.Equal(t, set.defaults(), set, "limits", set, "become")
	if d.RingStamps >= maxSpan {
		t.Errorf("an origin remembers %d numbers, of which a receiver tells %d apart", d.RingStamps, maxSpan)
	}
}

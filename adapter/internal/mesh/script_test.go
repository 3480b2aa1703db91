package mesh

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
)

const ms = time.Millisecond

// script drives one machine by hand.
type script struct {
	*testing.T
	*Machine[string, string, string, any]
	at  time.Duration
	got []Effect // of the last step
}

// newScript returns the machine of node "me", opened 10 s ago, with its link up.
func newScript(t *testing.T, edit ...func(*Config[string])) *script {
	s := unlinked(t, edit...)
	s.wait(10 * time.Second)
	s.did(s.LinkUp(s.at))
	return s
}

// unlinked returns the machine of node "me", opened just now, with its link not up yet.
func unlinked(t *testing.T, edit ...func(*Config[string])) *script {
	cfg := config("me", hashOf)
	for _, edit := range edit {
		edit(&cfg)
	}
	return &script{T: t, Machine: New[string, string, string, any](cfg)}
}

func limited(l Limits) func(*Config[string]) { return func(cfg *Config[string]) { cfg.Limits = l } }

func (s *script) did(effects []Effect) { s.got = effects }

// wait lets time pass as a shell does: with ticks at the times of Next. It keeps the effects of all.
func (s *script) wait(d time.Duration) {
	s.Helper()
	var got []Effect
	s.ticks(d, func() { got = append(got, s.got...) })
	s.got = got
}

// ticks is wait, and calls after behind each tick.
func (s *script) ticks(d time.Duration, after func()) {
	s.Helper()
	end := s.at + d
	for ticks := 0; s.Next() <= end; ticks++ {
		if ticks > 10_000 {
			s.Fatalf("the machine asks for ticks without end at %v", s.at)
		}
		s.at = max(s.at, s.Next())
		s.did(s.Tick(s.at))
		after()
	}
	s.at = end
}

func (s *script) hears(from string, m Message) { s.did(s.Receive(s.at, from, m)) }

func incoming(from string, seq uint64, prev []uint64, topics ...string) Incoming[string, string] {
	return Incoming[string, string]{Stamp: Stamp{Sequence: seq, Prev: prev}, Topics: topics, Size: 100, Broadcast: fmt.Sprint(from, seq)}
}

// gets takes a broadcast; its name is its origin and number.
func (s *script) gets(from string, seq uint64, prev []uint64, topics ...string) {
	s.did(s.Broadcast(s.at, from, incoming(from, seq, prev, topics...)))
}

// repaired takes a broadcast that was asked for.
func (s *script) repaired(from string, seq uint64, prev []uint64, topics ...string) {
	in := incoming(from, seq, prev, topics...)
	in.Repaired = true
	s.did(s.Broadcast(s.at, from, in))
}

func (s *script) joins(ref any, topics ...string) { s.did(s.Join(s.at, topics, ref)) }

func (s *script) emits(size int, topics ...string) Stamp {
	return s.emitsOn(len(topics), size, topics...)
}

// emitsOn emits what travels on the first topics alone.
func (s *script) emitsOn(travels, size int, topics ...string) Stamp {
	return s.Emit(s.at, topics, travels, fmt.Sprint("me", s.Last()+1), size)
}

var old = About{Age: time.Hour} // of a node older than the script's

// knows makes an older node known that stands at sent.
func (s *script) knows(id string, sent uint64) {
	s.Helper()
	s.answers(id, sent)
	if p := s.peers[id]; !p.started || !p.alive() {
		s.Fatalf("%s is not known after its answer", id)
	}
}

// answers lets an older node answer the last fence.
func (s *script) answers(id string, sent uint64) {
	s.hears(id, &Ack{About: old, Fence: s.fence, Sent: sent})
}

// receives makes an older node known that stands at sent when topics have been joined.
func (s *script) receives(id string, sent uint64, topics ...string) {
	s.Helper()
	s.knows(id, sent)
	s.joins("", topics...)
	s.answers(id, sent)
}

func (s *script) delivers(want ...any) {
	s.Helper()
	var got []any
	for _, e := range s.got {
		if d, ok := e.(Deliver[string]); ok {
			got = append(got, d.Broadcast)
		}
	}
	if !slices.Equal(got, want) {
		s.Fatalf("delivered %v, want %v", got, want)
	}
}

// loses checks what was reported as lost in the last step.
func (s *script) loses(want ...Lost) {
	s.Helper()
	got := effects[Lost](s)
	if !slices.Equal(got, want) {
		s.Fatalf("lost %+v, want %+v", got, want)
	}
}

// ended checks which Joins have ended in the last step: pairs of ref and missing nodes.
func (s *script) ended(want ...any) {
	s.Helper()
	var got []any
	for _, e := range s.got {
		if j, ok := e.(Joined[any]); ok {
			got = append(got, j.Wait, j.Missing)
		}
	}
	if !reflect.DeepEqual(got, want) {
		s.Fatalf("Joins ended: %v, want %v", got, want)
	}
}

var none []string

// effects returns those of one type in the last step.
func effects[E Effect](s *script) []E {
	var list []E
	for _, e := range s.got {
		if e, ok := e.(E); ok {
			list = append(list, e)
		}
	}
	return list
}

// sent returns the messages of one type sent to one node, or to all, in the last step.
func sent[M Message](s *script, to string) []M {
	var list []M
	for _, send := range effects[Send](s) {
		if m, ok := send.Message.(M); ok && send.To == to {
			list = append(list, m)
		}
	}
	return list
}

// asks checks the Nack to a node in the last step; without ranges, that there was none.
func (s *script) asks(to string, want ...Range) {
	s.Helper()
	var got []Range
	nacks := sent[*Nack](s, to)
	for _, n := range nacks {
		got = append(got, n.Ranges...)
	}
	if len(nacks) > 1 || !slices.Equal(got, want) {
		s.Fatalf("asked %d times for %v, want %v", len(nacks), got, want)
	}
}

// missing is a range on a topic.
func missing(topic string, after, upto uint64) Range {
	return Range{Hash: hashOf(topic), After: after, Upto: upto}
}

// number is what is left of a broadcast, with its topics and the numbers before it there.
func number(seq uint64, topicsAndPrevs ...any) Stub {
	n := Stub{Sequence: seq}
	for i := 0; i < len(topicsAndPrevs); i += 2 {
		n.Links = append(n.Links, Link{Hash: hashOf(topicsAndPrevs[i].(string)), Prev: uint64(topicsAndPrevs[i+1].(int))})
	}
	return n
}

// one checks that one message of a type was sent to one node, or to all, in the last step, and returns it.
func one[M Message](s *script, to string) (m M) {
	s.Helper()
	got := sent[M](s, to)
	if len(got) != 1 {
		s.Fatalf("sent %d of %T to %q, want one: %+v", len(got), m, to, got)
	}
	return got[0]
}

// resyncs checks that a node was sent one Resync, from a number on.
func (s *script) resyncs(to string, after uint64) {
	s.Helper()
	kit.Equal(s.T, one[*Resync](s, to).After, after, "start of the Resync")
}

// greets checks that one fence was sent to a node, or to all, which is a hello with a number.
func (s *script) greets(to string, number uint64) {
	s.Helper()
	if f := one[*Fence](s, to); f.Number != number || !f.Hello {
		s.Fatalf("sent %+v, want a hello with number %d", f, number)
	}
}

func (s *script) suspects(want ...string) {
	s.Helper()
	kit.EqualSlices(s.T, s.Suspects(), want, "suspects")
}

func (s *script) members(want ...string) {
	s.Helper()
	kit.EqualSlices(s.T, s.Members(), want, "members")
}

// stands checks the low watermark of a node, and up to where its broadcasts are known of.
func (s *script) stands(id string, low, high uint64) {
	s.Helper()
	if p := s.peers[id]; p.low != low || p.high != high {
		s.Fatalf("of %s: low %d, high %d; want %d and %d", id, p.low, p.high, low, high)
	}
}

// subscribes checks what was subscribed to in the last step.
func (s *script) subscribes(want ...string) {
	s.Helper()
	on, _ := subscribed(s)
	kit.EqualSlices(s.T, on, want, "subscribed")
}

func (s *script) unsubscribes(want ...string) {
	s.Helper()
	_, off := subscribed(s)
	kit.EqualSlices(s.T, off, want, "unsubscribed")
}

func subscribed(s *script) (on, off []string) {
	for _, e := range s.got {
		switch e := e.(type) {
		case Subscribe[string]:
			on = append(on, e.Topics...)
		case Unsubscribe[string]:
			off = append(off, e.Topics...)
		}
	}
	return on, off
}

// counted checks all counts of what has come.
func (s *script) counted(want Counts) {
	s.Helper()
	got := s.Counts()
	got.Nacks, got.Repairs, got.Rejoins, got.Suspects, got.Deaths = 0, 0, 0, 0, 0
	if got != want {
		s.Fatalf("counts %+v, want %+v", got, want)
	}
}

// empty checks that nothing is kept of a node above its low watermark.
func (s *script) empty(id string, floor uint64) {
	s.Helper()
	p := s.peers[id]
	if p.low != floor || p.high != floor {
		s.Fatalf("of %s: floor %d, goal %d; want %d", id, p.low, p.high, floor)
	}
	if len(p.gaps)+len(p.lows)+p.done.len()+len(p.held)+len(p.behind)+len(p.ready)+p.bytes != 0 || s.heldBytes != 0 {
		s.Fatalf("of %s: want %v, last %v, %d done, %d held, %d behind, %d ready, %d bytes, %d of all; want nothing to be kept", id,
			p.gaps, p.lows, p.done.len(), len(p.held), len(p.behind), len(p.ready), p.bytes, s.heldBytes)
	}
}

func beat(a, b uint64, tails ...Tail) *Heartbeat {
	return &Heartbeat{About: old, After: a, Upto: b, Parts: 1, Tails: tails}
}

func tail(topic string, seq uint64) Tail { return Tail{Hash: hashOf(topic), Sequence: seq} }

package mesh

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"
)

const ms = time.Millisecond

// script drives one machine by hand.
type script struct {
	*testing.T
	*Machine[string]
	at  time.Duration
	got []Effect[string] // of the last step
}

// begin returns the machine of node "me", opened 10 s ago, with its link up.
func newScript(t *testing.T) *script {
	s := &script{T: t, Machine: New(config("me"))}
	s.wait(10 * time.Second)
	s.did(s.LinkUp(s.at))
	return s
}

func (s *script) did(effects []Effect[string]) { s.got = effects }

// wait lets time pass as a shell does: with ticks at the times of Next. It keeps the effects of all.
func (s *script) wait(d time.Duration) {
	s.Helper()
	var got []Effect[string]
	end := s.at + d
	for ticks := 0; s.Next() <= end; ticks++ {
		if ticks > 10_000 {
			s.Fatalf("the machine asks for ticks without end at %v", s.at)
		}
		s.at = max(s.at, s.Next())
		got = append(got, s.Tick(s.at)...)
	}
	s.at, s.got = end, got
}

func (s *script) hears(from string, m Message) { s.did(s.Receive(s.at, from, m)) }

// gets takes a broadcast; its name is its origin and number.
func (s *script) gets(from string, g uint64, prev []uint64, topics ...string) {
	s.did(s.Broadcast(s.at, from, Stamp{G: g, Prev: prev}, topics, fmt.Sprint(from, g)))
}

func (s *script) joins(ref any, topics ...string) { s.did(s.Join(s.at, topics, ref)) }

// knows makes an older node known that stands at sent.
func (s *script) knows(id string, sent uint64) {
	s.Helper()
	s.answers(id, sent)
	if p := s.peers[id]; !p.known || p.suspect {
		s.Fatalf("%s is not known after its answer", id)
	}
}

// answers lets an older node answer the last fence.
func (s *script) answers(id string, sent uint64) {
	s.hears(id, &Ack{To: "me", F: s.f, Sent: sent, Age: time.Hour})
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

// ended checks which Joins have ended in the last step: pairs of ref and missing nodes.
func (s *script) ended(want ...any) {
	s.Helper()
	var got []any
	for _, e := range s.got {
		if j, ok := e.(Joined[string]); ok {
			got = append(got, j.Wait, j.Missing)
		}
	}
	if !reflect.DeepEqual(got, want) {
		s.Fatalf("Joins ended: %v, want %v", got, want)
	}
}

var none []string

// sent returns the messages of one type sent to one node, or to all, in the last step.
func sent[M Message](s *script, to string) []M {
	var list []M
	for _, e := range s.got {
		if send, ok := e.(Send[string]); ok && send.To == to {
			if m, ok := send.Message.(M); ok {
				list = append(list, m)
			}
		}
	}
	return list
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

// counted checks all counts.
func (s *script) counted(want Counts) {
	s.Helper()
	if got := s.Counts(); got != want {
		s.Fatalf("counts %+v, want %+v", got, want)
	}
}

package main

import (
	"fmt"
	"slices"
	"time"
)

// own is the origin of events that a session caused by its own requests, and that the node which it
// was connected to emitted to it alone.
const own = 1<<16 - 1

// A mark names an event: its origin's number, and its own.
type mark struct {
	origin uint16
	number uint32
}

// A private event is one for this session alone.
type private struct {
	emitted, done time.Duration // before and after Emit; done is 0 until then
	failed        bool          // nobody knows whether it was emitted
}

// A trip is a return that was recovered.
type trip struct {
	from, to   int // nodes, by their numbers as origins
	lost, back time.Duration
	tries      []string
	broadcasts int // that had come before
}

func (t trip) String() string {
	return fmt.Sprintf("from node %d, lost at %v, to node %d at %v, after %d broadcasts, tried %v",
		t.from, t.lost, t.to, t.back, t.broadcasts, t.tries)
}

// between are the trips between two of the broadcasts that came, and the one before.
func (s *session) between(one, other int) (trips []trip) {
	for i, t := range s.trips {
		if t.broadcasts <= other && (t.broadcasts > one || i+1 == len(s.trips) || s.trips[i+1].broadcasts > one) {
			trips = append(trips, t)
		}
	}
	return trips
}

// about are the trips before and after a time.
func (s *session) about(at time.Duration) []trip {
	i := 0
	for i < len(s.trips) && s.trips[i].back < at {
		i++
	}
	return s.trips[max(0, i-1):min(len(s.trips), i+1)]
}

// describe tells of a broadcast, and of what matters for whether it was due.
func (s *session) describe(m mark, b broadcast) string {
	return fmt.Sprintf("broadcast %d of node %d, emitted at %v to %v except %v; the session's rooms: %v; its returns: %v",
		m.number, m.origin, b.emitted, b.selection.rooms, b.selection.except, s.roomsOf(b.selection), s.about(b.emitted))
}

// roomsOf are the memberships that matter for a broadcast.
func (s *session) roomsOf(of selection) map[room]membership {
	rooms := make(map[room]membership)
	for _, r := range append(slices.Clone(of.rooms), of.except...) {
		if m, ok := s.rooms[r]; ok {
			rooms[r] = m
		}
	}
	return rooms
}

// A session is what one session of a client was due, and what it got. The client's lock guards it.
type session struct {
	client    int
	id, pid   string
	greeted   time.Duration // when it had the answer to its CONNECT
	ended     time.Duration // when it lost its last connection, if it was refused after that; otherwise 0
	at        *node         // where it is, or was last
	trips     []trip
	moved     int // how many of them led to another node than before
	rooms     map[room]membership
	privately map[mark]private

	broadcasts []mark // in the order in which they came
	privates   []mark
}

func newSession(client int, id, pid string, now time.Duration) *session {
	return &session{client: client, id: id, pid: pid, greeted: now,
		rooms: make(map[room]membership), privately: make(map[mark]private)}
}

// ask notes that a change is asked for. It is that of the same room that was asked for before, if that
// has no answer yet.
func (s *session) ask(r room, joined bool, by int, now time.Duration) {
	if m := s.rooms[r]; len(m) == 0 || m[len(m)-1].answered != 0 {
		s.rooms[r] = append(m, edit{asked: now, joined: joined, by: by})
	}
}

// answer notes that the change is made.
func (s *session) answer(r room, now time.Duration) {
	m := s.rooms[r]
	m[len(m)-1].answered = now
}

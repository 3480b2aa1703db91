package main

import (
	"reflect"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
)

const second = time.Second

// TestMembershipAt: a change counts exactly from its answer on, and nothing is known from the time of a
// delivery before it was asked for.
func TestMembershipAt(t *testing.T) {
	m := membership{
		{asked: 10 * second, answered: 11 * second, joined: true},
		{asked: 20 * second, answered: 21 * second},
		{asked: 30 * second, joined: true}, // not answered
	}
	for _, c := range []struct {
		from, to time.Duration
		want     stand
	}{
		{1 * second, 2 * second, out},
		{7 * second, 9 * second, unsure}, // a delivery may be late by 2 s
		{10 * second, 10 * second, unsure},
		{11 * second, 11 * second, unsure},
		{12 * second, 12 * second, in},
		{17 * second, 17 * second, in},
		{19 * second, 19 * second, unsure},
		{22 * second, 22 * second, out},
		{29 * second, 29 * second, unsure},
		{99 * second, 99 * second, unsure},
	} {
		stand, _ := m.at(c.from, c.to, 2*second)
		kit.Equal(t, stand, c.want, "from", c.from, "to", c.to)
	}
	again := membership{{asked: 1, answered: 2, joined: true}, {asked: 3, answered: 4, joined: true}}
	if stand, _ := again.at(3, 3, 0); stand != in {
		t.Error("a join of a room that it is in is a change")
	}
}

// world is one session, and what one node has emitted: a broadcast a second, from second 0 on.
func world(selections ...selection) (*history, *session) {
	h := &history{late: second / 2, end: time.Hour, origins: make([]origin, 1)}
	for n, s := range selections {
		at := time.Duration(n) * second
		h.origins[0].sung = append(h.origins[0].sung, broadcast{emitted: at, done: at, selection: s})
	}
	h.prepare()
	s := newSession(0, "id", "pid", second/4)
	for r := room(1); r < 3; r++ {
		s.ask(r, true, -1, second/4)
		s.answer(r, second/3)
	}
	return h, s
}

// TestCheck: the check finds each kind of fault, and none where there is none.
func TestCheck(t *testing.T) {
	one, all := selection{rooms: []room{1}}, selection{}
	union := selection{rooms: []room{7, 1, 2}}
	elsewhere, except := selection{rooms: []room{7}}, selection{rooms: []room{1}, except: []room{2}}
	loose := selection{rooms: []room{1}, volatile: true}
	for _, c := range []struct {
		name   string
		got    []uint32
		change func(h *history, s *session)
		want   verdict
	}{
		{name: "all that was due", got: []uint32{1, 2, 3}, want: verdict{Due: 3}},
		{name: "lost", got: []uint32{1, 3}, want: verdict{Due: 3, Lost: 1}},
		{name: "the last is lost", got: []uint32{1, 2}, want: verdict{Due: 3, Lost: 1}},
		{name: "twice", got: []uint32{1, 2, 2, 3}, want: verdict{Due: 3, Doubled: 1}},
		{name: "order in a room", got: []uint32{3, 1, 2}, want: verdict{Due: 3, Disorder: 1}},
		{name: "no order across rooms", got: []uint32{2, 1, 3}, want: verdict{Due: 3}},
		{name: "for others", got: []uint32{1, 2, 3, 4}, want: verdict{Due: 3, Ghosts: 1}},
		{name: "excepted", got: []uint32{1, 2, 3, 5}, want: verdict{Due: 3, Ghosts: 1}},
		{name: "volatile", got: []uint32{1, 2, 3, 6}, want: verdict{Due: 3}},
		{name: "volatile and twice", got: []uint32{1, 2, 3, 6, 6}, want: verdict{Due: 3, Doubled: 1}},
		{name: "left before", got: []uint32{1, 2}, want: verdict{Due: 2},
			change: func(_ *history, s *session) {
				for r := room(1); r < 3; r++ {
					s.ask(r, false, -1, 2600*time.Millisecond)
					s.answer(r, 2700*time.Millisecond)
				}
			}},
		{name: "refused after that", got: []uint32{1}, want: verdict{Due: 1},
			change: func(_ *history, s *session) { s.ended = 2 * second }},
		{name: "refused later", got: []uint32{1}, want: verdict{Due: 2, Lost: 1},
			change: func(_ *history, s *session) { s.ended = 2*second + 600*time.Millisecond }},
		{name: "the origin was killed", got: []uint32{1}, want: verdict{Due: 1},
			change: func(h *history, _ *session) { h.origins[0].killed = 3 * second }},
		{name: "an event of a killed origin that nobody knows", got: []uint32{1, 2, 3, 99}, want: verdict{Due: 3},
			change: func(h *history, _ *session) { h.origins[0].killed = time.Hour }},
		{name: "an emit that failed", got: []uint32{1, 3}, want: verdict{Due: 2},
			change: func(h *history, _ *session) { h.origins[0].sung[2].failed = true }},
	} {
		h, s := world(one, one, all, union, elsewhere, except, loose)
		if c.change != nil {
			c.change(h, s)
		}
		for _, n := range c.got {
			s.broadcasts = append(s.broadcasts, mark{0, n})
		}
		got := h.check(s)
		if !same(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}

func same(a, b verdict) bool {
	return a.Due == b.Due && a.Lost == b.Lost && a.Doubled == b.Doubled && a.Disorder == b.Disorder && a.Ghosts == b.Ghosts
}

// TestCheckPrivate: events for one session alone are held to the same.
func TestCheckPrivate(t *testing.T) {
	for _, c := range []struct {
		name string
		got  []uint32
		want verdict
	}{
		{"all", []uint32{1, 2, 3}, verdict{Due: 3}},
		{"one that nobody is sure of", []uint32{1, 2, 3, 4}, verdict{Due: 3}},
		{"lost", []uint32{1, 3}, verdict{Due: 3, Lost: 1}},
		{"twice", []uint32{1, 2, 3, 3}, verdict{Due: 3, Doubled: 1}},
		{"order", []uint32{1, 3, 2}, verdict{Due: 3, Disorder: 1}},
		{"another's", []uint32{1, 2, 3, 9}, verdict{Due: 3, Ghosts: 1}},
	} {
		h, s := world()
		for n := range uint32(4) {
			s.privately[mark{0, n + 1}] = private{emitted: 2 * second, done: 2 * second, failed: n == 3}
		}
		for _, n := range c.got {
			s.privates = append(s.privates, mark{0, n})
		}
		if got := h.check(s); !same(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}

// TestSelected: selections are the same each time, and of every kind.
func TestSelected(t *testing.T) {
	p := plan{Seed: 1, Rooms: 200, Rate: 20}
	kinds := make(map[string]int)
	for n := range 1000 {
		s, again := p.selected(3, n), p.selected(3, n)
		if !reflect.DeepEqual(s, again) {
			t.Fatalf("number %d is for %v, and for %v", n, s, again)
		}
		for kind, is := range map[string]bool{
			"all": len(s.rooms) == 0, "one": len(s.rooms) == 1, "five": len(s.rooms) == 5,
			"except": len(s.except) > 0, "volatile": s.volatile,
		} {
			if kinds[kind] += 0; is {
				kinds[kind]++
			}
		}
	}
	for kind, n := range kinds {
		if n < 10 {
			t.Errorf("%d selections are of the kind %q", n, kind)
		}
	}
}

// TestState: the offset moves as in socket.io-client 4.8.
func TestState(t *testing.T) {
	s := new(state)
	event := func(args string) { s.event(args) }
	kit.Equal(t, s.hello(map[string]string{"name": "1"}), `40{"name":"1"}`)
	event(`["early",1,"a"]`)
	recovered, early, err := s.welcome(`{"sid":"S","pid":"P"}`)
	kit.OK(t, err)
	kit.Check(t, !recovered, "recovered without a pid")
	kit.EqualSlices(t, early, []string{`["early",1,"a"]`})
	kit.Equal(t, s.offset, "")
	s.emit(early[0])
	kit.Equal(t, s.offset, "a")
	event(`["b",1,"b"]`)
	event(`["b",2]`)
	kit.Equal(t, s.offset, "b")
	s.lose()
	event(`["kept",1,"c"]`) // of the connection that has broken, or of a new one before its CONNECT
	kit.Equal(t, s.hello(nil), `40{"offset":"b","pid":"P"}`)
	recovered, early, err = s.welcome(`{"sid":"S","pid":"P"}`)
	kit.OK(t, err)
	kit.Check(t, recovered, "not recovered with the same pid")
	kit.Len(t, early, 1)
	recovered, _, _ = s.welcome(`{"sid":"S2","pid":"P2"}`)
	kit.Check(t, !recovered, "recovered with another pid")
	kit.Equal(t, s.hello(nil), `40{"offset":"b","pid":"P2"}`, "an offset is left over")
	_, _, _ = s.welcome(`{"sid":"S3"}`)
	event(`["b",1,"d"]`)
	kit.Equal(t, s.offset, "b", "without recovery")
}

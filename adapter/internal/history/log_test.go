package history

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
)

// stage is a log to which lines are done, such as "emit r s - t" (an entry for r and s without t),
// "begin r" (one that is never filled), "only a", "a joins r", "a leaves r", "forget a", "wait 1s".
// After a namespace, as in "/b: emit r", it happens there, else in "/".
type stage struct {
	log *Log[string]
	now time.Duration
}

func (s *stage) do(t *testing.T, line string) {
	namespace, what, other := strings.Cut(line, ": ")
	if !other {
		namespace, what = "/", line
	}
	words := strings.Fields(what)
	switch words[0] {
	case "emit", "begin":
		rooms, except := words[1:], []string(nil)
		if i := slices.Index(rooms, "-"); i >= 0 {
			rooms, except = rooms[:i], rooms[i+1:]
		}
		n := s.log.Broadcast(s.now, namespace, rooms, except)
		if words[0] == "emit" {
			s.log.Fill(n, "node", n, line, 100)
		}
	case "only":
		n := s.log.Only(s.now, namespace, words[1])
		s.log.Fill(n, "node", n, line, 100)
	case "forget":
		s.log.Forget(namespace, words[1])
	case "wait":
		s.now += kit.Must(time.ParseDuration(words[1]))(t)
		s.log.Expire(s.now)
	default:
		s.log.Changed(s.now, namespace, words[0], words[2], words[1] == "joins")
	}
}

// TestMissed has the rules one by one: what a, who is in rooms in the end, has missed.
func TestMissed(t *testing.T) {
	for _, c := range []struct {
		name, lines, rooms string
		after              uint64
		want               string // lines, or "gone"
	}{
		{"nothing happened", "", "a r", 0, ""},
		{"a room", "emit r; emit s; emit r", "r", 0, "emit r; emit r"},
		{"after", "emit r; emit s; emit r", "r", 1, "emit r"},
		{"after the last", "emit r", "r", 1, ""},
		{"after what is to come", "emit r", "r", 9, ""},
		{"own room", "emit a; emit b", "a", 0, "emit a"},
		{"without its own room", "emit a; emit", "", 0, "emit"},
		{"all, and a room, in order", "emit; emit r; emit s; emit", "r", 0, "emit; emit r; emit"},
		{"a union, once", "emit r s t; emit s r", "r s t", 0, "emit r s t; emit s r"},
		{"a room named twice", "emit r r; emit r; emit s r r s", "r", 0, "emit r r; emit r; emit s r r s"},
		{"except", "emit r - s; emit r - t", "r s", 0, "emit r - t"},
		{"all except", "emit - s; emit - t", "r s", 0, "emit - t"},
		{"except its own room", "emit - a; emit - b", "a", 0, "emit - b"},
		{"another namespace", "/b: emit r; /b: emit; /b: only a; /b: a leaves r; emit r", "r", 0, "emit r"},
		{"only", "only b; only a; /b: only a", "", 0, "only a"},
		{"never filled", "begin r; emit r; begin", "r", 0, "emit r"},
		{"joined later", "emit r; a joins r; emit r", "r", 0, "emit r"},
		{"left later", "emit r; a leaves r; emit r", "", 0, "emit r"},
		{"left and back", "emit r; a leaves r; emit r t; a joins r; emit r s", "r", 0, "emit r; emit r s"},
		{"there for a while", "emit r; a joins r; emit r s; a leaves r; emit r", "", 0, "emit r s"},
		{"except's room joined later", "emit r - s; a joins s; emit r - s", "r s", 0, "emit r - s"},
		{"except's room left later", "emit r - s; a leaves s; emit r - s x", "r", 0, "emit r - s x"},
		{"all except a room left later", "emit - s; a leaves s; emit - s x", "", 0, "emit - s x"},
		{"own room left", "emit a; a leaves a; emit a; emit - a", "", 0, "emit a; emit - a"},
		{"one room of a union left", "emit r s; a leaves r; emit r s x", "s", 0, "emit r s; emit r s x"},
		{"another's change", "emit r; b leaves r; /b: a leaves r; emit r", "r", 0, "emit r; emit r"},
		{"a change of a room that nothing names", "emit s; a joins r; emit r; a leaves r", "", 0, "emit r"},
		{"a change below after", "emit r; a leaves r; emit r; a joins r; emit r", "r", 4, "emit r"},
		{"too old", "emit r; wait 11s; emit r", "r", 0, "gone"},
		{"all that is too old was seen", "emit r; wait 11s; emit r", "r", 1, "emit r"},
		{"as old as may be", "emit r; wait 10s", "r", 0, "emit r"},
		{"old, and nothing new", "emit r; wait 11s", "r", 0, "gone"},
		{"old and seen, and nothing new", "emit r; wait 11s", "r", 1, ""},
		{"an old change", "emit r; a leaves r; wait 11s; emit r; a joins r; emit r", "r", 1, "gone"},
		{"forgotten, and again", "emit r; a leaves r; only a; forget a; emit r; a leaves r", "", 3, "emit r"},
		{"forgotten is another", "emit r; a leaves r; only a; forget b; forget a a", "", 9, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := stage{log: New[string](1<<20, 10*time.Second)}
			for line := range strings.SplitSeq(c.lines, "; ") {
				if line != "" {
					s.do(t, line)
				}
			}
			due, ok := s.log.Missed("/", "a", strings.Fields(c.rooms), c.after)
			var got []string
			for _, e := range due {
				got = append(got, e.Payload)
				kit.Equal(t, e, Entry[string]{e.N, "node", e.N, e.Payload, 100})
			}
			if !ok {
				got = append(got, "gone")
			}
			kit.Equal(t, strings.Join(got, "; "), c.want)
		})
	}
}

// TestNumbers checks what takes a number, and what does not.
func TestNumbers(t *testing.T) {
	s := stage{log: New[string](1<<20, time.Hour)}
	for _, c := range []struct {
		line string
		last uint64
	}{
		{"a joins r", 0}, {"emit r", 1}, {"a leaves s", 1}, {"a leaves r", 2}, {"b joins r", 3},
		{"only c", 4}, {"c joins c", 4}, {"emit - s", 5}, {"c joins s", 6}, {"/b: c joins s", 6},
		{"forget c", 6}, {"c joins t", 6}, {"begin t", 7}, {"c leaves t", 8},
	} {
		s.do(t, c.line)
		kit.Equal(t, s.log.Last(), c.last, c.line)
	}
	kit.Equal(t, s.log.Len(), 8)
	s.do(t, "wait 2h")
	kit.Equal(t, s.log.Len(), 0)
	s.do(t, "c joins t")
	kit.Equal(t, s.log.Last(), 8, "a change that no entry needs any more")
}

// TestLarge checks that an entry larger than the log is forgotten with all before it.
func TestLarge(t *testing.T) {
	l := New[int](10_000, time.Hour)
	l.Fill(l.Broadcast(0, "/", nil, nil), "node", 1, 1, 100)
	large := l.Broadcast(0, "/", nil, nil)
	l.Fill(large, "node", 2, 2, 20_000)
	l.Fill(large, "node", 2, 2, 10)
	kit.Equal(t, l.Len(), 0)
	kit.Equal(t, l.Bytes(), 0)
	_, ok := l.Missed("/", "a", nil, 1)
	kit.Equal(t, ok, false)
	l.Fill(l.Broadcast(0, "/", nil, nil), "node", 3, 3, 9000)
	due, ok := l.Missed("/", "a", nil, large)
	kit.Check(t, ok && len(due) == 1 && due[0].Payload == 3, "after the large one: %v %v", due, ok)
}

// TestFillOnce checks that an entry stays what it is, and that only entries are filled.
func TestFillOnce(t *testing.T) {
	l := New[int](10_000, time.Hour)
	n := l.Broadcast(0, "/", []string{"r"}, nil)
	l.Changed(0, "/", "a", "r", false)
	for range 3 {
		l.Fill(n, "node", 1, 1, 100)
		l.Fill(n+1, "node", 2, 2, 200)
		l.Fill(n+2, "node", 3, 3, 300)
		l.Fill(0, "node", 3, 3, 300)
		l.Fill(n, "other", 4, 4, 400)
	}
	due, ok := l.Missed("/", "a", nil, 0)
	kit.Check(t, ok && len(due) == 1 && due[0] == Entry[int]{n, "node", 1, 1, 100}, "%v %v", due, ok)
	kit.Equal(t, l.Len(), 2)
}

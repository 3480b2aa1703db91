package history

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// model is a log that remembers all, each entry with the rooms that every member had at the time.
type model struct {
	t       *testing.T
	next    func(n int) int // the next choice, below n
	log     *Log[int]
	bound   int
	keep    time.Duration
	now     time.Duration
	entries []happened
	at      []time.Duration // of every number, from 1
	members map[who]rooms
	since   map[who]uint64 // what Missed may be asked for
	horizon uint64
}

type (
	who   struct{ namespace, id string }
	rooms = map[string]bool
)

// happened is an entry of the model, due to those in to.
type happened struct {
	Entry[int]
	filled bool
	to     map[who]bool
}

var (
	namespaces = []string{"/", "/b"}
	ids        = []string{"a", "b", "c"}
	names6     = []string{"a", "b", "c", "r", "s", "t"} // the members' own rooms, too
)

func (m *model) pick(from []string) string { return from[m.next(len(from))] }

func (m *model) some(from []string, most int) (picked []string) {
	for range m.next(most + 1) {
		picked = append(picked, m.pick(from))
	}
	return picked
}

func (m *model) who() who { return who{m.pick(namespaces), m.pick(ids)} }

// step does one thing to both.
func (m *model) step() {
	m.now += time.Duration(m.next(3))
	switch m.next(12) {
	case 0, 1, 2:
		m.broadcast()
	case 3:
		w := m.who()
		m.began(m.log.Only(m.now, w.namespace, w.id), func(v who) bool { return v == w })
	case 4, 5, 6, 7:
		m.change(m.who(), m.pick(names6))
	case 8:
		w := m.who()
		if m.members[w] == nil {
			m.members[w] = make(rooms)
			m.since[w] = m.log.Last()
			m.change(w, w.id)
		} else if m.next(4) == 0 {
			m.log.Forget(w.namespace, w.id)
			delete(m.members, w)
		}
	case 9:
		m.now += time.Duration(m.next(int(m.keep)))
		m.log.Expire(m.now)
		m.expired()
	case 10:
		if len(m.entries) > 0 {
			m.fill(len(m.entries) - 1 - m.next(min(len(m.entries), 5)))
		}
	case 11:
		m.ask(m.who(), uint64(m.next(int(m.log.Last())+3)))
	}
	m.bounded()
}

func (m *model) broadcast() {
	namespace := m.pick(namespaces)
	to, except := m.some(names6, 3), m.some(names6, 2)
	n := m.log.Broadcast(m.now, namespace, to, except)
	m.began(n, func(w who) bool {
		in := func(name string) bool { return m.members[w][name] }
		return w.namespace == namespace && !slices.ContainsFunc(except, in) &&
			(len(to) == 0 || slices.ContainsFunc(to, in))
	})
}

// began enters entry n, and often fills it at once.
func (m *model) began(n uint64, to func(who) bool) {
	m.numbered(n)
	h := happened{Entry: Entry[int]{N: n}, to: make(map[who]bool)}
	for w := range m.members {
		h.to[w] = to(w)
	}
	m.entries = append(m.entries, h)
	if m.next(4) > 0 {
		m.fill(len(m.entries) - 1)
	}
}

func (m *model) fill(i int) {
	e := Entry[int]{m.entries[i].N, m.pick([]string{"one", "two"}), uint64(m.next(100)), m.next(100), m.next(300)}
	if m.next(40) == 0 {
		e.Size = m.bound * 2
	}
	m.log.Fill(e.N, e.Origin, e.Seq, e.Payload, e.Size)
	if !m.entries[i].filled {
		m.entries[i].Entry, m.entries[i].filled = e, true
	}
}

// change lets a member leave a room that it is in, or join one that it is not in.
func (m *model) change(w who, name string) {
	in := m.members[w]
	if in == nil {
		return
	}
	joined := !in[name]
	last := m.log.Last()
	m.log.Changed(m.now, w.namespace, w.id, name, joined)
	if m.log.Last() > last {
		m.numbered(last + 1)
	}
	if in[name] = true; !joined {
		delete(in, name)
	}
}

func (m *model) numbered(n uint64) {
	if m.at = append(m.at, m.now); n != uint64(len(m.at)) || m.log.Last() != n {
		m.t.Fatalf("number %d follows %d, the last is %d", n, len(m.at)-1, m.log.Last())
	}
	m.expired()
}

// expired checks that nothing is older than it may be.
func (m *model) expired() {
	if h := m.log.Horizon(); h < m.log.Last() && m.now-m.at[h] > m.keep {
		m.t.Fatalf("number %d of %v is there at %v", h+1, m.at[h], m.now)
	}
}

// bounded checks that the log is within its bound, and forgot no more than it had to.
func (m *model) bounded() {
	h := m.log.Horizon()
	if h < m.horizon || m.log.Bytes() > m.bound || m.log.Bytes() < 0 || m.log.Len() != int(m.log.Last()-h) {
		m.t.Fatalf("horizon %d after %d, %d of %d bytes, %d records", h, m.horizon, m.log.Bytes(), m.bound, m.log.Len())
	}
	if h > m.horizon && m.now-m.at[h-1] <= m.keep && m.log.Bytes()+m.large(h) <= m.bound {
		m.t.Fatalf("number %d of %v was forgotten at %v with %d bytes", h, m.at[h-1], m.now, m.log.Bytes())
	}
	m.horizon = h
}

// large is the most that number n may take.
func (m *model) large(n uint64) int {
	size := m.log.slot + 8*(chainBytes+linkBytes+16)
	for _, e := range m.entries {
		if e.N == n {
			size += e.Size
		}
	}
	return size
}

// ask compares what a member has missed.
func (m *model) ask(w who, after uint64) {
	in := m.members[w]
	if in == nil || after < m.since[w] {
		return
	}
	var want []Entry[int]
	if after >= m.horizon {
		for _, e := range m.entries {
			if e.N > after && e.filled && e.to[w] {
				want = append(want, e.Entry)
			}
		}
	}
	got, ok := m.log.Missed(w.namespace, w.id, slices.Collect(maps.Keys(in)), after)
	if ok != (after >= m.horizon) || !slices.Equal(got, want) {
		m.t.Fatalf("%v missed after %d, of %d to %d:\ngot  %v %v\nwant %v", w, after, m.horizon+1, m.log.Last(), got, ok, want)
	}
	for k, c := range m.log.names.chains {
		if c.in || c.walked {
			m.t.Fatalf("%v has a mark", k)
		}
	}
}

// run is a whole life of a log.
func run(t *testing.T, steps int, next func(n int) int) {
	m := &model{t: t, next: next, members: make(map[who]rooms), since: make(map[who]uint64)}
	m.bound, m.keep = 1000+next(40)*next(1000), time.Duration(1+next(200))
	m.log = New[int](m.bound, m.keep)
	for range steps {
		m.step()
	}
	for w := range m.members {
		for after := range m.log.Last() + 3 {
			m.ask(w, after)
		}
	}
	m.now += m.keep + 1
	m.log.Expire(m.now)
	if l := m.log; l.Len() != 0 || l.Bytes() != 0 || len(l.names.chains) != 0 || len(l.ring.pieces) > 1 {
		t.Fatalf("left: %d records, %d bytes, %v, %d pieces", l.Len(), l.Bytes(), l.names.chains, len(l.ring.pieces))
	}
}

// TestModel compares the log with one that remembers all.
func TestModel(t *testing.T) {
	for seed := range uint64(1500) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			run(t, 300, rand.New(rand.NewPCG(seed, 1)).IntN)
		})
	}
}

// FuzzModel does the same with choices that the fuzzer makes.
func FuzzModel(f *testing.F) {
	f.Add([]byte("some choices, one after the other"))
	f.Fuzz(func(t *testing.T, choices []byte) {
		run(t, len(choices)/4, func(n int) int {
			if len(choices) == 0 {
				return 0
			}
			c := choices[0]
			choices = choices[1:]
			return int(c) % n
		})
	})
}

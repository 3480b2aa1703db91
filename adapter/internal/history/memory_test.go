package history

import (
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

func heap() int {
	var s runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&s)
	return int(s.HeapAlloc)
}

// TestBytes checks that a log takes what it says, of entries of every kind, and gives it back.
func TestBytes(t *testing.T) {
	const n, size = 40_000, 160
	name := func(prefix string, i int) string { return prefix + strconv.Itoa(i) }
	fill := func(l *Log[*payload], n uint64) {
		// Strings of their own, as those from a decoder are.
		l.Fill(n, strings.Clone("a node"), 1, &payload{make([]byte, size-24)}, size)
	}
	for _, c := range []struct {
		name string
		add  func(l *Log[*payload], i int)
	}{
		{"few rooms", func(l *Log[*payload], i int) { fill(l, l.Broadcast(0, "/", []string{name("r", i%200)}, nil)) }},
		{"namespace", func(l *Log[*payload], i int) { fill(l, l.Broadcast(0, "/", nil, nil)) }},
		{"a room each", func(l *Log[*payload], i int) { fill(l, l.Broadcast(0, "/", []string{name("r", i)}, nil)) }},
		{"long names", func(l *Log[*payload], i int) {
			fill(l, l.Broadcast(0, "/", []string{name(strings.Repeat("r", 100), i)}, nil))
		}},
		{"unions", func(l *Log[*payload], i int) {
			rooms := []string{name("r", i%200), name("s", i%200), name("t", i%200), name("u", i%200)}
			fill(l, l.Broadcast(0, "/", rooms, []string{name("v", i%7), name("w", i%7)}))
		}},
		{"only", func(l *Log[*payload], i int) { fill(l, l.Only(0, "/", name("id of a member ", i))) }},
		{"changes", func(l *Log[*payload], i int) {
			if i == 0 {
				l.Broadcast(0, "/", []string{"r"}, nil)
			}
			l.Changed(0, "/", name("id of a member ", i%5000), "r", i%10_000 < 5000)
		}},
		{"changes of a member each", func(l *Log[*payload], i int) {
			if i == 0 {
				l.Broadcast(0, "/", []string{"r"}, nil)
			}
			l.Changed(0, "/", name("id of a member ", i), "r", true)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := heap()
			l := New[*payload](1<<30, time.Minute)
			for i := range n {
				c.add(l, i)
			}
			took := heap() - before
			t.Logf("%d bytes each, by its own account %d", took/n, l.Bytes()/n)
			if l.Bytes() < took*85/100 || l.Bytes() > took*115/100 {
				t.Errorf("Bytes says %d, the heap %d", l.Bytes(), took)
			}
			l.Expire(time.Hour)
			if left := heap() - before; left > 100_000 || l.Bytes() != 0 {
				t.Errorf("%d of %d bytes are left, by its own account %d", left, took, l.Bytes())
			}
			runtime.KeepAlive(l)
		})
	}
}

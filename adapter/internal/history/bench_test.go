package history

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"time"
)

type payload struct{ text []byte }

// busy returns a log of n filled entries for 200 rooms, and the names of those.
func busy(n int) (*Log[*payload], []string) {
	names := make([]string, 200)
	for i := range names {
		names[i] = "room" + strconv.Itoa(i)
	}
	l := New[*payload](64<<20, time.Hour)
	rng := rand.New(rand.NewPCG(1, 1))
	for range n {
		i := rng.IntN(len(names))
		l.Fill(l.Broadcast(0, "/", names[i:i+1], nil), "node", 1, &payload{}, 160)
	}
	return l, names
}

// BenchmarkBroadcast enters broadcasts into a full log, which forgets as many.
func BenchmarkBroadcast(b *testing.B) {
	for _, rooms := range []int{1, 2} {
		b.Run(strconv.Itoa(rooms), func(b *testing.B) {
			l, names := busy(10_000)
			l.bound = l.Bytes()
			p := new(payload)
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				l.Fill(l.Broadcast(0, "/", names[i:i+rooms], nil), "node", 1, p, 160)
				i = (i + 1) % (len(names) - rooms)
			}
		})
	}
}

// BenchmarkChanged is a join and a leave of a room that an entry names, and of one that none does.
func BenchmarkChanged(b *testing.B) {
	for _, named := range []bool{true, false} {
		b.Run(strconv.FormatBool(named), func(b *testing.B) {
			l, _ := busy(10_000)
			now := time.Duration(0)
			b.ReportAllocs()
			for b.Loop() {
				if named {
					if now += time.Second; now%(1000*time.Second) == 0 {
						l.Broadcast(now, "/", []string{"room"}, nil)
					}
				}
				l.Changed(now, "/", "a", "room", true)
				l.Changed(now, "/", "a", "room", false)
			}
		})
	}
}

// BenchmarkMissed asks a log of 10,000 entries for about 20 of a member's three rooms.
func BenchmarkMissed(b *testing.B) {
	l, names := busy(10_000)
	after, due := l.Last(), 0
	for due < 20 {
		after--
		missed, _ := l.Missed("/", "a", names[:3], after)
		due = len(missed)
	}
	b.ReportAllocs()
	for b.Loop() {
		l.Missed("/", "a", names[:3], after)
	}
	b.ReportMetric(float64(due), "missed")
}

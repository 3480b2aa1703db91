package mesh

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkBroadcast takes broadcasts of one node, where others have left.
func BenchmarkBroadcast(b *testing.B) {
	for _, left := range []int{0, 50, maxTombstones} {
		b.Run(fmt.Sprint(left, " left"), func(b *testing.B) {
			m := New(config("me", hashOf))
			m.LinkUp(0)
			m.Receive(0, "o", &Ack{About: old, F: m.f})
			m.Join(0, []string{"a"}, 1)
			m.Receive(0, "o", &Ack{About: old, F: m.f})
			for i := range left {
				m.Receive(0, fmt.Sprint("left", i), &Bye{About: old})
			}
			now := time.Second
			b.ReportAllocs()
			for g := uint64(1); b.Loop(); g++ {
				m.Broadcast(now, "o", Incoming[string]{Stamp: Stamp{G: g, Prev: []uint64{g - 1}}, Topics: []string{"a"}, Size: 100})
				m.Next()
				if g%1000 == 0 {
					m.Receive(now, "o", beat(g-1000, g))
				}
			}
			if n := m.Counts().Delivered; n != uint64(b.N) {
				b.Fatalf("%d of %d were delivered", n, b.N)
			}
		})
	}
}

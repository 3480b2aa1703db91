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
			m := New[string, string, string, any](config("me", hashOf))
			m.LinkUp(0)
			m.Receive(0, "o", &Ack{About: old, Fence: m.fence})
			m.Join(0, []string{"a"}, 1)
			m.Receive(0, "o", &Ack{About: old, Fence: m.fence})
			for i := range left {
				m.Receive(0, fmt.Sprint("left", i), &Bye{About: old})
			}
			now := time.Second
			b.ReportAllocs()
			for seq := uint64(1); b.Loop(); seq++ {
				m.Broadcast(now, "o", Incoming[string, string]{Stamp: Stamp{Sequence: seq, Prev: []uint64{seq - 1}}, Topics: []string{"a"}, Size: 100})
				m.Next()
				if seq%1000 == 0 {
					m.Receive(now, "o", beat(seq-1000, seq))
				}
			}
			if n := m.Counts().Delivered; n != uint64(b.N) {
				b.Fatalf("%d of %d were delivered", n, b.N)
			}
		})
	}
}

// BenchmarkUnion takes unions of many rooms, of which a few are here, and BenchmarkEmit makes them.
func BenchmarkUnion(b *testing.B) {
	for _, rooms := range []int{5, 100, 1000} {
		b.Run(fmt.Sprint(rooms, " rooms"), func(b *testing.B) {
			topics, prev := wide(rooms), make([]uint64, 1+rooms)
			m := New[string, string, string, any](config("me", hashOf))
			m.LinkUp(0)
			m.Receive(0, "o", &Ack{About: old, Fence: m.fence})
			m.Join(0, topics[:3], 1)
			m.Receive(0, "o", &Ack{About: old, Fence: m.fence})
			now := time.Second
			b.ReportAllocs()
			for seq := uint64(1); b.Loop(); seq++ {
				for i := range prev {
					prev[i] = seq - 1
				}
				m.Broadcast(now, "o", Incoming[string, string]{Stamp: Stamp{Sequence: seq, Prev: prev}, Topics: topics, Size: 100})
				if seq%1000 == 0 {
					m.Receive(now, "o", beat(seq-1000, seq))
				}
			}
			if n := m.Counts().Delivered; n != uint64(b.N) {
				b.Fatalf("%d of %d were delivered", n, b.N)
			}
		})
	}
}

func BenchmarkEmit(b *testing.B) {
	for _, c := range []struct {
		name            string
		topics, travels int
	}{{"a room", 1, 1}, {"4 rooms", 4, 4}, {"5 rooms", 6, 1}, {"100 rooms", 101, 1}, {"1000 rooms", 1001, 1}} {
		b.Run(c.name, func(b *testing.B) {
			topics := wide(c.topics)
			m := New[string, string, string, any](config("me", hashOf))
			m.LinkUp(0)
			m.Tick(FenceTimeout)
			now := time.Second
			b.ReportAllocs()
			for n := 1; b.Loop(); n++ {
				m.Emit(now, topics[:c.topics], c.travels, "", 200)
				if n%1000 == 0 {
					now += HeartbeatInterval
					m.Tick(now)
				}
			}
		})
	}
}

// wide are the topics of a union of many rooms, with that of the namespace in front.
func wide(rooms int) []string {
	topics := []string{namespace}
	for i := range rooms {
		topics = append(topics, fmt.Sprint("room", i))
	}
	return topics
}

package outbox

import "testing"

// nowhere is a sink that takes everything.
type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }

func (nowhere) Writev(bufs [][]byte) (n int, err error) {
	for _, b := range bufs {
		n += len(b)
	}
	return n, nil
}

// BenchmarkAppend shows what a broadcast costs its emitter for each of 1,000 members: on queues that are empty, on queues that are to be
// written already, and with shards that write meanwhile.
func BenchmarkAppend(b *testing.B) {
	const members = 1000
	f := &Frame{Bytes: make([]byte, 140)}
	b.Run("clean", func(b *testing.B) {
		sh, queues := heldShard(members)
		b.ReportAllocs()
		for b.Loop() {
			for _, q := range queues {
				q.Append(f)
			}
			b.StopTimer()
			sh.step()
			b.StartTimer()
		}
		b.ReportMetric(float64(b.Elapsed())/float64(b.N*members), "ns/append")
	})
	b.Run("dirty", func(b *testing.B) {
		sh, queues := heldShard(members)
		for _, q := range queues {
			q.Append(f)
		}
		b.ReportAllocs()
		appends := 0
		for b.Loop() {
			for _, q := range queues {
				q.Append(f)
			}
			if appends++; appends%64 == 0 {
				b.StopTimer()
				sh.step()
				for _, q := range queues {
					q.Append(f)
				}
				b.StartTimer()
			}
		}
		b.ReportMetric(float64(b.Elapsed())/float64(b.N*members), "ns/append")
	})
	b.Run("shards", func(b *testing.B) {
		s := NewShards(Config{})
		defer s.Close()
		queues := make([]*Queue, members)
		for i := range queues {
			queues[i] = new(Queue)
			queues[i].Init(s, nowhere{}, &owner{})
		}
		b.ReportAllocs()
		for b.Loop() {
			for _, q := range queues {
				q.Append(f)
			}
		}
		b.ReportMetric(float64(b.Elapsed())/float64(b.N*members), "ns/append")
		st := counted(s)
		b.ReportMetric(float64(st.Frames)/float64(st.Writes), "frames/write")
	})
}

func heldShard(members int) (*held, []*Queue) {
	h := newHeld(Config{})
	queues := make([]*Queue, members)
	for i := range queues {
		queues[i] = new(Queue)
		queues[i].Init(h, nowhere{}, &owner{})
	}
	return h, queues
}

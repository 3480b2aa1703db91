package natsadapter

import (
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/test/kit"
)

const manyTopics = 100_000

// heap returns the bytes in use.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkSubscribe subscribes 100,000 topics in one call, until the server has them all. The bytes are those of link and server
// together; Raw is nats.go alone, and what it needs no less.
func BenchmarkSubscribe(b *testing.B) {
	topics := rooms(manyTopics)
	b.Run("Link", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			s := natstest.NewServer(b)
			l, err := New(Config{URL: s.URL(), Logger: slog.New(slog.DiscardHandler)}).Open(b.Context(), func([]byte) {})
			kit.OK(b, err)
			before := heap()
			b.StartTimer()
			start := time.Now()
			kit.OK(b, l.Subscribe(b.Context(), topics...))
			returned := time.Since(start)
			kit.OK(b, l.(*link).cur.nc.Flush())
			report(b, start, before)
			b.ReportMetric(returned.Seconds()*1000, "call-ms")

			b.StopTimer()
			start = time.Now()
			_, changed := l.State()
			s.Disconnect()
			<-changed
			for state, changed := l.State(); state.Status != adapter.Connected; state, changed = l.State() {
				<-changed
			}
			b.ReportMetric(time.Since(start).Seconds()*1000, "reconnect-ms")
			kit.OK(b, l.Close())
			s.Shutdown()
			b.StartTimer()
		}
	})
	b.Run("Raw", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			s := natstest.NewServer(b)
			nc, err := nats.Connect(s.URL())
			kit.OK(b, err)
			naming, err := newNaming("belfry", "belfry")
			kit.OK(b, err)
			before := heap()
			b.StartTimer()
			start := time.Now()
			ch := make(chan *nats.Msg, 64<<10)
			for _, topic := range topics {
				subject, err := naming.subscribe(topic)
				kit.OK(b, err)
				if _, err := nc.ChanSubscribe(subject, ch); err != nil {
					b.Fatal(err)
				}
			}
			kit.OK(b, nc.Flush())
			report(b, start, before)
			b.StopTimer()
			nc.Close()
			s.Shutdown()
			b.StartTimer()
		}
	})
}

func report(b *testing.B, start time.Time, before uint64) {
	took := time.Since(start)
	b.ReportMetric(manyTopics/took.Seconds(), "subs/s")
	b.ReportMetric(float64(heap()-before)/manyTopics, "B/sub")
}

// BenchmarkPublish publishes messages of 200 bytes to a room that another link receives, and waits for the last.
func BenchmarkPublish(b *testing.B) {
	s := natstest.NewServer(b)
	log := slog.New(slog.DiscardHandler)
	received := make(chan struct{}, 1<<20)
	to, err := New(Config{URL: s.URL(), Logger: log}).Open(b.Context(), func([]byte) { received <- struct{}{} })
	kit.OK(b, err)
	from, err := New(Config{URL: s.URL(), Logger: log}).Open(b.Context(), func([]byte) {})
	kit.OK(b, err)
	topics := rooms(100)
	kit.OK(b, to.Subscribe(b.Context(), topics...))
	kit.OK(b, to.(*link).cur.nc.Flush())
	msg := make([]byte, 200)
	b.ReportAllocs()
	i, flying := 0, 0
	for b.Loop() {
		kit.OK(b, from.Publish(b.Context(), topics[i%len(topics)], msg))
		i++
		if flying++; flying == 10_000 { // so that nothing is dropped
			for ; flying > 5_000; flying-- {
				<-received
			}
		}
	}
	for ; flying > 0; flying-- {
		<-received
	}
	b.StopTimer()
	for _, l := range []adapter.Link{to, from} {
		kit.OK(b, l.Close())
	}
}

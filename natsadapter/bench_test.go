package natsadapter

import (
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/natsadapter/natstest"
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
			if err != nil {
				b.Fatal(err)
			}
			before := heap()
			b.StartTimer()
			start := time.Now()
			if err := l.Subscribe(b.Context(), topics...); err != nil {
				b.Fatal(err)
			}
			returned := time.Since(start)
			if err := l.(*link).cur.nc.Flush(); err != nil {
				b.Fatal(err)
			}
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
			if err := l.Close(); err != nil {
				b.Fatal(err)
			}
			s.Shutdown()
			b.StartTimer()
		}
	})
	b.Run("Raw", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			s := natstest.NewServer(b)
			nc, err := nats.Connect(s.URL())
			if err != nil {
				b.Fatal(err)
			}
			naming, err := newNaming("belfry", "belfry")
			if err != nil {
				b.Fatal(err)
			}
			before := heap()
			b.StartTimer()
			start := time.Now()
			ch := make(chan *nats.Msg, 64<<10)
			for _, topic := range topics {
				subject, err := naming.subscribe(topic)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := nc.ChanSubscribe(subject, ch); err != nil {
					b.Fatal(err)
				}
			}
			if err := nc.Flush(); err != nil {
				b.Fatal(err)
			}
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
	if err != nil {
		b.Fatal(err)
	}
	from, err := New(Config{URL: s.URL(), Logger: log}).Open(b.Context(), func([]byte) {})
	if err != nil {
		b.Fatal(err)
	}
	topics := rooms(100)
	if err := to.Subscribe(b.Context(), topics...); err != nil {
		b.Fatal(err)
	}
	if err := to.(*link).cur.nc.Flush(); err != nil {
		b.Fatal(err)
	}
	msg := make([]byte, 200)
	b.ReportAllocs()
	i, flying := 0, 0
	for b.Loop() {
		if err := from.Publish(b.Context(), topics[i%len(topics)], msg); err != nil {
			b.Fatal(err)
		}
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
		if err := l.Close(); err != nil {
			b.Error(err)
		}
	}
}

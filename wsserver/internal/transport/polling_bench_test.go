package transport

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
)

// discard is a ResponseWriter that takes everything.
type discard http.Header

func (d discard) Header() http.Header         { return http.Header(d) }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

// BenchmarkPolling shows what a request costs besides net/http: a GET that finds a frame, one that waits for it, and a
// POST.
func BenchmarkPolling(b *testing.B) {
	start := func(b *testing.B) *Polling {
		shared := New(Config{MaxMessage: 1000, QueueBytes: 1000, Logger: slog.New(slog.DiscardHandler)})
		b.Cleanup(shared.Close)
		p := new(Polling)
		p.Init(shared, new(nobody))
		b.ReportAllocs()
		return p
	}
	f, w, r := textFrame("4hello"), discard{}, httptest.NewRequest("GET", "/", nil)
	b.Run("get", func(b *testing.B) {
		p := start(b)
		for b.Loop() {
			p.Append(f)
			p.Get(w, r)
		}
	})
	b.Run("get that waits", func(b *testing.B) {
		p := start(b)
		begin, done := make(chan struct{}), make(chan struct{})
		defer close(begin)
		go func() {
			for range begin {
				p.Get(w, r)
				done <- struct{}{}
			}
		}()
		for b.Loop() {
			begin <- struct{}{}
			for p.Idle() {
				runtime.Gosched()
			}
			p.Append(f)
			<-done
		}
	})
	b.Run("post", func(b *testing.B) {
		p := start(b)
		for b.Loop() {
			p.Post(w, httptest.NewRequest("POST", "/", strings.NewReader("4hello")))
		}
	})
}

// nobody is an ExchangeReceiver to which nothing matters.
type nobody struct{}

func (*nobody) Payload([]byte) error { return nil }
func (*nobody) Large()               {}
func (*nobody) Closing(error)        {}
func (*nobody) Closed()              {}

package metrics

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
)

// load is a server with clients over loopback, all in one room, that throw away what they get.
func load(b *testing.B, clients int) *wsserver.Server {
	b.Helper()
	srv := newServer(b, wsserver.Config{})
	srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error { return s.Join(ctx, "room") })
	web := httptest.NewServer(srv)
	b.Cleanup(web.Close)
	for range clients {
		nc, err := net.Dial("tcp", web.Listener.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { nc.Close() })
		request := "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
		if _, err := nc.Write(append([]byte(request), wsrig.Frame(1, []byte("40"))...)); err != nil {
			b.Fatal(err)
		}
		go io.Copy(io.Discard, nc)
	}
	kit.Eventually(b, "all clients", func() bool { return len(srv.Of("/").SocketsIn("room")) == clients })
	return srv
}

// BenchmarkScrape is a scrape of a server with so many sockets, with what a program of its own shows, too.
func BenchmarkScrape(b *testing.B) {
	for _, clients := range []int{10, 10_000} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			h := Handler(load(b, clients))
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
				if w.Code != http.StatusOK {
					b.Fatal(w.Body)
				}
			}
		})
	}
}

// BenchmarkDelivery compares broadcasts to a room of 1,000 while nobody looks with those while the figures are scraped ten times a second,
// in turns. It reports the median time of a delivery of each, in ns, and their ratio.
func BenchmarkDelivery(b *testing.B) {
	const room, broadcasts, rounds = 1000, 200, 5
	srv := load(b, room)
	h := Handler(srv)
	scraping := make(chan bool)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for on, open := false, true; open; {
			select {
			case on, open = <-scraping:
			case <-tick.C:
				if on {
					h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/metrics", nil))
				}
			}
		}
	}()
	round := func(on bool) float64 {
		scraping <- on
		before, begun := srv.Stats().Frames, time.Now()
		for range broadcasts {
			if err := srv.To("room").Emit(b.Context(), "said", "hello"); err != nil {
				b.Fatal(err)
			}
		}
		for srv.Stats().Frames < before+room*broadcasts {
			time.Sleep(time.Millisecond)
		}
		return float64(time.Since(begun).Nanoseconds()) / (room * broadcasts)
	}
	round(false)
	var off, on []float64
	for b.Loop() {
		for range rounds {
			off, on = append(off, round(false)), append(on, round(true))
		}
	}
	close(scraping)
	<-done
	slices.Sort(off)
	slices.Sort(on)
	b.ReportMetric(off[len(off)/2], "off-ns/delivery")
	b.ReportMetric(on[len(on)/2], "on-ns/delivery")
	b.ReportMetric(on[len(on)/2]/off[len(off)/2], "on/off")
}

//go:build unix

package wsserver_test

import (
	"context"
	"io"
	"net"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
)

// crowded is a server with clients in memory, all in one room, that throw away what they get.
func crowded(b testing.TB, clients int, r *wsserver.Recovery) *wsserver.Server {
	b.Helper()
	srv := newServer(b, wsserver.Config{Recovery: r})
	srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error { return s.Join(ctx, "room") })
	for range clients {
		nc := wsrig.Serve(b, srv)
		greet(b, nc)
		b.Cleanup(func() { nc.Close() }) // or the server waits for its farewell
		go io.Copy(io.Discard, nc)
	}
	kit.Eventually(b, "all clients", func() bool { return len(srv.Of("/").SocketsIn("room")) == clients })
	return srv
}

func greet(b testing.TB, nc net.Conn) {
	request := "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
	if _, err := nc.Write(append([]byte(request), wsrig.Frame(1, []byte("40"))...)); err != nil {
		b.Fatal(err)
	}
}

// cpu is the time that the process has had on a processor: right on a busy machine, too.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkRecovery compares deliveries without recovery and with it, in turns. It reports the
// median time on a processor of a delivery of each, in ns, and their ratio; and what an idle socket
// takes of the heap.
func BenchmarkRecovery(b *testing.B) {
	for _, test := range []struct {
		name          string
		room, events  int
		private, idle bool
	}{
		{"room of 1000", 1000, 100, false, false},
		{"room of 10", 10, 5000, false, false},
		{"private", 10, 30_000, true, false},
		{"idle", 2000, 0, false, true},
	} {
		b.Run(test.name, func(b *testing.B) {
			var srvs [2]*wsserver.Server
			var heap [3]float64
			for i, r := range []*wsserver.Recovery{nil, {}} {
				heap[i] = heapBytes()
				srvs[i] = crowded(b, test.room, r)
				heap[i+1] = heapBytes()
			}
			if test.idle {
				for b.Loop() {
				}
				b.ReportMetric((heap[1]-heap[0])/float64(test.room), "off-B/socket")
				b.ReportMetric((heap[2]-heap[1])/float64(test.room), "on-B/socket")
				return
			}
			round := func(srv *wsserver.Server) float64 {
				all := srv.Of("/").Sockets()
				deliveries := test.events * test.room
				if test.private {
					deliveries = test.events
				}
				runtime.GC()
				before, begun := srv.Stats().Frames, cpu(b)
				for i := range test.events {
					var err error
					if test.private {
						err = all[i%len(all)].Emit(b.Context(), "said", "hello")
					} else {
						err = srv.To("room").Emit(b.Context(), "said", "hello")
					}
					if err != nil {
						b.Fatal(err)
					}
				}
				for srv.Stats().Frames < before+uint64(deliveries) {
					time.Sleep(time.Millisecond)
				}
				return float64(cpu(b)-begun) / float64(deliveries)
			}
			var took [2][]float64
			for b.Loop() {
				for turn := range 11 {
					for i, srv := range srvs {
						if ns := round(srv); turn > 0 {
							took[i] = append(took[i], ns)
						}
					}
				}
			}
			for i, name := range []string{"off", "on"} {
				slices.Sort(took[i])
				b.ReportMetric(took[i][len(took[i])/2], name+"-ns/delivery")
			}
			b.ReportMetric(took[1][len(took[1])/2]/took[0][len(took[0])/2], "on/off")
		})
	}
}

func heapBytes() float64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse)
}

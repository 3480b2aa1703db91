package natsadapter

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/natsadapter/embedded"
	"github.com/belfry-io/belfry/test/kit"
)

var manyRooms = flag.Int("rooms", 15_000, "how many rooms TestHeapAfterRooms joins and leaves")

// serveEnv has the test's program be a NATS server, whose memory is not the test's.
const serveEnv = "NATSADAPTER_TEST_SERVE"

// serve is the program then: it runs a server until its input ends.
func serve() {
	server, err := embedded.Start(context.Background(), embedded.Config{})
	if err != nil {
		panic(err)
	}
	fmt.Println(server.URL())
	_, _ = io.Copy(io.Discard, os.Stdin)
	server.Shutdown()
}

// startProcess starts a server in a process of its own.
func startProcess(t *testing.T) (url string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serveEnv+"=1")
	in, err := cmd.StdinPipe()
	kit.OK(t, err)
	out, err := cmd.StdoutPipe()
	kit.OK(t, err)
	kit.OK(t, cmd.Start())
	t.Cleanup(func() {
		in.Close()
		kit.OK(t, cmd.Wait(), "the server's process")
	})
	url, err = bufio.NewReader(out).ReadString('\n')
	kit.OK(t, err)
	return strings.TrimSpace(url)
}

// heapNow is what is in use after a garbage collection.
func heapNow() int {
	var s runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&s)
	return int(s.HeapAlloc)
}

// natsKeeps is what nats.go keeps for subscriptions that have ended: its map does not shrink.
func natsKeeps(t *testing.T, url string, n int) int {
	t.Helper()
	nc, err := nats.Connect(url)
	kit.OK(t, err)
	defer nc.Close()
	before := heapNow()
	func() {
		subs := make([]*nats.Subscription, n)
		msgs := make(chan *nats.Msg)
		for i := range subs {
			if subs[i], err = nc.ChanSubscribe("natsadapter.test."+strconv.Itoa(i), msgs); err != nil {
				t.Fatal(err)
			}
		}
		for _, sub := range subs {
			kit.OK(t, sub.Unsubscribe())
		}
		kit.OK(t, nc.FlushTimeout(kit.Patience))
	}()
	return max(0, heapNow()-before)
}

// TestHeapAfterRooms checks that what many rooms of a node on NATS have taken is given back within seconds after they were left, but for 10 MB for a
// million, and for what nats.go keeps.
func TestHeapAfterRooms(t *testing.T) {
	const limit = time.Minute
	n := *manyRooms
	url := startProcess(t)
	bound := max(10*n, 1<<20) + natsKeeps(t, url, n)
	for _, others := range []int{0, 1} {
		t.Run(fmt.Sprintf("%d others", others), func(t *testing.T) {
			ctx := kit.Within(t, 10*limit)
			var hubs []*cluster.Hub
			for range 1 + others {
				a := New(Config{URL: url, Cluster: t.Name(), Logger: slog.New(slog.DiscardHandler), Options: unhurried})
				h := cluster.NewHub(cluster.HubConfig{Adapter: a, Logger: slog.New(slog.DiscardHandler)})
				defer h.Close(ctx)
				kit.OK(t, h.Ready(ctx))
				hubs = append(hubs, h)
			}
			g := &guest{t: t, id: hubs[0].NewID(), rooms: hubs[0].Rooms("/", plainFrame)}
			g.must(g.add("lobby"))
			before := heapNow()
			for i := 0; i < n; i += 1000 {
				var names []string
				for j := range 1000 {
					names = append(names, "room "+strconv.Itoa(i+j))
				}
				if err := g.rooms.Join(ctx, g.id, names...); err != nil {
					t.Logf("Join: %v", err) // a busy machine
				}
			}
			full := heapNow() - before
			for i := range n {
				g.rooms.Leave(g.id, "room "+strconv.Itoa(i))
			}
			for begin := time.Now(); ; time.Sleep(100 * time.Millisecond) {
				left := heapNow() - before
				if left <= bound {
					t.Logf("after %v: %d bytes of %d", time.Since(begin).Round(10*time.Millisecond), left, full)
					break
				}
				if time.Since(begin) > limit {
					t.Fatalf("%d bytes are left of %d, want %d at the most", left, full, bound)
				}
			}
			runtime.KeepAlive(hubs)
		})
	}
}

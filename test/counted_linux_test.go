package test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/test/child"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
)

func init() { roles["counted"] = beCounted }

// A gauge is what a node in a process of its own has, and what its server counts.
type gauge struct {
	Goroutines int
	Bytes      int // of the heap, after a garbage collection, and of stacks
	Stats      struct {
		Adapter  struct{ Sent uint64 }
		Strays   wsserver.StrayStats
		Refusals wsserver.Refusals
	}
}

// beCounted is a node of the cluster at args[0] with the application of node/client.mjs. Other paths are not
// found. It prints its name and its address, and for each line a gauge.
func beCounted(args []string) error {
	quiet := slog.New(slog.DiscardHandler)
	srv := wsserver.New(wsserver.Config{
		Adapter: natsadapter.New(natsadapter.Config{URL: args[0], Cluster: "counted", Logger: quiet}), Logger: quiet,
		PingInterval: 10 * time.Minute, // no ping answers a GET
	})
	serveScenario(srv)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	if err := srv.Ready(ctx); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	go (&http.Server{Handler: mux}).Serve(l) // until the process ends
	fmt.Println(srv.Node(), l.Addr())
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		runtime.GC()
		runtime.GC() // what has a finalizer goes with the second
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		stats := srv.Stats()
		stats.Adapter.State.Reason = nil
		err := json.NewEncoder(os.Stdout).Encode(map[string]any{
			"Goroutines": runtime.NumGoroutine(), "Bytes": m.HeapAlloc + m.StackInuse, "Stats": stats,
		})
		if err != nil {
			return err
		}
	}
	return srv.Close(ctx)
}

// A counted is a node that is a process.
type counted struct {
	*child.Child
	name, host string
}

func startCounted(t *testing.T, broker string) counted {
	t.Helper()
	n := counted{Child: child.Start(t, "counted", broker)}
	line, err := n.Line()
	kit.OK(t, err)
	_, err = fmt.Sscan(line, &n.name, &n.host)
	kit.OK(t, err)
	return n
}

func (n counted) gauge(t *testing.T) (g gauge) {
	t.Helper()
	ask(t, n.Child, &g)
	return g
}

// session opens a session that polls, and connects it to "/". It returns its id.
func (n counted) session(t *testing.T, web *http.Client) (sid string) {
	t.Helper()
	s := &stormers{address: n.host, web: web}
	return kit.Must(s.poll())(t)
}

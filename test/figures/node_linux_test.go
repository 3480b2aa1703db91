package figures

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/test/child"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/msgpack"
)

// A gauge is how a node stands.
type gauge struct {
	Mallocs    uint64 // since its beginning
	Heap       int    // bytes of live objects, after "collect"
	Goroutines int

	Connections, Sockets int
	Frames, Writes       uint64
}

// codecs are what a node may speak.
var codecs = map[string]packet.Codec{"JSON": packet.JSON{}, "MessagePack": msgpack.Codec{}}

// listener has the server learn of a connection once the client's request is there: no read comes too early.
var listener = net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
	failed := c.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_DEFER_ACCEPT, 10)
	})
	return cmp.Or(failed, err)
}}

// beNode is a server that speaks args[0], with Recovery if another argument says so. It prints its address. Then
// it does what each line asks for, and prints a gauge.
func beNode(args []string) error {
	runtime.GOMAXPROCS(2)  // on every machine
	debug.SetGCPercent(-1) // what pools hold they keep
	quiet := slog.New(slog.DiscardHandler)
	cfg := wsserver.Config{Codec: codecs[args[0]], Logger: quiet, PingInterval: time.Hour}
	if slices.Contains(args, "recovery") {
		cfg.Recovery = new(wsserver.Recovery)
	}
	srv := wsserver.New(cfg)
	srv.OnConnect(serveSocket)
	if err := srv.Ready(context.Background()); err != nil {
		return err
	}
	l, err := listener.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	web := &http.Server{Handler: srv}
	served := make(chan error)
	go func() { served <- web.Serve(l) }()
	fmt.Println(l.Addr())
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if err := obey(srv, lines.Text()); err != nil {
			return err
		}
	}
	if err := srv.Shutdown(context.Background(), web); err != nil {
		return err
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// serveSocket is the application.
func serveSocket(_ context.Context, s *wsserver.Socket) error {
	wsserver.OnAck(s, "join", func(ctx context.Context, _ *wsserver.Socket, room string) (string, error) {
		return "", s.Join(ctx, room)
	})
	wsserver.On2(s, "publish", func(ctx context.Context, _ *wsserver.Socket, room, data string) error {
		return s.Namespace().To(room).Emit(ctx, "message", data)
	})
	wsserver.OnAck(s, "echo", func(_ context.Context, _ *wsserver.Socket, data string) (string, error) {
		return data, nil
	})
	wsserver.On(s, "note", func(context.Context, *wsserver.Socket, string) error { return nil })
	return nil
}

// obey does what a line says, and prints a gauge: "count" is nothing more; "collect" collects garbage; "rooms
// 2500 10 4" takes 2,500 sockets that are in no room, and has every ten of them join four rooms.
func obey(srv *wsserver.Server, line string) error {
	switch words := strings.Fields(line); words[0] {
	case "collect":
		runtime.GC()
		runtime.GC() // what has a finalizer goes with the second, and what pools hold
	case "rooms":
		var count, size, each int
		if _, err := fmt.Sscan(line, new(string), &count, &size, &each); err != nil {
			return err
		}
		free := slices.DeleteFunc(srv.Of("/").Sockets(), func(s *wsserver.Socket) bool { return len(s.Rooms()) > 1 })
		for i, s := range free[:count] {
			for j := range each {
				if err := s.Join(context.Background(), fmt.Sprintf("%d:%d:%d", size, i/size, j)); err != nil {
					return err
				}
			}
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	s := srv.Stats()
	g := gauge{
		Mallocs: m.Mallocs, Heap: int(m.HeapAlloc), Goroutines: runtime.NumGoroutine(),
		Connections: s.Connections, Frames: s.Frames, Writes: s.Writes,
	}
	for _, ns := range s.Namespaces {
		g.Sockets += ns.Polling + ns.WebSocket
	}
	return json.NewEncoder(os.Stdout).Encode(g)
}

// A node is a server in a process of its own.
type node struct {
	*child.Child
	address string
	codec   packet.Codec
}

// start starts a node. via is a command that starts it, or nil: see child.Run.
func start(t *testing.T, via []string, codec string, also ...string) *node {
	t.Helper()
	c := kit.Must(child.Run(via, "node", append([]string{codec}, also...)...))(t)
	t.Cleanup(c.Kill)
	return &node{Child: c, address: kit.Must(c.Line())(t), codec: codecs[codec]}
}

// gauge has the node do something first.
func (n *node) gauge(t *testing.T, line string) (g gauge) {
	t.Helper()
	answer := kit.Must(n.Ask(line))(t)
	kit.OK(t, json.Unmarshal([]byte(answer), &g))
	return g
}

// holds waits until the node has so many connections, with a socket each.
func (n *node) holds(t *testing.T, connections int) {
	t.Helper()
	kit.Until(t, func() error {
		if g := n.gauge(t, "count"); g.Connections != connections || g.Sockets != connections {
			return fmt.Errorf("the server has %d connections with %d sockets, want %d",
				g.Connections, g.Sockets, connections)
		}
		return nil
	})
}

// allocations is how many the node makes for one of so many things that do does.
func (n *node) allocations(t *testing.T, times int, do func()) float64 {
	t.Helper()
	before := n.gauge(t, "count")
	do()
	after := n.gauge(t, "count")
	return float64(after.Mallocs-before.Mallocs) / float64(times)
}

// warm has clients come and go, so that what stays of that is there.
func (n *node) warm(t *testing.T) {
	t.Helper()
	leave(n.crowd(t, 200)...)
	n.holds(t, 0)
}

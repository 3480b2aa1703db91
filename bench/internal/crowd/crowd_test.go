package crowd

import (
	"context"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/leak"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/msgpack"
)

func TestMain(m *testing.M) { leak.Main(m, "bench/internal/crowd") }

// patience is how long a test waits for what must happen.
const patience = time.Minute

// newServer serves the application that is measured; publish is what it does with a publish.
func newServer(t *testing.T, secure bool, cfg wsserver.Config,
	publish func(ctx context.Context, s *wsserver.Socket, room, data string) error,
) string {
	t.Helper()
	srv := wsserver.New(cfg)
	app := func(_ context.Context, s *wsserver.Socket) error {
		wsserver.OnAck(s, "join", func(ctx context.Context, _ *wsserver.Socket, name string) (string, error) {
			if name == "" {
				return "no name", nil
			}
			return "", s.Join(ctx, name)
		})
		wsserver.On2(s, "publish", func(ctx context.Context, s *wsserver.Socket, room, data string) error {
			return publish(ctx, s, room, data)
		})
		wsserver.OnAck(s, "echo", func(_ context.Context, _ *wsserver.Socket, data string) (string, error) {
			return data, nil
		})
		return nil
	}
	srv.OnConnect(app)
	return serve(t, srv, secure)
}

func serve(t *testing.T, srv *wsserver.Server, secure bool) (url string) {
	t.Helper()
	h := httptest.NewUnstartedServer(srv)
	if secure {
		h.StartTLS()
	} else {
		h.Start()
	}
	t.Cleanup(func() {
		srv.Close(context.Background())
		h.CloseClientConnections()
		h.Close()
	})
	return h.URL
}

func toRoom(ctx context.Context, s *wsserver.Socket, room, data string) error {
	return s.Namespace().To(room).Emit(ctx, "message", data)
}

func newCrowd(t *testing.T, cfg Config, sockets int) *Crowd {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	done, err := c.Connect(within(t), sockets)
	if err != nil || done.Sockets != sockets || done.Failures != 0 || c.Alive() != sockets {
		t.Fatalf("got %+v, %v; want %d sockets", done, err, sockets)
	}
	if deflates := cfg.Deflate && cfg.Transport != Polling; deflates != (done.Deflated > 0) {
		t.Errorf("got %+v; does the server compress: %v", done, deflates)
	}
	if sockets > 0 && (done.P50 <= 0 || done.P99 < done.P50 || done.Max < done.P99 || done.Elapsed < done.Max) {
		t.Errorf("got %+v; want times that make sense", done)
	}
	return c
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func join(t *testing.T, c *Crowd, j Join, want int) {
	t.Helper()
	done, err := c.Join(within(t), j)
	if err != nil || done.Sockets != want || done.Failures != 0 {
		t.Fatalf("joined %+v, %v; want %d", done, err, want)
	}
}

func runFlow(t *testing.T, c *Crowd, f Flow) Result {
	t.Helper()
	f.Stall = patience
	r, err := c.Run(within(t), f)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// check compares what was counted exactly.
func check(t *testing.T, c *Crowd, r Result, publishes, deliveries int) {
	t.Helper()
	if r.Publishes != publishes || r.Deliveries != deliveries || r.Stalled || r.Lost != 0 {
		t.Errorf("got %+v; want %d publishes and %d deliveries", r, publishes, deliveries)
	}
	if r.P50 <= 0 || r.P90 < r.P50 || r.P99 < r.P90 || r.P999 < r.P99 || r.Max < r.P999 ||
		r.Last99 > 0 && (r.Last50 < r.P50 || r.Last99 < r.Last50) ||
		r.Elapsed < r.Max || r.Busy < 0 || r.Busy > 1 {
		t.Errorf("got %+v; want times that make sense", r)
	}
	if f := c.Check(); f.Sum() != 0 {
		t.Errorf("got %+v; want no faults", f)
	}
}

// ways are all ways to reach a server.
var ways = []struct {
	name   string
	secure bool
	config Config
	server wsserver.Config
}{
	{name: "WebSocket"},
	{name: "wss", secure: true, config: Config{Insecure: true}},
	{name: "polling", config: Config{Transport: Polling}},
	{name: "polling over TLS", secure: true, config: Config{Transport: Polling, Insecure: true}},
	{
		name: "deflate", config: Config{Deflate: true},
		server: wsserver.Config{Compression: wsserver.Compression{PerMessageDeflate: true, Threshold: 1}},
	},
	{
		name: "MessagePack", config: Config{Codec: MessagePack, Auth: []byte(`{"a":[1,null,true,"x"]}`)},
		server: wsserver.Config{Codec: msgpack.Codec{}},
	},
}

// Each kind of flow counts each publish and each delivery, in a closed loop and at a rate.
func TestFlows(t *testing.T) {
	const sockets, rooms, publishes = 6, 2, 24
	for _, way := range ways {
		for _, kind := range []struct {
			name       string
			flow       Flow
			deliveries int
		}{
			{"echo", Flow{Kind: Echo, InFlight: 1}, publishes},
			{"echo, many", Flow{Kind: Echo, InFlight: 16, Size: 20_000}, publishes},
			{"echo, paced", Flow{Kind: Echo, Rate: 500}, publishes},
			{"room", Flow{Kind: Room, InFlight: 1}, publishes * sockets / rooms},
			{"room, many", Flow{Kind: Room, InFlight: 16, Senders: 5}, publishes * sockets / rooms},
			{"room, large", Flow{Kind: Room, InFlight: 4, Size: 200_000}, publishes * sockets / rooms},
			{"room, least", Flow{Kind: Room, InFlight: 4, Size: MinSize}, publishes * sockets / rooms},
			{"room, paced", Flow{Kind: Room, Rate: 500}, publishes * sockets / rooms},
			{"so many receive", Flow{Kind: Room, InFlight: 3, Receivers: 3}, publishes * sockets / rooms},
			{"nobody knows who", Flow{Kind: Room, Rate: 500, Receivers: -1}, publishes * sockets / rooms},
			{"private", Flow{Kind: Private, InFlight: 4}, publishes},
		} {
			if kind.flow.Size > 100_000 && (way.secure || way.config.Deflate || way.config.Codec != "") {
				continue // it takes long, and shows nothing new
			}
			t.Run(way.name+"/"+kind.name, func(t *testing.T) {
				t.Parallel()
				cfg := way.config
				cfg.URLs = []string{newServer(t, way.secure, way.server, toRoom)}
				c := newCrowd(t, cfg, sockets)
				join(t, c, Join{Rooms: rooms}, sockets)
				f := kind.flow
				f.Publishes = publishes
				check(t, c, runFlow(t, c, f), publishes, kind.deliveries)
				if kind.name == "room" {
					f.Warmup = time.Millisecond
					check(t, c, runFlow(t, c, f), publishes, kind.deliveries)
				}
			})
		}
	}
}

// A time instead of a number of publishes ends a flow, and Every tells of it.
func TestDuration(t *testing.T) {
	c := newCrowd(t, Config{URLs: []string{newServer(t, false, wsserver.Config{}, toRoom)}}, 4)
	join(t, c, Join{}, 4)
	var told, publishes atomic.Int64
	r := runFlow(t, c, Flow{Kind: Room, Rate: 100, Duration: 1500 * time.Millisecond, Every: func(p Progress) {
		told.Add(1)
		publishes.Add(int64(p.Publishes))
		if p.Alive != 4 || p.Deliveries == 0 || p.P99 <= 0 {
			t.Errorf("got %+v", p)
		}
	}})
	if told.Load() != 1 || publishes.Load() == 0 {
		t.Errorf("got %d calls, of %d publishes; want one", told.Load(), publishes.Load())
	}
	check(t, c, r, 150, 600)
	quiet := runFlow(t, c, Flow{Kind: Quiet, Duration: 20 * time.Millisecond})
	if quiet.Elapsed < 20*time.Millisecond || quiet.Publishes != 0 || quiet.Deliveries != 0 {
		t.Errorf("got %+v; want a time in which nothing was sent", quiet)
	}
}

// What the loop waits before a run is no part of the run.
func TestBusy(t *testing.T) {
	if !raw(Config{Transport: WebSocket}, &url.URL{Scheme: "http"}) {
		t.Skip("clients have goroutines on this system")
	}
	c := newCrowd(t, Config{URLs: []string{newServer(t, false, wsserver.Config{}, toRoom)}}, 20)
	join(t, c, Join{}, 20)
	time.Sleep(500 * time.Millisecond) // nothing happens meanwhile
	if r := runFlow(t, c, Flow{Kind: Room, InFlight: 16, Publishes: 200}); r.Busy <= 0 || r.Busy > 1 {
		t.Errorf("got %+v; want a loop that has worked", r)
	}
	if r := runFlow(t, c, Flow{Kind: Quiet, Duration: 200 * time.Millisecond}); r.Busy > 0.5 {
		t.Errorf("got %+v; want a loop that has waited", r)
	}
}

// Members on one server and those who send on another one are told apart.
func TestUse(t *testing.T) {
	url := newServer(t, false, wsserver.Config{}, toRoom)
	c := newCrowd(t, Config{URLs: []string{url}}, 10)
	join(t, c, Join{Rooms: 2}, 10)
	if err := c.Use(url); err != nil {
		t.Fatal(err)
	}
	if done, err := c.Connect(within(t), 2); err != nil || done.Sockets != 2 || c.Alive() != 12 {
		t.Fatalf("got %+v, %v", done, err)
	}
	r := runFlow(t, c, Flow{Kind: Room, From: 10, Senders: 2, InFlight: 2, Publishes: 40})
	check(t, c, r, 40, 200)
	// Only some join again: into other rooms.
	join(t, c, Join{Rooms: 1, Members: 3}, 3)
	check(t, c, runFlow(t, c, Flow{Kind: Room, InFlight: 2, Publishes: 10}), 10, 30)
}

// Binary payloads go as attachments, both ways.
func TestBinary(t *testing.T) {
	for _, way := range append(ways[:3:3], ways[len(ways)-1]) {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			cfg := way.config
			srv := wsserver.New(way.server)
			srv.OnConnect(func(_ context.Context, s *wsserver.Socket) error {
				wsserver.OnAck(s, "join", func(ctx context.Context, _ *wsserver.Socket, name string) (string, error) {
					return "", s.Join(ctx, name)
				})
				wsserver.On2(s, "publish", func(ctx context.Context, _ *wsserver.Socket, room string, data []byte) error {
					return s.Namespace().To(room).Emit(ctx, "message", data)
				})
				wsserver.OnAck(s, "echo", func(_ context.Context, _ *wsserver.Socket, data []byte) ([]byte, error) {
					return data, nil
				})
				return nil
			})
			cfg.URLs = []string{serve(t, srv, way.secure)}
			c := newCrowd(t, cfg, 5)
			join(t, c, Join{}, 5)
			check(t, c, runFlow(t, c, Flow{Kind: Room, Binary: true, InFlight: 4, Publishes: 20}), 20, 100)
			check(t, c, runFlow(t, c, Flow{Kind: Echo, Binary: true, InFlight: 4, Publishes: 20}), 20, 20)
		})
	}
}

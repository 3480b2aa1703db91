package natsadapter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/cluster"
)

// root begins the subjects of the cluster in these tests.
const root = "belfry.v1.rbelfry."

// guardedServer is a server with a user "free", who may do everything, and a user "bound", who is denied what the server was told last.
type guardedServer struct {
	t        *testing.T
	server   *natsserver.Server
	rehearse time.Duration // between two trials of the nodes; zero means that they try only when they have a reason
}

func guardedOptions(publish, subscribe []string) *natsserver.Options {
	return &natsserver.Options{
		Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoLog: true, NoSigs: true,
		Users: []*natsserver.User{
			{Username: "free", Password: "x"},
			{Username: "bound", Password: "x", Permissions: &natsserver.Permissions{
				Publish:   &natsserver.SubjectPermission{Deny: publish},
				Subscribe: &natsserver.SubjectPermission{Deny: subscribe},
			}},
		},
	}
}

func startGuarded(t *testing.T, publish, subscribe []string) *guardedServer {
	t.Helper()
	return startServer(t, guardedOptions(publish, subscribe))
}

func startServer(t *testing.T, o *natsserver.Options) *guardedServer {
	t.Helper()
	server, err := natsserver.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	server.Start()
	t.Cleanup(func() {
		server.Shutdown()
		server.WaitForShutdown()
	})
	if !server.ReadyForConnections(patience) {
		t.Fatal("the server does not start")
	}
	return &guardedServer{t: t, server: server}
}

// deny changes what the user "bound" is denied, by a reload of the configuration.
func (g *guardedServer) deny(publish, subscribe []string) {
	g.t.Helper()
	o := guardedOptions(publish, subscribe)
	o.Port = g.port()
	g.must(g.server.ReloadOptions(o))
}

func (g *guardedServer) port() int { return g.server.Addr().(*net.TCPAddr).Port }

func (g *guardedServer) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

// disconnect ends all connections, which come back.
func (g *guardedServer) disconnect() {
	connections, err := g.server.Connz(nil)
	g.must(err)
	for _, c := range connections.Conns {
		_ = g.server.DisconnectClientByID(c.Cid) // it may have gone
	}
}

// A guest is a node of the cluster, as a server has it, with one member.
type guest struct {
	t       *testing.T
	adapter *Adapter
	hub     *cluster.Hub
	rooms   *cluster.Rooms
	id      string
	log     *syncBuffer
	got     atomic.Int64
}

func (g *guest) Deliver(any) bool                                { g.got.Add(1); return true }
func (g *guest) Ask(_ any, answer func(payload []byte, ok bool)) { answer(nil, false) }
func (g *guest) Forget(any)                                      {}
func (g *guest) Describe() []byte                                { return []byte("{}") }
func (g *guest) Disconnect(bool)                                 {}
func plainFrame(payload []byte, _ bool) (frame any, err error)   { return payload, nil }

// visit opens a node as a user.
func (s *guardedServer) visit(user string, client bool) *guest {
	s.t.Helper()
	g := &guest{t: s.t, log: new(syncBuffer)}
	logger := slog.New(slog.NewTextHandler(g.log, nil))
	g.adapter = New(Config{
		URL:     fmt.Sprintf("nats://%s:x@%s", user, s.server.Addr()),
		Logger:  logger,
		Options: []nats.Option{nats.ReconnectWait(10 * time.Millisecond), nats.ReconnectJitter(0, 0)},
	})
	g.adapter.times.retryOutside = 20 * time.Millisecond
	g.adapter.times.rehearse = cmp.Or(s.rehearse, time.Hour)
	g.hub = cluster.NewHub(cluster.HubConfig{Adapter: g.adapter, Client: client, Logger: logger})
	s.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = g.hub.Close(ctx) // an error says that what a refused node has emitted was not sent
	})
	g.rooms = g.hub.Rooms("/", plainFrame)
	g.id = g.hub.NewID()
	return g
}

func (g *guest) ready() error {
	ctx, cancel := context.WithTimeout(g.t.Context(), patience)
	defer cancel()
	return g.hub.Ready(ctx)
}

// add puts the member into the namespace and into a room, and returns what either says.
func (g *guest) add(room string) error {
	ctx, cancel := context.WithTimeout(g.t.Context(), patience)
	defer cancel()
	return errors.Join(g.rooms.Add(ctx, g.id, g), g.rooms.Join(ctx, g.id, room))
}

func (g *guest) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

// checkRefusal checks that an error names permissions that are missing.
func checkRefusal(t *testing.T, what string, err error, missing ...string) {
	t.Helper()
	if !errors.Is(err, adapter.ErrRefused) || !errors.Is(err, nats.ErrPermissionViolation) {
		t.Errorf("%s: %v, want a refusal of the broker", what, err)
		return
	}
	for _, m := range missing {
		if !strings.Contains(err.Error(), m) {
			t.Errorf("%s: %v\nwant it to name %q", what, err, m)
		}
	}
}

// nobodysRoom is the subject of a room that nobody has.
const nobodysRoom = root + "r.r=2F.r=FF"

// denied are permissions that a node may lack, with what it is told. Subjects are without root.
var denied = []struct {
	name               string
	publish, subscribe string
	missing            []string
}{
	{"subscribe to its own node's subjects", "", "n.>", []string{"subscribe to " + root + "n.r"}},
	{"subscribe to nodes, not to private rooms", "", "n.*.c", []string{"subscribe to " + root + "n.r"}},
	{"subscribe to private rooms", "", "n.*.p.>", []string{"subscribe to " + root + "n.rnobody.p.r=2F.r=FF"}},
	{"subscribe to the cluster", "", "c", []string{"subscribe to " + root + "c"}},
	{"subscribe to namespaces", "", "s.>", []string{"subscribe to " + root + "s.r=2F"}},
	{"subscribe to rooms", "", "r.>", []string{"subscribe to " + nobodysRoom}},
	{"subscribe to rooms of the root namespace", "", "r.r=2F.*", []string{"subscribe to " + nobodysRoom}},
	{"subscribe to anything", "", ">", []string{
		"subscribe to " + root + "c", "subscribe to " + root + "n.r", "subscribe to " + root + "s.r=2F", "subscribe to " + nobodysRoom}},
	{"publish to the cluster", "c", "", []string{"publish to " + root + "c"}},
	{"publish to namespaces", "s.*", "", []string{"publish to " + root + "s.r=2F"}},
	{"publish to rooms", "r.>", "", []string{"publish to " + nobodysRoom}},
	{"publish to nodes", "n.*.c", "", []string{"publish to " + root + "n.rnobody.c"}},
	{"publish to private rooms", "n.*.p.>", "", []string{"publish to " + root + "n.rnobody.p.r=2F.r=FF"}},
	{"publish to anything", ">", "", []string{
		"publish to " + root + "c", "publish to " + root + "s.r=2F", "publish to " + nobodysRoom, "publish to " + root + "n.rnobody.c"}},
	{"publish and subscribe to rooms", "r.>", "r.>", []string{"subscribe to " + nobodysRoom, "publish to " + nobodysRoom}},
	{"anything", ">", ">", []string{"subscribe to " + root + "c", "publish to " + root + "c"}},
}

func subjects(pattern string) []string {
	switch pattern {
	case "":
		return nil
	case ">":
		return []string{">"}
	}
	return []string{root + pattern}
}

// TestOutside checks that a node which lacks any permission that nodes need is outside of the cluster, and says so: nothing works by accident.
func TestOutside(t *testing.T) {
	for _, d := range denied {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			s := startGuarded(t, subjects(d.publish), subjects(d.subscribe))

			alone := s.visit("bound", false)
			checkRefusal(t, "Ready without another node", alone.ready(), d.missing...)
			checkRefusal(t, "Join without another node", alone.add("r"), d.missing...)
			state := alone.hub.State()
			if state.Status != adapter.Refused {
				t.Errorf("the state is %v, want %v", state.Status, adapter.Refused)
			}
			checkRefusal(t, "the state's reason", state.Reason, d.missing...)
			eventually(t, func() error {
				for _, m := range d.missing {
					if !strings.Contains(alone.log.String(), m) {
						return fmt.Errorf("the log does not name %q:\n%s", m, alone.log)
					}
				}
				return nil
			})

			a, b, c := s.visit("free", false), s.visit("bound", false), s.visit("free", false)
			a.must(a.ready())
			a.must(a.add("r"))
			c.must(c.add("r"))
			checkRefusal(t, "Ready", b.ready(), d.missing...)
			err := b.add("r")
			checkRefusal(t, "Join", err, d.missing...)
			var unfenced *cluster.UnfencedError
			if !errors.As(err, &unfenced) {
				t.Errorf("Join: %v, want an %T", err, unfenced)
			}
			_, err = b.rooms.Count(t.Context(), cluster.Selection{})
			checkRefusal(t, "Count", err, d.missing...)
			for range 20 {
				a.must(a.rooms.Broadcast(cluster.Broadcast{Rooms: []string{"r"}, Payload: []byte("x")}))
				checkRefusal(t, "Broadcast", b.rooms.Broadcast(cluster.Broadcast{Rooms: []string{"r"}, Payload: []byte("x")}), d.missing...)
			}
			eventually(t, func() error {
				if got := c.got.Load(); got < 20 {
					return fmt.Errorf("%d of 20 broadcasts have come to the third node", got)
				}
				return nil
			})
			if got := b.got.Load(); got != 20 {
				t.Errorf("the node that is outside has got %d broadcasts, want the 20 of its own", got)
			}
			for _, g := range []*guest{a, c} {
				if got := g.got.Load(); got != 20 {
					t.Errorf("a node of the cluster has got %d broadcasts, want 20 of the other one", got)
				}
				if got := g.hub.Nodes(); len(got) != 1 {
					t.Errorf("a node of the cluster knows %v, want the other one alone", got)
				}
				if got := g.hub.Stats().Malformed; got != 0 {
					t.Errorf("%d messages were not understood", got)
				}
			}
			if got := b.hub.Stats().Refused; got != 20 {
				t.Errorf("%d broadcasts counted as refused, want 20", got)
			}
		})
	}
}

// TestOutsideClient checks that a node without members needs to publish what others need, and to subscribe to less.
func TestOutsideClient(t *testing.T) {
	for _, d := range denied {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			s := startGuarded(t, subjects(d.publish), subjects(d.subscribe))
			g := s.visit("bound", true)
			err := g.ready()
			spared := d.publish == "" && (strings.HasPrefix(d.subscribe, "r.") || strings.HasPrefix(d.subscribe, "s."))
			switch {
			case d.subscribe == "n.*.p.>": // a part of what the node subscribes to for itself, that no other node uses
			case spared && err != nil:
				t.Errorf("Ready: %v, want nil", err)
			case !spared:
				if d.name == "subscribe to anything" {
					d.missing = d.missing[:2]
				}
				if d.name == "publish and subscribe to rooms" {
					d.missing = d.missing[1:]
				}
				checkRefusal(t, "Ready", err, d.missing...)
				checkRefusal(t, "Broadcast", g.rooms.Broadcast(cluster.Broadcast{Payload: []byte("x")}), d.missing...)
			}
		})
	}
}

// TestDeniedRoom checks that a room which is denied is an error of each Join of it, and of nothing else.
func TestDeniedRoom(t *testing.T) {
	for _, others := range []bool{false, true} {
		t.Run(fmt.Sprintf("others=%v", others), func(t *testing.T) {
			t.Parallel()
			const subject = root + "r.r=2F.rsecret"
			s := startGuarded(t, nil, []string{subject})
			a := s.visit("free", false)
			if others {
				a.must(a.add("open"))
			}
			b := s.visit("bound", false)
			b.must(b.ready())
			b.must(b.add("open"))
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			id := b.hub.NewID()
			b.must(b.rooms.Add(ctx, id, b))
			for what, id := range map[string]string{"Join": b.id, "Join of another member": id, "Join once more": b.id} {
				checkRefusal(t, what, b.rooms.Join(ctx, id, "secret"), "subscribe to "+subject, `room "secret" of "/"`)
			}
			checkRefusal(t, "Join of several rooms", b.rooms.Join(ctx, b.id, "open", "secret", "x"), subject)
			b.must(b.rooms.Join(ctx, b.id, "open", "y"))
			b.rooms.Leave(b.id, "secret")
			b.rooms.Leave(id, "secret")
			checkRefusal(t, "Join after it was left", b.rooms.Join(ctx, id, "secret"), subject)
			checkRefusal(t, "JoinMembers", b.rooms.JoinMembers(ctx, cluster.Selection{}, "secret"), subject)
			if state := b.hub.State(); state.Status != adapter.Connected {
				t.Errorf("the state is %v, want %v", state.Status, adapter.Connected)
			}
			eventually(t, func() error {
				if reason := b.hub.State().Reason; !errors.Is(reason, adapter.ErrRefused) || !strings.Contains(reason.Error(), subject) {
					return fmt.Errorf("the state's reason is %v, want it to name %s", reason, subject)
				}
				return nil
			})
			if others {
				err := a.rooms.JoinMembers(ctx, cluster.Selection{Rooms: []string{b.id}}, "secret")
				var unfenced *cluster.UnfencedError
				if !errors.As(err, &unfenced) || len(unfenced.Nodes) != 1 || unfenced.Nodes[0] != b.hub.Node() {
					t.Errorf("JoinMembers from another node: %v, want the node that is denied the room", err)
				}
			}

			// What the server allows again is confirmed when it stands.
			s.deny(nil, nil)
			b.adapter.times.retryRefused = time.Millisecond
			s.disconnect()
			eventually(t, func() error { return b.rooms.Join(ctx, b.id, "secret") })
		})
	}
}

// TestDeniedBySubscriptions checks that a Join beyond the number of subscriptions that a user may have fails.
func TestDeniedBySubscriptions(t *testing.T) {
	o := guardedOptions(nil, nil)
	o.MaxSubs = 12
	s := startServer(t, o)
	g := s.visit("bound", false)
	s.must(g.ready())
	s.must(g.add("0"))
	var err error
	for i := 1; i < 30 && err == nil; i++ {
		err = g.rooms.Join(t.Context(), g.id, fmt.Sprint(i))
	}
	if !errors.Is(err, adapter.ErrRefused) || !errors.Is(err, nats.ErrMaxSubscriptionsExceeded) {
		t.Errorf("Join: %v, want %v", err, nats.ErrMaxSubscriptionsExceeded)
	}
}

// TestPermissionsChange checks that a node is out of the cluster as soon as a reload of the server takes a permission from it, and is back, with what
// it has missed, when it gets that again.
func TestPermissionsChange(t *testing.T) {
	for _, d := range denied {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			s := startGuarded(t, nil, nil)
			if strings.HasPrefix(d.subscribe, "n.*") { // no server tells that it withholds a part of what it has allowed as a whole
				s.rehearse = 50 * time.Millisecond
			}
			a, b := s.visit("free", false), s.visit("bound", false)
			for _, g := range []*guest{a, b} {
				g.must(g.ready())
				g.must(g.add("r"))
			}
			emit := func(g *guest) error {
				return g.rooms.Broadcast(cluster.Broadcast{Rooms: []string{"r"}, Payload: []byte("x")})
			}
			a.must(emit(a))
			b.must(emit(b))
			has := func(g *guest, n int64) {
				t.Helper()
				eventually(t, func() error {
					if got := g.got.Load(); got != n {
						return fmt.Errorf("%d broadcasts have come, want %d", got, n)
					}
					return nil
				})
			}
			has(a, 2)
			has(b, 2)

			s.deny(subjects(d.publish), subjects(d.subscribe))
			told := 0
			eventually(t, func() error { // a permission to publish is missed when it is used
				for _, to := range [][]string{{"r"}, nil, {a.id}} {
					if b.rooms.Broadcast(cluster.Broadcast{Rooms: to, Except: []string{"r"}, Payload: []byte("x")}) != nil {
						told++
					}
				}
				if d.publish == "n.*.c" { // is used in answers
					_, _ = a.rooms.Count(t.Context(), cluster.Selection{})
				}
				if state := b.hub.State(); state.Status != adapter.Refused {
					return fmt.Errorf("the state is %v (%v), want %v", state.Status, state.Reason, adapter.Refused)
				}
				return nil
			})
			checkRefusal(t, "Ready", b.ready(), d.missing...)
			checkRefusal(t, "Join", b.rooms.Join(t.Context(), b.id, "later"), d.missing...)
			checkRefusal(t, "Broadcast", emit(b), d.missing...)
			a.must(emit(a))

			s.deny(nil, nil)
			eventually(t, func() error { return b.ready() })
			b.must(emit(b))
			has(a, 4)
			has(b, 5) // one of its own was refused, and delivered here
			b.must(b.rooms.Join(t.Context(), b.id, "later", "even later"))
		})
	}
}

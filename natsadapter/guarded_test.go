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
	"github.com/belfry-io/belfry/test/kit"
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
	kit.OK(t, err)
	server.Start()
	t.Cleanup(func() {
		server.Shutdown()
		server.WaitForShutdown()
	})
	if !server.ReadyForConnections(kit.Patience) {
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
	log     *kit.Log
	got     atomic.Int64
}

func (g *guest) Deliver(any) bool { g.got.Add(1); return true }

func (g *guest) DeliverWithAck(_ any, answer func(payload []byte, ok bool)) { answer(nil, false) }

func (g *guest) CancelAck(any) {}

func (g *guest) Describe() []byte { return []byte("{}") }

func (g *guest) Disconnect(bool) {}

func plainFrame(payload []byte, _ bool) (frame any, err error) { return payload, nil }

// visit opens a node as a user.
func (s *guardedServer) visit(user string, client bool) *guest {
	s.t.Helper()
	g := &guest{t: s.t, log: new(kit.Log)}
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
		ctx, cancel := context.WithTimeout(context.Background(), kit.Patience)
		defer cancel()
		_ = g.hub.Close(ctx) // an error says that what a refused node has emitted was not sent
	})
	g.rooms = g.hub.Rooms("/", plainFrame)
	g.id = g.hub.NewID()
	return g
}

func (g *guest) ready() error {
	ctx, cancel := context.WithTimeout(g.t.Context(), kit.Patience)
	defer cancel()
	return g.hub.Ready(ctx)
}

// add puts the member into the namespace and into a room, and returns what either says.
func (g *guest) add(room string) error {
	ctx, cancel := context.WithTimeout(g.t.Context(), kit.Patience)
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

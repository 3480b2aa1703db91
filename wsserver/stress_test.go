package wsserver_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestStress has many clients on two servers join, leave, emit and disconnect in every way, also in namespaces that come and go with
// them, and then looks whether anything is left.
func TestStress(t *testing.T) {
	const clients, rounds, steps = 16, 4, 25
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	memory := new(adapter.Memory)
	var srvs []*wsserver.Server
	var dials []func() net.Conn
	var admins []*wsserver.Namespace
	var parents []*wsserver.ParentNamespace
	for i := range 2 {
		srv := newServer(t, wsserver.Config{Adapter: memory, Limits: wsserver.Limits{MaxEvents: 4}, OnError: func(s *wsserver.Socket, event string, err error) {
			kit.Check(t, s.Context().Err() != nil, "seed %d: event %q: %v", seed, event, err)
		}})
		kit.OK(t, srv.Ready(t.Context()))
		for _, ns := range []*wsserver.Namespace{srv.Of("/"), srv.Of("/admin")} {
			ns.On("echo", echo)
			ns.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
				wsserver.OnAck(s, "join", func(ctx context.Context, _ *wsserver.Socket, room string) (bool, error) {
					err := s.Join(ctx, room)
					if unfenced := new(cluster.UnfencedError); errors.As(err, &unfenced) {
						err = nil // it stands; a busy machine may take longer than the fence
					}
					return true, err
				})
				wsserver.OnAck(s, "leave", func(ctx context.Context, _ *wsserver.Socket, room string) (bool, error) {
					s.Leave(room)
					return true, nil
				})
				wsserver.On(s, "say", func(ctx context.Context, _ *wsserver.Socket, room string) error {
					return s.To(room).Emit(ctx, "said", room)
				})
				s.On("drop me", func(ctx context.Context, e *wsserver.Event) error { s.Disconnect(); return nil })
				s.On("close me", func(ctx context.Context, e *wsserver.Event) error { s.Close(); return nil })
				return nil
			})
			ns.OnDisconnecting(func(ctx context.Context, s *wsserver.Socket, reason error) {
				if got := s.Rooms(); len(got) == 0 || got[0] != s.ID() {
					t.Errorf("seed %d: OnDisconnecting: got rooms %q", seed, got)
				}
			})
			ns.OnDisconnect(func(ctx context.Context, s *wsserver.Socket, reason error) {
				if got := s.Rooms(); len(got) > 0 {
					t.Errorf("seed %d: OnDisconnect: got rooms %q, want none", seed, got)
				}
			})
		}
		parent := srv.OfFunc(isRoom)
		parent.On("echo", echo)
		parent.Use(func(ctx context.Context, s *wsserver.Socket) error {
			if string(s.Handshake().Auth) == `{"refuse":true}` {
				return errors.New("no")
			}
			return nil
		})
		parent.OnAnyOutgoing(func(s *wsserver.Socket, e *wsserver.OutgoingEvent) {
			var name string
			if err := e.Decode(&name); err != nil || name != s.Namespace().Name() {
				t.Errorf("seed %d: a socket of %s gets what is for %s, %v", seed, s.Namespace().Name(), name, err)
			}
		})
		srvs, admins, parents = append(srvs, srv), append(admins, srv.Of("/admin")), append(parents, parent)
		l := localhost(t)
		if i == 1 {
			l = hiddenListener{l} // one polls, one has goroutines
		}
		dials = append(dials, listen(t, srv, l, false))
	}

	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			for range rounds {
				c := wstest.New(t, dials[rng.IntN(2)](), wstest.Config{})
				both := []*wstest.Client{c, c.Of("/admin", nil)}
				for range steps {
					c := both[rng.IntN(2)]
					room := fmt.Sprint("room ", rng.IntN(5))
					switch rng.IntN(6) {
					case 5:
						name := fmt.Sprint("/room-", rng.IntN(4))
						auth := map[string]bool{"refuse": rng.IntN(3) == 0}
						if d, refusal := c.Try(name, auth); auth["refuse"] != (refusal != nil) {
							t.Errorf("seed %d: %s with %v: got %s", seed, name, auth, refusal)
						} else if d != nil {
							for _, ns := range parents[rng.IntN(2)].Namespaces() { // they may go meanwhile
								ns.Emit(t.Context(), "broadcast", ns.Name())
							}
							d.EmitWithAck("echo")
							d.Disconnect()
						}
					case 0:
						c.EmitWithAck("join", room)
					case 1:
						c.EmitWithAck("leave", room)
					case 2:
						srvs[rng.IntN(2)].To(room).Emit(t.Context(), "broadcast", room)
					default:
						c.Emit("say", room)
					}
				}
				switch rng.IntN(6) {
				case 0:
					c.Close()
				case 1:
					c.Abort()
				case 2:
					c.Emit("drop me")
					<-c.Disconnected()
					both[1].EmitWithAck("echo")
					c.Abort()
				case 3:
					c.Emit("close me")
					c.Wait()
				case 4:
					c.Disconnect()
					both[1].Disconnect()
					c.Of("/", nil).EmitWithAck("echo")
					c.Close()
				default:
					wsrig.Under(c).Write([]byte("no frame"))
					<-c.Disconnected()
					c.Abort() // nor does it wait for the server to close, which takes 5 s where a stream cannot be half closed
				}
			}
		})
	}
	wg.Wait()
	for i, srv := range srvs {
		kit.Eventually(t, "no connections", func() bool { return srv.Stats().Connections == 0 })
		for _, ns := range []*wsserver.Namespace{srv.Of("/"), admins[i]} {
			kit.Eventually(t, "no sockets and no rooms", func() bool { return ns.SocketCount()+len(ns.Rooms()) == 0 })
		}
		kit.Eventually(t, "no children", func() bool { return len(parents[i].Namespaces()) == 0 })
	}
	kit.Want(t, srvs[0].Stats().Accepted+srvs[1].Stats().Accepted, clients*rounds, "Stats.Accepted")
}

// TestDisconnectRace has the server disconnect a socket while its client leaves and connects again. Whatever comes first, client and
// server agree in the end: a DISCONNECT of the old socket does not come after the CONNECT of the new one.
func TestDisconnectRace(t *testing.T) {
	srv := newServer(t, wsserver.Config{})
	ns := srv.Of("/")
	srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error { return nil })
	admin := srv.Of("/admin")
	admin.On("echo", echo)
	c := wsrig.New(t, listen(t, srv, nil, false)(), wsrig.Config{})
	c.Send("40/admin,", "40")
	var sockets []*wsserver.Socket
	for range 500 {
		kit.Eventually(t, "the socket", func() bool { sockets = ns.Sockets(); return len(sockets) == 1 })
		old := sockets[0]
		var wg sync.WaitGroup
		wg.Go(old.Disconnect)
		c.Send("41", "40")
		wg.Wait()
		var last string // what the client knows of the namespace
		kit.Eventually(t, "the old socket's end", func() bool { return old.Context().Err() != nil && !slices.Contains(ns.Sockets(), old) })
		kit.Eventually(t, "the new socket", func() bool { sockets = ns.Sockets(); return len(sockets) == 1 })
		c.Send(`42/admin,1["echo"]`)
		for m := ""; m != `43/admin,1[]`; m = c.Read() {
			if len(m) >= 2 && (m[:2] == "40" || m[:2] == "41") {
				last = m
			}
		}
		kit.Require(t, last != "41",
			"the client was told last that it is disconnected, and the server has its new socket")
	}
}

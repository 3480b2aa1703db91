package crowd

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/belfry-io/belfry/wsserver"
)

// What a server does wrong with deliveries is found, and counted exactly.
func TestFaults(t *testing.T) {
	const members, publishes = 5, 40
	to := func(ctx context.Context, s *wsserver.Socket, room, data string) error {
		return toRoom(ctx, s, room, data)
	}
	for _, test := range []struct {
		name    string
		server  func() func(ctx context.Context, s *wsserver.Socket, n int, room, data string) error
		want    Faults
		stalled bool
	}{
		{"nothing wrong", func() func(context.Context, *wsserver.Socket, int, string, string) error {
			return func(ctx context.Context, s *wsserver.Socket, _ int, room, data string) error {
				return to(ctx, s, room, data)
			}
		}, Faults{}, false},
		{"loses every tenth", func() func(context.Context, *wsserver.Socket, int, string, string) error {
			return func(ctx context.Context, s *wsserver.Socket, n int, room, data string) error {
				if n%10 == 3 {
					return nil
				}
				return to(ctx, s, room, data)
			}
		}, Faults{Missing: publishes / 10 * members}, true},
		{"loses the last", func() func(context.Context, *wsserver.Socket, int, string, string) error {
			return func(ctx context.Context, s *wsserver.Socket, n int, room, data string) error {
				if n == publishes-1 {
					return nil
				}
				return to(ctx, s, room, data)
			}
		}, Faults{Missing: members}, true},
		{"doubles every tenth", func() func(context.Context, *wsserver.Socket, int, string, string) error {
			return func(ctx context.Context, s *wsserver.Socket, n int, room, data string) error {
				if n%10 == 3 {
					return errors.Join(to(ctx, s, room, data), to(ctx, s, room, data))
				}
				return to(ctx, s, room, data)
			}
		}, Faults{Doubled: publishes / 10 * members}, false},
		{"holds every tenth back", func() func(context.Context, *wsserver.Socket, int, string, string) error {
			var held string
			return func(ctx context.Context, s *wsserver.Socket, n int, room, data string) error {
				if n%10 == 3 {
					held = data
					return nil
				}
				err := to(ctx, s, room, data)
				if held != "" {
					err = errors.Join(err, to(ctx, s, room, held))
					held = ""
				}
				return err
			}
		}, Faults{Reordered: publishes / 10 * members}, false},
		{"changes every tenth", func() func(context.Context, *wsserver.Socket, int, string, string) error {
			return func(ctx context.Context, s *wsserver.Socket, n int, room, data string) error {
				if n%10 == 3 {
					return errors.Join(to(ctx, s, room, data), to(ctx, s, room, data[:len(data)-1]))
				}
				return to(ctx, s, room, data)
			}
		}, Faults{Malformed: publishes / 10 * members}, false},
		{"sends it to others, too", func() func(context.Context, *wsserver.Socket, int, string, string) error {
			return func(ctx context.Context, s *wsserver.Socket, n int, room, data string) error {
				if n%10 == 3 {
					return s.Namespace().Emit(ctx, "message", data)
				}
				return to(ctx, s, room, data)
			}
		}, Faults{Malformed: publishes / 10}, false},
		{"invents some", func() func(context.Context, *wsserver.Socket, int, string, string) error {
			return func(ctx context.Context, s *wsserver.Socket, n int, room, data string) error {
				if n%10 == 3 {
					return errors.Join(to(ctx, s, room, data), to(ctx, s, room,
						string(appendPayload(nil, 7, 1, []byte("x")))))
				}
				return to(ctx, s, room, data)
			}
		}, Faults{Malformed: publishes / 10 * members}, false},
	} {
		for _, flow := range []Flow{{InFlight: 5}, {Rate: 1000}} {
			for _, transport := range []string{WebSocket, Polling} {
				name := map[bool]string{true: "closed", false: "paced"}[flow.Rate == 0]
				t.Run(test.name+"/"+name+"/"+transport, func(t *testing.T) {
					t.Parallel()
					var mu sync.Mutex
					n := 0
					publish := test.server()
					url := newServer(t, false, wsserver.Config{},
						func(ctx context.Context, s *wsserver.Socket, room, data string) error {
							mu.Lock()
							defer mu.Unlock()
							n++
							return publish(ctx, s, n-1, room, data)
						})
					// The last one is in no room.
					c := newCrowd(t, Config{URLs: []string{url}, Transport: transport}, members+1)
					join(t, c, Join{Members: members}, members)
					f := flow
					f.Kind, f.Publishes, f.Stall = Room, publishes, patience
					if test.stalled {
						f.Stall = 500 * time.Millisecond
					}
					r, err := c.Run(within(t), f)
					if err != nil || r.Stalled != test.stalled || r.Publishes != publishes {
						t.Errorf("got %+v, %v; want %d publishes, and stalled %t", r, err, publishes, test.stalled)
					}
					if got := c.Check(); got != test.want {
						t.Errorf("got %+v, want %+v", got, test.want)
					}
					if got := c.Check(); got != test.want {
						t.Errorf("the second time: got %+v, want %+v", got, test.want)
					}
				})
			}
		}
	}
}

// What a server acknowledges that belongs to another event is malformed.
func TestEchoFaults(t *testing.T) {
	srv := wsserver.New(wsserver.Config{})
	srv.OnConnect(func(_ context.Context, s *wsserver.Socket) error {
		before := ""
		n := 0
		wsserver.OnAck(s, "echo", func(_ context.Context, _ *wsserver.Socket, data string) (string, error) {
			n++
			if n == 4 {
				return before, nil
			}
			before = data
			return data, nil
		})
		return nil
	})
	c := newCrowd(t, Config{URLs: []string{serve(t, srv, false)}}, 1)
	r, err := c.Run(within(t), Flow{Kind: Echo, InFlight: 2, Publishes: 10, Stall: 500 * time.Millisecond})
	if err != nil || !r.Stalled || r.Deliveries != 9 {
		t.Errorf("got %+v, %v; want 9 echoes, and no more", r, err)
	}
	if got, want := c.Check(), (Faults{Missing: 1, Malformed: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// An application may acknowledge with anything.
func TestOtherAcks(t *testing.T) {
	srv := wsserver.New(wsserver.Config{})
	srv.OnConnect(func(_ context.Context, s *wsserver.Socket) error {
		wsserver.OnAck(s, "save", func(context.Context, *wsserver.Socket, string) (map[string]bool, error) {
			return map[string]bool{"ok": true}, nil
		})
		return nil
	})
	c := newCrowd(t, Config{URLs: []string{serve(t, srv, false)}}, 3)
	r := runFlow(t, c, Flow{Kind: Echo, InFlight: 2, Publishes: 10, Emit: []any{"save", "{id} {socket} {payload}"}})
	check(t, c, r, 10, 10)
}

// The longest silence counts from the beginning, and until the last publish was due if nothing comes any more.
func TestSilence(t *testing.T) {
	for lost, least := range map[int64]time.Duration{20: 200 * time.Millisecond, 40: 400 * time.Millisecond} {
		t.Run(least.String(), func(t *testing.T) {
			t.Parallel()
			var count atomic.Int64
			url := newServer(t, false, wsserver.Config{}, func(ctx context.Context, s *wsserver.Socket, room, data string) error {
				if count.Add(1) <= lost {
					return nil
				}
				return toRoom(ctx, s, room, data)
			})
			c := newCrowd(t, Config{URLs: []string{url}}, 2)
			join(t, c, Join{}, 2)
			f := Flow{Kind: Room, Rate: 100, Duration: 400 * time.Millisecond, Stall: time.Second}
			r, err := c.Run(within(t), f)
			missing := c.Check().Missing
			if err != nil || r.Publishes == 40 && missing != 2*int(lost) || r.Silence < least {
				t.Errorf("got %+v, %v, %d missing; want %d, and a silence of %v", r, err, missing, 2*lost, least)
			}
		})
	}
}

// Slow members do not count; the others have everything.
func TestSlow(t *testing.T) {
	for _, way := range ways[:3] {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			cfg := way.config
			cfg.URLs = []string{newServer(t, way.secure, wsserver.Config{}, toRoom)}
			c := newCrowd(t, cfg, 6)
			join(t, c, Join{Rooms: 2}, 6)
			r := runFlow(t, c, Flow{Kind: Room, InFlight: 4, Publishes: 50, Slow: 2, Size: 2000})
			check(t, c, r, 50, 100)
			// They read again afterwards.
			check(t, c, runFlow(t, c, Flow{Kind: Room, InFlight: 4, Publishes: 50}), 50, 150)
		})
	}
}

// A client that loses its connection is told, and holds nobody up.
func TestLost(t *testing.T) {
	for _, flow := range []Flow{{InFlight: 4}, {Rate: 500}} {
		for _, who := range []string{"~~0000000", "~~0000001"} { // the one of this route
			srv := wsserver.New(wsserver.Config{})
			n := 0
			var mu sync.Mutex
			srv.OnConnect(func(_ context.Context, s *wsserver.Socket) error {
				wsserver.OnAck(s, "join", func(ctx context.Context, _ *wsserver.Socket, name string) (string, error) {
					return "", s.Join(ctx, name)
				})
				wsserver.On2(s, "publish", func(ctx context.Context, s *wsserver.Socket, room, data string) error {
					mu.Lock()
					defer mu.Unlock()
					if strings.HasPrefix(data, who) {
						if n++; n == 10 {
							s.Disconnect()
							return nil
						}
					}
					return toRoom(ctx, s, room, data)
				})
				return nil
			})
			c := newCrowd(t, Config{URLs: []string{serve(t, srv, false)}}, 5)
			join(t, c, Join{}, 5)
			f := flow
			f.Kind, f.Senders, f.Publishes, f.Stall = Room, 2, 60, patience
			r, err := c.Run(within(t), f)
			if err != nil || r.Stalled || r.Lost != 1 || len(r.Why) != 1 || r.Publishes != 60 || c.Alive() != 4 {
				t.Errorf("got %+v, %v; want one client lost", r, err)
			}
			if got := c.Check(); got != (Faults{}) {
				t.Errorf("got %+v, want no faults", got)
			}
		}
	}
}

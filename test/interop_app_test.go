package test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/sockets"
	"github.com/belfry-io/belfry/wsserver"
)

// interopApp is the application of node/checks.mjs on belfry; node/reference.mjs is the same on the reference. Nodes share it, so that
// what a client has counted is together.
type interopApp struct {
	asking sync.WaitGroup // the questions to clients that are under way

	mu     sync.Mutex // guards what follows
	counts map[string][]int
	watch  map[string]string // who watches the end of a socket, by its id: a room
}

// serveInteropApp sets the application's handlers on nodes. It waits for the application's goroutines at the end of the test.
func serveInteropApp(t *testing.T, nodes ...*wsserver.Server) {
	t.Helper()
	a := newInteropApp()
	t.Cleanup(a.asking.Wait)
	for _, srv := range nodes {
		a.serve(srv)
	}
}

func newInteropApp() *interopApp {
	return &interopApp{counts: map[string][]int{}, watch: map[string]string{}}
}

func (a *interopApp) serve(srv *wsserver.Server) {
	names := []string{"/", "/ünï/cøde ✓"}
	for i := range 20 {
		names = append(names, fmt.Sprintf("/ns-%d", i+1))
	}
	for _, name := range names {
		serveCommon(srv.Of(name))
	}
	a.serveMain(srv.Of("/"))
	serveCommon(srv.OfFunc(regexp.MustCompile(`^/dynamic-\d+$`).MatchString))

	guarded := srv.Of("/guarded")
	guarded.Use(func(ctx context.Context, s *wsserver.Socket) error {
		var auth struct{ Token string }
		if err := json.Unmarshal(s.Handshake().Auth, &auth); err == nil && auth.Token == "secret" {
			return nil
		}
		return &wsserver.ConnectError{Message: "not authorized", Data: map[string]any{"code": 401, "hint": []any{"ask", "nicely", nil}}}
	})
	guarded.Use(func(ctx context.Context, s *wsserver.Socket) error {
		var auth struct{ Name string }
		if err := json.Unmarshal(s.Handshake().Auth, &auth); err != nil {
			return err
		}
		if auth.Name == "" {
			return errors.New("who are you?")
		}
		return nil
	})
	serveCommon(guarded)

	slow := srv.Of("/slow")
	slow.Use(func(ctx context.Context, s *wsserver.Socket) error {
		select {
		case <-time.After(100 * time.Millisecond):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	serveCommon(slow)
}

// serveCommon sets what every namespace has.
func serveCommon(ns wsserver.Listener) {
	ns.On("whoami", func(ctx context.Context, e *wsserver.Event) error {
		h := e.Socket().Handshake()
		query := map[string]string{}
		for key := range h.Query {
			query[key] = h.Query.Get(key)
		}
		auth := h.Auth
		if auth == nil {
			auth = json.RawMessage("{}")
		}
		return e.Ack(map[string]any{"id": e.Socket().ID(), "namespace": e.Socket().Namespace().Name(), "auth": auth, "query": query})
	})
	ns.On("echo", func(ctx context.Context, e *wsserver.Event) error {
		args, err := e.Args()
		if err != nil {
			return err
		}
		return e.Socket().Emit(ctx, "echo", args...)
	})
	ns.On("ack", ackAll)
	ns.On("shout", func(ctx context.Context, e *wsserver.Event) error {
		var text string
		if err := e.Decode(&text); err != nil {
			return err
		}
		return errors.Join(e.Socket().Namespace().Emit(ctx, "shouted", text), e.Ack())
	})
	ns.On("bye", func(ctx context.Context, e *wsserver.Event) error {
		var n int
		if err := e.Decode(&n); err != nil {
			return err
		}
		for i := range n {
			if err := e.Socket().Emit(ctx, "last words", i, []byte{byte(i)}); err != nil {
				return err
			}
		}
		e.Socket().Disconnect()
		return nil
	})
}

// serveMain sets what only the main namespace has.
func (a *interopApp) serveMain(ns *wsserver.Namespace) {
	ns.OnConnect(func(ctx context.Context, s *wsserver.Socket) error { return s.Emit(ctx, "welcome", s.ID()) })
	ns.OnDisconnecting(func(ctx context.Context, s *wsserver.Socket, reason error) {
		rooms := slices.Sorted(slices.Values(s.Rooms()))
		s.OnDisconnect(func(ctx context.Context, reason error) {
			a.mu.Lock()
			watchers, watched := a.watch[s.ID()]
			a.mu.Unlock()
			if watched {
				ns.To(watchers).Emit(context.Background(), "gone", s.ID(), reasonName(reason), rooms, append([]string{}, s.Rooms()...))
			}
		})
	})
	ns.On("watch", func(ctx context.Context, e *wsserver.Event) error {
		var room string
		if err := e.Decode(&room); err != nil {
			return err
		}
		a.mu.Lock()
		a.watch[e.Socket().ID()] = room
		a.mu.Unlock()
		return e.Ack()
	})
	for _, name := range []string{"", "message", "1", "__proto__", "constructor", "toString", `a "quoted" \ name`, "\u001e ünïcode \u2028 🎉"} {
		ns.On(name, func(ctx context.Context, e *wsserver.Event) error {
			args, err := e.Args()
			if err != nil {
				return err
			}
			return e.Ack(append([]any{name}, args...)...)
		})
	}
	ns.On("twice", func(ctx context.Context, e *wsserver.Event) error {
		return errors.Join(e.Ack("first"), e.Ack("second"))
	})
	ns.On("ask", a.ask)
	ns.On("count", func(ctx context.Context, e *wsserver.Event) error {
		var key string
		var n int
		if err := e.Decode(&key, &n); err != nil {
			return err
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.counts[key] = append(a.counts[key], n)
		return nil
	})
	ns.On("counted", func(ctx context.Context, e *wsserver.Event) error {
		var key string
		if err := e.Decode(&key); err != nil {
			return err
		}
		a.mu.Lock()
		counted := append([]int{}, a.counts[key]...)
		a.mu.Unlock()
		return e.Ack(counted)
	})
	serveBursts(ns)
	serveRooms(ns)
	ns.On("give", func(ctx context.Context, e *wsserver.Event) error {
		var n int
		var binary bool
		if err := e.Decode(&n, &binary); err != nil {
			return err
		}
		if binary {
			return e.Ack(slices.Repeat([]byte{7}, n))
		}
		return e.Ack(strings.Repeat("é", n/2))
	})
	ns.On("close", func(ctx context.Context, e *wsserver.Event) error {
		err := e.Socket().Emit(ctx, "last words", 0)
		e.Socket().Close()
		return err
	})
	ns.On("close transport", func(ctx context.Context, e *wsserver.Event) error {
		err := e.Socket().Emit(ctx, "last words", 0)
		e.Socket().CloseTransport()
		return err
	})
}

// ask asks the client, on a goroutine of its own: the client may answer later questions first.
func (a *interopApp) ask(ctx context.Context, e *wsserver.Event) error {
	args, err := e.Args()
	if err != nil {
		return err
	}
	ms, ok := args[0].(float64)
	if !ok {
		return fmt.Errorf("ask: the time is %v", args[0])
	}
	a.asking.Go(func() {
		ctx, cancel := context.WithTimeout(e.Socket().Context(), time.Duration(ms)*time.Millisecond)
		defer cancel()
		response, err := e.Socket().EmitWithAck(ctx, "question", args[1:]...)
		if errors.Is(err, context.DeadlineExceeded) {
			e.Ack("timeout")
			return
		}
		var answers []any
		if err == nil {
			answers, err = response.Args()
		}
		if err != nil {
			e.Ack("failed", err.Error())
			return
		}
		e.Ack(append([]any{"answered"}, answers...)...)
	})
	return nil
}

func serveBursts(ns *wsserver.Namespace) {
	// burst emits as many events as the client asks for, as what emit makes of each number.
	burst := func(event string, emit func(ctx context.Context, s *wsserver.Socket, i int) error, end func(ctx context.Context, s *wsserver.Socket) error) {
		ns.On(event, func(ctx context.Context, e *wsserver.Event) error {
			var n int
			if err := e.Decode(&n); err != nil {
				return err
			}
			for i := range n {
				if err := emit(ctx, e.Socket(), i); err != nil {
					return err
				}
			}
			if end != nil {
				return end(ctx, e.Socket())
			}
			return nil
		})
	}
	burst("burst", func(ctx context.Context, s *wsserver.Socket, i int) error { return s.Emit(ctx, "tick", i) }, nil)
	burst("mixed burst", func(ctx context.Context, s *wsserver.Socket, i int) error {
		if i%3 == 1 {
			return s.Emit(ctx, "tick", i, []byte{byte(i)}, map[string]any{"deep": []byte{byte(i), byte(i)}})
		}
		return s.Emit(ctx, "tick", i)
	}, nil)
	volatile := func(ctx context.Context, s *wsserver.Socket, i int) error {
		return ns.To(s.ID()).Volatile().Emit(ctx, "tick", i)
	}
	burst("volatile burst", volatile, func(ctx context.Context, s *wsserver.Socket) error { return s.Emit(ctx, "end") })
	ns.On("volatile", func(ctx context.Context, e *wsserver.Event) error {
		var i int
		if err := e.Decode(&i); err != nil {
			return err
		}
		return volatile(ctx, e.Socket(), i)
	})
}

func serveRooms(ns *wsserver.Namespace) {
	ns.On("join", func(ctx context.Context, e *wsserver.Event) error {
		var rooms []string
		if err := e.Decode(&rooms); err != nil {
			return err
		}
		err := e.Socket().Join(ctx, rooms...)
		if _, unfenced := errors.AsType[*cluster.UnfencedError](err); err != nil && !unfenced { // a node may have been killed
			return err
		}
		return e.Ack(slices.Sorted(slices.Values(e.Socket().Rooms())))
	})
	ns.On("leave", func(ctx context.Context, e *wsserver.Event) error {
		var room string
		if err := e.Decode(&room); err != nil {
			return err
		}
		e.Socket().Leave(room)
		return e.Ack(slices.Sorted(slices.Values(e.Socket().Rooms())))
	})
	say := func(event string, to func(s *wsserver.Socket, rooms []string) sockets.Broadcast) {
		ns.On(event, func(ctx context.Context, e *wsserver.Event) error {
			var rooms, except []string
			var text string
			if err := e.Decode(&rooms, &except, &text); err != nil {
				return err
			}
			return errors.Join(to(e.Socket(), rooms).Except(except...).Emit(ctx, "said", e.Socket().ID(), text), e.Ack())
		})
	}
	say("say", func(s *wsserver.Socket, rooms []string) sockets.Broadcast { return s.To(rooms...) })
	say("say to all", func(s *wsserver.Socket, rooms []string) sockets.Broadcast { return ns.To(rooms...) })
}

// ackAll acknowledges an event with its own arguments.
func ackAll(ctx context.Context, e *wsserver.Event) error {
	args, err := e.Args()
	if err != nil {
		return err
	}
	return e.Ack(args...)
}

// reasonName is how Socket.IO names a reason: belfry's error says more behind a colon.
func reasonName(reason error) string {
	name, _, _ := strings.Cut(reason.Error(), ":")
	return name
}

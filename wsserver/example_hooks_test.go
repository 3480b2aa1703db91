package wsserver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// A middleware decides who may connect. What it returns is what the client's "connect_error" gets.
func ExampleNamespace_Use() {
	t := new(example)
	defer t.end()
	srv := wsserver.New(wsserver.Config{})
	defer srv.Close(context.Background())
	srv.Of("/").Use(func(ctx context.Context, s *wsserver.Socket) error {
		var auth struct{ Token string }
		if err := json.Unmarshal(s.Handshake().Auth, &auth); err != nil {
			return errors.New("no token")
		}
		if auth.Token != "ding dong" { // in a program: look it up, for as long as ctx allows
			return &wsserver.ConnectError{Message: "wrong token", Data: map[string]any{"tries": 2}}
		}
		return nil
	})
	for _, token := range []string{"guess", "ding dong"} {
		ann, refusal := wstest.Try(t, srv, wstest.Config{Auth: map[string]string{"token": token}})
		fmt.Println(ann != nil, string(refusal))
	}
	// Output:
	// false {"message":"wrong token","data":{"tries":2}}
	// true
}

// Namespaces whose names are not known before share their handlers, and come and go with their clients.
func ExampleServer_OfFunc() {
	t := new(example)
	defer t.end()
	srv := wsserver.New(wsserver.Config{})
	defer srv.Close(context.Background())
	towers := srv.OfFunc(regexp.MustCompile(`^/tower-\d+$`).MatchString)
	towers.On("ring", func(ctx context.Context, e *wsserver.Event) error {
		tower := e.Socket().Namespace()
		return tower.Emit(ctx, "rang", tower.Name())
	})
	client := wstest.Dial(t, srv, wstest.Config{})
	north, south := client.Of("/tower-1", nil), client.Of("/tower-2", nil)
	fmt.Println(len(towers.Namespaces()))
	south.Emit("ring")
	fmt.Println(south.Next("rang"), len(north.Pending()))
	_, refusal := client.Try("/cellar", nil)
	fmt.Println(string(refusal))
	// Output:
	// 2
	// ["rang","/tower-2"] 0
	// {"message":"Invalid namespace"}
}

// A middleware of a socket sees its events, what becomes of them, and may bound the time that they take.
func ExampleSocket_Use() {
	t := new(example)
	defer t.end()
	srv := wsserver.New(wsserver.Config{OnError: func(s *wsserver.Socket, event string, err error) {}})
	defer srv.Close(context.Background())
	srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
		s.Use(func(next wsserver.Handler) wsserver.Handler {
			return func(ctx context.Context, e *wsserver.Event) error {
				ctx, cancel := context.WithTimeout(ctx, time.Second)
				defer cancel()
				err := next(ctx, e)
				if err != nil {
					fmt.Println(e.Name(), "failed:", err)
				}
				return err
			}
		})
		wsserver.OnAck(s, "half", func(ctx context.Context, _ *wsserver.Socket, n int) (int, error) {
			if n%2 == 1 {
				return 0, errors.New("an odd number")
			}
			return n / 2, nil
		})
		return nil
	})
	client := wstest.Dial(t, srv, wstest.Config{})
	client.Emit("half", 7)
	fmt.Println(string(client.EmitWithAck("half", 8).JSON()))
	// Output:
	// half failed: an odd number
	// [4]
}

// OnAny and OnAnyOutgoing see all that passes, here for a log.
func ExampleNamespace_OnAnyOutgoing() {
	t := new(example)
	defer t.end()
	srv := wsserver.New(wsserver.Config{})
	defer srv.Close(context.Background())
	root := srv.Of("/")
	root.OnAny(func(ctx context.Context, e *wsserver.Event) error {
		fmt.Println("in:", e.Name(), e.Len())
		return nil
	})
	root.OnAnyOutgoing(func(s *wsserver.Socket, e *wsserver.OutgoingEvent) {
		fmt.Println("out:", e.Name(), e.Len())
	})
	root.On("ring", func(ctx context.Context, e *wsserver.Event) error { return e.Socket().Namespace().Emit(ctx, "rang") })
	client := wstest.Dial(t, srv, wstest.Config{})
	client.Emit("ring", "twice", "please")
	client.Next("rang")
	// Output:
	// in: ring 2
	// out: rang 0
}

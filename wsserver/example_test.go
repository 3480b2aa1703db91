package wsserver_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// example stands for the *testing.T that the clients of package wstest want.
type example struct {
	testing.TB
	cleanups []func()
}

func (e *example) Helper()          {}
func (e *example) Cleanup(f func()) { e.cleanups = append(e.cleanups, f) }

func (e *example) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (e *example) end() {
	for _, f := range slices.Backward(e.cleanups) {
		f()
	}
}

func Example() {
	t := new(example)
	defer t.end()
	srv := wsserver.New(wsserver.Config{})
	defer srv.Close(context.Background())
	root := srv.Of("/")
	wsserver.OnAck(root, "join", func(ctx context.Context, s *wsserver.Socket, room string) (int, error) {
		if err := s.Join(ctx, room); err != nil {
			return 0, err
		}
		return len(s.Rooms()), s.To(room).Emit(ctx, "joined", "somebody new")
	})
	wsserver.On2(root, "say", func(ctx context.Context, s *wsserver.Socket, room, text string) error {
		return s.To(room).Emit(ctx, "said", text)
	})

	// In a program: http.ListenAndServe(":8080", srv)
	ann, bob := wstest.Dial(t, srv, wstest.Config{}), wstest.Dial(t, srv, wstest.Config{})
	ann.EmitWithAck("join", "tower")
	bob.EmitWithAck("join", "tower")
	fmt.Println(ann.Next("joined"))
	bob.Emit("say", "tower", "ding dong")
	fmt.Println(ann.Next("said"))
	// Output:
	// ["joined","somebody new"]
	// ["said","ding dong"]
}

func ExampleOnAck() {
	t := new(example)
	defer t.end()
	srv := wsserver.New(wsserver.Config{})
	defer srv.Close(context.Background())
	type line struct{ Room, Text string }
	wsserver.OnAck(srv.Of("/"), "say", func(ctx context.Context, s *wsserver.Socket, l line) (int, error) {
		if l.Text == "" {
			return 0, &wsserver.AckError{Message: "say something"} // the answer is {"error": {"message": "say something"}}
		}
		return len(l.Text), s.To(l.Room).Emit(ctx, "said", l)
	})
	client := wstest.Dial(t, srv, wstest.Config{})
	fmt.Println(string(client.EmitWithAck("say", line{Room: "tower", Text: "ding dong"}).JSON()))
	fmt.Println(string(client.EmitWithAck("say", line{Room: "tower"}).JSON()))
	// Output:
	// [9]
	// [{"error":{"message":"say something"}}]
}

func ExampleSocket_EmitWithAck() {
	t := new(example)
	defer t.end()
	srv := wsserver.New(wsserver.Config{})
	defer srv.Close(context.Background())
	asked := make(chan string)
	srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		answer, err := s.EmitWithAck(ctx, "name?")
		if err != nil {
			return err // the socket is disconnected
		}
		var name string
		if err := answer.Decode(&name); err != nil {
			return err
		}
		asked <- name
		return nil
	})
	client := wstest.Dial(t, srv, wstest.Config{})
	client.Next("name?").Ack("Ann")
	fmt.Println(<-asked)
	// Output:
	// Ann
}

// Two servers of one program are joined by an [adapter.Memory]; those of several programs by package natsadapter, in the same field.
func ExampleConfig_cluster() {
	t := new(example)
	defer t.end()
	cluster := new(adapter.Memory)
	var nodes []*wsserver.Server
	for range 2 {
		srv := wsserver.New(wsserver.Config{Adapter: cluster})
		defer srv.Close(context.Background())
		srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
			wsserver.OnAck(s, "join", func(ctx context.Context, _ *wsserver.Socket, room string) (bool, error) {
				return true, s.Join(ctx, room)
			})
			return nil
		})
		if err := srv.Ready(context.Background()); err != nil {
			fmt.Println(err)
			return
		}
		nodes = append(nodes, srv)
	}
	client := wstest.Dial(t, nodes[1], wstest.Config{})
	client.EmitWithAck("join", "tower") // what any node emits from now on reaches the client
	if err := nodes[0].To("tower").Emit(context.Background(), "said", "from the other node"); err != nil {
		fmt.Println(err)
	}
	fmt.Println(client.Next("said"))
	// Output:
	// ["said","from the other node"]
}

// A Broadcast is a value: it may be kept and extended.
func ExampleBroadcast() {
	t := new(example)
	defer t.end()
	srv := wsserver.New(wsserver.Config{})
	defer srv.Close(context.Background())
	srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
		if err := s.Join(ctx, "tower"); err != nil {
			return err
		}
		return s.Emit(ctx, "joined")
	})
	ann, bob := wstest.Dial(t, srv, wstest.Config{}), wstest.Dial(t, srv, wstest.Config{})
	ann.Next("joined")
	bob.Next("joined")
	tower := srv.To("tower")
	if err := tower.Except(ann.ID()).Emit(context.Background(), "hush", "not for Ann"); err != nil {
		fmt.Println(err)
	}
	if err := tower.Emit(context.Background(), "ding"); err != nil {
		fmt.Println(err)
	}
	fmt.Println(ann.Next(""), bob.Next(""), bob.Next(""))
	// Output:
	// ["ding"] ["hush","not for Ann"] ["ding"]
}

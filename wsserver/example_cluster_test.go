package wsserver_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// twoNodes are two servers of one cluster that have met.
func twoNodes() (nodes [2]*wsserver.Server, closeAll func()) {
	memory := new(adapter.Memory) // in a program: natsadapter.New
	for i := range nodes {
		nodes[i] = wsserver.New(wsserver.Config{Adapter: memory})
	}
	for _, srv := range nodes {
		if err := srv.Ready(context.Background()); err != nil {
			panic(err)
		}
	}
	return nodes, func() {
		for _, srv := range nodes {
			srv.Close(context.Background())
		}
	}
}

// The answers of all clients come together, wherever they are, and so does the number of those that have not answered.
func ExampleBroadcast_EmitWithAck() {
	t := new(example)
	nodes, closeAll := twoNodes()
	defer closeAll()
	defer t.end()
	for i, name := range []string{"Ann", "Bob", "Cid"} {
		client := wstest.Dial(t, nodes[i%2], wstest.Config{})
		client.On("ready?", func(wstest.Event) []any {
			if name == "Cid" {
				return nil // he has no answer
			}
			return []any{name}
		})
	}

	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	responses, err := nodes[0].All().EmitWithAck(ctx, "ready?")
	var names []string
	for _, r := range responses {
		var name string
		if err := r.Decode(&name); err != nil {
			fmt.Println(err)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	var partial *cluster.PartialError
	if errors.As(err, &partial) {
		fmt.Println(names, "and", partial.Clients, "who has not answered")
	}
	// Output:
	// [Ann Bob] and 1 who has not answered
}

// Sockets of other nodes are fetched, and acted on, as if they were here.
func ExampleBroadcast_FetchSockets() {
	t := new(example)
	nodes, closeAll := twoNodes()
	defer closeAll()
	defer t.end()
	type user struct{ Name string }
	for _, srv := range nodes {
		srv.Use(func(ctx context.Context, s *wsserver.Socket) error {
			s.SetData(user{s.Handshake().Query.Get("name")}) // in a program: who the token in Auth belongs to
			return nil
		})
	}
	ctx := context.Background()
	ann := wstest.Dial(t, nodes[0], wstest.Config{Query: map[string][]string{"name": {"Ann"}}})
	bob := wstest.Dial(t, nodes[1], wstest.Config{Query: map[string][]string{"name": {"Bob"}}})
	if err := nodes[0].All().SocketsJoin(ctx, "tower"); err != nil {
		fmt.Println(err)
	}

	sockets, err := nodes[0].To("tower").FetchSockets(ctx)
	if err != nil {
		fmt.Println(err) // sockets are those of the nodes that have answered
	}
	for _, s := range sockets {
		var u user
		if err := s.DecodeData(&u); err != nil {
			fmt.Println(err)
		}
		if err := s.Emit(ctx, "hello", u.Name); err != nil {
			fmt.Println(err)
		}
		if u.Name == "Bob" {
			if err := s.Leave(ctx, "tower"); err != nil {
				fmt.Println(err)
			}
		}
	}
	fmt.Println(ann.Next("hello"), bob.Next("hello"))
	n, err := nodes[1].To("tower").Count(ctx)
	fmt.Println(n, "in the tower,", err)
	// Output:
	// ["hello","Ann"] ["hello","Bob"]
	// 1 in the tower, <nil>
}

// Programs of a cluster talk to each other without a client.
func ExampleOnServerSideAck() {
	nodes, closeAll := twoNodes()
	defer closeAll()
	for i, srv := range nodes {
		wsserver.OnServerSideAck(srv.Of("/"), "load", func(ctx context.Context, window time.Duration) (string, error) {
			return fmt.Sprintf("node %d: little within %v", i, window), nil
		})
	}
	responses, err := nodes[0].Of("/").ServerSideEmitWithAck(context.Background(), "load", time.Minute)
	if err != nil {
		fmt.Println(err) // which nodes have not answered, and why
	}
	for _, r := range responses {
		var load string
		if err := r.Decode(&load); err != nil {
			fmt.Println(err)
		}
		fmt.Println(load)
	}
	// Output:
	// node 1: little within 1m0s
}

package natsadapter_test

import (
	"context"
	"fmt"
	"log"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/embedded"
)

// A server in the same process, and a node on it. A program gives the Adapter to its Socket.IO server instead of opening it.
func Example() {
	ctx := context.Background()
	server, err := embedded.Start(ctx, embedded.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Shutdown()

	var nats adapter.Adapter = natsadapter.New(natsadapter.Config{URL: server.URL(), Cluster: "chat"})
	link, err := nats.Open(ctx, func(msg []byte) { fmt.Printf("%s\n", msg) })
	if err != nil {
		log.Fatal(err)
	}
	state, _ := link.State()
	fmt.Println(state.Status)
	if err := link.Close(); err != nil {
		log.Fatal(err)
	}
	// Output: connected
}

func ExampleFromURL() {
	_, err := natsadapter.FromURL("nats://127.0.0.1:4222?clutser=chat")
	fmt.Println(err)
	// Output: natsadapter: unknown parameter "clutser" in the URL: want cluster, prefix or name
}

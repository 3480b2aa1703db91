package service_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/embedded"
	"github.com/belfry-io/belfry/natsadapter/service"
	"github.com/belfry-io/belfry/wsserver"
)

// A program that serves clients offers the service, too. Another one, in whatever language, knows NATS alone.
func Example() {
	ctx := context.Background()
	server, err := embedded.Start(ctx, embedded.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Shutdown()

	cluster := natsadapter.New(natsadapter.Config{URL: server.URL(), Cluster: "chat"})
	srv := wsserver.New(wsserver.Config{Adapter: cluster})
	defer srv.Close(ctx)
	if err := srv.Ready(ctx); err != nil {
		log.Fatal(err)
	}
	svc, err := service.Start(ctx, service.Config{Adapter: cluster})
	if err != nil {
		log.Fatal(err)
	}
	defer svc.Close(ctx)

	nc, err := nats.Connect(server.URL())
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	answer, err := nc.Request("belfry.service.rchat.emit", []byte(`{"rooms":["lobby"],"event":"news","args":["hi"]}`), 5*time.Second)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(answer.Data)) // nobody is in the lobby yet
	// Output: {"ok":true,"count":0}
}

package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"time"

	"github.com/belfry-io/belfry/natsadapter/embedded"
)

// beNATS is a NATS server: its port for clients, its port for routes, and those of the others. It
// prints a line when it has its routes to them, and for each line the number of its subscriptions.
func beNATS(args []string) error {
	cfg := embedded.Config{ClusterName: "returns"}
	fmt.Sscan(args[0], &cfg.Port)
	fmt.Sscan(args[1], &cfg.ClusterPort)
	for _, port := range args[2:] {
		cfg.Routes = append(cfg.Routes, "nats://127.0.0.1:"+port)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := embedded.Start(ctx, cfg)
	if err != nil {
		return err
	}
	// A node that started before would not hear of those on other servers.
	if err := s.WaitForRoutes(ctx, 1+len(cfg.Routes)); err != nil {
		return err
	}
	fmt.Println("ready")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		fmt.Println(s.Subscriptions())
	}
	s.Shutdown()
	return nil
}

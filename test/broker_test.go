package test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/natsadapter/embedded"
)

// beNATS is a NATS server: its port for clients, that for routes, and those of the routes of the cluster.
func beNATS(args []string) error {
	ports := make([]int, len(args))
	for i, arg := range args {
		ports[i], _ = strconv.Atoi(arg)
	}
	cfg := embedded.Config{Port: ports[0], ClusterPort: ports[1], ClusterName: "chaos"}
	for _, port := range ports[2:] {
		if port != ports[1] {
			cfg.Routes = append(cfg.Routes, fmt.Sprintf("nats://127.0.0.1:%d", port))
		}
	}
	server, err := embedded.Start(context.Background(), cfg)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	server.Shutdown()
	return nil
}

// startNATS starts a cluster of three NATS servers in processes of their own.
func startNATS(t *testing.T) (servers []*child, urls string) {
	t.Helper()
	var ports []string
	var listeners []net.Listener
	for range 6 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, l)
		_, port, _ := net.SplitHostPort(l.Addr().String())
		ports = append(ports, port)
	}
	for _, l := range listeners {
		l.Close()
	}
	clients, routes := ports[:3], ports[3:]
	for i := range clients {
		s := startChild(t, "nats", append([]string{clients[i], routes[i]}, routes...)...)
		s.line()
		servers = append(servers, s)
	}
	return servers, "nats://127.0.0.1:" + strings.Join(clients, ",nats://127.0.0.1:")
}

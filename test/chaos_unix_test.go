//go:build unix

package test

import (
	"flag"
	"math/rand/v2"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/natsadapter"
)

var chaos = flag.Duration("chaos", 0, "how long NATS servers in processes of their own are killed and stopped; 0 skips that")

// TestChaos kills NATS servers with kill -9 and starts them again, and stops them for up to 8 s with SIGSTOP, at random, while nodes
// broadcast to each other: nothing is lost, doubled, or out of order in a room.
func TestChaos(t *testing.T) {
	if *chaos == 0 {
		t.Skip("runs with -chaos 40s")
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	var ports, routes []string
	for range 6 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		ports = append(ports, port)
		l.Close()
	}
	routes = ports[3:]
	var servers []*victim
	var urls []string
	for i := range 3 {
		v := &victim{t: t, ports: strings.Join(append([]string{ports[i], routes[i]}, routes...), ",")}
		v.start()
		t.Cleanup(func() {
			v.cmd.Process.Signal(syscall.SIGCONT)
			v.stdin.Close()
			v.kill()
		})
		servers = append(servers, v)
		urls = append(urls, "nats://127.0.0.1:"+ports[i])
	}
	a := natsadapter.New(natsadapter.Config{URL: strings.Join(urls, ","), Cluster: "test", Logger: testLogger(t)})
	c := newChoir(t, a, a, a)
	for end := time.Now().Add(*chaos); time.Now().Before(end); {
		v := servers[rng.IntN(3)]
		<-time.After(time.Duration(rng.Int64N(int64(2 * time.Second))))
		if rng.IntN(2) == 0 {
			t.Logf("kill -9 of %s", v.ports)
			v.kill()
			<-time.After(time.Duration(rng.Int64N(int64(2 * time.Second))))
			v.start()
			continue
		}
		d := time.Duration(rng.Int64N(int64(8 * time.Second)))
		t.Logf("SIGSTOP of %s for %v", v.ports, d)
		v.cmd.Process.Signal(syscall.SIGSTOP)
		<-time.After(d)
		v.cmd.Process.Signal(syscall.SIGCONT)
	}
	for _, h := range c.hubs {
		waitForState(t, h, adapter.Connected)
	}
	<-time.After(time.Second) // of traffic on whole servers
	c.end()
}

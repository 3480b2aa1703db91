//go:build unix

package test

import (
	"flag"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/belfry-io/belfry/natsadapter"
)

var chaos = flag.Duration("chaos", 0, "how long processes of NATS servers and nodes are killed and stopped; 0 skips that")

// TestChaos kills NATS servers with kill -9 and starts them again, and stops them and nodes for up to 8 s with SIGSTOP, at random, while
// nodes broadcast to each other: nothing is lost, doubled, or out of order in a room.
func TestChaos(t *testing.T) {
	if *chaos == 0 {
		t.Skip("runs with -chaos 40s")
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	servers, urls := startNATS(t)
	c := &choir{t: t}
	for range 2 {
		c.join(natsadapter.New(natsadapter.Config{URL: urls, Cluster: "test", Logger: testLogger(t)}))
	}
	nodes := []*child{c.invite(urls), c.invite(urls)}
	c.begin()
	end := time.Now().Add(*chaos)
	for turn := 0; time.Now().Before(end) || turn < len(servers); turn++ {
		<-time.After(time.Duration(rng.Int64N(int64(2 * time.Second))))
		v := append(servers, nodes...)[rng.IntN(len(servers)+len(nodes))]
		if turn < len(servers) {
			v = servers[turn] // each is killed once: with so little time, chance may spare those that are in use
		}
		if turn < len(servers) || slices.Contains(servers, v) && rng.IntN(2) == 0 {
			t.Logf("kill -9 of %s", v.role)
			v.kill()
			<-time.After(time.Duration(rng.Int64N(int64(2 * time.Second))))
			v.start()
			v.line()
			continue
		}
		d := time.Duration(rng.Int64N(int64(8 * time.Second)))
		t.Logf("SIGSTOP of %s for %v", v.role, d)
		v.cmd.Process.Signal(syscall.SIGSTOP)
		<-time.After(d)
		v.cmd.Process.Signal(syscall.SIGCONT)
	}
	<-time.After(time.Second) // of traffic on whole servers
	c.end()
}

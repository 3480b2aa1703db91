package chaos

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/child"
)

// patience is how long the cluster may take to be whole again. Only a failure reaches it.
const patience = 2 * time.Minute

// A trial is the processes of a round, a cluster on a network of its own.
type trial struct {
	t       *testing.T
	seed    uint64
	brokers []*process // NATS servers
	servers []*process // those that stay from the beginning, one for each broker

	guests sync.WaitGroup
	stop   chan struct{} // closed when nobody is to come or go any more

	mu      sync.Mutex // guards what follows
	origins []origin
	stayers []*process // servers that stay until the end
	gone    []node     // what servers have got that have left
	err     error
}

// A process of the cluster, on a host.
type process struct {
	host  *host
	child *child.Child

	// Of a server:
	id     string
	origin int
	since  map[int]int

	asking sync.Mutex // held while it is asked
}

// begin starts a cluster whose servers broadcast.
func begin(t *testing.T, net *network, seed uint64) *trial {
	t.Helper()
	c := &trial{t: t, seed: seed, stop: make(chan struct{})}
	var addrs []string
	for i := range brokerCount {
		addrs = append(addrs, net.hosts[i].addr)
	}
	for i := range brokerCount {
		args := append([]string{addrs[i]}, slices.DeleteFunc(slices.Clone(addrs), func(a string) bool { return a == addrs[i] })...)
		b, err := c.run(net.hosts[i], "nats", args...)
		if err != nil {
			t.Fatal(err)
		}
		c.brokers = append(c.brokers, b)
	}
	var ids []string
	for i := range brokerCount {
		// Each knows two of the NATS servers, so that none of these serves all.
		s, err := c.runServer(net.hosts[brokerCount+i], c.newOrigin(), addrs[i]+","+addrs[(i+1)%brokerCount])
		if err != nil {
			t.Fatal(err)
		}
		c.servers = append(c.servers, s)
		c.stayers = append(c.stayers, s)
		ids = append(ids, s.id)
	}
	for _, s := range c.servers {
		s.since = make(map[int]int)
		for o := range c.servers {
			s.since[o] = 0
		}
		if err := s.ask("join "+strings.Join(ids, ","), nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range c.servers {
		if err := s.ask("sing "+pace.String(), nil); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

const (
	brokerCount = 3
	pace        = 5 * time.Millisecond // between two broadcasts of a server
)

// run starts a process, which the end of the test kills. For a NATS server, it is up when run returns.
func (c *trial) run(h *host, role string, args ...string) (*process, error) {
	p := &process{host: h}
	var err error
	if p.child, err = child.Run(h.enter(), role, args...); err != nil {
		return nil, err
	}
	c.t.Cleanup(p.child.Kill)
	p.id, err = p.child.Line()
	return p, err
}

func (c *trial) runServer(h *host, origin int, addrs string) (*process, error) {
	s, err := c.run(h, "server", fmt.Sprint(origin), fmt.Sprint(c.seed), addrs)
	if err == nil {
		s.origin = origin
		c.edit(origin, func(o *origin_) { o.ID = s.id })
	}
	return s, err
}

type origin_ = origin // where a variable has the name

// newOrigin is the number of a new origin.
func (c *trial) newOrigin() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.origins = append(c.origins, origin{})
	return len(c.origins) - 1
}

func (c *trial) edit(o int, change func(*origin_)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.origins[o])
}

// fail notes an error that ends the round.
func (c *trial) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = errors.Join(c.err, err)
}

// ask asks a server, and decodes its answer into what into points to. It waits while the server is stopped.
func (p *process) ask(line string, into any) error {
	p.asking.Lock()
	defer p.asking.Unlock()
	answer, err := p.child.Ask(line)
	if err != nil || into == nil {
		return err
	}
	return json.Unmarshal([]byte(answer), into)
}

// restart starts a NATS server again that has ended.
func (p *process) restart() error {
	err := p.child.Restart()
	if err == nil {
		_, err = p.child.Line()
	}
	return err
}

func (p *process) signal(s syscall.Signal) error { return p.child.Signal(s) }

// stopped waits until the process does nothing any more.
func (p *process) stopped() error {
	return wait("SIGSTOP to take effect", func() (bool, error) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.child.PID()))
		_, state, _ := strings.Cut(string(b), ") ")
		return strings.HasPrefix(state, "T"), err
	})
}

// wait waits for a condition.
func wait(what string, holds func() (bool, error)) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		ok, err := holds()
		if ok || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waited %v in vain for %s", patience, what)
		}
	}
}

// places waits until every server is connected, and returns to which broker each is. Where a connection has been cut, one side may still believe
// in it.
func (c *trial) places() (on map[*process]*process, err error) {
	err = wait("the connections of all servers", func() (bool, error) {
		on = make(map[*process]*process)
		for _, s := range c.servers {
			to, err := s.host.connections(s.child.PID(), clientPort, true)
			if err != nil {
				return false, err
			}
			for _, b := range c.brokers {
				from, err := b.host.connections(b.child.PID(), clientPort, false)
				if err != nil {
					return false, err
				}
				if len(to) == 1 && to[b.host.addr] == 1 && from[s.host.addr] > 0 {
					on[s] = b
				}
			}
		}
		return len(on) == len(c.servers), nil
	})
	return on, err
}

// routed waits until all brokers have their routes to each other: three and one of the system account.
func (c *trial) routed() error {
	return wait("the routes of the NATS servers", func() (bool, error) {
		for _, b := range c.brokers {
			in, err := b.host.connections(b.child.PID(), routePort, false)
			if err != nil {
				return false, err
			}
			out, err := b.host.connections(b.child.PID(), routePort, true)
			if err != nil {
				return false, err
			}
			for _, other := range c.brokers {
				if other != b && in[other.host.addr]+out[other.host.addr] < 4 {
					return false, nil
				}
			}
		}
		return true, nil
	})
}

// whole waits until the servers that stay know each other.
func (c *trial) whole() error {
	c.mu.Lock()
	stayers := slices.Clone(c.stayers)
	c.mu.Unlock()
	for _, s := range stayers {
		err := wait("the servers to know each other", func() (bool, error) {
			var r singerReport
			err := s.ask("state", &r)
			return !slices.ContainsFunc(stayers, func(o *process) bool { return o != s && !slices.Contains(r.Nodes, o.id) }), err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ups counts how often links became Connected.
func (c *trial) ups() (n uint64, err error) {
	for _, s := range c.servers {
		var r singerReport
		if err := s.ask("state", &r); err != nil {
			return 0, err
		}
		n += r.Stats.State.Connections
	}
	return n, nil
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/belfry-io/belfry/test/child"
	"github.com/belfry-io/belfry/test/dealer"
)

// brokerCount is how many NATS servers there are.
const brokerCount = 3

// A node is a process that serves clients.
type node struct {
	origin int
	nodeReady
	child *child.Child

	mu       sync.Mutex // guards what follows
	draining bool
	whispers uint32
}

// nodes are all processes of the cluster.
type nodes struct {
	plan     plan
	count    int // how many serve clients at a time
	recovery bool
	web      *http.Client
	brokers  []*child.Child // for one goroutine at a time
	urls     string
	front    string         // where the balancer is; empty without one
	behind   *dealer.Dealer // nil without one

	mu      sync.Mutex // guards what follows
	serving []*node    // where clients may connect
	singing []*node    // which broadcast
	byID    map[string]*node
	origins []origin
	killed  []string // ids of nodes
}

// begin starts the NATS servers and the nodes.
func (s *nodes) begin() error {
	ports, err := freePorts(2 * brokerCount)
	if err != nil {
		return err
	}
	var urls []string
	for i := range brokerCount {
		args := []string{ports[i]}
		for k := range brokerCount {
			args = append(args, ports[brokerCount+(i+k)%brokerCount])
		}
		c, err := child.Run(nil, "nats", args...)
		if err != nil {
			return err
		}
		s.brokers = append(s.brokers, c)
		urls = append(urls, "nats://127.0.0.1:"+ports[i])
	}
	for _, b := range s.brokers {
		if _, err := b.Line(); err != nil {
			return err
		}
	}
	s.urls = strings.Join(urls, ",")
	for range s.count {
		n, err := s.start()
		if err != nil {
			return err
		}
		s.serve(n)
	}
	return nil
}

func freePorts(n int) (ports []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		ports = append(ports, port)
	}
	return ports, nil
}

// start starts a node, which is known to nobody yet.
func (s *nodes) start() (*node, error) {
	s.mu.Lock()
	n := &node{origin: len(s.origins)}
	s.origins = append(s.origins, origin{})
	s.mu.Unlock()
	cfg, err := json.Marshal(nodeConfig{
		Plan: s.plan, Origin: n.origin, Of: s.count, NATS: s.urls, Recovery: s.recovery,
	})
	if err != nil {
		return nil, err
	}
	if n.child, err = child.Run(nil, "node", string(cfg)); err != nil {
		return nil, err
	}
	line, err := n.child.Line()
	if err == nil {
		err = json.Unmarshal([]byte(line), &n.nodeReady)
	}
	if err != nil {
		n.child.Kill()
		return nil, err
	}
	return n, nil
}

// serve lets clients connect to a node.
func (s *nodes) serve(n *node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serving = append(s.serving, n)
	if s.byID == nil {
		s.byID = make(map[string]*node)
	}
	s.byID[n.ID] = n
	if s.behind != nil {
		s.behind.Add(n.ID, n.Address)
	}
}

// balance puts the nodes that serve clients behind a balancer.
func (s *nodes) balance() *dealer.Dealer {
	s.behind = dealer.New(s.plan.Seed)
	return s.behind
}

// address is where clients reach a node, or any.
func (s *nodes) address(n *node) string {
	if s.front != "" {
		return s.front
	}
	return n.Address
}

// named is the node with this id, of those that serve clients or have; nil if there is none.
func (s *nodes) named(id string) *node {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byID[id]
}

// killedAt is when a node was killed, or 0.
func (s *nodes) killedAt(n *node) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.origins[n.origin].killed
}

// sing has a node broadcast.
func (s *nodes) sing(n *node) error {
	s.mu.Lock()
	s.singing = append(s.singing, n)
	s.mu.Unlock()
	return s.tell(n, "/sing", nil, nil, nil)
}

// leaves takes a node from those where clients connect, as a load balancer does with one that is not ready.
func (s *nodes) leaves(n *node) {
	n.mu.Lock()
	n.draining = true
	n.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serving = slices.DeleteFunc(slices.Clone(s.serving), func(o *node) bool { return o == n })
	if s.behind != nil {
		s.behind.Remove(n.ID)
	}
}

// isLeaving reports whether clients are about to lose the node.
func (n *node) isLeaving() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.draining
}

// gone notes that a node broadcasts no more.
func (s *nodes) gone(n *node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.singing = slices.DeleteFunc(slices.Clone(s.singing), func(o *node) bool { return o == n })
}

// kill ends a node as kill -9 does. What it emitted last may be lost.
func (s *nodes) kill(n *node) {
	s.leaves(n)
	s.mu.Lock()
	s.origins[n.origin].killed = s.plan.now()
	s.killed = append(s.killed, n.ID)
	s.mu.Unlock()
	n.child.Kill()
	s.gone(n)
}

// dead reports whether nodes with these ids were all killed.
func (s *nodes) dead(ids []string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !slices.ContainsFunc(ids, func(id string) bool { return !slices.Contains(s.killed, id) })
}

// any is a node for a client.
func (s *nodes) any(rng *rand.Rand) *node {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.serving[rng.IntN(len(s.serving))]
}

// all are the nodes that serve clients.
func (s *nodes) all() []*node {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.serving
}

// listen collects what the nodes have broadcast, until ctx ends.
func (s *nodes) listen(ctx context.Context) {
	for ctx.Err() == nil {
		s.mu.Lock()
		singing := s.singing
		s.mu.Unlock()
		for _, n := range singing {
			s.collect(n) // of one that was killed, there is no more
		}
		time.Sleep(untold / 5)
	}
}

// collect fetches what a node has broadcast since the time before.
func (s *nodes) collect(n *node) error {
	s.mu.Lock()
	from := len(s.origins[n.origin].sung)
	s.mu.Unlock()
	var sung [][3]int64
	if err := s.tell(n, "/sung", url.Values{"from": {strconv.Itoa(from)}}, nil, &sung); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o := &s.origins[n.origin]
	for i, b := range sung {
		if number := from + i; number == len(o.sung) { // nobody else was faster
			o.sung = append(o.sung, broadcast{
				time.Duration(b[0]), time.Duration(b[1]), b[2] != 0, s.plan.selected(n.origin, number),
			})
		}
	}
	return nil
}

// hush ends a node's broadcasts, and collects the last of them.
func (s *nodes) hush(n *node) error {
	return errors.Join(s.tell(n, "/hush", nil, nil, nil), s.collect(n))
}

// tell asks a node to do something, and decodes its answer into what into points to.
func (s *nodes) tell(n *node, what string, args url.Values, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	answer, err := s.web.Post("http://"+n.Admin+what+"?"+args.Encode(), "application/json", bytes.NewReader(text))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	switch {
	case err != nil:
		return err
	case answer.StatusCode != http.StatusOK:
		return fmt.Errorf("node %d, %s: %s", n.origin, what, b)
	case into == nil:
		return nil
	}
	return json.Unmarshal(b, into)
}

// subscriptions are those of all NATS servers' clients.
func (s *nodes) subscriptions() (sum int, err error) {
	for _, b := range s.brokers {
		line, err := b.Ask("subscriptions")
		if err != nil {
			return 0, err
		}
		n, err := strconv.Atoi(line)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// end ends all processes.
func (s *nodes) end() {
	for _, n := range s.all() {
		n.child.Kill()
	}
	for _, b := range s.brokers {
		b.Kill()
	}
}

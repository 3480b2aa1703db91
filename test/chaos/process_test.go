package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/emitter"
	"github.com/belfry-io/belfry/adapter/sockets"
	"github.com/belfry-io/belfry/adapter/sockets/payload"
	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/embedded"
	"github.com/belfry-io/belfry/test/child"
)

// The processes of a cluster.
var roles = map[string]child.Role{"nats": beNATS, "server": beServer, "emitter": beEmitter}

const (
	clientPort = 4222
	routePort  = 6222
	user       = "chaos" // and its password
)

// quiet is the logger of the processes: what breaks here is no news.
var quiet = slog.New(slog.DiscardHandler)

// beNATS is a NATS server: its own address, and those of the others. To "lame duck" it retires, and prints when it has.
func beNATS(args []string) error {
	cfg := embedded.Config{
		Host: args[0], Port: clientPort, ClusterPort: routePort, ClusterName: "chaos",
		Username: user, Password: user, ClusterUsername: user, ClusterPassword: user,
		LameDuckGrace: time.Second, LameDuckDuration: 3 * time.Second,
		// Nodes know the servers that they are given, and no others, so that not all of them meet on one.
		Options: &server.Options{Cluster: server.ClusterOpts{NoAdvertise: true}},
	}
	for _, host := range args[1:] {
		cfg.Routes = append(cfg.Routes, fmt.Sprintf("nats://%s:%d", host, routePort))
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := embedded.Start(ctx, cfg)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		s.LameDuck()
		fmt.Println("retired")
	}
	s.Shutdown()
	return nil
}

// adapterOf is how a process joins the cluster: on the servers with these addresses.
func adapterOf(hosts string) adapter.Adapter {
	var urls []string
	for _, host := range strings.Split(hosts, ",") {
		urls = append(urls, fmt.Sprintf("nats://%s:%s@%s:%d", user, user, host, clientPort))
	}
	return natsadapter.New(natsadapter.Config{URL: strings.Join(urls, ","), Cluster: "chaos", Logger: quiet})
}

// broadcast emits the broadcast of an origin with this number.
func broadcast(ns *sockets.Namespace, seed uint64, origin, number int) error {
	s := selected(seed, origin, number)
	to := ns.Except(s.except.names()...)
	if s.rooms != 0 {
		to = to.To(s.rooms.names()...)
	}
	return to.Emit(context.Background(), "n", origin, number)
}

// memberships are the rooms of the members of a server: all, half of them, one, none.
var memberships = []roomSet{1<<rooms - 1, 1<<(rooms/2) - 1, 1 << 5, 0}

// A singer is a server of the cluster: a node with members, which broadcasts all the time.
type singer struct {
	hub    *cluster.Hub
	rooms  *cluster.Rooms
	ns     *sockets.Namespace
	seed   uint64
	origin int

	stop    chan struct{}
	singing sync.WaitGroup

	mu      sync.Mutex // guards what follows
	members []*listener
	missed  map[string]int
	unknown map[string]int
	sent    int
	refused []int
}

// A singerReport is what a server knows.
type singerReport struct {
	node
	Sent     int
	Refused  []int
	Nodes    []string
	Suspects []string
	Stats    cluster.Stats
}

// beServer is a server: its number as an origin, the seed, and the addresses of its NATS servers. It prints its id.
func beServer(args []string) error {
	s := &singer{missed: make(map[string]int), unknown: make(map[string]int)}
	fmt.Sscan(args[0], &s.origin)
	fmt.Sscan(args[1], &s.seed)
	s.hub = cluster.NewHub(cluster.HubConfig{Adapter: adapterOf(args[2]), Logger: quiet, OnLoss: s.lost})
	s.rooms = s.hub.Rooms("/", frame)
	s.ns = sockets.NewNamespace("/", s.rooms, sockets.NamespaceConfig{})
	fmt.Println(s.hub.Node())
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		answer, err := s.obey(in.Text())
		if err != nil {
			return err
		}
		text, err := json.Marshal(answer)
		if err != nil {
			return err
		}
		fmt.Printf("%s\n", text)
	}
	return nil
}

func (s *singer) obey(line string) (answer any, err error) {
	command, argument, _ := strings.Cut(line, " ")
	switch command {
	case "join":
		return "done", s.join(strings.Split(argument, ","))
	case "sing":
		pause, err := time.ParseDuration(argument)
		s.stop = make(chan struct{})
		s.singing.Go(func() { s.sing(pause) })
		return "done", err
	case "hush":
		close(s.stop)
		s.singing.Wait()
		return "done", nil
	case "sent":
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.sent, nil
	case "heard": // how many deliveries, by origin
		s.mu.Lock()
		defer s.mu.Unlock()
		heard := make(map[int]int)
		for _, m := range s.members {
			for o, got := range m.got {
				heard[o] += len(got)
			}
		}
		return heard, nil
	case "state":
		return s.report(false), nil
	case "report":
		return s.report(true), nil
	case "close":
		return ending(s.hub.Close(context.Background())), nil
	}
	return nil, fmt.Errorf("unknown command %q", line)
}

// join adds the members when the nodes with these ids are known and not suspect. It goes on until all joins are confirmed by all of them.
func (s *singer) join(ids []string) error {
	ids = slices.DeleteFunc(ids, func(id string) bool { return id == "" || id == s.hub.Node() })
	s.mu.Lock()
	for _, in := range memberships {
		s.members = append(s.members, &listener{singer: s, rooms: in, got: make(map[int][]int)})
	}
	s.mu.Unlock()
	joined := 0
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("%d members have joined, and the nodes are %v, of %v", joined, s.hub.Stats().Nodes, ids)
		}
		if !s.knows(ids) {
			continue
		}
		for ; joined < len(s.members); joined++ {
			m := s.members[joined]
			if m.id == "" {
				m.id = s.hub.NewID()
				if err := s.rooms.Add(context.Background(), m.id, m); err != nil {
					s.rooms.Remove(m.id)
					m.id = ""
					break
				}
			}
			if names := m.rooms.names(); len(names) > 0 && s.rooms.Join(context.Background(), m.id, names...) != nil {
				break
			}
		}
		if joined == len(s.members) && s.knows(ids) {
			return nil
		}
	}
}

func (s *singer) knows(ids []string) bool {
	nodes := s.hub.Stats().Nodes
	return !slices.ContainsFunc(ids, func(id string) bool { return !slices.Contains(nodes, id) })
}

func (s *singer) sing(pause time.Duration) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
		err := broadcast(s.ns, s.seed, s.origin, n)
		s.mu.Lock()
		if s.sent = n + 1; err != nil {
			s.refused = append(s.refused, n)
		}
		s.mu.Unlock()
	}
}

func (s *singer) lost(l cluster.Loss) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.Unknown {
		s.unknown[l.Node]++
	} else {
		s.missed[l.Node]++
	}
}

// report says what the server knows, with everything that its members have got or without.
func (s *singer) report(full bool) singerReport {
	stats := s.hub.Stats()
	stats.State.Reason = nil
	r := singerReport{Stats: stats, Nodes: stats.Nodes, Suspects: stats.Suspects}
	s.mu.Lock()
	defer s.mu.Unlock()
	r.ID, r.Missed, r.Unknown, r.Sent, r.Refused = s.hub.Node(), s.missed, s.unknown, s.sent, s.refused
	if full {
		for _, m := range s.members {
			r.Members = append(r.Members, member{Rooms: m.rooms, Got: m.got})
		}
		var err error // what is encoded is not locked any more
		if r, err = copied(r); err != nil {
			panic(err)
		}
	}
	return r
}

func copied(r singerReport) (c singerReport, err error) {
	text, err := json.Marshal(r)
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	return c, err
}

// A listener is a member of a server.
type listener struct {
	singer *singer
	id     string
	rooms  roomSet
	got    map[int][]int // by origin; guarded by singer.mu
}

// frame decodes a broadcast: its origin and number.
func frame(b []byte, volatile bool) (any, error) {
	p, err := payload.Parse(b, payload.Limits)
	if err != nil {
		return nil, err
	}
	var n [2]int
	_, err = fmt.Sscanf(string(p.Encoded.Text), `2["n",%d,%d]`, &n[0], &n[1])
	return n, err
}

func (m *listener) Deliver(frame any) bool {
	n := frame.([2]int)
	m.singer.mu.Lock()
	defer m.singer.mu.Unlock()
	m.got[n[0]] = append(m.got[n[0]], n[1])
	return true
}

func (m *listener) DeliverWithAck(_ any, answer func([]byte, bool)) { answer(nil, false) }
func (m *listener) CancelAck(any)                                   {}
func (m *listener) Describe() []byte                                { return nil }
func (m *listener) Disconnect(bool)                                 {}

// A closing is what a Close has returned.
type closing struct {
	Without []string // nodes that have not confirmed
	Failed  string   // another error
	Sent    int      // of an emitter
	Refused []int
}

func ending(err error) closing {
	if partial, ok := errors.AsType[*cluster.PartialError](err); ok && len(partial.Nodes) > 0 {
		return closing{Without: partial.Nodes}
	}
	if err != nil {
		return closing{Failed: err.Error()}
	}
	return closing{}
}

// beEmitter is an emitter: its number as an origin, the seed, the addresses of its NATS servers, and how many broadcasts it emits. It prints
// its id, emits, prints "emitted", and closes itself when it is told something.
func beEmitter(args []string) error {
	var origin int
	var seed uint64
	fmt.Sscan(args[0], &origin)
	fmt.Sscan(args[1], &seed)
	many, _ := strconv.Atoi(args[3])
	e := emitter.New(emitter.Config{Adapter: adapterOf(args[2]), Logger: quiet})
	fmt.Println(e.Node())
	root := e.Of("/")
	var refused []int
	for n := range many {
		if err := broadcast(root, seed, origin, n); err != nil {
			refused = append(refused, n)
		}
		time.Sleep(2 * time.Millisecond)
	}
	fmt.Println("emitted")
	if !bufio.NewScanner(os.Stdin).Scan() {
		return io.ErrUnexpectedEOF
	}
	end := ending(e.Close(context.Background()))
	end.Sent, end.Refused = many, refused
	text, err := json.Marshal(end)
	fmt.Printf("%s\n", text)
	return err
}

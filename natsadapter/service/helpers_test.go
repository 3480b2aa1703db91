package service_test

import (
	"context"
	"encoding/json"
	"flag"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/emitter"
	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/natsadapter/service"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/test/leak"
	"github.com/belfry-io/belfry/test/servers"
)

func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("test.parallel", "4") // the tests wait for servers and time-outs more often than they compute
	leak.Main(m, "belfry/", "nats-io/nats.go")
}

// A world is a NATS server, two belfry servers and their clients, a service, and a program that knows nothing but NATS.
type world struct {
	*servers.Pair
	nats    *natstest.Server
	adapter *natsadapter.Adapter
	service *service.Service
	nc      *nats.Conn
}

func newWorld(t *testing.T, cfg service.Config) *world {
	t.Helper()
	w := &world{nats: natstest.NewServer(t)}
	w.adapter = natsadapter.New(natsadapter.Config{URL: w.nats.URL(), Cluster: "chat", Logger: kit.Silent})
	w.Pair = servers.NewPair(t, w.adapter, nil)
	cfg.Adapter = w.adapter
	if cfg.Timeout == 0 {
		cfg.Timeout = kit.Patience // the machine may be busy
	}
	w.service = start(t, cfg)
	w.nc = connect(t, w.nats)
	return w
}

// start starts a service that is closed when the test ends.
func start(t *testing.T, cfg service.Config) *service.Service {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = kit.Silent
	}
	s, err := service.Start(t.Context(), cfg)
	kit.OK(t, err)
	t.Cleanup(func() { kit.Close(t, s) })
	return s
}

func newEmitter(t *testing.T, a adapter.Adapter) *emitter.Emitter {
	e := emitter.New(emitter.Config{Adapter: a, Logger: kit.Silent})
	t.Cleanup(func() { e.Close(context.Background()) })
	return e
}

// connect is what a program in another language does.
func connect(t *testing.T, server *natstest.Server, options ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(server.URL(), options...)
	kit.OK(t, err)
	t.Cleanup(nc.Close)
	return nc
}

// An answer is what comes back from a request.
type answer struct {
	OK          bool
	Count       int
	Error       string
	Missing     []string
	Unconfirmed []string
	Names       map[string]string
	More        bool
	Sockets     []struct {
		ID, Node  string
		NodeName  string `json:"node_name"`
		Rooms     []string
		Data      json.RawMessage
		Transport string
		Handshake *struct{ Auth json.RawMessage }
		Truncated bool
	}

	code   string // of an error
	reason string // beside the code
	text   string // all of it
}

// request sends what `nats req` would, and waits for the answer.
func (w *world) request(t *testing.T, endpoint, body string) answer {
	t.Helper()
	return request(t, w.nc, w.service.Subject()+"."+endpoint, body)
}

func request(t *testing.T, nc *nats.Conn, subject, body string) (a answer) {
	t.Helper()
	msg, err := nc.Request(subject, []byte(body), kit.Patience)
	if err != nil {
		t.Errorf("%s %s: %v", subject, body, err)
		return a
	}
	kit.OK(t, json.Unmarshal(msg.Data, &a), subject, body, "answer", msg.Data)
	a.code, a.reason, a.text = msg.Header.Get("Nats-Service-Error-Code"), msg.Header.Get("Nats-Service-Error"), string(msg.Data)
	if a.OK == (a.Error != "") {
		t.Errorf("%s %s: answer %s", subject, body, msg.Data)
	}
	return a
}

// who are the names of the sockets of an answer, in their order.
func (w *world) who(a answer) string {
	var ids []string
	for _, s := range a.Sockets {
		ids = append(ids, s.ID)
	}
	return w.Who(ids...)
}

// A hangingAdapter joins a node that can hang: it neither says nor hears anything then, and its connection stays.
type hangingAdapter struct {
	adapter.Adapter
	hangs atomic.Bool
}

func (a *hangingAdapter) hang() { a.hangs.Store(true) }
func (a *hangingAdapter) wake() { a.hangs.Store(false) }

func (a *hangingAdapter) Open(ctx context.Context, recv func([]byte)) (adapter.Link, error) {
	link, err := a.Adapter.Open(ctx, func(msg []byte) {
		if !a.hangs.Load() {
			recv(msg)
		}
	})
	return &hangingLink{link, a}, err
}

type hangingLink struct {
	adapter.Link
	adapter *hangingAdapter
}

func (l *hangingLink) Publish(ctx context.Context, topic adapter.Topic, msg []byte) error {
	if l.adapter.hangs.Load() {
		return nil
	}
	return l.Link.Publish(ctx, topic, msg)
}

// found is what a service says of itself.
type found struct {
	Name, ID, Version, Description, Type string
	Metadata                             map[string]string
	Endpoints                            []struct {
		Name, Subject string
		QueueGroup    string `json:"queue_group"`
		Metadata      map[string]string
		NumRequests   int `json:"num_requests"`
		NumErrors     int `json:"num_errors"`
		Data          struct {
			Servers, Running           int
			Requests, Refused, Partial int
			State                      string
		}
	}
}

// discover asks for services as the nats command line does, and waits for n of them.
func discover(t *testing.T, nc *nats.Conn, verb string, n int) []found {
	t.Helper()
	inbox := nc.NewRespInbox()
	sub, err := nc.SubscribeSync(inbox)
	kit.OK(t, err)
	defer sub.Unsubscribe()
	kit.OK(t, nc.PublishRequest("$SRV."+verb, inbox, nil))
	var services []found
	for range n {
		msg, err := sub.NextMsg(kit.Patience)
		if err != nil {
			t.Fatalf("$SRV.%s: %d services have answered, want %d: %v", verb, len(services), n, err)
		}
		var f found
		kit.OK(t, json.Unmarshal(msg.Data, &f), "$SRV.", verb, msg.Data)
		services = append(services, f)
	}
	return services
}

package metrics

import (
	"context"
	"math"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
)

// A rig is a server whose figures a test looks at, in a bubble.
type rig struct {
	*testing.T
	srv     *wsserver.Server
	cluster *broker
}

func newRig(t *testing.T, cfg wsserver.Config) *rig {
	r := &rig{T: t, cluster: &broker{memory: new(adapter.Memory)}}
	cfg.Logger, cfg.TimeHandlers = kit.Silent, true
	if cfg.Adapter == nil {
		cfg.Adapter = r.cluster
	}
	r.srv = wsserver.New(cfg)
	if err := r.srv.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

// grown is the change of a figure that has become larger, by how much ever.
var grown = math.Inf(1)

// A delta is by how much figures have changed.
type delta map[string]float64

// moves checks by how much something changes figures.
func (r *rig) moves(do func(), want delta) {
	r.Helper()
	movesOf(r.T, r.srv, do, want)
}

func movesOf(t *testing.T, srv *wsserver.Server, do func(), want delta) {
	t.Helper()
	synctest.Wait()
	before := figures(t, srv)
	do()
	synctest.Wait()
	after := figures(t, srv)
	for name, by := range want {
		v, ok := after[name]
		if got := v - before[name]; !ok || by == grown && got <= 0 || by != grown && got != by {
			t.Errorf("%s changed by %v from %v, there now: %v; want %v", name, got, before[name], ok, by)
		}
	}
}

// figures are those of a server, by their names and labels without node_name.
func figures(t *testing.T, srv *wsserver.Server) map[string]float64 {
	t.Helper()
	values := make(map[string]float64)
	for line := range strings.Lines(page(t, Handler(srv))) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		if i := strings.LastIndex(line, "} "); i >= 0 {
			name, text = line[:i+1], strings.TrimSpace(line[i+2:])
		}
		if v, err := strconv.ParseFloat(text, 64); err == nil && strings.HasPrefix(name, "belfry_") {
			values[anonymous(name)] = v
		}
	}
	return values
}

// anonymous is name without the label node_name.
func anonymous(name string) string {
	from := strings.Index(name, node+`="`)
	to := from + len(node) + 2 + strings.IndexByte(name[from+len(node)+2:], '"') + 1
	name = name[:from] + strings.TrimPrefix(name[to:], ",")
	return strings.Replace(strings.Replace(name, ",}", "}", 1), "{}", "", 1)
}

// A broker is an adapter in memory whose links a test can disturb, each as it was opened.
type broker struct {
	memory *adapter.Memory
	links  []*link
}

type link struct {
	adapter.Link

	mu      sync.Mutex // guards what follows
	state   adapter.State
	changed chan struct{}
	copies  int           // of each message that comes
	lose    int           // of the next messages with a broadcast
	mute    bool          // publishes nothing
	full    chan struct{} // Publish waits for it; nil for not
	recv    func([]byte)
}

func (b *broker) Open(ctx context.Context, recv func([]byte)) (adapter.Link, error) {
	l := &link{changed: make(chan struct{}), copies: 1, recv: recv}
	inner, err := b.memory.Open(ctx, func(msg []byte) {
		l.mu.Lock()
		copies := l.copies
		if l.lose > 0 && strings.Contains(string(msg), "precious") {
			l.lose--
			copies = 0
		}
		l.mu.Unlock()
		for range copies {
			recv(append([]byte(nil), msg...))
		}
	})
	if err != nil {
		return nil, err
	}
	l.Link = inner
	l.state, _ = inner.State()
	b.links = append(b.links, l)
	return l, nil
}

func (l *link) State() (adapter.State, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state, l.changed
}

func (l *link) Publish(ctx context.Context, topic adapter.Topic, msg []byte) error {
	l.mu.Lock()
	mute, full := l.mute, l.full
	l.mu.Unlock()
	if full != nil {
		<-full
	}
	if mute {
		return nil
	}
	return l.Link.Publish(ctx, topic, msg)
}

// set changes how the link behaves.
func (l *link) set(change func(*link)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.state
	change(l)
	if l.state != was {
		close(l.changed)
		l.changed = make(chan struct{})
	}
}

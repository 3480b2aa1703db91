package adaptertest

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/belfry-io/belfry/adapter"
)

var allFlaws = slices.Concat(flaws, nameFlaws, outageFlaws)

// TestSuiteFindsFlaws runs drivers with one flaw each through the cases that hold drivers to the broken rule.
func TestSuiteFindsFlaws(t *testing.T) {
	find := func(f flaw, least time.Duration) {
		t.Run(f.name, func(t *testing.T) {
			for _, name := range f.cases {
				// Whatever is no flaw may take longer on a busy machine, and then the report is another one.
				for timeout := least; ; timeout *= 6 {
					failed, log := examine(t, caseNamed(t, name), true, timeout, f.open)
					if failed && strings.Contains(log, f.says) {
						break
					}
					if timeout > 30*time.Second {
						t.Errorf("%s: got %t, and the report\n%s\nwant %q in it", name, failed, log, f.says)
						break
					}
				}
			}
		})
	}
	var wg sync.WaitGroup
	for _, f := range allFlaws {
		if f.hangs { // t.Parallel would run no more of them than there are processors, though they only wait
			wg.Go(func() { find(f, time.Second) })
		}
	}
	wg.Wait()
	for _, f := range allFlaws {
		if !f.hangs {
			find(f, 10*time.Second)
		}
	}
}

// TestEveryCaseFindsAFlaw shows that no case is there for nothing.
func TestEveryCaseFindsAFlaw(t *testing.T) {
	found := make(map[string]bool)
	for _, f := range allFlaws {
		for _, name := range f.cases {
			found[name] = true
		}
	}
	for _, tc := range cases {
		if !found[tc.name] {
			t.Errorf("no driver among the flawed ones is for %s", tc.name)
		}
	}
}

// TestSuiteAcceptsSoundDrivers shows that it is the flaws that the suite finds, and that it demands no more than the contract.
func TestSuiteAcceptsSoundDrivers(t *testing.T) {
	for _, tc := range cases {
		t.Run("wrapped/"+tc.name, func(t *testing.T) {
			failed, log := examine(t, tc, true, 10*time.Second, withLinks(func(*link) {}))
			if failed {
				t.Errorf("a wrapped Memory fails:\n%s", log)
			}
		})
		if tc.exact {
			continue
		}
		t.Run("generous/"+tc.name, func(t *testing.T) {
			failed, log := examine(t, tc, false, 10*time.Second, openGenerous)
			if failed {
				t.Errorf("a driver that delivers more than was asked fails:\n%s", log)
			}
		})
	}
}

func TestHostileTopicsDiffer(t *testing.T) {
	seen := make(map[adapter.Topic]bool)
	for _, topic := range hostileTopics() {
		if seen[topic] {
			t.Errorf("%v stands twice among the hostile topics", topic)
		}
		seen[topic] = true
	}
}

func caseNamed(t *testing.T, name string) testCase {
	t.Helper()
	i := slices.IndexFunc(cases, func(tc testCase) bool { return tc.name == name })
	if i < 0 {
		t.Fatalf("there is no case %q", name)
	}
	return cases[i]
}

// examine runs a case on a fresh cluster and returns what it would have reported.
func examine(t *testing.T, tc testCase, exact bool, timeout time.Duration, open func(t *testing.T) adapter.Adapter) (failed bool, log string) {
	t.Helper()
	r := new(recorder)
	a := open(t)
	c := &cluster{t: r, adapters: []adapter.Adapter{a}, exact: exact, timeout: timeout}
	c.interrupt = func(int) func() { return a.(interface{ Interrupt() (restore func()) }).Interrupt() }
	r.run(func() { tc.run(c) })
	return r.Failed(), r.text()
}

// A recorder takes the place of a testing.T.
type recorder struct {
	mu       sync.Mutex // guards what follows
	failed   bool
	lines    []string
	cleanups []func()
}

// run runs f in a goroutine of its own, which Fatalf ends, and then what f has left to Cleanup.
func (r *recorder) run(f func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f()
	}()
	<-ended
	for len(r.cleanups) > 0 {
		last := len(r.cleanups) - 1
		cleanup := r.cleanups[last]
		r.cleanups = r.cleanups[:last]
		cleanup()
	}
}

func (r *recorder) Helper() {}

func (r *recorder) Logf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

func (r *recorder) Errorf(format string, args ...any) {
	r.Logf(format, args...)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = true
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

func (r *recorder) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

func (r *recorder) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines, "\n")
}

// An opener is an Adapter made of its only method.
type opener func(ctx context.Context, recv func(msg []byte)) (adapter.Link, error)

func (o opener) Open(ctx context.Context, recv func(msg []byte)) (adapter.Link, error) {
	return o(ctx, recv)
}

// A link is a Link of a Memory whose methods can be replaced one by one.
type link struct {
	adapter.Link
	recv        func(msg []byte) // the node's; may be replaced before the link is open
	publish     func(ctx context.Context, topic adapter.Topic, msg []byte) error
	subscribe   func(ctx context.Context, topics ...adapter.Topic) error
	unsubscribe func(ctx context.Context, topics ...adapter.Topic) error
	state       func() (adapter.State, <-chan struct{})
	close       func() error
	maxMessage  func() int // makes the link a Limiter
	probe       func(ctx context.Context, topic adapter.Topic, back []byte) error

	lost, back func() // called when the broker has gone and before it comes back
}

// A limited is a link that is a Limiter.
type limited struct{ *link }

func (l limited) MaxMessage() int { return l.maxMessage() }

// Probe makes every link a Prober, as those of a Memory are.
func (l *link) Probe(ctx context.Context, topic adapter.Topic, back []byte) error {
	if l.probe != nil {
		return l.probe(ctx, topic, back)
	}
	return l.Link.(adapter.Prober).Probe(ctx, topic, back)
}

// degraded reports whether the broker is away.
func (l *link) degraded() bool {
	state, _ := l.Link.State()
	return state.Status == adapter.Degraded
}

// A broker is an Adapter over a Memory that tells links of its interruptions.
type broker struct {
	opener
	memory *adapter.Memory

	mu    sync.Mutex // guards what follows
	links []*link
}

func (b *broker) Interrupt() (restore func()) {
	end := b.memory.Interrupt()
	b.each(func(l *link) func() { return l.lost })
	return sync.OnceFunc(func() {
		b.each(func(l *link) func() { return l.back })
		end()
	})
}

// each calls what hook returns for each link, unless that is nil.
func (b *broker) each(hook func(l *link) func()) {
	b.mu.Lock()
	links := slices.Clone(b.links)
	b.mu.Unlock()
	for _, l := range links {
		if f := hook(l); f != nil {
			f()
		}
	}
}

func (l *link) Publish(ctx context.Context, topic adapter.Topic, msg []byte) error {
	if l.publish != nil {
		return l.publish(ctx, topic, msg)
	}
	return l.Link.Publish(ctx, topic, msg)
}

func (l *link) Subscribe(ctx context.Context, topics ...adapter.Topic) error {
	if l.subscribe != nil {
		return l.subscribe(ctx, topics...)
	}
	return l.Link.Subscribe(ctx, topics...)
}

func (l *link) Unsubscribe(ctx context.Context, topics ...adapter.Topic) error {
	if l.unsubscribe != nil {
		return l.unsubscribe(ctx, topics...)
	}
	return l.Link.Unsubscribe(ctx, topics...)
}

func (l *link) State() (adapter.State, <-chan struct{}) {
	if l.state != nil {
		return l.state()
	}
	return l.Link.State()
}

func (l *link) Close() error {
	if l.close != nil {
		return l.close()
	}
	return l.Link.Close()
}

// withLinks returns what opens an adapter over a fresh Memory, whose links change works on before they are opened.
func withLinks(change func(l *link)) func(t *testing.T) adapter.Adapter {
	return func(*testing.T) adapter.Adapter {
		b := &broker{memory: new(adapter.Memory)}
		b.opener = func(ctx context.Context, recv func(msg []byte)) (adapter.Link, error) {
			l := &link{recv: recv}
			change(l)
			inner, err := b.memory.Open(ctx, l.recv)
			if err != nil {
				return nil, err
			}
			l.Link = inner
			b.mu.Lock()
			b.links = append(b.links, l)
			b.mu.Unlock()
			if l.maxMessage != nil {
				return limited{l}, nil
			}
			return l, nil
		}
		return b
	}
}

// openGenerous opens an adapter that keeps the contract and delivers as much more as that allows: every message to every link, the
// publisher's included, and twice.
func openGenerous(t *testing.T) adapter.Adapter {
	return withLinks(func(l *link) {
		var mu sync.Mutex // guards what follows, and recv
		closed := false
		recv := l.recv
		l.recv = func(msg []byte) {
			mu.Lock()
			defer mu.Unlock()
			if !closed {
				recv(slices.Clone(msg))
				recv(msg)
			}
		}
		all := adapter.Topic{Kind: adapter.Cluster}
		l.publish = func(ctx context.Context, _ adapter.Topic, msg []byte) error {
			if err := l.Link.Subscribe(ctx, all); err != nil {
				return err
			}
			if err := l.Link.Publish(ctx, all, msg); err != nil {
				return err
			}
			l.recv(slices.Clone(msg))
			return nil
		}
		l.subscribe = func(ctx context.Context, topics ...adapter.Topic) error { // topics are for Probe alone
			return l.Link.Subscribe(ctx, append(slices.Clone(topics), all)...)
		}
		l.unsubscribe = func(ctx context.Context, topics ...adapter.Topic) error { return l.Link.Unsubscribe(ctx, topics...) }
		l.close = func() error {
			err := l.Link.Close()
			mu.Lock()
			defer mu.Unlock()
			closed = true
			return err
		}
	})(t)
}

package natsadapter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/shrink"
)

var (
	_ adapter.Limiter   = (*link)(nil)
	_ adapter.Confirmer = (*link)(nil)
	_ adapter.Prober    = (*link)(nil)
)

// limitBefore is the size of message that a link says it takes before its first connection tells.
const limitBefore = 512 << 10

// A link is a node's place in the cluster: a series of connections, of which run makes and ends
// each and read takes the messages.
type link struct {
	adapter *Adapter
	recv    func([]byte)
	naming  naming
	needs   []permission // while one of them is denied, the link is Refused
	options nats.Options
	log     *slog.Logger

	ctx    context.Context // ends when the link is closed; connections end with it
	cancel context.CancelFunc
	tasks  sync.WaitGroup // run and read
	first  chan error     // what became of the first attempt to connect; has room for it
	inflow chan *conn     // from run to read: connections in the order in which to read them
	known  serverList     // run's own

	bare     bool        // run's own: the server denies the cover
	covering atomic.Bool // a connection began under the cover, and no later one has all subscriptions yet

	// mu puts what the link tells NATS into one order. It is held while calling nats.go, which
	// keeps each write below writeTimeout and calls back from goroutines of its own.
	mu                  sync.Mutex
	topics              map[string]adapter.Topic // what is subscribed, by subject; every connection in conns carries it, but for what its cover carries. See wanted
	few                 map[string]struct{}      // those of them that are no rooms, or were denied: a new connection gets them first
	peakTopics, peakFew int                      // see shrink.Map
	conns               []*conn                  // the open ones: mostly one, two while one replaces the other
	cur                 *conn                    // the one to publish on, or nil; changed with stateMu held as well, so that either lock suffices to read it
	closed              bool                     // as cur
	asker               string                   // the first node that was subscribed: its subjects bring the answers to probes

	wantedMu sync.RWMutex // held as well as mu where topics changes, so that either lock suffices to read it

	// stateMu comes after mu where both are held.
	stateMu sync.Mutex
	old     *conn // what cur replaces, while it still delivers; or nil
	state   adapter.State
	changed chan struct{} // closed when state changes
	ups     uint64        // how many times the link has become Connected
	down    error         // why there is no connection
	outage  outage
	limit   int             // of cur, or the last one
	trip    time.Duration   // likewise
	told    map[string]bool // refusals that are in the log

	outages, troubles, refusals limiter
}

func newLink(a *Adapter, set settings, recv func([]byte)) *link {
	ctx, cancel := context.WithCancel(context.Background())
	l := &link{
		adapter: a,
		recv:    recv,
		naming:  set.naming,
		needs:   set.needs,
		options: set.options,
		log:     set.log.With("cluster", a.cfg.Cluster),
		ctx:     ctx,
		cancel:  cancel,
		first:   make(chan error, 1),
		inflow:  make(chan *conn),
		known:   serverList{configured: set.servers},
		topics:  map[string]adapter.Topic{},
		few:     map[string]struct{}{},
		changed: make(chan struct{}),
		down:    fmt.Errorf("natsadapter: %w", errors.New("connecting")),
		told:    map[string]bool{},
		limit:   limitBefore,
	}
	useDialer(ctx, &l.options)
	l.state = adapter.State{Status: adapter.Degraded, Reason: l.down}
	l.tasks.Go(l.run)
	l.tasks.Go(l.read)
	return l
}

// Publish implements [adapter.Link].
func (l *link) Publish(ctx context.Context, topic adapter.Topic, msg []byte) error {
	if err := l.publish(ctx, topic, msg); err != nil {
		return wrap("publish to "+topic.String(), err)
	}
	return nil
}

func (l *link) publish(ctx context.Context, topic adapter.Topic, msg []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	subject, err := l.naming.publish(topic)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.send(subject, "", msg)
}

// send hands a message to NATS, with a subject for the reply if there is to be one. mu must be
// held.
func (l *link) send(subject, reply string, msg []byte) error {
	if l.closed {
		return adapter.ErrClosed
	}
	if l.cur == nil {
		l.stateMu.Lock()
		defer l.stateMu.Unlock()
		return fmt.Errorf("%w: %w", adapter.ErrUnavailable, errors.Unwrap(l.down))
	}
	var err error
	if reply == "" {
		err = l.cur.nc.Publish(subject, msg)
	} else {
		err = l.cur.nc.PublishRequest(subject, reply, msg)
	}
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("a message of %d bytes; the server takes at most %d: %w", len(msg), l.cur.nc.MaxPayload(), err)
	case errors.Is(err, nats.ErrBadSubject):
		return err
	case err != nil:
		// The connection has ended, or ends with the write that has failed (wire), and detach has
		// not come yet.
		return fmt.Errorf("%w: %w", adapter.ErrUnavailable, err)
	}
	return nil
}

// MaxMessage implements [adapter.Limiter]: it is the server's max_payload.
func (l *link) MaxMessage() int {
	l.stateMu.Lock()
	defer l.stateMu.Unlock()
	return l.limit
}

// Subscribe implements [adapter.Link].
func (l *link) Subscribe(ctx context.Context, topics ...adapter.Topic) error {
	return l.change(ctx, "subscribe to", topics, func(subject string, topic adapter.Topic) error {
		if _, ok := l.topics[subject]; ok {
			return nil
		}
		for _, c := range l.conns {
			if err := c.subscribe(subject); err != nil {
				return err
			}
		}
		l.wantedMu.Lock()
		l.topics[subject] = topic
		l.wantedMu.Unlock()
		if topic.Kind != adapter.Room {
			l.few[subject] = struct{}{}
		}
		if topic.Kind == adapter.Node && l.asker == "" {
			l.asker = topic.Node
		}
		return nil
	})
}

// Unsubscribe implements [adapter.Link].
func (l *link) Unsubscribe(ctx context.Context, topics ...adapter.Topic) error {
	defer l.refresh()
	return l.change(ctx, "unsubscribe from", topics, func(subject string, _ adapter.Topic) error {
		l.wantedMu.Lock()
		delete(l.topics, subject)
		l.topics = shrink.Map(l.topics, &l.peakTopics)
		l.wantedMu.Unlock()
		delete(l.few, subject)
		l.few = shrink.Map(l.few, &l.peakFew)
		for _, c := range l.conns {
			l.stateMu.Lock()
			if sub := c.subs[subject]; sub != nil {
				c.saveDrops(sub)
			}
			l.stateMu.Unlock()
			if err := c.unsubscribe(subject); err != nil {
				return err
			}
			l.stateMu.Lock()
			delete(c.refused, subject)
			l.stateMu.Unlock()
		}
		return nil
	})
}

// change calls do for each topic with mu held.
func (l *link) change(ctx context.Context, what string, topics []adapter.Topic, do func(subject string, topic adapter.Topic) error) error {
	if err := ctx.Err(); err != nil {
		return wrap(what, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return wrap(what, adapter.ErrClosed)
	}
	for _, topic := range topics {
		subject, err := l.naming.subscribe(topic)
		if err == nil {
			err = do(subject, topic)
		}
		if err != nil {
			return wrap(what+" "+topic.String(), err)
		}
	}
	return nil
}

func wrap(what string, err error) error { return fmt.Errorf("natsadapter: %s: %w", what, err) }

// Close implements [adapter.Link].
func (l *link) Close() error {
	l.mu.Lock()
	first, cur := !l.closed, l.cur
	l.stateMu.Lock()
	l.closed = true
	l.stateMu.Unlock()
	l.mu.Unlock()
	if first {
		l.refresh()
		if cur != nil {
			// What the broker does not take in time is given up, as the contract has it.
			_ = cur.nc.FlushTimeout(l.adapter.times.closeFlush)
		}
		l.cancel()
	}
	l.tasks.Wait()
	return nil
}

// read hands messages to recv, of one connection after the other.
func (l *link) read() {
	for {
		select {
		case c := <-l.inflow:
			l.readFrom(c)
		case <-l.ctx.Done():
			return
		}
	}
}

// readFrom hands on what c brings, until c has ended and nothing is left.
func (l *link) readFrom(c *conn) {
	for l.ctx.Err() == nil {
		select { // cheaper than the one below
		case m := <-c.msgs:
			l.receive(c, m)
			continue
		default:
		}
		select {
		case m := <-c.msgs:
			l.receive(c, m)
		case <-l.ctx.Done():
			return
		case <-c.closed:
			if len(c.msgs) == 0 { // the last may have come in between
				return
			}
		}
	}
}

// receive hands m, which c has brought, to recv, unless it came by the cover and is for other nodes
// alone.
func (l *link) receive(c *conn, m *nats.Msg) {
	if m.Header.Get(trialHeader) != "" {
		return
	}
	if c.cover != nil && m.Sub == c.cover {
		l.wantedMu.RLock()
		_, ok := l.topics[m.Subject]
		l.wantedMu.RUnlock()
		if !ok {
			l.adapter.stats.overheard.Add(1)
			return
		}
	}
	if len(m.Data) == 0 && l.takeProbe(m) {
		return
	}
	l.recv(m.Data)
}

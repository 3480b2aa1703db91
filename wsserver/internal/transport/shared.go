package transport

import (
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"

	"github.com/belfry-io/belfry/wsserver/internal/budget"
	"github.com/belfry-io/belfry/wsserver/internal/netpoll"
	"github.com/belfry-io/belfry/wsserver/internal/outbox"
)

// A Config is what the connections of a server share.
type Config struct {
	MaxMessage int            // see [ReaderConfig]
	QueueBytes int            // from where on a peer is judged: see [outbox.Config]
	Pace       outbox.Pace    // what a peer has to keep
	Budget     *budget.Budget // of all that waits, either way; nil means no bound
	Logger     *slog.Logger

	// Deflate is from how many bytes on a message is compressed for the peers with which permessage-deflate is negotiated. Zero means that
	// none is: [Upgrade] is then not to negotiate it.
	Deflate int

	// CompressHTTP is from how many bytes on a payload is compressed for the clients that can take it. Zero means that none is.
	CompressHTTP int
}

// Shared is what carries the connections of a server: bare TCP and Unix sockets on a poller and shards, all others with a goroutine each.
type Shared struct {
	reader    ReaderConfig // of peers that do not compress
	inflating *inflateQueue
	threshold int // Config.Deflate

	compressHTTP int // Config.CompressHTTP

	deflated *outbox.Form
	pace     outbox.Pace
	budget   *budget.Budget
	logger   *slog.Logger
	shards   *outbox.Shards
	group    *outbox.Group

	leaving atomic.Bool    // Leave was called
	streams sync.WaitGroup // the goroutines that read

	mu     sync.Mutex      // guards what follows
	poller *netpoll.Poller // nil until a connection asks for it, and on a system that has none
	tried  bool            // to make poller
	closed bool
}

// New starts what the connections share. Close it in the end.
func New(cfg Config) *Shared {
	queues := outbox.Config{Limit: cfg.QueueBytes, Pace: cfg.Pace, Budget: cfg.Budget, NextEnd: nextEnd}
	return &Shared{
		reader:    ReaderConfig{MaxMessage: cfg.MaxMessage},
		inflating: newInflateQueue(),
		threshold: cfg.Deflate,

		compressHTTP: cfg.CompressHTTP,

		deflated: deflated(cfg.Deflate),
		pace:     cfg.Pace.Defaults(),
		budget:   cfg.Budget,
		logger:   cfg.Logger,
		shards:   outbox.NewShards(queues),
		group:    outbox.NewGroup(queues),
	}
}

// pollerFor returns the poller if nc is of a kind that it takes; else nil. It begins with the first such connection, so that a server
// whose connections are all in memory runs in a bubble of testing/synctest, where nothing may wait for the kernel.
func (t *Shared) pollerFor(nc net.Conn) *netpoll.Poller {
	switch nc.(type) {
	case *net.TCPConn, *net.UnixConn:
	default:
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tried || t.closed {
		return t.poller
	}
	t.tried = true
	poller, err := netpoll.New()
	if err == nil {
		poller.ReadSize = t.budget.Share
		t.poller = poller
	} else if !errors.Is(err, errors.ErrUnsupported) {
		t.logger.Error("belfry: no poller, every connection has a goroutine", "error", err)
	}
	return t.poller
}

// Leave has answers to clients that poll close their HTTP connections from now on.
func (t *Shared) Leave() { t.leaving.Store(true) }

// Leaving reports whether Leave was called.
func (t *Shared) Leaving() bool { return t.leaving.Load() }

// Close ends all connections that are left and waits for the goroutines of all. It must not be called from a Receiver.
func (t *Shared) Close() {
	t.mu.Lock()
	t.closed = true
	poller := t.poller
	t.mu.Unlock()
	if poller != nil {
		poller.Close()
	}
	t.shards.Close()
	t.group.Close()
	t.streams.Wait()
	t.inflating.Close()
}

// Stats counts what was written to all peers.
func (t *Shared) Stats() (sum outbox.Stats) {
	t.shards.AddTo(&sum)
	t.group.AddTo(&sum)
	return sum
}

// Go has f run on a goroutine that Close waits for. It reports whether it does: not after Close.
func (t *Shared) Go(f func()) bool { return t.group.Go(f) }

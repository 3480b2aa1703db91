// Package ask is how nodes ask each other: who is asked and waited for, and how what a node is asked for is carried out and answered, page by
// page. It knows no request: each is a file of package cluster, with both its sides, and an entry in the table that [Config.Serve] is.
package ask

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/belfry-io/belfry/adapter/internal/envelope"
)

// MaxMessage is the size of the largest broadcast, in bytes, with the names of its rooms.
const MaxMessage = 32 << 20

// What may be wrong with a node that was asked, and with what is published.
var (
	ErrNode     = errors.New("cluster: the node is silent, or has left")
	ErrBusy     = errors.New("cluster: the node is busy: try again later")
	ErrUnknown  = errors.New("cluster: the node does not know this request")
	ErrOverflow = errors.New("cluster: the queue to the broker is full: other nodes do not get this")
	ErrTooLarge = fmt.Errorf("cluster: the broadcast is larger than %d MiB", MaxMessage>>20)
)

// A Cluster is what an Exchange needs of the cluster.
type Cluster interface {
	// Meet waits until it is known which nodes there are, or ctx ends, and calls choose with them: the servers that are alive, those that are
	// silent and are to be named, and why nobody can be reached, if that is so. If choose says so, it publishes b. Meanwhile no node
	// comes or goes, and nothing else is published. The error is that of publishing.
	Meet(ctx context.Context, b *envelope.Body, choose func(servers, silent []string, cause error) bool) error

	Publish(b *envelope.Body) error           // ErrOverflow: see Room
	Post(b *envelope.Body) error              // Publish for one node, alive or silent; ErrNode if it is unknown or has gone
	Room(ctx context.Context, size int) error // waits until there is room for an answer of this size
	Server(node string) bool                  // the node is alive, and no client
	Asker(node string) bool                   // the node, or client, has not left and is not given up
	Probe(node string)                        // asks the broker whether the node is there
}

// A Config is what an Exchange is made of.
type Config struct {
	Node    string
	Client  bool // it has no members: it is asked nothing that is for all
	Alone   bool // there is no other node
	Cluster Cluster

	// Serve has what does the requests of other nodes, by their kinds. It is called on the receiving goroutine, in the place of the request
	// among the broadcasts; what takes time is for [Exchange.Answer].
	Serve map[envelope.Kind]func(*envelope.Broadcast)
}

// An Exchange is what a node asks of others, and does for them. Its methods may be called concurrently.
type Exchange struct {
	cfg     Config
	ctx     context.Context // ends with the node
	calls   calls           // what this node asks others
	answers answers         // what others ask this node
	group   sync.WaitGroup  // goroutines that do something for others
	running atomic.Int64    // how many
}

// New returns the Exchange of a node that ends with ctx.
func New(ctx context.Context, cfg Config) *Exchange {
	x := &Exchange{cfg: cfg, ctx: ctx}
	x.calls.pending = make(map[uint64]*Call)
	x.calls.probed = make(map[string]time.Time)
	x.calls.held = make(map[string]int)
	x.answers.byAsker = make(map[asker]*Answer)
	x.answers.held = make(map[asker]*Held)
	return x
}

// Receive takes what another node asks for, or answers.
func (x *Exchange) Receive(b *envelope.Broadcast) {
	if b.Route == envelope.ByNode && b.To != x.cfg.Node || b.Route == envelope.ByCluster && x.cfg.Client {
		return // the hashes of both nodes are the same; or it is for those with members
	}
	switch b.Kind {
	case envelope.KindAnswer:
		x.calls.receive(b, x.cfg.Cluster.Server(b.From))
	case envelope.KindCancel:
		x.answers.cancel(asker{b.From, b.ID})
		x.endHeld(asker{b.From, b.ID})
	case envelope.KindNote:
		x.noteHeld(b)
	default:
		if serve := x.cfg.Serve[b.Kind]; serve != nil {
			serve(b)
		} else {
			x.Refuse(b, envelope.Unknown, "")
		}
	}
}

// Idle reports that nobody is waited for, or waits.
func (x *Exchange) Idle() bool {
	s := x.State()
	return s.Calls == 0 && s.Answers == 0 && s.Held == 0
}

// SetAlive says which servers are alive, and who may ask: all others are not waited for any more, but for held calls.
func (x *Exchange) SetAlive(servers, askers []string) {
	x.calls.mu.Lock()
	for _, c := range x.calls.pending {
		for id, n := range c.nodes {
			if n.waited && !c.Held && id != x.cfg.Node && !slices.Contains(servers, id) {
				n.waited, n.err = false, ErrNode
				c.countDown()
			}
		}
	}
	x.calls.mu.Unlock()
	x.answers.cancelAll(func(id string) bool { return !slices.Contains(askers, id) })
}

// Go has do run on a goroutine that [Exchange.Close] waits for. Some of it is the program's: its end can be waited for, and not be promised.
func (x *Exchange) Go(do func()) {
	x.running.Add(1)
	x.group.Go(func() {
		defer x.running.Add(-1)
		do()
	})
}

// Close ends what is held, and waits until all goroutines have ended, or ctx has. Nothing begins meanwhile, unless by one of them.
func (x *Exchange) Close(ctx context.Context) error {
	x.endHeldIf(func(string) bool { return true })
	done := make(chan struct{})
	go func() { // ends with the last of them
		x.group.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		if n := x.running.Load(); n > 0 {
			return fmt.Errorf("cluster: close: %d handlers for other nodes have not returned: %w", n, context.Cause(ctx))
		}
		<-done
	}
	return nil
}

// A State is what an Exchange does at a moment.
type State struct {
	Calls   int    // that this node waits for
	Waiting int    // of them, those that are held
	Probed  int    // nodes that the broker was asked for
	Answers int    // that are given
	Held    int    // calls of other nodes
	Running int    // of them, by what is done
	Refused uint64 // requests that were answered with ErrBusy
}

// State returns what is done now.
func (x *Exchange) State() (s State) {
	x.calls.mu.Lock()
	s.Calls, s.Probed = len(x.calls.pending), len(x.calls.probed)
	for _, n := range x.calls.held {
		s.Waiting += n
	}
	x.calls.mu.Unlock()
	x.answers.mu.Lock()
	defer x.answers.mu.Unlock()
	s.Answers, s.Refused = len(x.answers.byAsker), x.answers.refused
	s.Held = len(x.answers.held)
	for _, n := range x.answers.running {
		s.Running += n
	}
	return s
}

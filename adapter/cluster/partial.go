package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/belfry-io/belfry/adapter/internal/ask"
)

// CallTimeout is how long the calls of Rooms and Hub that ask other nodes take at the most if their ctx has no deadline.
const CallTimeout = 30 * time.Second

// Why a node has not done what it was asked for. They are wrapped in a NodeError.
var (
	ErrNode    = ask.ErrNode
	ErrBusy    = ask.ErrBusy
	ErrUnknown = ask.ErrUnknown
)

// A NodeError is why a node has not done what it was asked for.
type NodeError struct {
	Node string
	Err  error
}

func (e *NodeError) Error() string { return fmt.Sprintf("node %s: %v", e.Node, e.Err) }

func (e *NodeError) Unwrap() error { return e.Err }

// A PartialError comes with results that are not whole. All calls that ask other nodes end when the nodes that are believed to be alive
// have answered. One that is silent, has left or has failed is named here; a call stops waiting for it as soon as that is known. ctx ends a
// call earlier, and names those that have not answered; without a deadline in ctx, so does [CallTimeout].
//
// That of Close names the nodes that have not confirmed that they have everything.
//
// That a node has crashed, or has lost its broker, is known 20 ms after it was asked, where the broker says that nobody is there ([adapter.Prober]), as NATS
// does; otherwise after 2 s without a word of it. Since a node that reconnects cannot be told from one that has crashed, calls name
// either, for [HubConfig.NameSuspects], 10 s by default; after that they count without it and return nil. A node that the broker still knows, and that
// does not answer, is named for 30 s.
//
// Where the link is down, all other nodes are silent; where it is new, calls wait until the nodes have answered, or had twice the time of a
// round trip to, 250 ms at the least and 2 s at the most.
type PartialError struct {
	Nodes   []string // whose part is missing, in order; not all of it, perhaps
	Clients int      // of BroadcastWithAck: members that were reached and have not answered
	Err     error    // why: ctx's error, a *NodeError, an *UnfencedError, or several, joined; nil if it is a matter of Clients alone
}

func (e *PartialError) Error() string {
	var b strings.Builder
	b.WriteString("cluster: the result is not whole")
	if len(e.Nodes) > 0 {
		b.WriteString(", without nodes " + strings.Join(e.Nodes, ", "))
	}
	if e.Clients > 0 {
		fmt.Fprintf(&b, ", without answers of %d members", e.Clients)
	}
	if e.Err != nil {
		b.WriteString(": " + strings.ReplaceAll(e.Err.Error(), "\n", "; "))
	}
	return b.String()
}

func (e *PartialError) Unwrap() error { return e.Err }

// patience returns ctx with a deadline, and how long that is away.
func patience(ctx context.Context) (context.Context, context.CancelFunc, time.Duration) {
	deadline, ok := ctx.Deadline()
	if ok {
		return ctx, func() {}, max(0, time.Until(deadline))
	}
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	return ctx, cancel, CallTimeout
}

// incomplete is what is missing of c, which has ended; nil if nothing is. clients are missing too, and errs are other reasons.
func incomplete(c *ask.Call, clients int, errs ...error) error {
	p := &PartialError{Clients: clients}
	if c.Cause != nil {
		errs = append(errs, c.Cause)
	}
	for _, m := range c.Missing() {
		if m.Err != nil {
			errs = append(errs, &NodeError{m.Node, m.Err})
		}
		p.Nodes = append(p.Nodes, m.Node)
	}
	if len(errs) == 1 {
		p.Err = errs[0]
	} else {
		p.Err = errors.Join(errs...)
	}
	if p.Nodes == nil && p.Clients == 0 && p.Err == nil {
		return nil
	}
	return p
}

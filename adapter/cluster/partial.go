package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/belfry-io/belfry/adapter/internal/ask"
)

// CallTimeout bounds the calls of Rooms and Hub that ask other nodes, if their ctx has no deadline.
const CallTimeout = 30 * time.Second

// Reasons why a node has not done what it was asked for. A [NodeError] wraps them.
var (
	ErrNode    = ask.ErrNode
	ErrBusy    = ask.ErrBusy
	ErrUnknown = ask.ErrUnknown
)

// A NodeError says why a node has not done what it was asked for.
type NodeError struct {
	Node string
	Name string // of the node; empty if it is not known
	Err  error
}

func (e *NodeError) Error() string { return fmt.Sprintf("node %s: %v", label(e.Node, e.Name), e.Err) }

func (e *NodeError) Unwrap() error { return e.Err }

// A PartialError comes with an incomplete result. A call that asks other nodes ends when all nodes
// that are believed to be alive have answered. It stops waiting for a node that is silent, has left
// or has failed, and names it here. If ctx ends first, or [CallTimeout] without a deadline in ctx,
// it names the nodes that have not answered. The PartialError of Close names the nodes that have
// not confirmed that they have everything.
//
// If a node has crashed or lost its broker, a call knows that 20 ms after it asked, provided that
// the broker can tell ([adapter.Prober]), as NATS can; otherwise 2 s after the node's last message.
// A node that reconnects looks the same as one that has crashed. So calls name either for
// [HubConfig.NameSuspects], by default 10 s, and then count without it and return nil. A node that
// the broker still knows, and that does not answer, is named for 30 s.
//
// While the link is down, all other nodes are silent. While it is new, calls first wait until the
// nodes have answered, or had time for two round trips, at least 250 ms and at most 2 s.
type PartialError struct {
	Nodes   []string // whose part is missing, or some of it; sorted
	Names   []string // of Nodes, in the same order; empty where the name is not known
	Clients int      // of EmitWithAck: members that got the broadcast and have not answered
	Err     error    // ctx's error, a *NodeError, an *UnfencedError, or several, joined; nil if only Clients are missing
}

func (e *PartialError) Error() string {
	var b strings.Builder
	b.WriteString("cluster: the result is incomplete")
	if len(e.Nodes) > 0 {
		b.WriteString(", missing nodes " + labels(e.Nodes, e.Names))
	}
	if e.Clients > 0 {
		fmt.Fprintf(&b, ", missing answers of %d members", e.Clients)
	}
	if e.Err != nil {
		b.WriteString(": " + strings.ReplaceAll(e.Err.Error(), "\n", "; "))
	}
	return b.String()
}

func (e *PartialError) Unwrap() error { return e.Err }

// labels lists nodes with their names, of which some may be missing.
func labels(ids, names []string) string {
	list := slices.Clone(ids)
	for i, name := range names[:min(len(names), len(ids))] {
		list[i] = label(ids[i], name)
	}
	return strings.Join(list, ", ")
}

// patience returns ctx with a deadline, and how long that is away.
func patience(ctx context.Context) (context.Context, context.CancelFunc, time.Duration) {
	deadline, ok := ctx.Deadline()
	if ok {
		return ctx, func() {}, max(0, time.Until(deadline))
	}
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	return ctx, cancel, CallTimeout
}

// incomplete is what is missing of c, which has ended; nil if nothing is. clients are missing too,
// and errs are other reasons.
func (h *Hub) incomplete(c *ask.Call, clients int, errs ...error) error {
	p := &PartialError{Clients: clients}
	if c.Cause != nil {
		errs = append(errs, c.Cause)
	}
	missing := c.Missing()
	for _, m := range missing {
		p.Nodes = append(p.Nodes, m.Node)
	}
	p.Names = h.names(p.Nodes...)
	for i, m := range missing {
		if m.Err != nil {
			errs = append(errs, &NodeError{m.Node, p.Names[i], m.Err})
		}
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

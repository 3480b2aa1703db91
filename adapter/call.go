package adapter

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// CallTimeout is how long the calls of Rooms and Hub that ask other nodes take at the most if their ctx has no deadline.
const CallTimeout = 30 * time.Second

// Why a node has not done what it was asked for. They are wrapped in a NodeError.
var (
	ErrNode    = errors.New("adapter: the node is silent, or has gone")
	ErrBusy    = errors.New("adapter: the node has too much to do")
	ErrUnknown = errors.New("adapter: the node does not know this request")
)

// A NodeError is why a node has not done what it was asked for.
type NodeError struct {
	Node string
	Err  error
}

func (e *NodeError) Error() string { return fmt.Sprintf("node %s: %v", e.Node, e.Err) }

func (e *NodeError) Unwrap() error { return e.Err }

// A PartialError comes with results that are not whole. All calls that ask other nodes end when the nodes that are believed to be alive
// have answered. One that is silent, has left or has failed is named here; it is not waited for from the moment on at which that is known,
// within 2 s. ctx ends a call earlier, and names those that have not answered; without a deadline in ctx, so does [CallTimeout].
//
// Nodes that were not heard of for 30 s do not count any more. Where the link is down, all other nodes are silent.
type PartialError struct {
	Nodes   []string // whose part is missing, in order; not all of it, perhaps
	Clients int      // of BroadcastWithAck: members that were reached and have not answered
	Err     error    // why: ctx's error, a *NodeError, an *UnfencedError, or several, joined; nil if it is a matter of Clients alone
}

func (e *PartialError) Error() string {
	var b strings.Builder
	b.WriteString("adapter: the result is not whole")
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

package wsserver

import (
	"context"
	"errors"
	"hash/fnv"
	"slices"
	"sync"
	"time"

	"github.com/belfry-io/belfry/adapter/cluster"
)

// How the node is found that has a session: there is no directory. It is the node that the session
// began on, or knows where it has gone; or else its heir; or else any other.

// decideTimeout is how long suspect nodes are waited for, which may have a session that no other has.
const decideTimeout = 2 * time.Second

// A search is for the node that has a session.
type search struct {
	rec   *recovery
	q     moveRequest
	asked map[string]bool

	mu     sync.Mutex // guards what follows
	holder string     // that has the session, and what it answers
	answer moveAnswer
	why    refused // nobody has it, as far as anybody has answered
	failed bool    // a node that is alive has not answered: it may have the session
}

// seek finds the node that has a session, and claims it there.
func (rec *recovery) seek(ctx context.Context, q moveRequest) (holder string, a moveAnswer, why refused) {
	if rec.isAbsent(q) {
		return "", a, refusedUnknown
	}
	ctx, cancel := context.WithTimeout(ctx, moveTimeout)
	defer cancel()
	s := &search{rec: rec, q: q, asked: map[string]bool{rec.srv.hub.Node(): true}, why: refusedUnknown}
	began := q.ID[:nodeChars]
	decided := time.NewTimer(decideTimeout)
	defer decided.Stop()
	for {
		alive, suspects, changed := rec.others()
		if began != rec.srv.hub.Node() && !slices.Contains(alive, began) {
			s.why = refusedOwner
		}
		first := began
		if !slices.Contains(alive, first) {
			first = heir(q.ID, alive)
		}
		s.failed = false
		if s.follow(ctx, first) || s.askAll(ctx, alive) {
			return s.holder, s.answer, s.why
		}
		if suspects == 0 && !s.failed {
			break
		}
		var again <-chan time.Time
		if s.failed { // it may have been suspect for no longer than the call
			again = time.After(busyPause)
		}
		select {
		case <-changed:
			continue
		case <-again:
			continue
		case <-decided.C:
		case <-ctx.Done():
		}
		break
	}
	if ctx.Err() == nil && !s.failed { // else nobody is interested any more, or nobody knows
		rec.noteAbsent(q)
	}
	return "", a, s.why
}

// follow asks a node, then the one that it names, and so on. It reports whether that has decided.
func (s *search) follow(ctx context.Context, node string) bool {
	for node != "" && !s.asked[node] {
		s.asked[node] = true
		moved, failed := s.ask(ctx, node)
		if failed {
			s.asked[node] = false
			return false
		}
		node = moved
	}
	return s.over()
}

// askAll asks all nodes that were not asked, at once, and those again that they name: the session may
// have moved there since. It reports whether that has decided.
func (s *search) askAll(ctx context.Context, nodes []string) bool {
	var calls sync.WaitGroup
	failed, moved := make([]bool, len(nodes)), make([]string, len(nodes))
	for i, node := range nodes {
		if !s.asked[node] {
			s.asked[node] = true
			calls.Go(func() { moved[i], failed[i] = s.ask(ctx, node) })
		}
	}
	calls.Wait()
	for i, node := range nodes {
		if failed[i] {
			s.asked[node] = false // again, if it is back
		}
	}
	for _, node := range moved {
		if node != "" && node != s.rec.srv.hub.Node() && !s.over() {
			s.asked[node] = false
			s.follow(ctx, node)
		}
	}
	return s.over()
}

// ask claims the session at a node, which may know that another has it; failed says that it has not
// answered.
func (s *search) ask(ctx context.Context, node string) (moved string, failed bool) {
	a, err := s.rec.call(ctx, node, callClaim, s.q)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case errors.Is(err, cluster.ErrUnknown): // it has no recovery
	case err != nil:
		s.failed = true
		return "", true
	case a.Refused == "":
		s.holder, s.answer, s.why = node, a, ""
	case a.Refused != refusedUnknown:
		s.why = a.Refused
	}
	return a.Moved, false
}

// over reports whether the holder has answered.
func (s *search) over() bool { return s.why != refusedUnknown && s.why != refusedOwner }

// others are the other servers that are alive, and the number of those that are suspect; changed is
// closed when that is not so any more.
func (rec *recovery) others() (alive []string, suspects int, changed <-chan struct{}) {
	nodes, changed := rec.srv.hub.Nodes()
	for _, n := range nodes[1:] {
		if n.Suspect {
			suspects++
		} else {
			alive = append(alive, n.ID)
		}
	}
	return alive, suspects, changed
}

// heir is the node of nodes to which a session goes whose own leaves: the one with the highest hash of
// both (rendezvous hashing), so that all nodes find the same; empty if there is none.
func heir(id string, nodes []string) (best string) {
	var highest uint64
	for _, node := range nodes {
		h := fnv.New64a()
		h.Write([]byte(node))
		h.Write([]byte(id))
		if sum := h.Sum64(); best == "" || sum > highest {
			best, highest = node, sum
		}
	}
	return best
}

// absentFor is how long it is remembered that no node has a session, and maxAbsent of how many: so a
// client that repeats an old secret costs the cluster little.
const (
	absentFor = 10 * time.Second
	maxAbsent = 10_000
)

// noteAbsent remembers that no node has a session.
func (rec *recovery) noteAbsent(q moveRequest) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if len(rec.absent) < maxAbsent {
		rec.absent[q.Namespace+" "+q.ID] = time.Now()
	}
}

// isAbsent reports whether no node had a session a moment ago.
func (rec *recovery) isAbsent(q moveRequest) bool {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	at, ok := rec.absent[q.Namespace+" "+q.ID]
	return ok && time.Since(at) < absentFor
}

package wsserver

import (
	"context"
	"maps"
	"slices"
	"time"
)

// settle waits until this node has what all others had sent. One that has been silent for a short
// time is waited for: it may only have lost its connection. What a node has sent that is gone, or was
// silent for longer, nobody can have any more, as far as anybody can tell.
func (rec *recovery) settle(ctx context.Context) {
	for {
		unsettled, err := rec.srv.hub.Settle(ctx)
		if err != nil || !rec.doubtful(unsettled) {
			return
		}
		_, changed := rec.srv.hub.Nodes()
		timer := time.NewTimer(100 * time.Millisecond)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
		}
		if timer.Stop(); ctx.Err() != nil {
			return
		}
	}
}

// doubtFor is how long a silent node is waited for.
const doubtFor = 3 * time.Second

// doubtful reports whether one of these nodes has not been silent for long, and forgets the others.
func (rec *recovery) doubtful(nodes []string) (wait bool) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	maps.DeleteFunc(rec.doubts, func(node string, _ time.Time) bool { return !slices.Contains(nodes, node) })
	for _, node := range nodes {
		since, ok := rec.doubts[node]
		if !ok {
			since = time.Now()
			rec.doubts[node] = since
		}
		wait = wait || time.Since(since) < doubtFor
	}
	return wait
}

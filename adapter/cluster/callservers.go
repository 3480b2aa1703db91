package cluster

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
)

// The kinds of calls by which servers tell of themselves, in JSON: see [Hub.CallServers].
const (
	CallStats      = "stats"      // how the server stands, and what it has counted
	CallNamespaces = "namespaces" // a list of its namespaces
)

// CallServers is [Hub.Call] for all other servers at once. The answers are by the ids of the
// servers. With a [*PartialError], which names the servers that are silent or have not answered,
// come the answers of the others.
func (h *Hub) CallServers(ctx context.Context, kind string, payload []byte) (map[string][]byte, error) {
	answers := make(map[string][]byte)
	if h.machine == nil {
		return answers, nil
	}
	ctx, cancel, _ := patience(ctx)
	defer cancel()
	if err := h.lockMet(ctx); err != nil {
		h.meshMu.Unlock()
		return answers, &PartialError{Err: err}
	}
	servers, silent := h.machine.Servers(), h.machine.Named(h.age())
	h.meshMu.Unlock()
	var mu sync.Mutex // guards answers and failed
	failed := make(map[string]error)
	for _, id := range silent {
		failed[id] = h.nodeError(id, ErrNode)
	}
	var calls sync.WaitGroup
	for _, id := range servers {
		calls.Go(func() {
			answer, err := h.Call(ctx, id, kind, payload)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed[id] = err
			} else {
				answers[id] = answer
			}
		})
	}
	calls.Wait()
	if len(failed) == 0 {
		return answers, nil
	}
	missing := &PartialError{Nodes: slices.Sorted(maps.Keys(failed))}
	missing.Names = h.names(missing.Nodes...)
	var errs []error
	for _, id := range missing.Nodes {
		errs = append(errs, failed[id])
	}
	missing.Err = errors.Join(errs...)
	return answers, missing
}

package main

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	maxAnswers  = 10_000         // that a node remembers
	answeredFor = 24 * time.Hour // and how long
)

var errKeyReused = errors.New("this Idempotency-Key was used for another request: take a new one")

// answers remembers what was answered to requests with an Idempotency-Key, on any node.
type answers struct {
	mu    sync.Mutex // guards byKey
	byKey *recent[string, *answer]
}

// An answer is given to all requests with the same key.
type answer struct {
	request string        // a hash: another request with the key is a mistake
	done    chan struct{} // closed when the rest is set
	receipt delivery
	err     error
}

// An answered is an answer on its way to other nodes.
type answered struct {
	Key     string   `json:"key"`
	Request string   `json:"request"`
	Receipt delivery `json:"receipt"`
}

func newAnswers() *answers {
	return &answers{byKey: newRecent[string, *answer](maxAnswers, answeredFor)}
}

// once calls do for the first request with a key. Later ones get its result, and wait for it if
// need be. A failure is not remembered: the next request tries again.
func (a *answers) once(
	ctx context.Context, key, request string, do func() (delivery, error),
) (d delivery, again bool, err error) {
	a.mu.Lock()
	known, again := a.byKey.get(key)
	if !again {
		known = &answer{request: request, done: make(chan struct{})}
		a.byKey.put(key, known)
	}
	a.mu.Unlock()
	if known.request != request {
		return delivery{}, again, errKeyReused
	}
	if again {
		select {
		case <-known.done:
			return known.receipt, again, known.err
		case <-ctx.Done():
			return delivery{}, again, ctx.Err()
		}
	}
	defer close(known.done)
	known.err = errors.New("the first request with this Idempotency-Key failed: try again") // if do panics
	known.receipt, known.err = do()
	if known.err != nil {
		a.mu.Lock()
		a.byKey.remove(key)
		a.mu.Unlock()
	}
	return known.receipt, again, known.err
}

// learn adds an answer of another node.
func (a *answers) learn(told answered) {
	known := &answer{request: told.Request, done: make(chan struct{}), receipt: told.Receipt}
	close(known.done)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.byKey.put(told.Key, known)
}

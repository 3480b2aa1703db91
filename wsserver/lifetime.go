package wsserver

import (
	"context"
	"sync/atomic"
	"time"
)

// A lifetime is the context of a life. Most programs ask only whether it has ended, if anything: so
// the context that can be waited for, which takes memory, is made when that is asked for, or when it
// ends. Its zero value has not ended.
type lifetime struct {
	made atomic.Pointer[waitable]
}

// A waitable is a context and what ends it.
type waitable struct {
	context.Context
	cancel context.CancelCauseFunc
}

// get returns what stands behind the lifetime.
func (l *lifetime) get() *waitable {
	if w := l.made.Load(); w != nil {
		return w
	}
	w := new(waitable)
	w.Context, w.cancel = context.WithCancelCause(context.Background())
	if !l.made.CompareAndSwap(nil, w) {
		return l.made.Load()
	}
	return w
}

// end ends the lifetime, for a reason that is its cause.
func (l *lifetime) end(reason error) { l.get().cancel(reason) }

// Err implements [context.Context], as the methods below do.
func (l *lifetime) Err() error {
	if w := l.made.Load(); w != nil {
		return w.Err()
	}
	return nil
}

func (l *lifetime) Done() <-chan struct{}       { return l.get().Done() }
func (l *lifetime) Deadline() (time.Time, bool) { return time.Time{}, false }

// Value asks the context that is behind: package context finds by it, among others, what the cause is.
func (l *lifetime) Value(key any) any { return l.get().Value(key) }

package wsserver

import (
	"sync"
	"time"
)

// rarely keeps what clients can cause at will out of the log: its zero value allows something once
// a minute.
type rarely struct {
	mu      sync.Mutex // guards what follows
	last    time.Time
	skipped int // since then
}

// allow reports whether something is allowed now.
func (r *rarely) allow() bool {
	_, ok := r.take()
	return ok
}

// take is allow that also tells how often it was not allowed since the last time that it was.
func (r *rarely) take() (skipped int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if !r.last.IsZero() && now.Sub(r.last) < time.Minute {
		r.skipped++
		return 0, false
	}
	skipped = r.skipped
	r.last, r.skipped = now, 0
	return skipped, true
}

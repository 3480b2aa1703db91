package wsserver

import (
	"sync"
	"time"
)

// rarely keeps what clients can cause at will out of the log: its zero value allows something once
// a minute.
type rarely struct {
	mu      sync.Mutex // guards what follows
	next    time.Time
	skipped int // since something was allowed
}

// allow reports whether something is allowed now, and how often it was not since the last time.
func (r *rarely) allow() (skipped int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if now.Before(r.next) {
		r.skipped++
		return 0, false
	}
	skipped = r.skipped
	r.next, r.skipped = now.Add(time.Minute), 0
	return skipped, true
}

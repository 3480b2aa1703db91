package wsserver

import (
	"sync"
	"time"
)

// rarely keeps what clients can cause at will out of the log: its zero value allows something once a minute.
type rarely struct {
	mu   sync.Mutex // guards last
	last time.Time
}

func (r *rarely) allow() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if !r.last.IsZero() && now.Sub(r.last) < time.Minute {
		return false
	}
	r.last = now
	return true
}

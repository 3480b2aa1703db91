package transport

import (
	"net/http"
	"sync"
	"time"
)

// A deadline is that of the reading, or the writing, of a request whose client may stand still.
type deadline struct {
	set func(time.Time) error

	mu   sync.Mutex // guards what follows, and the order of calls of set
	over bool
}

func newWriting(w http.ResponseWriter) *deadline {
	return &deadline{set: http.NewResponseController(w).SetWriteDeadline}
}

// wait sets how long what follows may take; zero is no limit. It returns false after abort.
func (d *deadline) wait(limit time.Duration) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over {
		return false
	}
	var at time.Time
	if limit > 0 {
		at = time.Now().Add(limit)
	}
	d.set(at)
	return true
}

// abort ends what is under way: what it holds in memory is given up at once, and its connection closed.
func (d *deadline) abort() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
	d.set(time.Now())
}

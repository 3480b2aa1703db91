package wsrig

import "sync"

// A Lock guards what changes while others wait for it.
type Lock struct {
	mu      sync.Mutex
	changed chan struct{} // closed when anything changes, and replaced; mu guards it
}

// NewLock returns a Lock for several connections, and for what their user keeps.
func NewLock() *Lock { return &Lock{changed: make(chan struct{})} }

// Update changes something under the lock that others may wait for by [Conn.Await].
func (l *Lock) Update(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
	close(l.changed)
	l.changed = make(chan struct{})
}

package transport

import (
	"net/http"
	"sync"
	"time"
)

// An answer is one that is being written, to a client that may not read it.
type answer struct {
	http.ResponseWriter
	control *http.ResponseController

	mu   sync.Mutex // guards what follows, and the deadline
	over bool
}

func newAnswer(w http.ResponseWriter) *answer {
	return &answer{ResponseWriter: w, control: http.NewResponseController(w)}
}

// wait sets how long the next write may take; zero is no limit. It returns false if the answer was abandoned.
func (a *answer) wait(d time.Duration) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over {
		return false
	}
	var deadline time.Time
	if d > 0 {
		deadline = time.Now().Add(d)
	}
	a.control.SetWriteDeadline(deadline)
	return true
}

// abandon ends the writing: what holds the answer in memory is given up at once, and its connection closed.
func (a *answer) abandon() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = true
	a.control.SetWriteDeadline(time.Now())
}

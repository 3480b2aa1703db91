package wsserver

import (
	"sync"
	"time"
)

const (
	// maxParked bounds the goroutines that wait for a task.
	maxParked = 256

	// parkedFor is how long a goroutine waits that was not needed, at least. It may be twice that.
	parkedFor = time.Second
)

// A task is what a goroutine does for a socket: one of its methods.
type task struct {
	do     func(*Socket)
	socket *Socket
}

// workers are the goroutines of sockets. Each task has one for itself as long as it runs, so that a
// handler that blocks holds up nobody else. A few wait for the next task afterwards, since a
// goroutine that has run handlers has the stack for them already: to grow that of a new one costs
// more than most handlers. Their zero value has none.
type workers struct {
	running sync.WaitGroup // tasks, and whatever else counts as one
	exist   sync.WaitGroup // goroutines

	mu     sync.Mutex  // guards what follows
	parked []chan task // of goroutines that wait, the last to be needed first; nobody else sends
	fewest int         // there were since the last trim
	trims  *time.Timer // nil while nothing is parked
	closed bool
}

// run does a task on a goroutine. It does not wait.
func (w *workers) run(t task) {
	w.running.Add(1)
	w.mu.Lock()
	last := len(w.parked) - 1
	if last < 0 {
		w.mu.Unlock()
		w.exist.Go(func() { w.work(t) })
		return
	}
	next := w.parked[last]
	w.parked = w.parked[:last]
	w.fewest = min(w.fewest, last)
	w.mu.Unlock()
	next <- t
}

// work does one task after the other.
func (w *workers) work(t task) {
	tasks := make(chan task, 1) // so that run does not wait
	for ok := true; ok; {
		w.do(t)
		if !w.park(tasks) {
			return
		}
		t, ok = <-tasks
	}
}

// do does a task. It ends the goroutine if a handler does.
func (w *workers) do(t task) {
	defer w.running.Done()
	t.do(t.socket)
}

// park has run, trim or close send to tasks. It reports false if enough wait.
func (w *workers) park(tasks chan task) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || len(w.parked) == maxParked {
		return false
	}
	w.parked = append(w.parked, tasks)
	if w.trims == nil {
		w.trims, w.fewest = time.AfterFunc(parkedFor, w.trim), 0
	}
	return true
}

// trim ends the goroutines that were not needed since the last trim.
func (w *workers) trim() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	w.end(w.fewest)
	if w.fewest = len(w.parked); w.fewest > 0 {
		w.trims.Reset(parkedFor)
	} else {
		w.trims = nil
	}
}

// end ends the n goroutines that were needed last ago. mu must be held.
func (w *workers) end(n int) {
	for _, tasks := range w.parked[:n] {
		close(tasks)
	}
	if w.parked = append(w.parked[:0], w.parked[n:]...); len(w.parked) == 0 {
		w.parked = nil
	}
}

// close waits until all tasks have been done, and every goroutine has ended.
func (w *workers) close() {
	w.running.Wait()
	w.mu.Lock()
	w.closed = true
	if w.trims != nil {
		w.trims.Stop()
	}
	w.end(len(w.parked))
	w.mu.Unlock()
	w.exist.Wait()
}

package engine

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// relieveAgain is how soon a warden tries again if it has not freed enough: what is being written at the moment is freed when that ends.
const relieveAgain = 50 * time.Millisecond

// A warden keeps a server within its budget, with a goroutine of its own. When the budget is used up, nothing is read on; volatile frames
// go; then sessions end, until an eighth of the budget is free: first those that have more waiting than a queue's limit, in either direction,
// then any, and of them those first whose oldest frame, event or part of a message has waited longest. A frame that many share is freed with the last of them,
// so that what one holds does not tell what its end frees; how long it has held it tells who is behind.
type warden struct {
	server *Server
	quit   chan struct{}
	stop   func() // closes quit, once
	done   sync.WaitGroup

	mu   sync.Mutex // guards what follows; may be taken under a Session's
	held []*Session // paused until there is room
}

// newWarden starts the warden of a server that has a budget.
func newWarden(srv *Server) *warden {
	w := &warden{server: srv, quit: make(chan struct{})}
	w.stop = sync.OnceFunc(func() { close(w.quit) })
	if srv.cfg.Budget != nil {
		w.done.Go(w.run)
	}
	return w
}

func (w *warden) close() {
	w.stop()
	w.done.Wait()
}

func (w *warden) run() {
	for {
		select {
		case <-w.quit:
			return
		case <-w.server.cfg.Budget.Over():
		}
		for !w.relieve() {
			select {
			case <-w.quit:
				return
			case <-time.After(relieveAgain):
			}
		}
	}
}

// hold pauses a session until there is room. Its mu must be held.
func (w *warden) hold(s *Session) {
	if s.held {
		return
	}
	s.held = true
	s.pauses++
	s.state.Pause()
	s.limitMessage()
	s.readOn(0)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = append(w.held, s)
}

// A holder is a session for which something waits, or which waits to be dealt with.
type holder struct {
	session *Session
	large   bool          // more waits than the limit of a queue
	oldest  time.Duration // how long the first of it has been waiting
	later   int           // bytes that the end of the session frees a moment later
}

// relieve frees memory, and reports whether that was enough.
func (w *warden) relieve() bool {
	srv := w.server
	budget := srv.cfg.Budget
	if budget.Full() {
		sessions := srv.all()
		for _, s := range sessions {
			s.carrier().DropVolatile()
		}
		if !budget.RelievedBy(0) {
			w.endSome(w.holders(sessions))
		}
	}
	if budget.Full() {
		return false
	}
	budget.Relieve()
	w.mu.Lock()
	held := w.held
	w.held = nil
	w.mu.Unlock()
	for _, s := range held {
		s.mu.Lock()
		s.held = false
		s.mu.Unlock()
		s.Resume()
	}
	return true
}

// holders returns who holds something, in the order in which they are to end.
func (w *warden) holders(sessions []*Session) (holders []holder) {
	limit := w.server.cfg.QueueBytes
	for _, s := range sessions {
		out, in := s.carrier().Waiting()
		events, oldestEvent := s.owner.Waiting()
		s.mu.Lock()
		parts, oldestPart := s.incomplete()
		s.mu.Unlock()
		in.Bytes += events + parts
		if out.Bytes+in.Bytes > 0 {
			oldest := max(out.Oldest, in.Oldest, oldestEvent, oldestPart)
			holders = append(holders, holder{s, out.Bytes > limit || in.Bytes > limit, oldest, out.Writing + in.Writing})
		}
	}
	slices.SortFunc(holders, func(a, b holder) int {
		if a.large != b.large {
			if a.large {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.oldest, a.oldest)
	})
	return holders
}

// endSome ends sessions until an eighth of the budget is free.
func (w *warden) endSome(holders []holder) {
	later := 0
	for _, h := range holders {
		if w.server.cfg.Budget.RelievedBy(later) {
			return
		}
		h.session.end(errOverBudget, endAborted)
		later += h.later
	}
}

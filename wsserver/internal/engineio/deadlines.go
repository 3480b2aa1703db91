package engineio

import (
	"math"
	"sync"
	"time"
)

// Deadlines runs the deadlines of all sessions of a server on one goroutine and one timer. Sessions wait for few different
// durations, so there is one list for each ([Delay]): what is armed last is due last, and arming and stopping cost no search.
//
// All methods of Deadlines, Delay and Deadline may be called concurrently, and from Expired, but for Close.
type Deadlines struct {
	start time.Time     // times below are nanoseconds since then, by the monotonic clock
	wake  chan struct{} // holds one value when the goroutine has to look again
	quit  chan struct{} // closed by Close
	done  chan struct{} // closed when the goroutine has returned

	mu     sync.Mutex // guards what follows, and the fields of every Delay and Deadline
	delays []*Delay
	wakeAt int64 // when the goroutine looks next
	closed bool
}

// An Expirer is told of its deadlines.
type Expirer interface {
	// Expired is called once d has passed, by one goroutine for all: it must not block. The owner may have moved or stopped d while
	// the call was on its way; so it takes its own lock, under which it also arms and stops d, and then asks Confirm.
	Expired(d *Deadline)
}

// NewDeadlines starts the goroutine, which Close ends.
func NewDeadlines() *Deadlines {
	s := &Deadlines{
		start:  time.Now(),
		wake:   make(chan struct{}, 1),
		quit:   make(chan struct{}),
		done:   make(chan struct{}),
		wakeAt: math.MaxInt64,
	}
	go s.run()
	return s
}

// Close stops the goroutine and waits for it: Expired is not called after Close has returned. Arming has no effect from then on.
// It must not be called from Expired. Further calls only wait.
func (s *Deadlines) Close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.quit)
	}
	s.mu.Unlock()
	<-s.done
}

// Delay returns a new list for deadlines that are d away when they are armed. It lives as long as s.
func (s *Deadlines) Delay(d time.Duration) *Delay {
	list := &Delay{deadlines: s, duration: d}
	s.mu.Lock()
	s.delays = append(s.delays, list)
	s.mu.Unlock()
	return list
}

func (s *Deadlines) run() {
	defer close(s.done)
	timer := time.NewTimer(math.MaxInt64)
	defer timer.Stop()
	for {
		for {
			d, owner := s.next()
			if d == nil {
				break
			}
			owner.Expired(d)
		}
		s.mu.Lock()
		timer.Reset(time.Duration(s.wakeAt - s.now()))
		s.mu.Unlock()
		select {
		case <-timer.C:
		case <-s.wake:
		case <-s.quit:
			return
		}
	}
}

// next takes the earliest deadline that has passed. If there is none, it sets wakeAt.
func (s *Deadlines) next() (*Deadline, Expirer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var first *Deadline
	for _, list := range s.delays {
		if d := list.head; d != nil && (first == nil || d.at < first.at) {
			first = d
		}
	}
	switch {
	case s.closed:
		return nil, nil
	case first == nil:
		s.wakeAt = math.MaxInt64
		return nil, nil
	case first.at > s.now():
		s.wakeAt = first.at
		return nil, nil
	}
	owner := first.owner
	first.unlink()
	first.at = passed
	return first, owner
}

func (s *Deadlines) now() int64 { return int64(time.Since(s.start)) }

// A Delay is the list of the deadlines that are armed for one duration.
type Delay struct {
	deadlines  *Deadlines
	duration   time.Duration
	head, tail *Deadline // in the order of at, for now never goes back
}

// Arm sets d to pass one duration from now, for owner. If it is armed already, with this or another Delay of the same Deadlines, it is
// moved.
func (l *Delay) Arm(d *Deadline, owner Expirer) {
	s := l.deadlines
	s.mu.Lock()
	defer s.mu.Unlock()
	d.unlink()
	d.at = 0
	if s.closed {
		return
	}
	d.at = s.now() + int64(l.duration)
	d.owner, d.list, d.prev = owner, l, l.tail
	if l.tail == nil {
		l.head = d
	} else {
		l.tail.next = d
	}
	l.tail = d
	if d.at < s.wakeAt {
		s.wakeAt = d.at
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// Stop ends the wait of d, which is armed with a Delay of s or not at all. Confirm is false from then on.
func (s *Deadlines) Stop(d *Deadline) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.unlink()
	d.at = 0
}

// Left returns how long d still has; zero if it is not armed, or has passed.
func (s *Deadlines) Left(d *Deadline) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.list == nil {
		return 0
	}
	return max(0, time.Duration(d.at-s.now()))
}

// Confirm reports whether d has passed and was neither armed nor stopped since; it is true once. See [Expirer].
func (s *Deadlines) Confirm(d *Deadline) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.at != passed {
		return false
	}
	d.at = 0
	return true
}

// A Deadline is one wait of a session, part of the session's own memory. The zero value is one that is not armed.
// It must not be copied.
type Deadline struct {
	prev, next *Deadline
	list       *Delay // nil if it is not armed
	owner      Expirer
	at         int64 // when it is due, or passed
}

// passed is the time of a Deadline that has passed, and was neither confirmed, armed nor stopped since.
const passed = -1

// unlink takes d from its list, if it is in one. The lock of its Deadlines must be held.
func (d *Deadline) unlink() {
	if d.list == nil {
		return
	}
	if d.prev == nil {
		d.list.head = d.next
	} else {
		d.prev.next = d.next
	}
	if d.next == nil {
		d.list.tail = d.prev
	} else {
		d.next.prev = d.prev
	}
	d.prev, d.next, d.list, d.owner = nil, nil, nil, nil
}

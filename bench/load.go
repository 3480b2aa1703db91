package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"
)

// A load is the other side of what is measured: all clients, in a process of its own, read by one loop with a poller, since what the load
// takes of the processors is missing elsewhere. Its own use of them is reported.
//
// It is a closed loop. A publish is in flight from the moment when its publisher writes it until the last member of the room has received
// it; then the publisher writes the next one. So the number in flight is exactly the window, but at the end of a run, and the rate is
// whatever the server sustains. The server acknowledges nothing: an ack would tell that it has queued the publish, not that anybody has it.
type load struct {
	poll *poller
	buf  []byte // used by loop alone

	mu         sync.Mutex // guards what follows
	bare       bool       // the other side is a bareLoop
	parser     messageParser
	clients    []*client
	members    int
	publishers []*publisher
	run        *round // nil between runs
	deliveries int    // in all runs
	malformed  int
	err        error // that no run survives
}

// A publisher is a client that publishes.
type publisher struct {
	client   *client
	id       int
	next     int // number of its next publish
	inFlight []publish
}

// A publish is in flight.
type publish struct {
	number int
	left   int // members that do not have it
	since  time.Time
}

// A round is a run: a number of publishes, or as many as a time takes.
type round struct {
	args      runArgs
	deadline  time.Time // after which no publish begins; zero if Publishes says how many
	published int
	completed int
	latencies []time.Duration
	done      chan struct{} // closed when all that was published has been received
}

// runArgs describe a run.
type runArgs struct {
	Window    int           `json:"window"`      // publishes in flight, of all publishers together
	Publishes int           `json:"publishes"`   // how many; 0 means that Duration says it
	Duration  time.Duration `json:"duration_ns"` // how long publishes begin
	Multiple  int           `json:"multiple"`    // their number is rounded up to a multiple of it; 0 means 1
	Stall     time.Duration `json:"stall_ns"`    // how long nothing may arrive before the run is given up
}

// runResult is what became of a run.
type runResult struct {
	Publishes  int           `json:"publishes"`
	Deliveries int           `json:"deliveries"`
	Elapsed    time.Duration `json:"elapsed_ns"`
	P50        time.Duration `json:"p50_ns"` // from a publish until the last member has it
	P99        time.Duration `json:"p99_ns"`
	Max        time.Duration `json:"max_ns"`
	Stalled    bool          `json:"stalled"` // given up
}

// faults count what is wrong with the deliveries of all runs so far.
type faults struct {
	Missing   int `json:"missing"`
	Doubled   int `json:"doubled"`
	Reordered int `json:"reordered"`
	Malformed int `json:"malformed"` // messages that nobody sent
}

func (f faults) sum() int { return f.Missing + f.Doubled + f.Reordered + f.Malformed }

func (f faults) add(g faults) faults {
	return faults{f.Missing + g.Missing, f.Doubled + g.Doubled, f.Reordered + g.Reordered, f.Malformed + g.Malformed}
}

func newLoadRole() map[string]handler {
	l := &load{buf: make([]byte, 2*maxMessage)}
	return map[string]handler{
		"dial":  handle(func(args dialArgs) (none, error) { return none{}, l.dial(args) }),
		"run":   handle(l.measure),
		"check": handle(l.check),
	}
}

// loop reads all clients.
func (l *load) loop() {
	for {
		err := l.poll.wait(func(key int) {
			l.mu.Lock()
			defer l.mu.Unlock()
			c := l.clients[key]
			if err := l.read(c); err != nil {
				l.fail(fmt.Errorf("client %d: %w", key, err))
				if err := l.poll.remove(c.fd); err != nil {
					l.fail(err)
				}
			}
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench: load:", err)
			os.Exit(1)
		}
	}
}

// fail notes why no run can succeed any more. l.mu must be held.
func (l *load) fail(err error) {
	if l.err == nil {
		l.err = err
	}
	if l.run != nil {
		l.end()
	}
}

// end ends the run. l.mu must be held.
func (l *load) end() {
	close(l.run.done)
	l.run = nil
}

// read takes what a client has received. l.mu must be held.
func (l *load) read(c *client) error {
	kept := copy(l.buf, c.rest)
	n, err := read(c.fd, l.buf[kept:])
	if err != nil {
		return err
	}
	p := l.buf[:kept+n]
	for {
		first, payload, size, err := nextFrame(p)
		if err != nil {
			return err
		}
		if size == 0 {
			break
		}
		if err := l.message(c, first, payload); err != nil {
			return err
		}
		p = p[size:]
	}
	if len(p) > maxMessage {
		return fmt.Errorf("a message of more than %d bytes", maxMessage)
	}
	c.rest = append(c.rest[:0], p...)
	return l.publish()
}

// message takes a message of a client. l.mu must be held.
func (l *load) message(c *client, first byte, payload []byte) error {
	if first == finText && c.received != nil {
		if from, number, ok := l.parser.parse(payload); ok && from < len(l.publishers) && number < l.publishers[from].next {
			l.deliveries++
			if c.received.receive(from, number) {
				l.received(l.publishers[from], number)
			}
			return nil
		}
	}
	if answer := pong(first, payload); answer != nil {
		_, err := write(c.fd, answer)
		return err
	}
	if first == finClose {
		return fmt.Errorf("closed by the server: % x", payload)
	}
	if l.malformed == 0 {
		fmt.Fprintf(os.Stderr, "bench: load: nobody sent this message: %.200q\n", payload)
	}
	l.malformed++
	return nil
}

// received notes that one more member has a publish. l.mu must be held.
func (l *load) received(p *publisher, number int) {
	for i := range p.inFlight {
		f := &p.inFlight[i]
		if f.number != number {
			continue
		}
		if f.left--; f.left == 0 {
			if l.run != nil {
				l.run.completed++
				l.run.latencies = append(l.run.latencies, time.Since(f.since))
			}
			p.inFlight = slices.Delete(p.inFlight, i, i+1)
		}
		return
	}
}

// publish fills the window again, and ends the run when nothing is left to do. l.mu must be held.
func (l *load) publish() error {
	r := l.run
	if r == nil {
		return nil
	}
	var out []byte
	for i, p := range l.publishers {
		// The window is shared out as evenly as it can be.
		window := r.args.Window / len(l.publishers)
		if i < r.args.Window%len(l.publishers) {
			window++
		}
		out = out[:0]
		for len(p.inFlight) < window && r.goesOn() {
			if l.bare {
				out = append(out, 'p')
			} else {
				out = appendMasked(out, finText, appendEvent(nil, publishPrefix, p.id, p.next, len(l.parser.filler)+minSize))
			}
			p.inFlight = append(p.inFlight, publish{number: p.next, left: l.members, since: time.Now()})
			p.next++
			r.published++
		}
		if len(out) > 0 {
			// What is in flight is little: a socket that does not take it is not read by the server.
			if _, err := write(p.client.fd, out); err != nil {
				return fmt.Errorf("publish: %w", err)
			}
		}
	}
	if r.completed == r.published && !r.goesOn() {
		l.end()
	}
	return nil
}

// goesOn reports whether one more publish belongs to the run.
func (r *round) goesOn() bool {
	if r.published%max(r.args.Multiple, 1) != 0 {
		return true
	}
	if r.deadline.IsZero() {
		return r.published < r.args.Publishes
	}
	return time.Now().Before(r.deadline)
}

// measure does a run.
func (l *load) measure(args runArgs) (runResult, error) {
	r := &round{args: args, done: make(chan struct{})}
	begun := time.Now()
	if args.Publishes == 0 {
		r.deadline = begun.Add(args.Duration)
	}
	l.mu.Lock()
	switch {
	case l.err == nil && (l.members == 0 || len(l.publishers) == 0):
		l.err = errors.New("no members or no publishers")
		fallthrough
	case l.err != nil:
		l.mu.Unlock()
		return runResult{}, l.err
	}
	before := l.deliveries
	l.run = r
	if err := l.publish(); err != nil {
		l.fail(err)
	}
	l.mu.Unlock()

	stalled := l.wait(r)
	l.mu.Lock()
	defer l.mu.Unlock()
	result := runResult{
		Publishes: r.published, Deliveries: l.deliveries - before, Elapsed: time.Since(begun), Stalled: stalled,
		P50: quantile(r.latencies, 0.5), P99: quantile(r.latencies, 0.99), Max: quantile(r.latencies, 1),
	}
	return result, l.err
}

// wait returns when the run has ended, or after it was given up.
func (l *load) wait(r *round) (stalled bool) {
	l.mu.Lock()
	seen := l.deliveries
	l.mu.Unlock()
	watch := time.NewTicker(r.args.Stall)
	defer watch.Stop()
	for {
		select {
		case <-r.done:
			return false
		case <-watch.C:
			l.mu.Lock()
			if l.run != nil && l.deliveries == seen {
				l.end()
				stalled = true
			}
			seen = l.deliveries
			l.mu.Unlock()
			if stalled {
				return true
			}
		}
	}
}

// linger is how long deliveries that are too many may take to come.
const linger = 200 * time.Millisecond

// check counts what is wrong with the deliveries of all runs.
func (l *load) check(none) (faults, error) {
	time.Sleep(linger)
	l.mu.Lock()
	defer l.mu.Unlock()
	var published []int
	for _, p := range l.publishers {
		published = append(published, p.next)
	}
	f := faults{Malformed: l.malformed}
	for _, c := range l.clients {
		if c.received != nil {
			f.Missing += c.received.missing(published)
			f.Doubled += c.received.doubled
			f.Reordered += c.received.reordered
		}
	}
	return f, l.err
}

// quantile returns the q-quantile of d, which it sorts: the smallest for 0, the largest for 1, and 0 of nothing.
func quantile(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[int(q*float64(len(d)-1))]
}

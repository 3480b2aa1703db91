package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// most is how many durations of a kind are kept: a random choice of all.
const most = 200_000

// durations are durations of one kind.
type durations struct {
	all   []time.Duration
	count int
	max   time.Duration
}

func (d *durations) add(t time.Duration) {
	d.count++
	d.max = max(d.max, t)
	if len(d.all) < most {
		d.all = append(d.all, t)
	} else if i := rand.IntN(d.count); i < most {
		d.all[i] = t
	}
}

// quantile is 0 if there are none.
func (d *durations) quantile(q float64) time.Duration {
	if len(d.all) == 0 {
		return 0
	}
	slices.Sort(d.all)
	return d.all[min(len(d.all)-1, int(q*float64(len(d.all))))]
}

func (d *durations) String() string {
	round := func(t time.Duration) time.Duration { return t.Round(100 * time.Microsecond) }
	return fmt.Sprintf("p50 %v, p99 %v, at the most %v", round(d.quantile(0.5)), round(d.quantile(0.99)), round(d.max))
}

// A phase is a part of the run whose deliveries are counted apart.
type phase struct {
	name       string
	deliveries durations // to clients that stay connected
}

// A tally counts what happens.
type tally struct {
	deliveries, unfenced, unchanged, changes atomic.Int64
	polls                                    polls

	mu                  sync.Mutex // guards what follows
	here, elsewhere     int        // returns that were recovered
	refused             int
	orphaned            int             // returns of sessions whose node was killed
	backs, connects     durations       // from the loss of a connection, and from the first attempt, to being connected
	ends                []time.Duration // when servers ended connections
	returns             durations       // from such an end
	late                time.Duration   // of any delivery to a client that was connected
	phases              []*phase
	failures            int
	failure, lastChange error
	farewells           []string
	refusals            []string // the first
}

// turn begins a phase.
func (t *tally) turn(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.phases = append(t.phases, &phase{name: name})
}

// delivered notes how long a broadcast took to a client that was connected.
func (t *tally) delivered(took time.Duration, number int, at *node) {
	t.deliveries.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.late = max(t.late, took)
	if len(t.phases) > 0 && number%4 == 0 && !at.isLeaving() {
		t.phases[len(t.phases)-1].deliveries.add(took)
	}
}

// back notes that a client is back, so long after the loss of its connection.
func (t *tally) back(recovered, elsewhere, ended bool, after time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case !recovered:
		t.refused++
	case elsewhere:
		t.elsewhere++
	default:
		t.here++
	}
	if t.backs.add(after); ended {
		t.returns.add(after)
	}
}

// orphan notes that a client whose node was killed is back, with another session.
func (t *tally) orphan(after time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.orphaned++
	t.backs.add(after)
}

// refuse says how a client was refused.
func (t *tally) refuse(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.refusals) < 10 {
		t.refusals = append(t.refusals, fmt.Sprintf(format, args...))
	}
}

// connected notes how long an attempt took.
func (t *tally) connected(took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.connects.add(took)
}

// end notes that the server has ended a connection.
func (t *tally) end(now time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ends = append(t.ends, now)
}

// pace is the most ends within a second.
func (t *tally) pace() (most int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.Sort(t.ends)
	from := 0
	for i, end := range t.ends {
		for end-t.ends[from] > time.Second {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}

// p99 is the median of all phases of this name.
func (t *tally) p99(name string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []time.Duration
	for _, p := range t.phases {
		if p.name == name {
			all = append(all, p.deliveries.quantile(0.99))
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// failed notes that a client could not connect.
func (t *tally) failed(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failures++
	t.failure = err
}

// changed notes that a change was tried.
func (t *tally) changed(err error) {
	t.changes.Add(1)
	if err != nil {
		t.unchanged.Add(1)
		t.mu.Lock()
		defer t.mu.Unlock()
		t.lastChange = err
	}
}

// farewell notes that a server said what clients do not come back from.
func (t *tally) farewell(packet string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.farewells = append(t.farewells, packet)
}

// progress is a line about the run so far.
func (t *tally) progress() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return fmt.Sprintf("%d deliveries; %d returns: recovered %d here, %d elsewhere, %d refused, %d of killed nodes; "+
		"%d changes, of which %d failed; %d attempts to connect failed",
		t.deliveries.Load(), t.here+t.elsewhere+t.refused+t.orphaned, t.here, t.elsewhere, t.refused, t.orphaned, t.changes.Load(), t.unchanged.Load(), t.failures)
}

// share is the share of the returns that were recovered, and how many returns there were.
func (t *tally) share() (of float64, returns int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	returns = t.here + t.elsewhere + t.refused
	return float64(t.here+t.elsewhere) / float64(max(1, returns)), returns
}

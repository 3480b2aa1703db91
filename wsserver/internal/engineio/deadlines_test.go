package engineio

import (
	"fmt"
	"github.com/belfry-io/belfry/test/kit"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// waiter notes when its deadline passes.
type waiter struct {
	deadlines *Deadlines
	start     time.Time
	deadline  Deadline
	passed    []time.Duration // touched by the goroutine of Deadlines alone while that runs
}

func (w *waiter) Expired(d *Deadline) {
	if d != &w.deadline {
		panic("Expired with the deadline of another")
	}
	if w.deadlines.Confirm(d) {
		w.passed = append(w.passed, time.Since(w.start))
	}
}

func TestDeadlinesExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewDeadlines()
		start := time.Now()
		durations := []time.Duration{45 * time.Second, 20 * time.Second, 25 * time.Second, 100 * time.Millisecond}
		var delays []*Delay
		for _, d := range durations {
			delays = append(delays, s.Delay(d))
		}
		const n = 10_000
		rng := rand.New(rand.NewPCG(1, 2))
		waiters := make([]waiter, n)
		want := make([]time.Duration, n) // zero: never
		for i := range waiters {
			w := &waiters[i]
			w.deadlines, w.start = s, start
			k := rng.IntN(len(delays))
			delays[k].Arm(&w.deadline, w)
			want[i] = time.Since(start) + durations[k]
			switch rng.IntN(4) {
			case 0:
				s.Stop(&w.deadline)
				want[i] = 0
			case 1: // moved to another list, as with a pong
				k = rng.IntN(len(delays))
				delays[k].Arm(&w.deadline, w)
				want[i] = time.Since(start) + durations[k]
			}
			if i%10 == 9 {
				time.Sleep(time.Millisecond)
			}
		}
		time.Sleep(time.Minute)
		s.Close()
		for i := range waiters {
			got := waiters[i].passed
			if want[i] == 0 && len(got) > 0 || want[i] != 0 && (len(got) != 1 || got[0] != want[i]) {
				t.Fatalf("waiter %d: got %v, want %v", i, got, want[i])
			}
		}
	})
}

// TestDeadlinesEarlierList arms a shorter deadline while the goroutine sleeps towards a longer one.
func TestDeadlinesEarlierList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewDeadlines()
		defer s.Close()
		w := []waiter{{deadlines: s, start: time.Now()}, {deadlines: s, start: time.Now()}, {deadlines: s, start: time.Now()}}
		for i, d := range []time.Duration{time.Hour, time.Second, time.Minute} {
			s.Delay(d).Arm(&w[i].deadline, &w[i])
			synctest.Wait()
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		for i, want := range []time.Duration{time.Hour, time.Second, time.Minute} {
			if !slices.Equal(w[i].passed, []time.Duration{want}) {
				t.Errorf("got %v, want %v", w[i].passed, want)
			}
		}
	})
}

// TestDeadlinesListOrder takes deadlines from the head, the middle and the end of a list.
func TestDeadlinesListOrder(t *testing.T) {
	for mask := range 1 << 5 {
		synctest.Test(t, func(t *testing.T) {
			s := NewDeadlines()
			defer s.Close()
			list := s.Delay(time.Minute)
			var mu sync.Mutex
			var got, want []int
			waiters := make([]Deadline, 5)
			owners := make([]Expirer, 5)
			for i := range waiters {
				owners[i] = expirer(func(d *Deadline) {
					mu.Lock()
					defer mu.Unlock()
					if s.Confirm(d) {
						got = append(got, i)
					}
				})
				list.Arm(&waiters[i], owners[i])
				time.Sleep(time.Second)
			}
			for i := range waiters {
				if mask&(1<<i) == 0 {
					want = append(want, i)
					continue
				}
				s.Stop(&waiters[i])
				s.Stop(&waiters[i])
			}
			for i := range waiters {
				if mask&(1<<i) != 0 && i%2 == 0 { // stopped, then armed anew
					list.Arm(&waiters[i], owners[i])
					want = append(want, i)
				}
			}
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			if mu.Lock(); !slices.Equal(got, want) {
				t.Errorf("mask %05b: got %v, want %v", mask, got, want)
			}
			mu.Unlock()
			kit.Check(t, list.head == nil && list.tail == nil, "mask %05b: the list is not empty", mask)
		})
	}
}

// expirer makes a function an Expirer.
type expirer func(d *Deadline)

func (f expirer) Expired(d *Deadline) { f(d) }

// TestDeadlinesConfirm moves or stops a deadline while the call that it has passed is on its way.
func TestDeadlinesConfirm(t *testing.T) {
	for _, test := range []struct {
		name string
		act  func(s *Deadlines, list *Delay, d *Deadline, owner Expirer)
		want []bool // what Confirm says, call by call
	}{
		{"left alone", func(*Deadlines, *Delay, *Deadline, Expirer) {}, []bool{true}},
		{"stopped", func(s *Deadlines, _ *Delay, d *Deadline, _ Expirer) { s.Stop(d) }, []bool{false}},
		{"armed again", func(_ *Deadlines, l *Delay, d *Deadline, o Expirer) { l.Arm(d, o) }, []bool{false, true}},
		{"armed and stopped", func(s *Deadlines, l *Delay, d *Deadline, o Expirer) { l.Arm(d, o); s.Stop(d) }, []bool{false}},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := NewDeadlines()
			defer s.Close()
			list := s.Delay(time.Second)
			called, gate := make(chan struct{}), make(chan struct{})
			var confirmed []bool
			var d Deadline
			var owner expirer = func(d *Deadline) {
				called <- struct{}{}
				<-gate
				confirmed = append(confirmed, s.Confirm(d))
				kit.Check(t, !s.Confirm(d), "%s: got true twice from Confirm", test.name)
			}
			list.Arm(&d, owner)
			<-called
			test.act(s, list, &d, owner)
			gate <- struct{}{}
			for range len(test.want) - 1 {
				<-called
				gate <- struct{}{}
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			kit.WantList(t, confirmed, test.want, test.name)
		})
	}
}

func TestDeadlinesArmInExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewDeadlines()
		start := time.Now()
		list := s.Delay(3 * time.Second)
		var got []time.Duration
		var d Deadline
		var owner expirer
		owner = func(d *Deadline) {
			got = append(got, time.Since(start))
			if s.Confirm(d) && len(got) < 4 {
				list.Arm(d, owner)
			}
		}
		list.Arm(&d, owner)
		time.Sleep(time.Hour)
		s.Close()
		if want := []time.Duration{3 * time.Second, 6 * time.Second, 9 * time.Second, 12 * time.Second}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestDeadlinesClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewDeadlines()
		list := s.Delay(time.Second)
		called, gate := make(chan struct{}), make(chan struct{})
		var calls atomic.Int32
		var owner expirer = func(*Deadline) {
			calls.Add(1)
			called <- struct{}{}
			<-gate
		}
		deadlines := make([]Deadline, 3)
		for i := range deadlines {
			list.Arm(&deadlines[i], owner)
		}
		<-called
		closed := make(chan struct{})
		go func() {
			s.Close()
			close(closed)
		}()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("Close returned while Expired was running")
		default:
		}
		gate <- struct{}{}
		<-closed
		list.Arm(&deadlines[0], owner)
		kit.Check(t, deadlines[0].list == nil, "Arm put a deadline into the list of closed Deadlines")
		s.Stop(&deadlines[1])
		time.Sleep(time.Hour)
		s.Close()
		kit.Want(t, calls.Load(), 1, "calls: none after Close")
	})
}

// TestDeadlinesConcurrent has sessions that arm and stop from goroutines of their own while deadlines pass.
func TestDeadlinesConcurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seed := rand.Uint64()
		s := NewDeadlines()
		delays := []*Delay{s.Delay(3 * time.Millisecond), s.Delay(5 * time.Millisecond), s.Delay(time.Millisecond)}
		var passed, early atomic.Int64
		var wg sync.WaitGroup
		for g := range 50 {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(seed, uint64(g)))
				var mu sync.Mutex // guards what follows
				var due time.Time // zero if nothing is armed
				var d Deadline
				var owner expirer = func(d *Deadline) {
					mu.Lock()
					defer mu.Unlock()
					if !s.Confirm(d) {
						return
					}
					if passed.Add(1); due.IsZero() || !time.Now().Equal(due) {
						early.Add(1)
					}
					due = time.Time{}
				}
				for range 500 {
					mu.Lock()
					if k := rng.IntN(len(delays) + 1); k < len(delays) {
						delays[k].Arm(&d, owner)
						due = time.Now().Add(delays[k].duration)
					} else {
						s.Stop(&d)
						due = time.Time{}
					}
					mu.Unlock()
					time.Sleep(time.Duration(rng.IntN(4)) * time.Millisecond)
				}
			})
		}
		wg.Wait()
		time.Sleep(time.Second)
		s.Close()
		if passed.Load() == 0 || early.Load() > 0 {
			t.Errorf("seed %d: got %d deadlines passed, %d of them at a wrong time", seed, passed.Load(), early.Load())
		}
	})
}

// TestLeft: how long a deadline still has.
func TestLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewDeadlines()
		defer s.Close()
		w := &waiter{deadlines: s}
		long := s.Delay(time.Minute)
		kit.Want(t, s.Left(&w.deadline), 0, "not armed")
		long.Arm(&w.deadline, w)
		time.Sleep(20 * time.Second)
		kit.Want(t, s.Left(&w.deadline), 40*time.Second, "a third has passed")
		s.Stop(&w.deadline)
		kit.Want(t, s.Left(&w.deadline), 0, "stopped")
	})
}

func BenchmarkArm(b *testing.B) {
	for _, n := range []int{100, 10_000, 100_000} {
		b.Run(fmt.Sprintf("%d sessions", n), func(b *testing.B) {
			s := NewDeadlines()
			defer s.Close()
			lists := []*Delay{s.Delay(time.Hour), s.Delay(2 * time.Hour)}
			waiters := make([]waiter, n)
			for i := range waiters {
				lists[0].Arm(&waiters[i].deadline, &waiters[i])
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				w := &waiters[i%n]
				lists[i/n%2].Arm(&w.deadline, w)
				i++
			}
		})
	}
}

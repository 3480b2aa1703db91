package wsserver

import (
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
)

// waiting is how many goroutines of w wait for a task.
func (w *workers) waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.parked)
}

// block has n tasks run that all last until the result is called, and waits until they do.
func block(w *workers, n int) (release func()) {
	released := make(chan struct{})
	for range n {
		w.run(task{do: func(*Socket) { <-released }})
	}
	synctest.Wait()
	return func() {
		close(released)
		synctest.Wait()
	}
}

// TestWorkers: a task waits for no other, goroutines wait for tasks up to a bound, and those that are not needed end.
func TestWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w workers
		defer w.close()
		release := block(&w, 2*maxParked) // a task that waited for another would not run
		kit.Equal(t, w.waiting(), 0, "while all are needed")
		release()
		kit.Equal(t, w.waiting(), maxParked, "afterwards")

		for range 3 {
			block(&w, 5)()
			time.Sleep(parkedFor)
		}
		kit.Equal(t, w.waiting(), 5, "while five are needed in each period")
		time.Sleep(2*parkedFor + 1)
		kit.Equal(t, w.waiting(), 0, "while none is needed")
		kit.Check(t, w.trims == nil, "a timer runs for nothing")
	})
}

// TestWorkersAgain: a goroutine that waits does the next task, and no other is made.
func TestWorkersAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w workers
		defer w.close()
		for range 100 {
			block(&w, 1)()
		}
		kit.Equal(t, w.waiting(), 1, "goroutines")
	})
}

// TestWorkersGoexit: a task that ends its goroutine is done all the same.
func TestWorkersGoexit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w workers
		block(&w, 1)()
		w.run(task{do: func(*Socket) { runtime.Goexit() }})
		synctest.Wait()
		kit.Equal(t, w.waiting(), 0, "goroutines that wait")
		w.close()
	})
}

// TestWorkersClose: close waits for tasks, also for those that tasks begin, and leaves no goroutine.
func TestWorkersClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w workers
		block(&w, 3)()
		var ran atomic.Int32
		release := block(&w, 1)
		w.run(task{do: func(*Socket) {
			time.Sleep(time.Minute)
			w.run(task{do: func(*Socket) { ran.Add(1) }})
		}})
		before := time.Now()
		go func() {
			time.Sleep(2 * time.Minute)
			release()
		}()
		w.close()
		kit.Equal(t, time.Since(before), 2*time.Minute, "waited")
		kit.Equal(t, ran.Load(), 1, "tasks of a task")
		kit.Equal(t, w.waiting(), 0, "goroutines that wait")
	}) // fails if a goroutine is left
}

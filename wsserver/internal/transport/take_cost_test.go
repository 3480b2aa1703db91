package transport

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/belfry-io/belfry/test/kit"
)

// TestAwaitCost: a Take that waits has no goroutine, and takes little memory.
func TestAwaitCost(t *testing.T) {
	const takes, most = 1000, 400 // bytes of each
	synctest.Test(t, func(t *testing.T) {
		shared := newShared(t, Config{MaxMessage: 100, QueueBytes: 1000})
		exchanges := make([]Exchange, takes)
		for i := range exchanges {
			exchanges[i].Init(shared, new(pollingOwner))
		}
		var ready sync.WaitGroup
		begin := func() {
			ready.Add(takes)
			for i := range exchanges {
				got := kit.Must(exchanges[i].Take())(t)
				got.Await(func(error) { got.Done(nil); ready.Done() })
			}
			synctest.Wait()
		}
		end := func() {
			for i := range exchanges {
				exchanges[i].Append(textFrame("4x"))
			}
			ready.Wait()
		}
		begin()
		end() // from here on the runtime has what it keeps of goroutines
		goroutines, bytes := runtime.NumGoroutine(), heapInUse()
		begin()
		kit.Equal(t, runtime.NumGoroutine(), goroutines, "goroutines while all wait")
		each := (heapInUse() - bytes) / takes
		t.Logf("%d bytes for each Take", each)
		kit.Check(t, each <= most, "%d bytes for each Take that waits, want %d at most", each, most)
		end()
	})
}

// heapInUse is how much memory is in use.
func heapInUse() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestTakeStress: frames come, while Takes wait by Wait and by Await and are let go, WebSockets probe, and the session
// moves in the end: every frame arrives once, and in order.
func TestTakeStress(t *testing.T) {
	const frames = 500
	x, _, b := newExchange(t)
	var got strings.Builder
	heir := new(inbox)
	var all sync.WaitGroup
	appended := make(chan struct{})
	all.Go(func() {
		defer close(appended)
		for i := range frames {
			x.Append(textFrame(fmt.Sprintf("4%05d", i)))
			if i%7 == 0 {
				runtime.Gosched()
			}
		}
	})
	all.Go(func() {
		for i := 0; ; i++ {
			if taken := x.waiter.Load(); taken != nil {
				taken.LetGo()
			}
			x.Probe(i%3 == 0)
			select {
			case <-appended:
				x.Probe(false)
				if !x.MoveTo(heir) {
					t.Error("MoveTo: got false")
				}
				return
			default:
				runtime.Gosched()
			}
		}
	})
	for i := 0; ; i++ {
		taken, err := x.Take()
		if errors.Is(err, ErrOver) {
			break
		}
		kit.OK(t, err)
		if i%2 == 0 {
			ready := make(chan error, 1)
			taken.Await(func(err error) { ready <- err })
			err = <-ready
		} else {
			err = taken.Wait(nil)
		}
		kit.OK(t, err)
		if payload := string(taken.Payload); payload != "6" {
			got.WriteString(payload + "\x1e")
		}
		taken.Done(nil)
	}
	all.Wait()
	var want strings.Builder
	for i := range frames {
		fmt.Fprintf(&want, "4%05d", i)
	}
	kit.Check(t, strings.ReplaceAll(got.String(), "\x1e", "")+heir.got == want.String(),
		"%d bytes came, and %d to the heir, want %d in all, in order", got.Len(), len(heir.got), want.Len())
	kit.Equal(t, b.Used(), 0, "bytes count in the end")
}

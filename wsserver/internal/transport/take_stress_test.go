package transport

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/belfry-io/belfry/test/kit"
)

// TestTakeStress: frames come, while Takes wait by Wait and by Await and are let go, WebSockets probe, and the session
// moves in the end: every frame arrives once, and in order.
func TestTakeStress(t *testing.T) {
	const frames = 2000
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
	kit.Check(t, strings.ReplaceAll(got.String(), "\x1e", "")+heir.got == want.String(), "%d bytes came, and %d to the heir, "+
		"want %d in all, in order", got.Len(), len(heir.got), want.Len())
	kit.Equal(t, b.Used(), 0, "bytes count in the end")
}

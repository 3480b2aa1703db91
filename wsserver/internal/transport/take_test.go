package transport

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver/internal/outbox"
)

// An awaited is a Take that waits by Await, and what ready was told.
type awaited struct {
	*Take
	answers chan string // payloads, and errors; the test wants one
}

// await begins a Take and awaits it. It is not done when it has its answer.
func await(t *testing.T, x *Exchange) *awaited {
	t.Helper()
	a := &awaited{kit.Must(x.Take())(t), make(chan string, 2)}
	a.await()
	return a
}

func (a *awaited) await() {
	a.Await(func(err error) {
		if err != nil {
			a.answers <- err.Error()
		} else {
			a.answers <- string(a.Payload)
		}
	})
}

// want compares what ready was told so far; nothing if want is empty. It runs in a bubble.
func (a *awaited) want(t *testing.T, want string) {
	t.Helper()
	synctest.Wait()
	var got []string
	for len(a.answers) > 0 {
		got = append(got, <-a.answers)
	}
	kit.Equal(t, strings.Join(got, " and "), want, "ready")
}

// inbox is an Heir that notes what it gets.
type inbox struct{ got string }

func (i *inbox) Append(f *outbox.Frame) bool { i.got += text(f); return true }
func (i *inbox) Adopt(frames []*outbox.Frame) {
	for _, f := range frames {
		i.got += text(f)
	}
}

// text is the text of a frame of textFrame, shortened.
func text(f *outbox.Frame) string {
	payload, _ := payloadOf([]*outbox.Frame{f})
	return string(payload[:min(len(payload), 10)])
}

// largeFrame has the owner called in the midst of a poll, between its two locks.
func largeFrame() *outbox.Frame { return textFrame("4large" + strings.Repeat("-", outbox.Large)) }

// takeSteps are all that can end the wait of a Take, and what becomes of it and of a frame that was not taken.
var takeSteps = []struct {
	name string
	do   func(x *Exchange, t *Take, heir *inbox)
	want string   // the answer of a Take that has found nothing
	ends []string // the owner's calls
	// What a later Take gets of a frame that comes after the step: "" is the frame.
	later string
}{
	{"nothing", func(*Exchange, *Take, *inbox) {}, "", nil, ""},
	{"LetGo", func(_ *Exchange, t *Take, _ *inbox) { t.LetGo() }, "6", nil, ""},
	{"LetGo twice", func(_ *Exchange, t *Take, _ *inbox) { t.LetGo(); t.LetGo(); t.GiveUp() }, "6", nil, ""},
	{"GiveUp", func(_ *Exchange, t *Take, _ *inbox) { t.GiveUp() }, ErrAborted.Error(),
		[]string{"closing " + ErrAborted.Error(), "closed"}, ErrOver.Error()},
	{"GiveUp twice", func(_ *Exchange, t *Take, _ *inbox) { t.GiveUp(); t.GiveUp(); t.LetGo() }, ErrAborted.Error(),
		[]string{"closing " + ErrAborted.Error(), "closed"}, ErrOver.Error()},
	{"Probe", func(x *Exchange, _ *Take, _ *inbox) { x.Probe(true) }, "6", nil, ""},
	{"overlap", func(x *Exchange, _ *Take, _ *inbox) { x.Take() }, "1",
		[]string{"closing " + ErrOverlap.Error(), "closed"}, ErrOver.Error()},
	{"MoveTo", func(x *Exchange, _ *Take, heir *inbox) { x.MoveTo(heir) }, "6", nil, ErrOver.Error()},
	{"Close", func(x *Exchange, _ *Take, _ *inbox) { x.Close() }, "1", []string{"closed"}, ErrOver.Error()},
	{"Abort", func(x *Exchange, _ *Take, _ *inbox) { x.Abort() }, "1", []string{"closed"}, ErrOver.Error()},
	{"Dismiss", func(x *Exchange, _ *Take, _ *inbox) { x.Dismiss() }, "6", []string{"closed"}, ErrOver.Error()},
}

// TestAwait: whatever ends a wait, before Await, while it waits, or in the midst of a look that finds nothing, ready is
// called once, and a frame that comes afterwards is for the next Take, or for the heir.
func TestAwait(t *testing.T) {
	for _, step := range takeSteps {
		for _, when := range []string{"early", "waiting", "looking"} {
			t.Run(step.name+"/"+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					x, o, b := newExchange(t)
					var heir inbox
					a := &awaited{kit.Must(x.Take())(t), make(chan string, 2)}
					switch when {
					case "early":
						step.do(x, a.Take, &heir)
						a.await()
					case "waiting":
						a.await()
						a.want(t, "")
						step.do(x, a.Take, &heir)
					case "looking":
						a.await()
						a.want(t, "")
						o.large = func() {
							x.DropVolatile()
							step.do(x, a.Take, &heir)
						}
						f := largeFrame()
						f.Volatile = true
						kit.Check(t, x.Append(f), "the frame that is to be dropped was not queued")
					}
					a.want(t, step.want)
					o.want(t, step.ends...)
					x.Append(textFrame("4next"))
					if step.want == "" {
						a.want(t, "4next")
						a.Done(nil)
						return
					}
					a.want(t, "") // no second time
					a.Done(nil)   // nothing: no frames
					kit.Equal(t, x.waiter.Load(), nil, "waits")
					if step.later != "" {
						_, err := x.Take()
						kit.Equal(t, fmt.Sprint(err), step.later, "a later Take")
					} else {
						next := await(t, x)
						next.want(t, "4next")
						next.Done(nil)
					}
					if step.name == "MoveTo" {
						kit.Equal(t, heir.got, "4next", "the heir got")
					}
					x.Abort()
					kit.Equal(t, b.Used(), 0, "bytes count in the end")
				})
			})
		}
	}
}

// TestAwaitMidst: the same in the midst of a look that finds frames: they are taken, or the heir has them, or they are
// lost with their session. None is lost otherwise, and none comes twice.
func TestAwaitMidst(t *testing.T) {
	for _, step := range takeSteps {
		for _, waits := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/waits %v", step.name, waits), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					x, o, b := newExchange(t)
					var heir inbox
					a := &awaited{kit.Must(x.Take())(t), make(chan string, 2)}
					o.large = func() {
						step.do(x, a.Take, &heir)
						x.Append(textFrame("4two"))
					}
					if waits {
						a.await()
						a.want(t, "")
					}
					x.Append(largeFrame())
					if !waits {
						a.await()
					}
					synctest.Wait()
					got := <-a.answers
					if strings.HasPrefix(got, "4large") {
						got = "4large----"
					}
					var next string
					switch {
					case step.name == "MoveTo":
						kit.Equal(t, heir.got, "4large----"+"4two", "the heir got")
						kit.Equal(t, got, "6", "ready")
					case step.name == "Close": // what is queued comes before the end
						kit.Equal(t, got, "4large----", "ready")
						next = "1"
					case len(step.ends) > 0:
						kit.Equal(t, got, step.want, "ready")
					default:
						kit.Equal(t, got, "4large----", "ready") // a large frame is carried alone
						next = "4two"
					}
					a.Wrote(len(a.Payload))
					a.Done(nil)
					a.want(t, "")
					if next != "" {
						second := await(t, x)
						second.want(t, next)
						second.Done(nil)
					}
					o.want(t, step.ends...)
					x.Abort()
					kit.Equal(t, b.Used(), 0, "bytes count in the end")
				})
			})
		}
	}
}

// TestAwaitBefore: a Take has nothing while the one before is not done, but may be let go meanwhile.
func TestAwaitBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, o, b := newExchange(t)
		first := await(t, x)
		x.Append(textFrame("4one"))
		first.want(t, "4one")
		second := await(t, x)
		x.Append(textFrame("4two"))
		second.want(t, "")
		kit.Check(t, !x.Idle(), "an Exchange with a Take that waits is idle")
		second.LetGo()
		second.want(t, "6")
		second.Done(nil)
		third := await(t, x)
		third.want(t, "")
		first.Done(nil)
		third.want(t, "4two")
		aborted := false
		third.OnAbort(func() { aborted = true })
		fourth := await(t, x)
		x.Append(textFrame("4three"))
		fourth.want(t, "")
		third.Done(errOwner) // the client has not got it
		fourth.want(t, "1")
		kit.Check(t, !aborted, "a Take is aborted that is done")
		o.want(t, "closing "+ErrAborted.Error(), "closed")
		kit.Equal(t, b.Used(), 0, "bytes count in the end")
	})
}

// TestAwaitClose: what is queued comes before the close packet, which is by itself, and ends the session.
func TestAwaitClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, o, _ := newExchange(t)
		x.Append(textFrame("4one"))
		x.Close()
		first := await(t, x)
		first.want(t, "4one")
		last := await(t, x)
		last.want(t, "")
		first.Done(nil)
		last.want(t, "1")
		o.want(t, "closed")
		last.OnAbort(func() { t.Error("the answer that ends the session is aborted by that") })
		last.Done(nil)
		kit.Check(t, x.HeardAll(), "the client has not heard all")

		x, o, _ = newExchange(t)
		last = await(t, x)
		x.box.Close() // as for a client that is too slow: the session ends a little later
		last.want(t, "1")
		o.want(t)
	})
}

// TestAwaitProbe: while a WebSocket probes a Take waits for 100 ms, and no timer is left.
func TestAwaitProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, _, _ := newExchange(t)
		x.Probe(true)
		a := await(t, x)
		time.Sleep(probePoll - 1)
		a.want(t, "")
		time.Sleep(time.Nanosecond)
		a.want(t, "6")
		a = await(t, x)
		x.Append(textFrame("4one"))
		a.want(t, "4one")
		kit.Check(t, !a.probing.Stop(), "the timer runs on")
		a.Done(nil)
		x.Probe(false)
		a = await(t, x)
		time.Sleep(time.Hour)
		a.want(t, "")
	})
}

// TestAwaitAborted: what ends a session ends the answers that are on their way.
func TestAwaitAborted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, o, b := newExchange(t)
		o.large = func() { x.waiter.Load().GiveUp() } // in the midst of a look: the frames go with the session
		a := await(t, x)
		x.Append(largeFrame())
		a.want(t, ErrAborted.Error())
		kit.Equal(t, x.away, nil, "carries frames")
		kit.Equal(t, b.Used(), 0, "bytes count")

		x, o, b = newExchange(t)
		a = await(t, x)
		x.Append(textFrame("4one"))
		a.want(t, "4one")
		aborted := 0
		a.OnAbort(func() { aborted++ })
		x.Abort()
		a.OnAbort(func() { aborted++ }) // at once
		kit.Equal(t, aborted, 2, "OnAbort")
		a.Done(ErrAborted)
		o.want(t, "closed")
		kit.Equal(t, b.Used(), 0, "bytes count in the end")
	})
}

// TestAwaitShared: a Take whose Shared has closed has its answer from Await itself.
func TestAwaitShared(t *testing.T) {
	x, _, _ := newExchange(t)
	got := kit.Must(x.Take())(t)
	x.Abort()
	x.shared.Close()
	told := false
	got.Await(func(err error) { told = err == nil && string(got.Payload) == "1" })
	kit.Check(t, told, "Await did not tell of the end: %q", got.Payload)
}

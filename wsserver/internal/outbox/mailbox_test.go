package outbox

import (
	"fmt"
	"github.com/belfry-io/belfry/test/kit"
	"strings"
	"sync"
	"testing"
)

// newMailbox returns a mailbox of this limit, its group and its owner. The group is closed when the test ends.
func newMailbox(t *testing.T, limit int) (*Mailbox, *Group, *owner) {
	t.Helper()
	g, o := NewGroup(Config{Limit: limit}), &owner{arrived: make(chan struct{}, 1)}
	m := new(Mailbox)
	m.Init(g, o)
	t.Cleanup(g.Close)
	return m, g, o
}

func newVolatile(text string) *Frame { return &Frame{Bytes: []byte(text), Volatile: true} }

// wantTake takes what there is and compares it, the frames with commas between them.
func wantTake(t *testing.T, m *Mailbox, want string, wantLast bool) {
	t.Helper()
	frames, last := m.Take()
	var got []string
	for _, f := range frames {
		got = append(got, string(f.Bytes))
	}
	if s := strings.Join(got, ","); s != want || last != wantLast {
		t.Errorf("Take: got %q, last %v, want %q, %v", s, last, want, wantLast)
	}
}

// wantArrived compares whether Arrived was called since the last time.
func wantArrived(t *testing.T, m *Mailbox, want bool) {
	t.Helper()
	got := false
	select {
	case <-m.owner.(*owner).arrived:
		got = true
	default:
	}
	kit.Equal(t, got, want, "Arrived")
}

func wantAppend(t *testing.T, m *Mailbox, f *Frame, want bool) {
	t.Helper()
	if got := m.Append(f); got != want {
		t.Errorf("Append of %.20q: got %v, want %v", f.Bytes, got, want)
	}
}

func TestMailboxOrder(t *testing.T) {
	m, g, _ := newMailbox(t, 1000)
	wantTake(t, m, "", false)
	wantArrived(t, m, false)
	for _, s := range []string{"a", "bb", "c"} {
		wantAppend(t, m, frame(s), true)
	}
	kit.Equal(t, m.bytes, 4, "Bytes")
	wantArrived(t, m, true)
	wantArrived(t, m, false)
	wantTake(t, m, "a,bb,c", false)
	wantAppend(t, m, frame("d"), true)
	wantArrived(t, m, true)
	wantTake(t, m, "d", false)
	wantTake(t, m, "", false)
	kit.Equal(t, m.bytes, 0, "Bytes of an empty mailbox")
	kit.Equal(t, counted(g), (Stats{Frames: 4, Bytes: 5, Writes: 2}), "Stats")
}

// TestMailboxBounds: one frame of any size into an empty mailbox; over the limit nothing is refused.
func TestMailboxBounds(t *testing.T) {
	m, g, o := newMailbox(t, 10)
	wantAppend(t, m, frame(strings.Repeat("x", 100)), true)
	wantTake(t, m, strings.Repeat("x", 100), false)
	for range 1000 { // time decides who is too slow, and none passes
		wantAppend(t, m, frame("y"), true)
	}
	kit.Equal(t, m.bytes, 1000, "bytes wait")
	wantArrived(t, m, true)
	wantTake(t, m, strings.TrimSuffix(strings.Repeat("y,", 1000), ","), false)
	m.Close()
	g.Close() // waits for what the owner is told
	kit.Check(t, len(o.failed) == 0 && o.flushed == 0,
		"the owner was told %v, flushed %d", o.failed, o.flushed)
	kit.Equal(t, counted(g), (Stats{Frames: 1001, Bytes: 1100, Writes: 2}), "Stats")
}

// TestMailboxVolatile: a volatile frame is dropped unless a fetch waits, and to make room.
func TestMailboxVolatile(t *testing.T) {
	m, g, _ := newMailbox(t, 10)
	wantAppend(t, m, newVolatile("v0"), false) // nobody has come yet
	wantTake(t, m, "", false)
	wantAppend(t, m, newVolatile("v1"), true)
	wantAppend(t, m, newVolatile("v2"), true) // the fetch has not come back for the first yet
	wantTake(t, m, "v1,v2", false)
	wantAppend(t, m, newVolatile("v3"), false) // that fetch is away
	wantTake(t, m, "", false)
	m.StopWaiting()
	wantAppend(t, m, newVolatile("v4"), false)

	wantTake(t, m, "", false)
	wantAppend(t, m, frame("aaa"), true)
	wantAppend(t, m, newVolatile("vvv"), true)
	wantAppend(t, m, frame("bb"), true)
	wantAppend(t, m, newVolatile("www"), true)    // in place of the volatile one before it
	wantAppend(t, m, frame("cccccccc"), true)     // in its place too, and over the limit all the same
	wantAppend(t, m, newVolatile("xxxxx"), false) // no room, nothing to drop
	wantTake(t, m, "aaa,bb,cccccccc", false)
	kit.Equal(t, counted(g).Dropped, 6, "dropped")
}

func TestMailboxCloseAfterFlush(t *testing.T) {
	m, g, o := newMailbox(t, 1)
	wantAppend(t, m, frame("a"), true)
	wantTake(t, m, "a", false)
	wantTake(t, m, "", false)
	for range 4 {
		wantAppend(t, m, frame("b"), true)
	}
	wantArrived(t, m, true)
	if !m.CloseAfterFlush(frame("end")) { // over every limit
		t.Error("CloseAfterFlush: got false")
	}
	wantArrived(t, m, true)
	kit.Check(t, !m.CloseAfterFlush(frame("end")), "second CloseAfterFlush: got true")
	wantAppend(t, m, frame("c"), false)
	q, _, _ := newQueueFor(t)
	kit.Check(t, !m.MoveTo(q), "MoveTo of a closing mailbox: got true")
	wantTake(t, m, "b,b,b,b", false)
	wantArrived(t, m, false) // nothing new: who takes asks for more
	wantTake(t, m, "end", true)
	wantTake(t, m, "", true)
	kit.Check(t, !m.CloseAfterFlush(frame("end")), "CloseAfterFlush of a closed mailbox: got true")
	m.Close()
	g.Close()
	kit.Check(t, len(o.failed) == 0 && o.flushed == 0,
		"the owner was told %v, flushed %d", o.failed, o.flushed)
	if got := counted(g); got.Lost != 0 || got.Frames != 6 {
		t.Errorf("Stats: got %+v", got)
	}
}

func TestMailboxClose(t *testing.T) {
	m, g, o := newMailbox(t, 100)
	wantAppend(t, m, frame("a"), true)
	wantAppend(t, m, frame("b"), true)
	wantArrived(t, m, true)
	m.Close()
	wantArrived(t, m, true)
	m.Close()
	wantArrived(t, m, false)
	wantAppend(t, m, frame("c"), false)
	kit.Equal(t, m.bytes, 0, "Bytes of a closed mailbox")
	wantTake(t, m, "", true)
	kit.Check(t, !m.CloseAfterFlush(frame("end")), "CloseAfterFlush of a closed mailbox: got true")
	q, _, _ := newQueueFor(t)
	kit.Check(t, !m.MoveTo(q), "MoveTo of a closed mailbox: got true")
	g.Close()
	kit.Len(t, o.failed, 0, "the owner was told")
	kit.Equal(t, counted(g), (Stats{Lost: 2}), "Stats")

	m, g, _ = newMailbox(t, 100)
	wantAppend(t, m, frame("a"), true)
	m.CloseAfterFlush(frame("end"))
	m.Close() // nobody came for it
	wantTake(t, m, "", true)
	kit.Equal(t, counted(g), (Stats{Lost: 2}), "Stats of a close during a flush")
}

// collect is a Sink that keeps what is written.
type collect struct {
	mu   sync.Mutex
	data []byte
}

func (c *collect) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.data = append(c.data, p...)
	return len(p), nil
}

func (c *collect) Writev(bufs [][]byte) (n int, err error) { return Stream{c}.Writev(bufs) }

// newQueueFor returns a queue whose shard is stepped by the test.
func newQueueFor(t *testing.T) (*Queue, *collect, *held) {
	t.Helper()
	h, sink, q := newHeld(Config{Limit: 10}), new(collect), new(Queue)
	q.Init(h, sink, new(owner))
	t.Cleanup(h.slow.close)
	return q, sink, h
}

func TestMailboxMoveTo(t *testing.T) {
	m, g, _ := newMailbox(t, 10)
	q, sink, h := newQueueFor(t)
	wantTake(t, m, "", false)
	for range 3 {
		wantAppend(t, m, frame("0123456789"), true) // together over the limit of the queue, too: it takes all
	}
	wantArrived(t, m, true)
	kit.Require(t, m.MoveTo(q), "MoveTo: got false")
	wantArrived(t, m, true)
	wantTake(t, m, "", true)
	wantAppend(t, m, frame("after"), true)
	kit.Check(t, !m.CloseAfterFlush(frame("end")), "CloseAfterFlush of a mailbox that has moved: got true")
	kit.Check(t, !m.MoveTo(q), "second MoveTo: got true")
	m.Close()
	q.Append(frame("last"))
	h.drain(t)
	kit.Equal(t, string(sink.data), strings.Repeat("0123456789", 3)+"afterlast", "the queue wrote")
	kit.Equal(t, counted(g), (Stats{}), "Stats of the mailbox")
	if got := h.stats(); got.Frames != 5 || got.Lost != 0 {
		t.Errorf("Stats of the queue: got %+v", got)
	}
	wantAppend(t, m, frame(strings.Repeat("x", 100)), true)
	wantAppend(t, m, frame("y"), true)
	kit.Equal(t, queued(q), 101, "bytes wait in the queue")
}

// TestMailboxMoveToClosed: what cannot be written any more is counted.
func TestMailboxMoveToClosed(t *testing.T) {
	m, _, _ := newMailbox(t, 10)
	q, _, h := newQueueFor(t)
	q.Close()
	wantAppend(t, m, frame("a"), true)
	wantAppend(t, m, frame("b"), true)
	kit.Require(t, m.MoveTo(q), "MoveTo: got false")
	wantAppend(t, m, frame("c"), false)
	kit.Equal(t, h.stats().Lost, 2, "lost")
}

// TestMailboxConcurrent: with several goroutines appending, while others fetch and in the end the peer moves to a queue, each
// goroutine's frames come whole, once and in order.
func TestMailboxConcurrent(t *testing.T) {
	const senders, each = 4, 2000
	m, _, arrived := newMailbox(t, 1<<20)
	shards := NewShards(Config{Limit: 1 << 20, Shards: 1})
	sink, o, q := new(collect), make(exampleOwner, 1), new(Queue)
	q.Init(shards, sink, o)
	var sending sync.WaitGroup
	half := make(chan struct{}, senders)
	for s := range senders {
		sending.Go(func() {
			for i := range each {
				kit.Check(t, m.Append(frame(fmt.Sprintf("%d:%d ", s, i))),
					"frame %d of %d was not taken", i, s)
				if i == each/2 {
					half <- struct{}{}
				}
			}
		})
	}
	var got []byte
	fetched := make(chan struct{})
	go func() {
		defer close(fetched)
		for {
			frames, last := m.Take()
			for _, f := range frames {
				got = append(got, f.Bytes...)
			}
			if last {
				return
			}
			if len(frames) == 0 {
				<-arrived.arrived
			}
		}
	}()
	<-half
	kit.Check(t, m.MoveTo(q), "MoveTo: got false")
	<-fetched
	sending.Wait()
	kit.Check(t, q.CloseAfterFlush(frame("end")), "CloseAfterFlush of the queue: got false")
	kit.Equal(t, <-o, "flushed", "the queue ended with")
	shards.Close()
	got = append(got, sink.data...)
	var next [senders]int
	for _, f := range strings.Fields(strings.TrimSuffix(string(got), "end")) {
		var s, i int
		if _, err := fmt.Sscanf(f, "%d:%d", &s, &i); err != nil {
			t.Fatalf("got %q", f)
		}
		if i != next[s] {
			t.Fatalf("sender %d: got frame %d, want %d", s, i, next[s])
		}
		next[s]++
	}
	for s, n := range next {
		kit.Equal(t, n, each, "sender", s, "frames")
	}
}

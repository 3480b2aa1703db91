package outbox

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver/internal/budget"
)

// semicolons ends the messages of a frame at their semicolons.
func semicolons(frame []byte, offset int) int {
	return offset + bytes.IndexByte(frame[offset:], ';') + 1
}

func pingFrame() *Frame { return &Frame{Bytes: []byte("P;"), Ping: true} }

// only has a sink take so many bytes of each write.
func only(n int) func(int) (int, error) {
	return func(offered int) (int, error) { return min(n, offered), nil }
}

// TestPingOvertakes: a ping goes out at the next end of a message, ahead of all that waits.
func TestPingOvertakes(t *testing.T) {
	for _, test := range []struct {
		name    string
		frames  []string
		written int // bytes, before the ping comes
		want    string
	}{
		{"nothing waits", nil, 0, "P;"},
		{"nothing is begun", []string{"a;", "b;"}, 0, "P;a;b;"},
		{"within the first", []string{"aaa;", "b;", "c;"}, 2, "aaa;P;b;c;"},
		{"between two", []string{"aa;", "b;", "c;"}, 3, "aa;P;b;c;"},
		{"within the first message of a frame", []string{"aa;bb;cc;", "d;"}, 1, "aa;P;bb;cc;d;"},
		{"within the second", []string{"aa;bb;cc;", "d;"}, 4, "aa;bb;P;cc;d;"},
		{"within the last", []string{"aa;bb;cc;", "d;"}, 7, "aa;bb;cc;P;d;"},
		{"within a frame behind", []string{"aa;", "bb;cc;", "d;"}, 4, "aa;bb;P;cc;d;"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := budget.New(1000)
			r := newRig(Config{NextEnd: semicolons, Budget: b})
			for _, f := range test.frames {
				r.q.Append(frame(f))
			}
			if test.written > 0 {
				r.sink.take = only(test.written)
				r.step()
			}
			r.q.Append(pingFrame())
			r.q.Append(pingFrame()) // there is one already
			kit.Check(t, !r.q.PingTaken(), "the ping is taken before it was written")
			r.sink.take = only(1) // and each byte by itself
			for range 100 {
				r.q.Writable()
				r.drain(t)
			}
			r.wrote(t, test.want)
			kit.Check(t, r.q.PingTaken(), "the ping was written, and is not taken")
			kit.Want(t, b.Used(), 0, "bytes are counted of an empty queue")
			r.sink.take = nil
			r.q.Append(pingFrame()) // the next one
			r.q.Writable()
			r.drain(t)
			r.wrote(t, test.want+"P;")
			if got := r.stats().Frames; got != uint64(len(test.frames)+2) {
				t.Errorf("%d frames are counted, want %d", got, len(test.frames)+2)
			}
		})
	}
}

// TestPingDuringWrite: a ping that comes while frames are written goes out behind the message in which that ends.
func TestPingDuringWrite(t *testing.T) {
	r := newRig(Config{NextEnd: semicolons})
	r.q.Append(frame("aa;bb;"))
	r.q.Append(frame("cc;"))
	r.sink.take = func(offered int) (int, error) {
		r.q.Append(pingFrame())
		r.sink.take = nil
		return 1, nil
	}
	r.step()
	r.q.Writable()
	r.drain(t)
	r.wrote(t, "aa;P;bb;cc;")
}

// TestPingTwice: a frame that was cut for a ping is cut again for the next.
func TestPingTwice(t *testing.T) {
	b := budget.New(1000)
	r := newRig(Config{NextEnd: semicolons, Budget: b})
	r.q.Append(frame("aa;bb;cc;"))
	write := func(n int) {
		r.sink.take = only(n)
		r.q.Writable()
		r.step()
	}
	write(1)
	r.q.Append(pingFrame())
	write(6) // to within bb
	r.q.Append(pingFrame())
	kit.Want(t, b.Used(), int64(9+frameOverhead), "bytes are counted of a frame in parts")
	r.sink.take = nil
	r.q.Writable()
	r.drain(t)
	r.wrote(t, "aa;P;bb;P;cc;")
	kit.Want(t, b.Used(), 0, "bytes are counted of an empty queue")
}

// TestPingBeforeLarge: the owner is told of a large frame before it is begun, once, and a ping that it queues then goes first.
func TestPingBeforeLarge(t *testing.T) {
	large := strings.Repeat("x", Large)
	t.Run("queue", func(t *testing.T) {
		r := newRig(Config{Limit: 1 << 30})
		told := 0
		r.owner.large = func() {
			told++
			r.q.Send(pingFrame())
		}
		r.q.Append(frame("a;"))
		r.q.Append(frame(large))
		r.q.Append(frame(large[1:]))
		r.q.Append(frame(large))
		r.sink.take = only(10_000)
		for range 100 {
			r.q.Writable()
			r.drain(t)
		}
		if got := r.sink.got.String(); got != "a;P;"+large+large[1:]+"P;"+large {
			t.Errorf("sink got %d bytes, beginning with %.10q", len(got), got)
		}
		kit.Want(t, told, 2, "the owner was told of large frames")
	})
	t.Run("mailbox", func(t *testing.T) {
		m, _, o := newMailbox(t, 1<<30)
		o.large = func() { m.Append(pingFrame()) }
		wantAppend(t, m, frame(large), true)
		wantTake(t, m, "P;", false)
		wantTake(t, m, large, false)
	})
}

// TestPingAcknowledged: of a peer whose kernel tells, a ping is taken when that has acknowledged it, whatever was written behind it.
func TestPingAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewShards(Config{Shards: 1})
		defer s.Close()
		var q Queue
		sink := new(acking)
		q.Init(s, sink, new(owner))
		sink.allow(1 << 20)
		unacked := func(n int) {
			sink.mu.Lock()
			defer sink.mu.Unlock()
			sink.unacked = n
		}
		q.Append(frame("before"))
		synctest.Wait()
		unacked(8)
		q.Append(pingFrame())
		synctest.Wait()
		for _, test := range []struct {
			unacked int
			want    bool
		}{{8, false}, {1, false}, {0, true}} {
			unacked(test.unacked)
			kit.Want(t, q.PingTaken(), test.want, "with", test.unacked, "bytes unacknowledged: taken")
		}
		q.Append(frame("12345"))
		synctest.Wait()
		for _, test := range []struct {
			unacked int
			want    bool
		}{{7, false}, {6, false}, {5, true}, {0, true}} {
			unacked(test.unacked)
			kit.Want(t, q.PingTaken(), test.want,
				"with", test.unacked, "bytes unacknowledged, 5 behind the ping: taken")
		}
		kit.Want(t, q.Taken(), 13, "bytes are taken")
	})
}

// TestPingMoves: a ping that waits in a mailbox goes first in the queue that takes over.
func TestPingMoves(t *testing.T) {
	b := budget.New(1000)
	g := NewGroup(Config{Budget: b})
	t.Cleanup(g.Close)
	m := new(Mailbox)
	m.Init(g, new(owner))
	r := newRig(Config{NextEnd: semicolons, Budget: b})
	wantAppend(t, m, frame("a;"), true)
	wantAppend(t, m, pingFrame(), true)
	wantAppend(t, m, pingFrame(), true)
	kit.Check(t, !m.PingTaken(), "the ping is taken before a fetch")
	kit.Require(t, m.MoveTo(&r.q), "MoveTo: got false")
	wantAppend(t, m, frame("b;"), true)
	kit.Check(t, !r.q.PingTaken(), "the ping is taken before it was written")
	r.drain(t)
	r.wrote(t, "P;a;b;")
	kit.Check(t, r.q.PingTaken() && b.Used() == 0,
		"taken: %v; %d bytes are counted", r.q.PingTaken(), b.Used())
}

// TestFetchSizes: how much a fetch carries follows how soon the next one comes.
func TestFetchSizes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGroup(Config{Limit: 1 << 30})
		defer g.Close()
		m := new(Mailbox)
		m.Init(g, new(owner))
		const size = 1 << 10
		fill := func() {
			for range 8 << 10 {
				m.Append(&Frame{Bytes: make([]byte, size)})
			}
		}
		fetch := func(after time.Duration, want int) {
			t.Helper()
			time.Sleep(after)
			frames, _ := m.Take()
			m.Done(frames)
			kit.Want(t, len(frames)*size, want, "a fetch after", after, "carries bytes")
		}
		fill()
		fetch(time.Hour, firstFetch) // nobody has fetched before
		fetch(time.Second, firstFetch)
		fetch(100*time.Millisecond, 2*firstFetch)
		fetch(100*time.Millisecond, 4*firstFetch)
		fetch(time.Second, 4*firstFetch)
		for range 4 {
			fetch(3*time.Second, max(minFetch, m.fetch/2))
		}
		fetch(3*time.Second, minFetch)
		for range 6 {
			fetch(0, min(maxFetch, 2*m.fetch))
		}
		fetch(0, maxFetch)
		for m.Waiting().Bytes > 0 {
			frames, _ := m.Take()
			m.Done(frames)
		}
		fill()
		fetch(time.Hour, maxFetch) // a pause in which there was nothing to fetch says nothing
		m.Close()
	})
}

package outbox

import (
	"errors"
	"github.com/belfry-io/belfry/test/kit"
	"testing"
)

var errSink = errors.New("sink broken")

func TestSinkError(t *testing.T) {
	for _, n := range []int{0, 2} {
		for _, send := range []bool{false, true} {
			r := newRig(Config{})
			r.sink.take = func(int) (int, error) {
				if r.q.mu.TryLock() {
					r.q.mu.Unlock()
				} else {
					t.Error("the queue is locked while the sink is called")
				}
				return n, errSink
			}
			if send {
				r.q.Send(frame("abc"))
			} else {
				r.q.Append(frame("abc"))
				r.q.Append(frame("def"))
			}
			r.drain(t)
			if failed, flushed := r.owner.told(); len(failed) != 1 || failed[0] != errSink || flushed != 0 {
				t.Errorf("told %v and flushed %d times, want the sink's error once", failed, flushed)
			}
			r.q.Writable()
			kit.Check(t, !r.q.Append(frame("x")) && !r.q.Send(frame("x")) && !r.q.CloseAfterFlush(nil),
				"a failed queue took something")
			r.drain(t)
			r.wrote(t, "abc"[:n])
			want := uint64(2)
			if send {
				want = 1
			}
			if s := r.stats(); s.Failed != 1 || s.Lost != want || r.sink.writes != 1 {
				t.Errorf("got %+v and %d writes, want 1 failed, %d lost, 1 write", s, r.sink.writes, want)
			}
		}
	}
}

// A sink that counts wrongly must not make the queue go out of step.
func TestImpossibleCount(t *testing.T) {
	for _, n := range []int{-1, 4} {
		for _, send := range []bool{false, true} {
			r := newRig(Config{})
			r.sink.take = func(int) (int, error) { return n, nil }
			if send {
				r.q.Send(frame("abc"))
			} else {
				r.q.Append(frame("abc"))
			}
			r.drain(t)
			if failed, _ := r.owner.told(); len(failed) != 1 || failed[0] != errCount {
				t.Errorf("count %d: told %v, want %v", n, failed, errCount)
			}
		}
	}
}

func TestCloseAfterFlush(t *testing.T) {
	t.Run("empty", func(t *testing.T) {
		r := newRig(Config{})
		kit.Check(t, r.q.CloseAfterFlush(nil), "CloseAfterFlush: got false, want true")
		if _, flushed := r.owner.told(); flushed != 0 {
			t.Error("the owner was called from within CloseAfterFlush")
		}
		r.drain(t)
		if failed, flushed := r.owner.told(); flushed != 1 || len(failed) != 0 || r.sink.writes != 0 {
			t.Errorf("flushed %d times, failed %v, %d writes, want 1, none, 0", flushed, failed, r.sink.writes)
		}
		kit.Check(t, !r.q.CloseAfterFlush(nil), "second CloseAfterFlush: got true, want false")
	})
	t.Run("after what is queued", func(t *testing.T) {
		r := newRig(Config{Limit: 1})
		r.sink.take = func(int) (int, error) { return 1, nil }
		r.q.Append(frame("ab"))
		r.drain(t)
		if !r.q.CloseAfterFlush(frame("last")) { // over the limit, and accepted nevertheless
			t.Error("CloseAfterFlush: got false, want true")
		}
		kit.Check(t, !r.q.Append(frame("x")) && !r.q.Send(frame("x")), "a closing queue took a frame")
		for i := range 5 {
			if _, flushed := r.owner.told(); flushed != 0 {
				t.Fatalf("flushed after %d of 6 bytes", i+1)
			}
			r.q.Writable()
			r.drain(t)
			if i == 4 {
				break
			}
		}
		r.wrote(t, "ablast")
		if failed, flushed := r.owner.told(); flushed != 1 || len(failed) != 0 {
			t.Errorf("flushed %d times, failed %v, want 1, none", flushed, failed)
		}
	})
	t.Run("during a Send", func(t *testing.T) {
		for n := range 4 {
			for _, last := range []*Frame{nil, frame("!")} {
				r := newRig(Config{})
				r.sink.take = func(int) (int, error) {
					r.sink.take = nil
					r.q.CloseAfterFlush(last)
					return n, nil
				}
				r.q.Send(frame("abc"))
				r.drain(t)
				r.q.Writable()
				r.drain(t)
				want := "abc"
				if last != nil {
					want += "!"
				}
				r.wrote(t, want)
				if failed, flushed := r.owner.told(); flushed != 1 || len(failed) != 0 {
					t.Errorf("cut at %d: flushed %d times, failed %v, want 1, none", n, flushed, failed)
				}
			}
		}
	})
	t.Run("failing", func(t *testing.T) {
		r := newRig(Config{})
		r.sink.take = func(int) (int, error) { return 0, errSink }
		r.q.CloseAfterFlush(frame("last"))
		r.drain(t)
		if failed, flushed := r.owner.told(); flushed != 0 || len(failed) != 1 {
			t.Errorf("flushed %d times, failed %v, want 0, once", flushed, failed)
		}
	})
}

func TestClose(t *testing.T) {
	r := newRig(Config{})
	r.q.Append(frame("abc"))
	r.q.Close()
	r.q.Close()
	if r.q.Append(frame("x")) || r.q.Send(frame("x")) || r.q.CloseAfterFlush(nil) || queued(&r.q) != 0 {
		t.Error("a closed queue took something")
	}
	r.drain(t)
	r.wrote(t, "")
	if failed, flushed := r.owner.told(); flushed != 0 || len(failed) != 0 {
		t.Errorf("flushed %d times, failed %v, want neither", flushed, failed)
	}
	kit.Want(t, r.stats().Lost, 1, "lost")
}

// A Close that comes while a write is under way lets that write end, then nothing more happens, whatever the write returns.
func TestCloseDuringWrite(t *testing.T) {
	for _, send := range []bool{false, true} {
		for _, result := range []struct {
			n   int
			err error
		}{{3, nil}, {1, nil}, {1, errSink}} {
			r := newRig(Config{})
			r.sink.take = func(int) (int, error) {
				r.q.Append(frame("x"))
				r.q.Writable()
				r.q.Close()
				return result.n, result.err
			}
			if send {
				r.q.Send(frame("abc"))
			} else {
				r.q.Append(frame("abc"))
			}
			r.drain(t)
			r.q.Writable()
			r.drain(t)
			r.wrote(t, "abc"[:result.n])
			if failed, flushed := r.owner.told(); flushed != 0 || len(failed) != 0 || r.sink.writes != 1 {
				t.Errorf("send %v, %+v: flushed %d times, failed %v, %d writes", send, result, flushed, failed, r.sink.writes)
			}
			if r.q.frames != nil || queued(&r.q) != 0 {
				t.Errorf("send %v, %+v: the closed queue holds %d bytes", send, result, queued(&r.q))
			}
		}
	}
}

package outbox

import (
	"github.com/belfry-io/belfry/test/kit"
	"strings"
	"testing"
)

func TestVolatileIsDroppedWhenBlocked(t *testing.T) {
	r := newRig(Config{})
	r.sink.take = func(int) (int, error) { return 1, nil }
	r.q.Append(volatileFrame("ab")) // partly written, so it can no longer go
	r.step()
	kit.Check(t, !r.q.Append(volatileFrame("v")) && !r.q.Send(volatileFrame("w")),
		"a volatile frame was queued although the socket was blocked")
	kit.Check(t, r.q.Append(frame("c")), "a frame was refused although only volatile ones may be")
	r.sink.take = nil
	r.q.Writable()
	kit.Check(t, r.q.Append(volatileFrame("d")),
		"a volatile frame was dropped although the socket was no longer blocked")
	r.drain(t)
	r.wrote(t, "abcd")
	if s := r.stats(); s.Dropped != 2 || s.Frames != 3 || s.Lost != 0 {
		t.Errorf("got %+v, want 2 dropped, 3 written, none lost", s)
	}
}

func TestNothingIsTriedWhileBlocked(t *testing.T) {
	r := newRig(Config{})
	r.sink.take = func(int) (int, error) { return 0, nil }
	r.q.Append(frame("a"))
	r.drain(t)
	for range 3 {
		r.q.Append(frame("b"))
		r.q.Send(frame("c"))
		r.drain(t)
	}
	kit.Want(t, r.sink.writes, 1, "writes to a sink that is full")
	r.sink.take = nil
	r.q.Writable()
	r.drain(t)
	r.wrote(t, "abcbcbc")
}

func TestVolatileGoesFirst(t *testing.T) {
	r := newRig(Config{Limit: 10})
	r.q.Append(volatileFrame("v1"))
	r.q.Append(frame("aaa"))
	r.q.Append(volatileFrame("v2"))
	r.q.Append(frame("bbb")) // 10 bytes: at the limit
	kit.Want(t, r.stats().Dropped, 0, "dropped frames at the limit")
	kit.Check(t, r.q.Append(frame("c")), "a frame was refused although dropping volatile ones makes room")
	if s := r.stats(); s.Dropped != 2 || queued(&r.q) != 7 {
		t.Errorf("dropped %d frames and kept %d bytes, want 2 and 7", s.Dropped, queued(&r.q))
	}
	kit.Check(t, !r.q.Append(volatileFrame("v345")), "a volatile frame was queued over the limit")
	kit.Check(t, r.q.Append(volatileFrame("v3")) && r.q.Append(volatileFrame("v4")),
		"a volatile frame was refused although dropping an older one makes room")
	r.drain(t)
	r.wrote(t, "aaabbbcv4")
	if s := r.stats(); s.Dropped != 4 || s.Frames != 4 {
		t.Errorf("got %+v, want 4 dropped and 4 written", s)
	}
}

// What a writer is reading, or has written in part, stays.
func TestVolatileInFlightStays(t *testing.T) {
	r := newRig(Config{Limit: 10})
	r.q.Append(volatileFrame("vv"))
	r.q.Append(volatileFrame("ww"))
	r.sink.take = func(int) (int, error) {
		r.q.Append(volatileFrame("xx"))
		r.q.Append(frame("aaaaaaa")) // over the limit: only xx may go
		return 1, nil
	}
	r.step()
	kit.Want(t, r.stats().Dropped, 1, "dropped frames while two were in flight")
	r.q.Append(frame("b")) // now ww may go too, but not the rest of vv
	kit.Want(t, r.stats().Dropped, 2, "dropped frames")
	r.sink.take = nil
	r.q.Writable()
	r.drain(t)
	r.wrote(t, "vvaaaaaaab")
}

func TestLimits(t *testing.T) {
	r := newRig(Config{Limit: 10})
	huge := strings.Repeat("h", 100)
	kit.Require(t, r.q.Append(frame(huge)), "an empty queue refused a frame over the cap")
	r.drain(t)
	r.wrote(t, huge)
	r.sink.take = func(int) (int, error) { return 0, nil }
	for range 1000 { // time decides who is too slow, and none passes
		kit.Require(t, r.q.Append(frame("x")) && r.q.Send(frame("x")), "a frame was refused")
	}
	r.drain(t)
	if failed, _ := r.owner.told(); len(failed) != 0 {
		t.Fatalf("failed with %v", failed)
	}
	kit.Want(t, queued(&r.q), 2000, "bytes wait")
}

package mesh

import (
	"slices"
	"testing"

	"github.com/belfry-io/belfry/test/kit"
)

const streamA, streamB = 1, 2

// behindOnA is a broadcast on stream A, behind number prev.
func behindOnA(prev uint64) *held[string] {
	return &held[string]{links: []Link{{streamA, prev}}, size: 10}
}

// A gap closes step by step, or at once with the low watermark, and nothing is kept of it then.
func TestInboxGap(t *testing.T) {
	in := &inbox[string]{}
	in.start(5)
	if in.low != 5 || in.high != 5 || !in.started {
		t.Fatalf("started at 5: %+v", in)
	}
	in.addGap(streamA, 5) // settled already
	if in.gaps != nil {
		t.Errorf("gaps %v below the low watermark", in.gaps)
	}
	in.addGap(streamA, 9)
	in.addGap(streamA, 7)
	if in.gaps[streamA] != 9 || !in.moved {
		t.Errorf("gaps %v, want one up to 9; moved %v", in.gaps, in.moved)
	}
	in.advance(streamA, 7)
	if in.gaps[streamA] != 9 || in.lowOf(streamA) != 7 || in.lowOf(streamB) != 5 {
		t.Errorf("settled up to %d, and gaps %v; want 7, and still one up to 9", in.lowOf(streamA), in.gaps)
	}
	in.advance(streamA, 6) // older
	in.advance(streamA, 9)
	if len(in.gaps) != 0 || in.lowOf(streamA) != 9 {
		t.Errorf("settled up to %d, and gaps %v; want 9 and none", in.lowOf(streamA), in.gaps)
	}
	in.addGap(streamB, 8)
	in.done.add(9, in.low)
	in.raise(9)
	if in.gaps != nil || in.lows != nil || in.done.words != nil {
		t.Errorf("kept below the low watermark: gaps %v, lows %v, %d done", in.gaps, in.lows, in.done.len())
	}
	in.raise(8)
	kit.Equal(t, in.low, 9, "the low watermark has fallen to")
}

// What is held may be next when the number in front of it has come, and not before.
func TestInboxHeld(t *testing.T) {
	in := &inbox[string]{}
	in.start(0)
	in.hold(3, behindOnA(2))
	in.hold(2, behindOnA(1))
	if len(in.ready) != 0 || !slices.Equal(in.inOrder(), []uint64{2, 3}) {
		t.Fatalf("ready %v, held %v; want none, and 2 and 3", in.ready, in.inOrder())
	}
	in.advance(streamA, 1)
	kit.EqualSlices(t, in.ready, []uint64{2}, "ready", "behind 1")
	if in.unhold(2) == nil || in.unhold(2) != nil {
		t.Error("2 is not held once")
	}
	bytes := behindOnA(2).bytes()
	kit.Equal(t, in.bytes, bytes, "bytes held")
	in.raise(2) // in other ways than one by one
	kit.EqualSlices(t, in.ready, []uint64{3}, "ready", "behind 2")
	in.unhold(3)
	if in.held != nil || in.behind != nil || in.bytes != 0 {
		t.Errorf("held %v, behind %v, %d bytes; want nothing", in.held, in.behind, in.bytes)
	}
}

func TestInboxReach(t *testing.T) {
	in := &inbox[string]{}
	in.start(5)
	for seq, want := range map[uint64]bool{0: false, 5: false, 6: false, 5 + maxSpan: false, 6 + maxSpan: true, 1 << 63: true} {
		kit.Equal(t, in.far(seq), want, "far above 5", seq)
	}
}

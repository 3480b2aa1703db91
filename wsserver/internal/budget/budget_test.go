package budget

import (
	"github.com/belfry-io/belfry/test/kit"
	"math"
	"runtime/debug"
	"testing"
)

func TestShare(t *testing.T) {
	b := New(1600)
	for _, test := range []struct{ used, want int }{
		{0, 75}, {400, 50}, {1199, 0}, {1184, 1}, {1200, 0}, {1600, 0}, {5000, 0},
	} {
		b.Add(test.used)
		kit.Want(t, b.Share(), test.want, "with", test.used, "of 1600 used: the share")
		b.Release(test.used)
	}
	kit.Want(t, b.Used(), 0, "bytes are used after all was given back")
	kit.Want(t, New(math.MaxInt64).Share(), math.MaxInt32, "without a limit: the share")
}

// TestNil: without a budget nothing is counted, and nothing is ever used up.
func TestNil(t *testing.T) {
	var b *Budget
	b.Add(1 << 40)
	b.Release(1)
	if b.Used() != 0 || b.Full() || b.Limit() != math.MaxInt64 || b.Share() != math.MaxInt32 || b.Relief() != nil || !b.RelievedBy(0) {
		t.Error("a nil Budget is used up")
	}
}

func isOver(b *Budget) bool {
	select {
	case <-b.Over():
		return true
	default:
		return false
	}
}

// TestOver: a Take that reaches the limit says so, each time; one below it, and a Give, do not.
func TestOver(t *testing.T) {
	b := New(100)
	b.Add(99)
	kit.Check(t, !isOver(b) && !b.Full(), "over at 99 of 100")
	b.Add(1)
	kit.Check(t, isOver(b) && b.Full(), "not over at 100 of 100")
	b.Release(20)
	kit.Check(t, !isOver(b) && !b.Full(), "over at 80 of 100, by a Give")
	b.Add(50)
	b.Add(50) // nobody has listened meanwhile
	kit.Check(t, isOver(b) && !isOver(b), "want it said once")
	b.Add(1)
	kit.Check(t, isOver(b), "not over again")
	b.Release(60)
	b.Add(0)
	kit.Check(t, !isOver(b), "over by a Take of nothing")
}

func TestRelieved(t *testing.T) {
	b := New(800)
	b.Add(800)
	for _, test := range []struct {
		n    int
		want bool
	}{{0, false}, {99, false}, {100, true}, {800, true}} {
		if got := b.RelievedBy(test.n); got != test.want {
			t.Errorf("RelievedBy(%d) of 800 of 800: got %v", test.n, got)
		}
	}
}

// TestRelief: who waits is told by Relieve alone, and all of them at once; who comes later waits for the next one.
func TestRelief(t *testing.T) {
	b := New(100)
	kit.Check(t, b.Relief() == nil, "there is something to wait for although all is free")
	b.Relieve() // nobody waits
	b.Add(100)
	first, second := b.Relief(), b.Relief()
	told := func(c <-chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	b.Release(100)
	kit.Check(t, !told(first) && !told(second),
		"told by a Give: whoever frees memory goes on until it is enough")
	b.Relieve()
	kit.Check(t, told(first) && told(second), "Relieve has not told all")
	b.Add(100)
	if third := b.Relief(); third == nil || told(third) {
		t.Error("a later wait is over at once")
	}
	b.Relieve()
}

func TestDefault(t *testing.T) {
	limit := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(limit)
	for _, test := range []struct{ limit, want int64 }{
		{1 << 30, 512 << 20}, {128 << 20, 64 << 20}, {96 << 20, Minimum}, {1, Minimum},
	} {
		debug.SetMemoryLimit(test.limit)
		kit.Want(t, Default(), test.want, "with a memory limit of", test.limit)
		kit.Want(t, New(0).Limit(), test.want, "the limit of New(0) with a memory limit of", test.limit)
	}
	debug.SetMemoryLimit(math.MaxInt64)
	want := int64(fallback)
	if machine := machineMemory(); machine > 0 {
		want = max(machine/4, Minimum)
	}
	kit.Want(t, Default(), want, "without a memory limit")
	kit.Want(t, New(5).Limit(), 5, "the limit of New(5)")
}

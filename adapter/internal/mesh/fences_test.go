package mesh

import (
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
)

func TestFences(t *testing.T) {
	f := &fences[string]{batches: make(map[uint64][]uint64), waits: make(map[uint64][]wait[string])}
	f.cover(1, streamA)
	f.next(10 * time.Second)
	f.cover(2, streamB)
	if f.fence != 1 || f.fencing != fenceSent || len(f.batches) != 2 {
		t.Fatalf("after the first fence: %+v", f)
	}
	f.uncover(1)
	if len(f.batches) != 1 || f.batches[2] == nil {
		t.Errorf("covered %v when fence 1 was answered, want that of fence 2 alone", f.batches)
	}
	f.waits[1] = []wait[string]{{from: 9 * time.Second}}
	f.waits[2] = []wait[string]{{from: 11 * time.Second}, {from: 12 * time.Second}}
	for _, step := range []struct {
		fence uint64
		want  time.Duration
	}{{1, 11 * time.Second}, {2, 12 * time.Second}} {
		kit.Equal(t, f.deadline(step.fence, time.Second), step.want, "waits for fence", step.fence, "end at")
	}
	f.next(15 * time.Second)
	kit.Equal(t, f.deadline(2, time.Second), 16*time.Second, "waits for fence 2, which was sent behind them, end at")
	f.uncover(f.fence)
	kit.Equal(t, len(f.batches), 0, "batches covered when all was answered", f.batches)
}

// Topics of one hash are one stream, which ends with the last of them; a topic that is joined again does not end.
func TestTopics(t *testing.T) {
	topics := &topics[string]{interests: make(map[uint64]*interest[string])}
	a, first := topics.subscribe(streamA, "a", 1)
	a.streamFence = 1
	twin, second := topics.subscribe(streamA, "twin", 2)
	if !first || second || topics.find(streamA, "a") != a || topics.find(streamA, "twin") != twin || topics.find(streamA, "c") != nil {
		t.Fatalf("first %v, second %v, interests %v", first, second, topics.interests)
	}
	topics.linger(a, 10)
	topics.linger(twin, 11)
	twin.members = true // joined again
	if ended := topics.expired(9); ended != nil {
		t.Errorf("%v ended early", ended)
	}
	ended := topics.expired(11)
	if len(ended) != 1 || ended[0] != a || topics.lingering != nil {
		t.Fatalf("ended %v, want a alone; still lingering %v", ended, topics.lingering)
	}
	if topics.remove(a) || topics.find(streamA, "twin") != twin || twin.streamFence != 1 {
		t.Errorf("without a, the stream begins at fence %d, want 1", twin.streamFence)
	}
	topics.linger(twin, 20)
	topics.linger(twin, 21)
	if ended := topics.expired(20); len(ended) != 0 {
		t.Errorf("%v ended before the last leave had lingered", ended)
	}
	if ended := topics.expired(21); len(ended) != 1 || !topics.remove(twin) || len(topics.interests) != 0 {
		t.Errorf("ended %v, interests %v; want the twin, and nothing", ended, topics.interests)
	}
}

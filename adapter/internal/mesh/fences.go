package mesh

import "time"

// fences are those of this node: which streams they cover, and who waits for their answers.
type fences[W any] struct {
	fence    uint64 // the running number of the last one
	fencing  fencing
	fencedAt time.Duration
	batches  map[uint64][]uint64  // by fence: the hashes of the streams that it covers, until all known nodes have answered it
	waits    map[uint64][]wait[W] // by the fence that they wait for
}

// fencing is whether the last fence is being waited for.
type fencing uint8

const (
	fenceIdle   fencing = iota
	fenceSent           // it is
	fenceBehind         // and topics were subscribed since: another one follows
)

// wait is a Join that has not returned.
type wait[W any] struct {
	ref     W
	excused []string      // nodes that were suspect already when it began
	from    time.Duration // when it began
}

// next begins the next fence. It covers every topic subscribed before.
func (f *fences[W]) next(now time.Duration) {
	f.fence++
	f.fencing, f.fencedAt = fenceSent, now
}

// cover has a fence that is yet to come cover a stream.
func (f *fences[W]) cover(fence, hash uint64) { f.batches[fence] = append(f.batches[fence], hash) }

// uncover forgets what is covered by the fences that all known nodes have answered.
func (f *fences[W]) uncover(answered uint64) {
	for fence := range f.batches {
		if fence <= answered {
			delete(f.batches, fence)
		}
	}
}

// deadline is when those end that wait for a fence, whoever returns meanwhile, where an answer is waited for so long.
func (f *fences[W]) deadline(fence uint64, longest time.Duration) time.Duration {
	from := f.waits[fence][0].from
	if fence == f.fence { // it may have been sent when the one before had ended
		from = max(from, f.fencedAt)
	}
	return from + longest
}

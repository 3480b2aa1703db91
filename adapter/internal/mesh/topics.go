package mesh

import (
	"time"

	"github.com/belfry-io/belfry/adapter/shrink"
)

// topics are those that this node is subscribed to, by hash.
type topics[T comparable] struct {
	interests     map[uint64]*interest[T]
	peakInterests int // see shrink.Map
	lingering     []lingering[T]
}

// interest is a topic that this node is subscribed to.
type interest[T comparable] struct {
	topic   T
	hash    uint64
	fence   uint64        // the first fence sent after the Subscribe
	members bool          // false while it lingers after the last leave
	until   time.Duration // the end of the linger

	// Topics whose hashes are equal are one stream: it began with the first of them.
	streamFence uint64       // of the first in the list: the fence of the stream
	next        *interest[T] // another topic of the stream
}

// lingering is an entry of the queue of interests that may end. All linger equally long, so the queue is in order.
type lingering[T comparable] struct {
	in    *interest[T]
	until time.Duration
}

// find returns the interest in a topic, or nil.
func (t *topics[T]) find(hash uint64, topic T) *interest[T] {
	in := t.interests[hash]
	for in != nil && in.topic != topic {
		in = in.next
	}
	return in
}

// subscribe adds a topic that is covered by a fence. It reports whether it is the first one of its stream.
func (t *topics[T]) subscribe(hash uint64, topic T, fence uint64) (in *interest[T], first bool) {
	in = &interest[T]{topic: topic, hash: hash, fence: fence}
	if head := t.interests[hash]; head != nil {
		in.next, head.next = head.next, in
		return in, false
	}
	t.interests[hash] = in
	return in, true
}

// linger has a topic without members stay for a while.
func (t *topics[T]) linger(in *interest[T], until time.Duration) {
	in.members, in.until = false, until
	t.lingering = append(t.lingering, lingering[T]{in: in, until: until})
}

// expired takes those out of the queue that have lingered long enough.
func (t *topics[T]) expired(now time.Duration) (ended []*interest[T]) {
	for len(t.lingering) > 0 && t.lingering[0].until <= now {
		l := t.lingering[0]
		t.lingering = t.lingering[1:]
		if l.in.members || l.in.until != l.until {
			continue
		}
		l.in.until = 0 // it may be in the queue twice
		ended = append(ended, l.in)
	}
	if len(t.lingering) == 0 {
		t.lingering = nil
	}
	return ended
}

// remove takes an interest out of its list. It reports whether the stream has ended with it.
func (t *topics[T]) remove(in *interest[T]) bool {
	first := t.interests[in.hash]
	switch {
	case first != in:
		for first.next != in {
			first = first.next
		}
		first.next = in.next
	case in.next != nil:
		in.next.streamFence = in.streamFence
		t.interests[in.hash] = in.next
	default:
		delete(t.interests, in.hash)
		t.interests = shrink.Map(t.interests, &t.peakInterests)
		return true
	}
	return false
}

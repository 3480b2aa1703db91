package wsserver

import (
	"sync/atomic"
	"time"
)

// A lull tells a broadcast that comes alone from one of many. One of many goes to the shards, where
// frames gather for each write. One that comes alone would gather nothing: if it goes to few, whoever
// emits it writes it, and another goroutine need not wake up for it.
type lull struct{ last atomic.Int64 }

const (
	lullAfter = 200 * time.Microsecond // without a broadcast
	lullFew   = 16                     // members; so many writes, none of which waits, an emitter does itself
	lullSmall = 4 << 10                // bytes of a frame
)

// alone takes a broadcast of so many bytes to so many members, at a time since the epoch, and reports
// whether its emitter is to write it. It may be called concurrently.
func (l *lull) alone(at time.Duration, members, size int) bool {
	return at-time.Duration(l.last.Swap(int64(at))) >= lullAfter && members <= lullFew && size <= lullSmall
}

package wsserver

import (
	"testing"
	"time"
)

// TestLull takes broadcasts at given times.
func TestLull(t *testing.T) {
	var l lull
	for i, c := range []struct {
		at            time.Duration
		members, size int
		want          bool
	}{
		{time.Second, lullFew, lullSmall, true},
		{time.Second, 1, 1, false},
		{time.Second + lullAfter - 1, 1, 1, false},
		{time.Second + 2*lullAfter - 1, lullFew + 1, 1, false},
		{time.Second + 3*lullAfter - 1, 1, lullSmall + 1, false},
		{time.Second + 4*lullAfter - 1, lullFew, lullSmall, true},
		{time.Second + 4*lullAfter - 2, 1, 1, false}, // two goroutines, of whom one has read the time before
	} {
		if got := l.alone(c.at, c.members, c.size); got != c.want {
			t.Errorf("broadcast %d, of %d bytes to %d members at %v: got %v, want %v", i, c.size, c.members, c.at, got, c.want)
		}
	}
}

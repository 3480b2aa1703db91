package history

import (
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
)

// TestAt: the number of a time is that of the last entry that had begun by then, also of those that
// are forgotten; 0 where entries that are younger are forgotten, too.
func TestAt(t *testing.T) {
	l := New[string](1<<20, time.Hour)
	kit.Equal(t, l.At(0), 0, "before the first")
	for i := range 10 {
		n := l.Broadcast(time.Duration(i)*time.Minute, "/", []string{"x"}, nil)
		l.Fill(n, "o", n, "", 1)
		n = l.Only(time.Duration(i)*time.Minute, "/", "a")
		l.Fill(n, "o", n, "", 1)
	}
	for _, test := range []struct {
		at   time.Duration
		want uint64
	}{{-1, 0}, {0, 2}, {time.Minute - 1, 2}, {time.Minute, 4}, {5 * time.Minute, 12}, {time.Hour, 20}} {
		kit.Equal(t, l.At(test.at), test.want, "at", test.at)
	}
	l.Expire(time.Hour + 2*time.Minute + 1) // 1 to 6
	kit.Equal(t, l.Horizon(), 6, "horizon")
	kit.Equal(t, l.At(2*time.Minute-1), 0, "before what was forgotten last")
	kit.Equal(t, l.At(2*time.Minute), 6, "what was forgotten last")
	kit.Equal(t, l.At(3*time.Minute), 8, "what is there first")
	l.Expire(10 * time.Hour)
	kit.Equal(t, l.At(9*time.Minute-1), 0, "before all")
	kit.Equal(t, l.At(9*time.Hour), 20, "when all is forgotten")
}

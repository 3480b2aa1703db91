package kit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// failing is a test that keeps what it is told.
type failing struct {
	testing.TB
	told  string
	ended bool
}

func (f *failing) Helper() {}
func (f *failing) Fatalf(format string, args ...any) {
	f.told, f.ended = fmt.Sprintf(format, args...), true
}
func (f *failing) Errorf(format string, args ...any) { f.told = fmt.Sprintf(format, args...) }

func TestChecks(t *testing.T) {
	wrong := errors.New("wrong")
	closed := fmt.Errorf("close: %w", context.Canceled)
	for _, c := range []struct {
		check func(t testing.TB)
		says  string // nothing: it holds
	}{
		{func(t testing.TB) { OK(t, nil, "open") }, ""},
		{func(t testing.TB) { OK(t, wrong) }, "wrong"},
		{func(t testing.TB) { OK(t, wrong, "node", 3) }, "node 3: wrong"},
		{func(t testing.TB) { Equal(t, Must(1, error(nil))(t), 1) }, ""},
		{func(t testing.TB) { Must(1, wrong)(t, "open") }, "open: wrong"},
		{func(t testing.TB) { Check(t, true, "x") }, ""},
		{func(t testing.TB) { Check(t, false, "%d left", 2) }, "2 left"},
		{func(t testing.TB) { Require(t, true, "x") }, ""},
		{func(t testing.TB) { Require(t, false, "%d must be left", 2) }, "2 must be left"},
		{func(t testing.TB) { ErrorIs(t, closed, context.Canceled) }, ""},
		{func(t testing.TB) { ErrorIs(t, nil, context.Canceled) }, "got the error <nil>, want context canceled"},
		{func(t testing.TB) { ErrorIs(t, wrong, context.Canceled, "Close") }, "Close: got the error wrong"},
		{func(t testing.TB) { Equal(t, 3, 3, "nodes") }, ""},
		{func(t testing.TB) { Equal(t, 3, 4, "nodes") }, "nodes: got 3, want 4"},
		{func(t testing.TB) { Equal(t, "a", "a ") }, `got "a", want "a "`},
		{func(t testing.TB) { EqualSlices(t, nil, []int{}) }, ""},
		{func(t testing.TB) { EqualSlices(t, []int{1, 2}, []int{2, 1}, "in", "order") }, "in order: got [1 2], want [2 1]"},
		{func(t testing.TB) { EqualSlices(t, []string{"a"}, nil) }, `got ["a"], want []`},
		{func(t testing.TB) { Len(t, []int{1, 2}, 2) }, ""},
		{func(t testing.TB) { Len(t, []int{1, 2}, 1, "parts") }, "parts: got 2, want 1: [1 2]"},
		{func(t testing.TB) { Got(2, nil).Is(t, 2) }, ""},
		{func(t testing.TB) { Got(2, nil).Is(t, 3, "count") }, "count: got 2 and the error <nil>, want 3"},
		{func(t testing.TB) { Got(2, wrong).Is(t, 2) }, "got 2 and the error wrong, want 2"},
		{func(t testing.TB) { Took(t, time.Now(), 0, time.Hour) }, ""},
		{func(t testing.TB) { Took(t, time.Now(), time.Hour, 2*time.Hour, "Close") }, "Close: took "},
		{func(t testing.TB) { Took(t, time.Now().Add(-time.Hour), 0, time.Minute) }, "want 0s to 1m0s"},
	} {
		f := new(failing)
		c.check(f)
		if !strings.Contains(f.told, c.says) || (f.told == "") != (c.says == "") {
			t.Errorf("told %q, want %q", f.told, c.says)
		}
		if ends := slices.Contains([]string{"wrong", "node 3: wrong", "open: wrong", "2 must be left"}, c.says); f.ended != ends {
			t.Errorf("%q ended the test: %v", c.says, f.ended)
		}
	}
}

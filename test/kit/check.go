package kit

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// OK ends the test if err is not nil. What it and the other checks say first is what: words and values, with
// spaces between.
func OK(t testing.TB, err error, what ...any) {
	if err != nil {
		t.Helper()
		t.Fatalf("%s%v", said(what), err)
	}
}

// Must is OK for a call that returns a value, too: n := kit.Must(r.Read(b))(t). It takes t apart, since
// Go lets a call with two results be all the arguments of another only.
func Must[T any](v T, err error) func(t testing.TB, what ...any) T {
	return func(t testing.TB, what ...any) T {
		t.Helper()
		OK(t, err, what...)
		return v
	}
}

// Check says that the test has failed, and how, as t.Errorf does, unless ok.
func Check(t testing.TB, ok bool, format string, values ...any) {
	if !ok {
		t.Helper()
		t.Errorf(format, values...)
	}
}

// Require is Check that ends the test.
func Require(t testing.TB, ok bool, format string, values ...any) {
	if !ok {
		t.Helper()
		t.Fatalf(format, values...)
	}
}

// ErrorIs checks that err is want, or wraps it.
func ErrorIs(t testing.TB, err, want error, what ...any) {
	if !errors.Is(err, want) {
		t.Helper()
		t.Errorf("%sgot the error %v, want %v", said(what), err, want)
	}
}

// Equal checks that got is want.
func Equal[T comparable](t testing.TB, got, want T, what ...any) {
	if got != want {
		t.Helper()
		t.Errorf("%sgot %s, want %s", said(what), shown(got), shown(want))
	}
}

// EqualSlices checks that got has the elements of want, in their order.
func EqualSlices[E comparable](t testing.TB, got, want []E, what ...any) {
	if !slices.Equal(got, want) {
		t.Helper()
		t.Errorf("%sgot %s, want %s", said(what), shown(got), shown(want))
	}
}

// Len checks how long a slice is.
func Len[E any](t testing.TB, got []E, want int, what ...any) {
	if len(got) != want {
		t.Helper()
		t.Errorf("%sgot %d, want %d: %s", said(what), len(got), want, shown(got))
	}
}

// Took checks the time since start.
func Took(t testing.TB, start time.Time, least, most time.Duration, what ...any) {
	if d := time.Since(start); d < least || d > most {
		t.Helper()
		t.Errorf("%stook %v, want %v to %v", said(what), d, least, most)
	}
}

func said(what []any) string {
	if len(what) == 0 {
		return ""
	}
	return strings.TrimSpace(fmt.Sprintln(what...)) + ": "
}

// shown quotes strings: what differs may be a space.
func shown(v any) string {
	switch v.(type) {
	case string, []string, []byte:
		return fmt.Sprintf("%q", v)
	}
	return fmt.Sprintf("%+v", v)
}

// A Result is what a function has returned: see Got.
type Result[T comparable] struct {
	got T
	err error
}

// Got is for functions that return a value and an error: Got(f()).Is(t, want).
func Got[T comparable](got T, err error) Result[T] { return Result[T]{got, err} }

// Is checks that the value is want, and that there is no error.
func (r Result[T]) Is(t testing.TB, want T, what ...any) {
	if r.got != want || r.err != nil {
		t.Helper()
		t.Errorf("%sgot %s and the error %v, want %s", said(what), shown(r.got), r.err, shown(want))
	}
}

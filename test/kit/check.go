package kit

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// OK ends the test if err is not nil. What says what failed, and may be left out, here and below; its
// values are set apart by spaces.
func OK(t testing.TB, err error, what ...any) {
	if err != nil {
		t.Helper()
		t.Fatalf("%sgot error: %v", said(what), err)
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

// Check says that the test has failed, and how, as t.Errorf does, unless ok. The test goes on.
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

// Want says that the test has failed if got is not want. The test goes on, here and below.
func Want[T comparable](t testing.TB, got, want T, what ...any) {
	if got != want {
		t.Helper()
		t.Errorf("%sgot %s, want %s", said(what), show(got), show(want))
	}
}

// WantList is Want for slices.
func WantList[E comparable](t testing.TB, got, want []E, what ...any) {
	if !slices.Equal(got, want) {
		t.Helper()
		t.Errorf("%sgot %s, want %s", said(what), show(got), show(want))
	}
}

// WantLen is Want for how long a slice is.
func WantLen[E any](t testing.TB, got []E, want int, what ...any) {
	if len(got) != want {
		t.Helper()
		t.Errorf("%sgot %d, want %d: %s", said(what), len(got), want, show(got))
	}
}

// WantErr is Want for an error, by errors.Is.
func WantErr(t testing.TB, got, want error, what ...any) {
	if !errors.Is(got, want) {
		t.Helper()
		t.Errorf("%sgot %v, want %v", said(what), got, want)
	}
}

// Bubble runs a subtest in a bubble of testing/synctest.
func Bubble(t *testing.T, name string, f func(*testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// said is what, ready to stand before a message.
func said(what []any) string {
	if len(what) == 0 {
		return ""
	}
	return strings.TrimSuffix(fmt.Sprintln(what...), "\n") + ": "
}

// show is a value as a failure prints it: texts and bytes are quoted.
func show(v any) string {
	switch v.(type) {
	case string, []string, []byte:
		return fmt.Sprintf("%q", v)
	}
	return fmt.Sprintf("%+v", v)
}

package kit_test

import (
	"errors"
	"io"
	"testing"

	"github.com/belfry-io/belfry/test/kit"
)

// recorder is a test that notes its failures.
type recorder struct {
	testing.TB
	errors, fatals int
}

func (r *recorder) Helper()               {}
func (r *recorder) Errorf(string, ...any) { r.errors++ }
func (r *recorder) Fatalf(string, ...any) { r.fatals++ }

// TestChecks: each check fails for what it is to find, and for nothing else.
func TestChecks(t *testing.T) {
	wrapped := errors.Join(io.EOF)
	for name, test := range map[string]struct {
		good, bad      func(t testing.TB)
		errors, fatals int // of bad
	}{
		"OK": {
			func(t testing.TB) { kit.OK(t, nil, "x") },
			func(t testing.TB) { kit.OK(t, io.EOF, "x") }, 0, 1,
		},
		"Must": {
			func(t testing.TB) { kit.Must(1, error(nil))(t) },
			func(t testing.TB) { kit.Must(1, io.EOF)(t) }, 0, 1,
		},
		"Check": {
			func(t testing.TB) { kit.Check(t, true, "x") },
			func(t testing.TB) { kit.Check(t, false, "x") }, 1, 0,
		},
		"Require": {
			func(t testing.TB) { kit.Require(t, true, "x") },
			func(t testing.TB) { kit.Require(t, false, "x") }, 0, 1,
		},
		"Want": {
			func(t testing.TB) { kit.Want(t, "a", "a") },
			func(t testing.TB) { kit.Want(t, "a", "b", "x", 1) }, 1, 0,
		},
		"WantList": {
			func(t testing.TB) { kit.WantList(t, []int{1, 2}, []int{1, 2}) },
			func(t testing.TB) { kit.WantList(t, []int{1, 2}, []int{2, 1}) }, 1, 0,
		},
		"WantLen": {
			func(t testing.TB) { kit.WantLen(t, []int{1, 2}, 2) },
			func(t testing.TB) { kit.WantLen(t, []int{1, 2}, 1) }, 1, 0,
		},
		"WantErr": {
			func(t testing.TB) { kit.WantErr(t, wrapped, io.EOF) },
			func(t testing.TB) { kit.WantErr(t, nil, io.EOF) }, 1, 0,
		},
	} {
		var good, bad recorder
		test.good(&good)
		test.bad(&bad)
		if good != (recorder{}) || bad.errors != test.errors || bad.fatals != test.fatals {
			t.Errorf("%s: got %+v when it holds, %+v when it does not", name, good, bad)
		}
	}
}

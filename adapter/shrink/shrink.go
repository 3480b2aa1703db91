// Package shrink gives back the memory of maps and slices that have become much too large: Go's
// never shrink by themselves.
package shrink

import "slices"

// least is the number of entries below which nothing is worth it.
const least = 1024

// Map returns m, or a copy of it if it once had more than four times as many entries as it has now.
// It is to be called after each deletion, with a peak of m's own that is zero in the beginning. A
// copy is made after three deletions for each entry that is left, at the earliest, so that a
// deletion stays as cheap as it was, on average.
func Map[K comparable, V any](m map[K]V, peak *int) map[K]V {
	n := len(m)
	if n >= *peak {
		*peak = n + 1
	}
	if *peak < least || n > *peak/4 {
		return m
	}
	*peak = 0
	less := make(map[K]V, n)
	for k, v := range m {
		less[k] = v
	}
	return less
}

// Slice returns s, or a copy of it if its array has room for more than four times as many elements.
// It is to be called where s has become shorter; short arrays, of up to enough elements, are left
// as they are.
func Slice[T any](s []T, enough int) []T {
	if cap(s) <= enough || len(s) > cap(s)/4 {
		return s
	}
	return slices.Clip(append([]T(nil), s...))
}

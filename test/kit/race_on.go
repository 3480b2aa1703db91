//go:build race

package kit

// Raced reports whether the race detector slows everything down, so that tests do a share of their work.
const Raced = true

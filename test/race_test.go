//go:build race

package test

// raceEnabled reports whether the race detector slows everything down, so that tests do a share of their work.
const raceEnabled = true

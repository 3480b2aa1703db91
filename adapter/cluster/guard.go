package cluster

import (
	"fmt"
	"runtime/debug"
)

// A panicError is a panic in what the program has given the Hub to call.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// guard calls f. A panic ends there, and is returned.
func guard(f func()) (p *panicError) {
	defer func() {
		if v := recover(); v != nil {
			p = &panicError{v, debug.Stack()}
		}
	}()
	f()
	return nil
}

//go:build !linux

package transport

import "time"

var processStart = time.Now()

// cpuTime stands for the time that a thread has used of a processor.
func cpuTime() time.Duration { return time.Since(processStart) }

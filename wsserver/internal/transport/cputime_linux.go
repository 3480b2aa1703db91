package transport

import (
	"syscall"
	"time"
)

// cpuTime is what the calling thread has used of a processor, which no load of the machine makes longer. A goroutine that compares two must be
// locked to its thread.
func cpuTime() time.Duration {
	const thread = 1 // RUSAGE_THREAD
	var used syscall.Rusage
	if syscall.Getrusage(thread, &used) != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

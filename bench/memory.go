package main

import (
	"os"
	"runtime"
	"runtime/debug"
)

// resident is the memory that a process occupies, in bytes.
type resident struct {
	Total     int64 `json:"total"`
	Anonymous int64 `json:"anonymous"` // without what it shares with its file
}

// memory is what a process occupies.
type memory struct {
	Natural    resident `json:"natural"` // as it is
	Freed      resident `json:"freed"`   // after what is free was returned to the system
	Heap       int64    `json:"heap"`    // bytes of live objects
	Goroutines int      `json:"goroutines"`
}

// usedMemory is that of this process.
func usedMemory() (memory, error) {
	natural, err := residentMemory(os.Getpid())
	if err != nil {
		return memory{}, err
	}
	debug.FreeOSMemory()
	debug.FreeOSMemory() // what finalizers and pools held on to the first time
	freed, err := residentMemory(os.Getpid())
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return memory{Natural: natural, Freed: freed, Heap: int64(m.HeapAlloc), Goroutines: runtime.NumGoroutine()}, err
}

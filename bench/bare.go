package main

import (
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
)

// bareConfig is what a bare loop is started with.
type bareConfig struct {
	Members int `json:"members"`
	Batch   int `json:"batch"` // frames of a write
	Size    int `json:"size"`  // of a payload
}

// A bareLoop is the least that a server could do: for each publish it writes a frame to every member, with one write(2) on a blocking
// socket, and nothing else. It does not speak WebSocket or parse anything; a byte from its publisher is a publish. With a batch it waits
// for as many publishes and writes their frames to each member at once.
type bareLoop struct {
	cfg                   bareConfig
	frames, bytes, writes atomic.Uint64
}

func newBareRole() map[string]handler {
	b := new(bareLoop)
	return map[string]handler{
		"start": handle(func(cfg bareConfig) (address string, err error) {
			if err := allowFiles(cfg.Members + spareFiles); err != nil {
				return "", err
			}
			b.cfg = cfg
			listener, address, err := listen()
			if err != nil {
				return "", err
			}
			go func() {
				// It ends with the process.
				if err := b.run(listener); err != nil {
					fmt.Fprintln(os.Stderr, "bench: bare loop:", err)
					os.Exit(1)
				}
			}()
			return address, nil
		}),
		"stats": handle(func(none) (serverStats, error) {
			return serverStats{
				Goroutines: runtime.NumGoroutine(),
				Frames:     b.frames.Load(), Bytes: b.bytes.Load(), Writes: b.writes.Load(),
			}, nil
		}),
	}
}

// run accepts the members and then the publisher, and works until the publisher has gone.
func (b *bareLoop) run(listener int) error {
	runtime.LockOSThread()
	members := make([]int, b.cfg.Members)
	for i := range members {
		fd, err := accept(listener)
		if err != nil {
			return err
		}
		members[i] = fd
	}
	publisher, err := accept(listener)
	if err != nil {
		return err
	}
	var batch, packet []byte
	waiting, number := 0, 0
	in := make([]byte, 4096)
	for {
		n, err := read(publisher, in)
		if err == errClosed {
			return nil
		} else if err != nil {
			return err
		}
		for waiting += n; waiting >= b.cfg.Batch; waiting -= b.cfg.Batch {
			batch = batch[:0]
			for range b.cfg.Batch {
				packet = appendEvent(packet[:0], messagePrefix, 0, number, b.cfg.Size)
				batch = appendFrame(batch, finText, packet)
				number++
			}
			writes := 0
			for _, fd := range members {
				calls, err := write(fd, batch)
				if err != nil {
					return err
				}
				writes += calls
			}
			b.writes.Add(uint64(writes))
			b.frames.Add(uint64(b.cfg.Batch * len(members)))
			b.bytes.Add(uint64(len(batch) * len(members)))
		}
	}
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// serveFrames plays a bare loop for one member: for each publish it writes the messages that script says, by publish, and after that
// closes the member's connection if that is asked for.
func serveFrames(t *testing.T, size int, script [][]int, hangUp bool) (address string) {
	t.Helper()
	listener, address, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	served, over := make(chan error, 1), make(chan struct{})
	t.Cleanup(func() {
		close(over)
		syscall.Shutdown(listener, syscall.SHUT_RDWR) // should the load not have connected
		if err := <-served; err != nil {
			t.Errorf("the server: %v", err)
		}
	})
	go func() {
		served <- func() error {
			defer syscall.Close(listener)
			member, err := accept(listener)
			if err != nil {
				return err
			}
			publisher, err := accept(listener)
			if err != nil {
				return err
			}
			defer syscall.Close(publisher)
			p := make([]byte, 1)
			for _, numbers := range script {
				if _, err := read(publisher, p); err != nil {
					return err
				}
				var out []byte
				for _, n := range numbers {
					out = appendFrame(out, finText, appendEvent(nil, messagePrefix, 0, n, size))
				}
				if _, err := write(member, out); err != nil {
					return err
				}
			}
			if !hangUp {
				<-over
			}
			return syscall.Close(member)
		}()
	}()
	return address
}

func newTestLoad(t *testing.T, address string, size int) *load {
	t.Helper()
	l := &load{buf: make([]byte, 2*maxMessage)}
	if err := l.dial(dialArgs{Addresses: []string{address}, Bare: true, Sockets: 1, Join: true, Publishers: 1, Size: size}); err != nil {
		t.Fatal(err)
	}
	return l
}

// What a server does wrong with deliveries is counted, and does not hold up the run for longer than it has to.
func TestLoadFindsFaults(t *testing.T) {
	const size = 200
	for _, test := range []struct {
		name    string
		script  [][]int // with 3 publishes in flight
		want    faults
		stalled bool
	}{
		{"nothing wrong", [][]int{{0}, {1}, {2}, {3}}, faults{}, false},
		{"reordered", [][]int{{}, {1, 0}, {2}, {3}}, faults{Reordered: 1}, false},
		{"doubled", [][]int{{0}, {1}, {2, 1}, {3}}, faults{Doubled: 1}, false},
		{"missing", [][]int{{0}, {}, {2}, {3}}, faults{Missing: 1}, true},
		{"not sent by anybody", [][]int{{0}, {1, 9}, {2}, {3}}, faults{Malformed: 1}, false},
	} {
		stall := time.Minute // nothing waits for it, and a busy machine may take its time
		if test.stalled {
			stall = 300 * time.Millisecond
		}
		t.Run(test.name, func(t *testing.T) {
			l := newTestLoad(t, serveFrames(t, size, test.script, false), size)
			got, err := l.measure(runArgs{Window: 3, Publishes: len(test.script), Stall: stall})
			if err != nil {
				t.Fatal(err)
			}
			if got.Stalled != test.stalled || got.Publishes != len(test.script) {
				t.Errorf("got %+v, want %d publishes and stalled %t", got, len(test.script), test.stalled)
			}
			wrong, err := l.check(none{})
			if wrong != test.want || err != nil {
				t.Errorf("got %+v, %v; want %+v", wrong, err, test.want)
			}
		})
	}
}

// A member whose connection is lost ends the run with an error, not with a figure.
func TestLoadFindsLostConnection(t *testing.T) {
	l := newTestLoad(t, serveFrames(t, 128, [][]int{{0}}, true), 128)
	_, err := l.measure(runArgs{Window: 1, Publishes: 2, Stall: time.Minute})
	if !errors.Is(err, errClosed) {
		t.Errorf("got %v, want %v", err, errClosed)
	}
}

// hasChild reports whether this process has a child of a role.
func hasChild(t *testing.T, role string) bool {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Error(err)
	}
	parent := fmt.Sprintf("\nPPid:\t%d\n", os.Getpid())
	for _, path := range paths {
		status, _ := os.ReadFile(path + "/status") // one that has ended meanwhile is none
		command, _ := os.ReadFile(path + "/cmdline")
		if strings.Contains(string(status), parent) && strings.HasSuffix(string(command), "\x00"+roleArg+"\x00"+role+"\x00") {
			return true
		}
	}
	return false
}

// An interrupted benchmark leaves no child behind.
func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	watched := make(chan bool, 1)
	go func() {
		defer cancel()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for !hasChild(t, "load") {
			select {
			case <-tick.C:
			case <-ctx.Done():
				watched <- false
				return
			}
		}
		watched <- true
	}()
	var out bytes.Buffer
	err := run(ctx, strings.Fields("-members 10 -duration 1m"), &out, io.Discard)
	cancel()
	if seen := <-watched; err == nil || out.Len() > 0 || !seen {
		t.Errorf("got %v and %q, child seen: %t; want an error after the load has begun, and no report", err, out.String(), seen)
	}
	// wait(2): ECHILD is that there is none, running or ended.
	if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != syscall.ECHILD {
		t.Errorf("got child %d, %v; want %v", pid, err, syscall.ECHILD)
	}
}

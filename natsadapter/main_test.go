package natsadapter

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain fails if the tests leave goroutines of this package or of nats.go behind.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if left := waitForGoroutines(5 * time.Second); left != "" {
			fmt.Fprintf(os.Stderr, "goroutines left behind:\n%s\n", left)
			code = 1
		}
	}
	os.Exit(code)
}

// waitForGoroutines waits until all goroutines of links have ended. It returns those that have not after the time given.
func waitForGoroutines(timeout time.Duration) string {
	buf := make([]byte, 1<<20)
	for deadline := time.Now().Add(timeout); ; <-time.After(5 * time.Millisecond) {
		var left []string
		for _, stack := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(stack, "nats-io/nats.go.") || strings.Contains(stack, "natsadapter.(*link)") {
				left = append(left, stack)
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return strings.Join(left, "\n\n")
		}
	}
}

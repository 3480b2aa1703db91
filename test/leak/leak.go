// Package leak finds goroutines that tests have left behind.
package leak

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// patience is how long goroutines may take to end. It is long because the machine may be busy; nothing waits for it to pass.
const patience = 30 * time.Second

// Main is for a TestMain: it runs the tests and ends the process. They fail if a goroutine is left whose stack contains one of marks, such as
// a part of a package's path.
func Main(m *testing.M, marks ...string) {
	code := m.Run()
	if code == 0 {
		if stacks := left(marks); stacks != "" {
			fmt.Fprintf(os.Stderr, "goroutines left behind:\n%s\n", stacks)
			code = 1
		}
	}
	os.Exit(code)
}

// left waits until no such goroutine is left, or for patience. It returns the stacks of all if there is still one.
func left(marks []string) string {
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		b := make([]byte, 1<<20)
		stacks := string(b[:runtime.Stack(b, true)])
		_, others, _ := strings.Cut(stacks, "\n\n") // the first is this one
		found := false
		for _, mark := range marks {
			found = found || strings.Contains(others, mark)
		}
		if !found {
			return ""
		}
		if time.Now().After(deadline) {
			return stacks
		}
	}
}

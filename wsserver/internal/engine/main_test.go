package engine

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// patience bounds every wait outside of a bubble. It is long because the machine may be busy; nothing waits for it to pass.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if stacks := leaked(); stacks != "" {
			fmt.Fprintf(os.Stderr, "goroutines left behind:\n%s\n", stacks)
			code = 1
		}
	}
	os.Exit(code)
}

// leaked waits until no goroutine of a server is left, and returns the stacks if one stays.
func leaked() string {
	for deadline := time.Now().Add(patience / 10); ; time.Sleep(5 * time.Millisecond) {
		b := make([]byte, 1<<20)
		stacks := string(b[:runtime.Stack(b, true)])
		_, others, _ := strings.Cut(stacks, "\n\n") // the first is this one
		if !strings.Contains(others, "belfry/wsserver/internal/") {
			return ""
		}
		if time.Now().After(deadline) {
			return stacks
		}
	}
}

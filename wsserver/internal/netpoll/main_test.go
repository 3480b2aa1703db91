package netpoll

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
)

// patience bounds every wait of the tests. It is long because the machine may be busy; nothing waits for it to pass.
const patience = 20 * time.Second

func TestMain(m *testing.M) {
	code := m.Run()
	if left := loops(0); left != "" && code == 0 {
		fmt.Fprintf(os.Stderr, "goroutines left behind:\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

// loops returns the stacks if not exactly want pollers run.
func loops(want int) string {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	if bytes.Count(stacks, []byte("netpoll.(*Poller).run(")) == want {
		return ""
	}
	return string(stacks)
}

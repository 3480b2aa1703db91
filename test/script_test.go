package test

import (
	"context"
	"os/exec"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
)

// scriptTime is how long a script may take. It is long because the machine may be busy; nothing waits for it to pass.
const scriptTime = 10 * time.Minute

// notRaced is for a test whose code runs in other programs, or is text: the race detector sees nothing of it.
func notRaced(t *testing.T) {
	t.Helper()
	if kit.Raced {
		t.Skip("nothing here is for the race detector")
	}
}

// script returns a command that runs a script in the folder node. When ctx ends, so does its standard input, and with it a script that has
// a browser to close; it is killed if it has not ended 10 s later. Its input ends also if the test is killed.
func script(ctx context.Context, runner, program string, args ...string) (*exec.Cmd, error) {
	cmd := exec.CommandContext(ctx, runner, append([]string{program}, args...)...)
	cmd.Dir = "node"
	stdin, err := cmd.StdinPipe()
	cmd.Cancel = func() error { return stdin.Close() }
	cmd.WaitDelay = 10 * time.Second
	return cmd, err
}

package outbox

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
)

// patience bounds every wait of the tests. It is long because the machine may be busy; nothing waits for it to pass.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	beClients()
	code := m.Run()
	if left := leaked(); left != "" && code == 0 {
		fmt.Fprintf(os.Stderr, "goroutines left behind:\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

// leaked returns the stacks if a goroutine of this package runs besides the caller's.
func leaked() string {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for _, running := range []string{"outbox.(*shard).run(", "outbox.(*watch).run(", "outbox.(*Group).write("} {
		if bytes.Contains(stacks, []byte(running)) {
			return string(stacks)
		}
	}
	return ""
}

package outbox

import (
	"bytes"
	"runtime"
	"testing"

	"github.com/belfry-io/belfry/test/leak"
)

func TestMain(m *testing.M) {
	beClients()
	leak.Main(m, running...)
}

// running is what the stacks of this package's goroutines have in them.
var running = []string{"outbox.(*shard).run(", "outbox.(*watch).run(", "outbox.(*Group).write("}

// leaked returns the stacks if a goroutine of this package runs.
func leaked() string {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for _, r := range running {
		if bytes.Contains(stacks, []byte(r)) {
			return string(stacks)
		}
	}
	return ""
}

// counted returns the counts of a Group or of Shards.
func counted(of interface{ AddTo(*Stats) }) (sum Stats) {
	of.AddTo(&sum)
	return sum
}

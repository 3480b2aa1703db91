package test

import (
	"flag"
	"testing"

	"github.com/belfry-io/belfry/test/child"
	"github.com/belfry-io/belfry/test/leak"
)

// TestMain runs the tests, or is a child of theirs.
func TestMain(m *testing.M) {
	child.Main(map[string]child.Role{"calm": beCalm, "stuck": beStuck, "flooded": beFlooded})
	flag.Parse()
	if !raceEnabled {
		// The tests that are parallel wait for other processes more often than they compute.
		flag.Set("test.parallel", "4")
	}
	leak.Main(m, "belfry/", "nats-io/")
}

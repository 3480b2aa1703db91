package test

import (
	"flag"
	"testing"

	"github.com/belfry-io/belfry/test/child"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/test/leak"
)

// roles are what this program may be as a child of its tests.
var roles = map[string]child.Role{"calm": beCalm, "stuck": beStuck}

// TestMain runs the tests, or is a child of theirs.
func TestMain(m *testing.M) {
	child.Main(roles)
	flag.Parse()
	if !kit.Raced {
		// The tests that are parallel wait for other processes more often than they compute.
		flag.Set("test.parallel", "4")
	}
	leak.Main(m, "belfry/", "nats-io/")
}

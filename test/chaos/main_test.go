package chaos

import (
	"os"
	"testing"

	"github.com/belfry-io/belfry/test/child"
)

// TestMain runs the tests, or is a process of theirs.
func TestMain(m *testing.M) {
	child.Main(roles)
	os.Exit(m.Run())
}

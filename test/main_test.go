package test

import (
	"os"
	"testing"

	"github.com/belfry-io/belfry/test/leak"
)

// TestMain runs the tests, or is a child of theirs.
func TestMain(m *testing.M) {
	if role := os.Getenv(childRole); role != "" {
		os.Exit(beChild(role))
	}
	leak.Main(m, "belfry/", "nats-io/")
}

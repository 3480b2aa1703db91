package test

import (
	"os"
	"testing"
)

// TestMain runs the tests, or is a node of their clusters in a process of its own: see startNode.
func TestMain(m *testing.M) {
	if url := os.Getenv(nodeURL); url != "" {
		os.Exit(beNode(url))
	}
	os.Exit(m.Run())
}

package test

import (
	"os"
	"testing"
)

// TestMain runs the tests, or is a node or a NATS server of theirs in a process of its own: see startNode and victim.
func TestMain(m *testing.M) {
	if url := os.Getenv(nodeURL); url != "" {
		os.Exit(beNode(url))
	}
	if ports := os.Getenv(natsPorts); ports != "" {
		os.Exit(beNATS(ports))
	}
	os.Exit(m.Run())
}

package test

import (
	"os"
	"testing"
)

// TestMain runs the tests, or is a child of theirs.
func TestMain(m *testing.M) {
	if role := os.Getenv(childRole); role != "" {
		os.Exit(beChild(role))
	}
	os.Exit(m.Run())
}

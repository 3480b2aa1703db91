//go:build !linux

package netpoll

import (
	"errors"
	"testing"
)

func TestUnsupported(t *testing.T) {
	if _, err := New(); !errors.Is(err, errors.ErrUnsupported) {
		t.Fatalf("New: got error %v, want one that wraps errors.ErrUnsupported", err)
	}
}

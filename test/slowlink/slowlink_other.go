//go:build !linux

package slowlink

import (
	"runtime"
	"testing"

	"github.com/belfry-io/belfry/test/need"
)

func newLink(t *testing.T) *Link {
	t.Helper()
	need.Missing(t, "network namespaces", runtime.GOOS+" has none: run it on Linux")
	return nil
}

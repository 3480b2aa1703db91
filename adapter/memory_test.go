package adapter_test

import (
	"testing"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/adaptertest"
)

func TestMemoryConformance(t *testing.T) {
	adaptertest.Run(t, adaptertest.Config{
		New:   func(*testing.T) []adapter.Adapter { return []adapter.Adapter{new(adapter.Memory)} },
		Exact: true,
	})
}

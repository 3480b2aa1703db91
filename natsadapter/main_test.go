package natsadapter

import (
	"testing"

	"github.com/belfry-io/belfry/test/leak"
)

func TestMain(m *testing.M) { leak.Main(m, "nats-io/nats.go.", "natsadapter.(*link)") }

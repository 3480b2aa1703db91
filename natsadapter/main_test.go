package natsadapter

import (
	"os"
	"testing"

	"github.com/belfry-io/belfry/test/leak"
)

func TestMain(m *testing.M) {
	if os.Getenv(serveEnv) != "" {
		serve()
		return
	}
	leak.Main(m, "nats-io/nats.go.", "natsadapter.(*link)")
}

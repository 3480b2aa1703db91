package natsadapter

import (
	"flag"
	"os"
	"testing"

	"github.com/belfry-io/belfry/test/leak"
)

func TestMain(m *testing.M) {
	if os.Getenv(serveEnv) != "" {
		serve()
		return
	}
	flag.Parse()
	flag.Set("test.parallel", "8") // the tests that are parallel wait for servers and time-outs more often than they compute
	leak.Main(m, "nats-io/nats.go.", "natsadapter.(*link)")
}

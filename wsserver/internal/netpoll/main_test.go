package netpoll

import (
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/leak"
)

// patience bounds every wait of the tests. It is long because the machine may be busy; nothing waits for it to pass.
const patience = time.Minute

func TestMain(m *testing.M) { leak.Main(m, "netpoll.(*Poller)") }

package engine

import (
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/leak"
)

// patience bounds every wait outside of a bubble. It is long because the machine may be busy; nothing waits for it to pass.
const patience = time.Minute

func TestMain(m *testing.M) { leak.Main(m, "belfry/wsserver/internal/") }

package test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/belfry-io/belfry/wsserver"
)

// TestClientAndHandshakes: official clients that find too many others before them come back by themselves, until all are in.
func TestClientAndHandshakes(t *testing.T) {
	t.Parallel()
	srv := newServer(t, wsserver.Config{Limits: wsserver.Limits{Handshakes: 10, HandshakeWait: 500 * time.Millisecond}})
	serveScenario(srv)
	runLimits(t, srv, "crowd", 30)
	if got := srv.Stats(); got.Refusals.Handshakes == 0 || got.Accepted != 30 {
		t.Errorf("%d accepted, refused %+v", got.Accepted, got.Refusals)
	}
}

// TestClientAndRates: official clients that are held back lose nothing, and notice only that answers take longer.
func TestClientAndRates(t *testing.T) {
	t.Parallel()
	srv := newServer(t, wsserver.Config{
		Limits: wsserver.Limits{EventRate: 100, ByteRate: 100_000, FastFor: time.Hour},
	})
	serveScenario(srv)
	began := time.Now()
	runLimits(t, srv, "flood", 250)
	if took := time.Since(began); took < 4*time.Second {
		t.Errorf("it took %v only: the rate does not hold", took)
	}
	if got := srv.Stats(); got.HeldBack < 3 || got.Ended.TooFast != 0 {
		t.Errorf("held back %d times, ended %+v", got.HeldBack, got.Ended)
	}
}

func runLimits(t *testing.T, srv *wsserver.Server, what string, n int) {
	t.Helper()
	node := needNode(t)
	ctx, cancel := context.WithTimeout(t.Context(), scriptTime)
	defer cancel()
	cmd, err := script(ctx, node, "limits.mjs", serve(t, srv), what, fmt.Sprint(n))
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("node limits.mjs: %v\n%s", err, out)
	}
	t.Logf("%s", out)
}

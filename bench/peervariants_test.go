package main

import (
	"context"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/belfry-io/belfry/bench/internal/crowd"
)

// TestPeerVariants has every peer of one node do what its variants are for, and what centrifuge does instead of a message to an id.
func TestPeerVariants(t *testing.T) {
	skipElsewhere(t)
	t.Parallel()
	shop := newPeerShop(t.Output())
	t.Cleanup(func() {
		if err := shop.close(); err != nil {
			t.Error(err)
		}
	})
	echo := trial{nodes: 1, sockets: 3, flow: crowd.Flow{Kind: crowd.Echo, InFlight: 3}}
	private := trial{nodes: 1, sockets: 3, flow: crowd.Flow{Kind: crowd.Private, InFlight: 3}}
	for _, p := range peerPrograms {
		if p.Broker != "" {
			continue
		}
		if p.adapter != "" {
			needPackages(t)
		}
		side := peerSide(shop, p)
		trials := []trial{private}
		for _, v := range side.variants {
			trials = append(trials, as(echo, "", "", v, ""))
		}
		for _, sc := range trials {
			run, err := measureSide(t.Context(), &sc, side, 20*time.Millisecond, 0)
			if err != nil || run.Values["deliveries_s"] <= 0 {
				t.Errorf("%s, variant %q, %s: %v, %v", p.Name, sc.variant, sc.flow.Kind, run, err)
			}
			for fault, n := range run.Faults {
				if n > 0 {
					t.Errorf("%s, variant %q, %s: %d %s", p.Name, sc.variant, sc.flow.Kind, n, fault)
				}
			}
		}
	}
}

// TestDeflateRefused: a side that does not compress is not measured as one that does.
func TestDeflateRefused(t *testing.T) {
	skipElsewhere(t)
	t.Parallel()
	sides, err := ownSides()
	if err != nil {
		t.Fatal(err)
	}
	s := *sides[slices.IndexFunc(sides, func(s *side) bool { return s.name == "belfry" })]
	command := s.command
	s.command = func(ctx context.Context, broker string, _ ...string) (*exec.Cmd, error) { return command(ctx, broker) }
	sc := trial{nodes: 1, sockets: 2, variant: deflate, flow: crowd.Flow{Kind: crowd.Echo, InFlight: 1}}
	if _, err := measureSide(t.Context(), &sc, &s, time.Millisecond, 0); err == nil || !strings.Contains(err.Error(), "0 of 2") {
		t.Errorf("got %v, want the clients that it did not agree with", err)
	}
}

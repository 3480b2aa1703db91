package main

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/belfry-io/belfry/bench/internal/result"
)

// TestComparison compares belfry with the floors, in miniature.
func TestComparison(t *testing.T) {
	skipElsewhere(t)
	t.Parallel()
	dir := t.TempDir()
	var out, progress strings.Builder
	args := []string{
		peersCommand, "-sides", "^(belfry|bare)", "-runs", "1", "-duration", "100ms", "-most", "200", "-rest", "0s", "-out", dir,
		"-only", "^(echo|room-100|rooms-100x10|slow-100|private|remote-1000|join-10000|connect-10000|connect-tls|echo-msgpack|" +
			"cluster-hop|away-100x10|broker-killed)$",
	}
	if err := run(t.Context(), args, &out, &progress); err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	kept, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("kept: %q, %v; want one file", kept, err)
	}
	f, err := result.Load(dir, kept[0])
	if err != nil {
		t.Fatal(err)
	}
	const traffic = "belfry, bare epoll, a write a frame, bare epoll, all that waits in a write"
	for name, sides := range map[string]string{
		"echo": traffic, "room-100": traffic, "rooms-100x10": traffic, "private": traffic,
		"slow-100": "belfry", "remote-1000": "belfry, NATS", "join-10000": "belfry", "connect-10000": "belfry, bare hijack",
		"connect-tls": "belfry, bare hijack", "echo-msgpack": "belfry", "away-100x10": "belfry, NATS", "broker-killed": "belfry, NATS",
		"cluster-hop": "belfry, NATS, bare nats.go, a message and its answer",
	} {
		sc := f.Scenario(name)
		if sc == nil {
			t.Errorf("%s: not there", name)
			continue
		}
		var got []string
		for _, row := range sc.Rows {
			got = append(got, row.Side)
			for _, metric := range sc.Metrics {
				s, ok := row.Spread(metric)
				// CPU and memory may be too little to be seen, and what is lost, doubled or out of order should be nothing.
				if little := strings.HasSuffix(metric, "_us") || slices.Contains([]string{"socket_bytes", "load_busy", "lost", "doubled", "reordered"}, metric); !ok || s.Runs != 1 || s.Least <= 0 && !little {
					t.Errorf("%s, %s: %s is %v of %d runs", name, row.Side, metric, s, s.Runs)
				}
			}
			for fault, n := range row.Faults() {
				if n > 0 {
					t.Errorf("%s, %s: %d %s", name, row.Side, n, fault)
				}
			}
		}
		if strings.Join(got, ", ") != sides {
			t.Errorf("%s: got %q, want %q", name, got, sides)
		}
	}
	if len(f.Notes) > 0 || len(f.Missing) > 0 {
		t.Errorf("got notes %q, missing %v", f.Notes, f.Missing)
	}
	if !strings.Contains(out.String(), "| belfry ") || !strings.Contains(progress.String(), "left] run 1, ") || !strings.Contains(progress.String(), "the page: ") {
		t.Errorf("the report, or the progress, says too little:\n%s\n%s", out.String(), progress.String())
	}
}

// TestComparisonArguments has what is asked for and cannot be done told.
func TestComparisonArguments(t *testing.T) {
	for _, args := range []string{"-runs 0", "-only (", "-sides [", "-duration 0s", "-rest -1s", "-most 0", "-only no-such", "more"} {
		err := run(t.Context(), append([]string{peersCommand, "-out", t.TempDir()}, strings.Fields(args)...), new(strings.Builder), new(strings.Builder))
		if supported() != nil && err != nil {
			continue
		}
		if _, ok := errors.AsType[usageError](err); !ok {
			t.Errorf("%s: got %v, want a usageError", args, err)
		}
	}
	for args, want := range map[string]string{"-h": "go run ./bench -peers -all", "-list": "| rooms-100x10 "} {
		var out strings.Builder
		if err := run(t.Context(), []string{peersCommand, args}, &out, new(strings.Builder)); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("%s: got %q, %v", args, out.String(), err)
		}
	}
}

// TestComparisonMissing leaves out what is not installed, and names it.
func TestComparisonMissing(t *testing.T) {
	skipElsewhere(t)
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	var out strings.Builder
	args := []string{peersCommand, "-sides", "^(belfry|socket.io, memory adapter|socket.io, Redis adapter)$", "-runs", "1", "-duration", "50ms", "-out", dir, "-only", "^(echo|cluster-1000)$"}
	if err := run(t.Context(), args, &out, new(strings.Builder)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"socket.io, memory adapter", "socket.io, Redis adapter", "apt-get install"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report does not name %q:\n%s", want, out.String())
		}
	}
}

// TestComparisonWrong has a delivery of belfry that went wrong end the command with an error, and no other's.
func TestComparisonWrong(t *testing.T) {
	for ours, want := range map[bool]bool{true: true, false: false} {
		c := &comparison{file: &result.File{Scenarios: []result.Scenario{{Name: "echo"}}}}
		c.file.Scenarios[0].Add("one", false, ours, result.Run{Faults: map[string]int{"missing": 1}})
		if err := c.wrong(); (err != nil) != want {
			t.Errorf("ours %v: got %v", ours, err)
		}
	}
}

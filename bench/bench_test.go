package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	child(os.Args[1:]) // the tests start this program as children, as the command does
	contend(os.Args[1:])
	os.Setenv("GORACE", "atexit_sleep_ms=0") // a child has reported its races when it ends
	os.Exit(m.Run())
}

func skipElsewhere(t *testing.T) {
	t.Helper()
	if err := supported(); err != nil {
		t.Skip(err)
	}
}

// TestBench runs the whole benchmark in miniature.
func TestBench(t *testing.T) {
	skipElsewhere(t)
	t.Parallel()
	const members, publishes, inFlight, idles, runs = 20, 200, 16, 50, 2
	path := filepath.Join(t.TempDir(), "report.json")
	var out, progress strings.Builder
	args := strings.Fields("-members 20 -publishes 200 -inflight 16 -idle 50 -settle 0s -runs 2 -json " + path)
	if err := run(t.Context(), args, &out, &progress); err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	t.Logf("\n%s", out.String())
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}

	want := []setup{{Batch: 1}, {Batch: inFlight}, {Nodes: 1}, {Nodes: 3}}
	if got := r.setups(); len(r.Fanouts) != runs*len(want) || len(got) != len(want) {
		t.Fatalf("got %d measurements of %v, want %d of %v", len(r.Fanouts), got, runs*len(want), want)
	}
	if first, again := r.Fanouts[0].Setup, r.Fanouts[len(want)].Setup; first != want[0] || again != want[len(want)-1] {
		t.Errorf("the runs began with %v and %v, want %v and %v", first, again, want[0], want[len(want)-1])
	}
	frame := float64(len(appendFrame(nil, finText, appendEvent(nil, messagePrefix, 0, 0, 128))))
	for _, f := range r.Fanouts {
		published := publishes
		if f.Setup.Nodes == 0 { // the bare loop has full batches only
			published += (f.Setup.Batch - publishes%f.Setup.Batch) % f.Setup.Batch
		}
		if f.Load.Publishes != published || f.Load.Deliveries != published*members || f.Faults.sum() != 0 || f.Load.Stalled {
			t.Errorf("%v: got %+v, %+v; want %d publishes, %d deliveries and no faults", f.Setup, f.Load, f.Faults, published, published*members)
		}
		if f.Server.total() <= 0 || f.Clients.total() <= 0 || f.Load.Elapsed <= 0 || f.Load.P50 <= 0 || f.Load.P99 < f.Load.P50 || f.Load.Max < f.Load.P99 {
			t.Errorf("%v: got CPU %v and %v, %+v; want times that make sense", f.Setup, f.Server, f.Clients, f.Load)
		}
		if (f.Broker.total() > 0) != (f.Setup.Nodes > 1) {
			t.Errorf("%v: got %v of CPU of NATS, want some if there are several nodes", f.Setup, f.Broker)
		}
		w := f.Written
		if w.Writes == 0 || w.Writes > w.Frames || float64(w.Frames) < 0.9*float64(f.Load.Deliveries) || float64(w.Frames) > 1.1*float64(f.Load.Deliveries) {
			t.Errorf("%v: got %d frames in %d writes, want about %d frames", f.Setup, w.Frames, w.Writes, f.Load.Deliveries)
		}
		if f.Setup.Nodes == 0 && w.Frames != w.Writes*uint64(f.Setup.Batch) {
			t.Errorf("%v: got %d frames in %d writes", f.Setup, w.Frames, w.Writes)
		}
		// What is compared is of one size.
		if got := float64(w.Bytes) / float64(w.Frames); got < frame-0.5 || got > frame+0.5 {
			t.Errorf("%v: got %.1f bytes a frame, want %.1f", f.Setup, got, frame)
		}
	}
	if len(r.Idles) != runs {
		t.Fatalf("got %d measurements of idle sockets, want %d", len(r.Idles), runs)
	}
	for _, i := range r.Idles {
		if i.Sockets != idles || freed(i.Before) <= 0 || freed(i.After) <= 0 || i.Before.Goroutines <= 0 || i.After.Goroutines <= 0 {
			t.Errorf("got %+v, want %d sockets, memory and goroutines", i, idles)
		}
	}
	for _, part := range []string{"`go run ./bench -members 20 ", "Commit: ", "cores", "| belfry, 1 node ", "| belfry, 3 nodes ",
		"| bare write loop, 1 frame a write ", "| bare write loop, 16 frames a write ", "| idle sockets ", "| missing "} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("the report lacks %q", part)
		}
	}
	if n := strings.Count(progress.String(), "\n"); n != runs*(len(want)+1) {
		t.Errorf("got %d lines of progress, want %d", n, runs*(len(want)+1))
	}
}

package main

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

var kept []byte

// TestVerdict plants each kind of leak, and has the gauges tell.
func TestVerdict(t *testing.T) {
	w, err := newWorld(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
	settled := func(before ...gauge) gauge {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if len(before) > 0 {
			return measure(w.nats.Subscriptions())
		}
		g, err := w.settle(ctx, before)
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	before := settled()
	if err := verdict([]gauge{before, settled(before)}); err != nil {
		t.Errorf("nothing was planted: %v", err)
	}
	stop := make(chan struct{})
	defer close(stop)
	for _, tc := range []struct {
		what  string
		plant func()
	}{
		{"heap", func() { kept = make([]byte, heapSlack+1<<20) }},
		{"goroutines", func() {
			for range countSlack + 1 {
				go func() { <-stop }()
			}
		}},
		{"descriptors", func() {
			if before.descriptors < 0 {
				return
			}
			for range countSlack + 1 {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { l.Close() })
			}
		}},
		{"NATS subscriptions", func() {
			nc, err := nats.Connect(w.nats.URL())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(nc.Close)
			if _, err := nc.SubscribeSync("x"); err != nil {
				t.Fatal(err)
			}
			nc.Flush()
		}},
	} {
		tc.plant()
		err := verdict([]gauge{before, settled(before)})
		if tc.what == "descriptors" && before.descriptors < 0 {
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tc.what) {
			t.Errorf("a leak of %s: %v", tc.what, err)
		}
	}
	kept = nil
}

// TestFailures: clients that do not get what they should are a failure of the soak, and so is a soak that tried nothing.
func TestFailures(t *testing.T) {
	w := new(world)
	if w.verdict() == nil {
		t.Error("nothing was tried, and all is well")
	}
	w.sessions.Store(1000)
	w.events.Store(1)
	if err := w.verdict(); err != nil {
		t.Error(err)
	}
	for range 20 {
		w.fail(errors.New("once"))
	}
	if err := w.verdict(); err == nil || !strings.Contains(err.Error(), "once") {
		t.Errorf("got %v", err)
	}
}

// TestVisits has clients of every kind live and leave.
func TestVisits(t *testing.T) {
	w, err := newWorld(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.churn(t.Context(), config{cycle: 500 * time.Millisecond, clients: 8})
	if err := errors.Join(w.verdict(), w.close()); err != nil {
		t.Error(err)
	}
	if w.sessions.Load() < 8 {
		t.Errorf("%d sessions", w.sessions.Load())
	}
}

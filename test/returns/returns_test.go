package main

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/child"
	"github.com/belfry-io/belfry/test/kit"
)

// TestMain runs the tests, or is a process of theirs.
func TestMain(m *testing.M) {
	child.Main(roles)
	os.Exit(m.Run())
}

// small is a run that is over after a few seconds.
func small(t *testing.T) config {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return config{
		plan: plan{Seed: seed, Rooms: 20, Rate: 200}, nodes: 3, clients: 60, last: 4 * time.Second, drop: 2 * time.Second,
		change: 10 * time.Second, polling: 10, recovery: true, least: 1, pace: 20, say: t.Logf,
	}
}

// TestReturns: clients that come back get what they are due.
func TestReturns(t *testing.T) {
	for _, c := range []struct {
		name   string
		plain  bool // without -all, too
		adjust func(*config)
	}{
		{"recovered", true, func(*config) {}},
		{"without recovery", false, func(cfg *config) { cfg.recovery, cfg.least, cfg.last = false, 0, 2*time.Second }},
		// Far more of the time than where 95 % are promised.
		{"a NATS server is killed", false, func(cfg *config) { cfg.faults.nats, cfg.least = true, 0.75 }},
		{"replaced", false, func(cfg *config) {
			cfg.faults.roll, cfg.drop, cfg.last, cfg.nodes, cfg.clients = true, 0, 2*time.Second, 2, 40
		}},
		{"any node for each request", false, func(cfg *config) {
			cfg.balanced, cfg.polling, cfg.words, cfg.last, cfg.drop = true, 80, 100, 3*time.Second, 4*time.Second
			cfg.least = 0.9 // a node that is suspect on a busy machine hands nothing over
		}},
		{"any node for each request, and nodes are killed", false, func(cfg *config) {
			cfg.balanced, cfg.polling, cfg.words, cfg.last = true, 50, 50, 3*time.Second
			cfg.faults.owner, cfg.drop = true, 0
		}},
		{"any node for each request, replaced", true, func(cfg *config) {
			cfg.balanced, cfg.polling, cfg.words = true, 50, 50
			cfg.faults.roll, cfg.drop, cfg.last, cfg.nodes, cfg.clients = true, 0, 2*time.Second, 2, 40
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !c.plain && !kit.All() {
				t.Skip("without -all")
			}
			cfg := small(t)
			c.adjust(&cfg)
			res, err := run(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			res.tell(t.Logf)
			if err := res.judge(cfg); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestPlanted: faults of what clients get are found.
func TestPlanted(t *testing.T) {
	cfg := small(t)
	cfg.drop, cfg.last, cfg.recovery, cfg.least = 0, 2*time.Second, false, 0
	counts := make([]int, cfg.clients)
	kept := make([][]string, cfg.clients)
	cfg.plant = func(c *client, event []string) [][]string { // under the client's lock
		if len(event) > 4 { // a volatile one
			return [][]string{event}
		}
		counts[c.number]++
		switch n := counts[c.number]; {
		case n%10 != 0:
			if k := kept[c.number]; k != nil && k[1] == event[1] {
				kept[c.number] = nil
				return [][]string{event, k}
			}
		case c.number%5 == 0:
			return nil
		case c.number%5 == 1:
			return [][]string{event, event}
		case c.number%5 == 2 && kept[c.number] == nil:
			kept[c.number] = event
			return nil
		case c.number%5 == 3 && event[0] == `"b"`:
			other := slices.Clone(event)
			other[2] = "1" + other[2]
			return [][]string{event, other}
		}
		return [][]string{event}
	}
	res, err := run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	res.tell(t.Logf)
	if res.Lost == 0 || res.Doubled == 0 || res.Disorder == 0 || res.Ghosts == 0 || res.judge(cfg) == nil {
		t.Errorf("faults were planted, of which the verdict says %+v", res.verdict)
	}
}

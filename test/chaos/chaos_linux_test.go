package chaos

import (
	"flag"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	chaos    = flag.Duration("chaos", 0, "for how long rounds of faults begin, each with all of them; 0 runs none")
	seedFlag = flag.Uint64("seed", 0, "of one round, to run it again; 0 is a new one each time")
)

const guestCount = 2

// TestChaos runs rounds in which everything breaks that package documentation names, while servers broadcast to one room, to unions of rooms,
// to all, with exceptions, and emitters and servers come and go. In the end nothing that was due is lost, doubled or out of order in a room, but
// what was told: by OnLoss, or by the error of a Close. The schedule follows from the seed.
func TestChaos(t *testing.T) {
	if *chaos == 0 {
		t.Skip("runs with -chaos 1m")
	}
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	for start := time.Now(); ; seed++ {
		if !t.Run("", func(t *testing.T) { round(t, seed) }) || *seedFlag != 0 || time.Since(start) > *chaos {
			return
		}
	}
}

// round runs all faults once.
func round(t *testing.T, seed uint64) {
	net := newNetwork(t)
	for range 2*brokerCount + guestCount + 1 {
		net.add()
	}
	t.Logf("again with: go test ./test/chaos -v -chaos 1s -seed %d", seed)
	c := begin(t, net, seed)
	for i := range guestCount {
		c.invite(i, net.hosts[2*brokerCount+i])
	}
	for _, f := range faultsOf(seed) {
		t.Logf("%s (%v)", f.kind, f.last.Round(time.Millisecond))
		if err := c.inflict(f, net.hosts[2*brokerCount+guestCount]); err != nil {
			t.Errorf("%s: %v", f.kind, err)
			break
		}
	}
	close(c.stop)
	c.guests.Wait()
	if c.err != nil {
		t.Error(c.err)
	}
	if t.Failed() {
		return
	}
	c.settle(t)
}

// settle ends the broadcasts, and waits until nothing is wrong any more.
func (c *trial) settle(t *testing.T) {
	if err := c.whole(); err != nil {
		t.Fatal(err)
	}
	for _, s := range c.stayers {
		if err := s.ask("hush", nil); err != nil {
			t.Fatal(err)
		}
	}
	// A node that was killed is given up after 30 s: what was lost of it is told then.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Second) {
		h, reports, err := c.history()
		if err != nil {
			t.Fatal(err)
		}
		wrong, due := h.check()
		lost := func(what string) bool { return strings.HasPrefix(what, "loss") || strings.HasPrefix(what, "silent") }
		if len(wrong) > 0 && time.Now().Before(deadline) && !slices.ContainsFunc(wrong, func(what string) bool { return !lost(what) }) {
			continue
		}
		if len(wrong) > 0 {
			t.Errorf("seed %d:\n%s", c.seed, strings.Join(wrong, "\n"))
		}
		c.tell(t, h, reports, due)
		return
	}
}

// tell says what has happened, and checks that it was much.
func (c *trial) tell(t *testing.T, h *history, reports []singerReport, due int) {
	var repaired, overtaken, missed, unknown uint64
	for _, r := range reports {
		repaired, overtaken = repaired+r.Stats.Repaired, overtaken+r.Stats.Overtaken
		missed, unknown = missed+r.Stats.Missed, unknown+r.Stats.Unknown
	}
	sent, ends, named := 0, make(map[end]int), 0
	for _, o := range h.origins {
		sent += o.Sent
		ends[o.End]++
		if slices.ContainsFunc(h.nodes, func(n node) bool { return n.Stayed && o.without(n.ID) }) {
			named++
		}
	}
	t.Logf("%d broadcasts, %d deliveries due at the %d servers that stayed; %d broadcasts repaired, %d overtook another of another room; "+
		"%d nodes have closed, %d of them without one that stayed; %d were killed; %d losses were told, and %d unknown ones",
		sent, due, len(reports), repaired, overtaken, ends[closed], named, ends[killed], missed, unknown)
	if repaired == 0 || ends[closed] == named || ends[killed] == 0 || due < 1000 {
		t.Error("too little has happened to tell anything")
	}
}

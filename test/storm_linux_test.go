package test

import (
	"encoding/json"
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/child"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
)

var storms = flag.Int("storm", 0, "have 5,000 clients reconnect at once, so many `times`, and hold the server to what others notice of it")

// TestStorm: clients that reconnect all at once are all back, begin no faster than Limits.Handshakes, and others hardly notice.
func TestStorm(t *testing.T) {
	clients, handshakes, rounds := 500, 200, 1
	var via []string
	if *storms > 0 {
		clients, handshakes, rounds = 5000, 500, *storms
		via = []string{"nice"} // clients are on other machines: here they are not to take time from the server
	}
	server := child.Start(t, "stormed", fmt.Sprint(handshakes))
	address, err := server.Line()
	if err != nil {
		t.Fatal(err)
	}
	observer := child.Start(t, "observer", address, "100")
	if _, err := observer.Line(); err != nil {
		t.Fatal(err)
	}
	storm, err := child.Run(via, "stormers", address, fmt.Sprint(clients))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(storm.Kill)
	tell(t, storm, "connect")
	var quiet, stormy []time.Duration
	for range rounds {
		look(t, observer)
		time.Sleep(time.Duration(clients/handshakes) * time.Second)
		before := look(t, observer)

		tell(t, storm, "drop")
		kit.Eventually(t, "the clients to be gone", func() bool { return stats(t, server).Connections == 100 })
		look(t, observer)
		was := stats(t, server)
		took := tell(t, storm, "connect")
		during, is := look(t, observer), stats(t, server)

		t.Logf("%d clients came back in %v, %d times refused; those connected: p50 %v, p99 %v, at the most %v; without the storm %v, %v, %v",
			clients, took.Round(time.Millisecond), is.Refusals.Handshakes-was.Refusals.Handshakes, during.P50, during.P99, during.Max,
			before.P50, before.P99, before.Max)
		quiet, stormy = append(quiet, before.P99), append(stormy, during.P99)
		if is.Connections != 100+clients {
			t.Errorf("%d connections, want %d", is.Connections, 100+clients)
		}
		if least := time.Duration(clients-handshakes/20) * time.Second / time.Duration(handshakes); took < least*9/10 {
			t.Errorf("they came back in %v, want at least %v: the limit does not bite", took, least)
		}
	}
	slices.Sort(quiet)
	slices.Sort(stormy)
	most := 2 * time.Second // on a machine that is busy with other things
	if *storms > 0 {
		most = 2 * quiet[rounds/2]
	}
	if got := stormy[rounds/2]; got > most {
		t.Errorf("p99 of those connected: %v during the storm and %v without it, by the median; want %v at the most", got, quiet[rounds/2], most)
	}
}

func look(t *testing.T, observer *child.Child) (s sight) {
	t.Helper()
	ask(t, observer, &s)
	if s.Failed != "" {
		t.Fatalf("a client that was connected has ended: %s", s.Failed)
	}
	return s
}

func stats(t *testing.T, server *child.Child) (s struct {
	Connections int
	Refusals    wsserver.Refusals
}) {
	t.Helper()
	ask(t, server, &s)
	return s
}

// tell has the clients do something, and returns how long it took.
func tell(t *testing.T, storm *child.Child, what string) time.Duration {
	t.Helper()
	line, err := storm.Ask(what)
	if err != nil {
		t.Fatal(err)
	}
	took, err := time.ParseDuration(line)
	if err != nil {
		t.Fatalf("the clients say %q", line)
	}
	return took
}

// ask has a child print a line of JSON.
func ask(t *testing.T, c *child.Child, dst any) {
	t.Helper()
	line, err := c.Ask("now")
	if err == nil {
		err = json.Unmarshal([]byte(line), dst)
	}
	if err != nil {
		t.Fatal(err)
	}
}

package test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/test/child"
)

// TestNodeIsKilled loses a node of three to kill -9 while fetches, counts, joins, acknowledgements and server-side events wait for it: each
// returns long before its deadline, with what the other nodes have answered and an error that names the one that is missing. Nothing of
// all that is left behind, here or at NATS.
func TestNodeIsKilled(t *testing.T) {
	servers := natstest.NewCluster(t, 3)
	var hubs []*cluster.Hub
	var rooms []*cluster.Rooms
	for i := range 2 {
		h, r := newHub(t, natsadapter.New(natsadapter.Config{URL: servers[i].URL(), Cluster: "test", Logger: testLogger(t)}))
		h.OnServerSide(func(ctx context.Context, e cluster.ServerEvent) ([]byte, error) { return []byte("done"), nil })
		hubs, rooms = append(hubs, h), append(rooms, r)
	}
	for i, r := range rooms {
		if err := populate(t.Context(), hubs[i], r, calm{}); err != nil {
			t.Fatal(err)
		}
	}
	waitForHub(t, hubs[0], 1)
	waitForHub(t, hubs[1], 1)
	subscriptions := func() (n int) {
		for _, s := range servers {
			n += s.Subscriptions()
		}
		return n
	}
	goroutines, subscribed := runtime.NumGoroutine(), subscriptions()

	node := child.Start(t, "stuck", servers[2].URL())
	third, err := node.Line()
	if err != nil {
		t.Fatal(err)
	}
	waitForHub(t, hubs[0], 2)
	waitForHub(t, hubs[1], 2)

	lobby := cluster.Selection{Rooms: []string{"lobby"}}
	calls := map[string]func(ctx context.Context, r *cluster.Rooms) (got, want int, err error){
		"fetch": func(ctx context.Context, r *cluster.Rooms) (int, int, error) {
			infos, err := r.FetchSockets(ctx, lobby)
			return len(infos), 2 * members, err
		},
		"acks": func(ctx context.Context, r *cluster.Rooms) (int, int, error) {
			acks, err := r.EmitWithAck(ctx, cluster.Broadcast{Rooms: lobby.Rooms, Payload: []byte("?")})
			return len(acks.Answers), 2 * members, err
		},
		"server-side event": func(ctx context.Context, r *cluster.Rooms) (int, int, error) {
			answers, err := r.ServerSideEmitWithAck(ctx, []byte("?"), nil)
			return len(answers), 1, err
		},
	}
	type result struct {
		name      string
		got, want int
		err       error
		took      time.Duration
	}
	const rounds = 20
	results := make(chan result, rounds*len(calls)) // so that the calls end, also if the test does before
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for name, call := range calls {
		for i := range rounds {
			go func() {
				start := time.Now()
				got, want, err := call(ctx, rooms[i%2])
				results <- result{name, got, want, err, time.Since(start)}
			}()
		}
	}
	select { // the third node answers none of them
	case r := <-results:
		t.Fatalf("%s returned before the node was killed: %d of %d, %v", r.name, r.got, r.want, r.err)
	case <-time.After(300 * time.Millisecond):
	}
	killed := time.Now()
	node.Kill()
	for range rounds * len(calls) {
		r := <-results
		var partial *cluster.PartialError
		if !errors.As(r.err, &partial) || !slices.Equal(partial.Nodes, []string{third}) || r.got != r.want {
			t.Errorf("%s: %d of %d, %v; want those of the other nodes, and that %s is missing", r.name, r.got, r.want, r.err, third)
		}
		if d := time.Since(killed); d > 20*time.Second {
			t.Errorf("%s returned %v after the node had been killed", r.name, d)
		}
	}
	t.Logf("all %d calls have returned %v after the kill", rounds*len(calls), time.Since(killed))

	// Nobody waits for it any more, and nothing is left of it.
	start := time.Now()
	if n, err := rooms[0].Count(t.Context(), lobby); n != 2*members {
		t.Errorf("a count afterwards: %d, %v; want %d", n, err, 2*members)
	}
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("a count afterwards took %v", d)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		n, subs := runtime.NumGoroutine(), subscriptions()
		if n <= goroutines && subs == subscribed {
			break
		}
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines and %d subscriptions at last, %d and %d before\n%s",
				n, subs, goroutines, subscribed, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

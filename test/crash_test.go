package test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/test/child"
)

// crashCalls are the calls that ask other nodes, and how much of an answer each gets of every node.
var crashCalls = []struct {
	name string
	call func(ctx context.Context, r *cluster.Rooms) (int, error)
	each int // of this node
	of   int // of every other
}{
	{"fetch", func(ctx context.Context, r *cluster.Rooms) (int, error) {
		infos, err := r.FetchSockets(ctx, cluster.Selection{Rooms: []string{"lobby"}})
		return len(infos), err
	}, members, members},
	{"count", func(ctx context.Context, r *cluster.Rooms) (int, error) {
		return r.Count(ctx, cluster.Selection{Rooms: []string{"lobby"}})
	}, members, members},
	{"rooms", func(ctx context.Context, r *cluster.Rooms) (int, error) {
		names, err := r.AllRooms(ctx)
		return min(len(names), 1), err
	}, 1, 0},
	{"acks", func(ctx context.Context, r *cluster.Rooms) (int, error) {
		acks, err := r.EmitWithAck(ctx, cluster.Broadcast{Rooms: []string{"lobby"}, Payload: []byte("?")})
		return len(acks.Answers), err
	}, members, members},
	{"join", func(ctx context.Context, r *cluster.Rooms) (int, error) {
		return 0, r.SocketsJoin(ctx, cluster.Selection{Rooms: []string{"lobby"}}, fmt.Sprint("game", time.Now().UnixNano()))
	}, 0, 0},
	{"leave", func(ctx context.Context, r *cluster.Rooms) (int, error) {
		return 0, r.SocketsLeave(ctx, cluster.Selection{Rooms: []string{"lobby"}}, "nowhere")
	}, 0, 0},
	{"disconnect", func(ctx context.Context, r *cluster.Rooms) (int, error) {
		return 0, r.DisconnectSockets(ctx, cluster.Selection{Rooms: []string{"lobby"}}, false)
	}, 0, 0},
	{"server-side event", func(ctx context.Context, r *cluster.Rooms) (int, error) {
		answers, err := r.ServerSideEmitWithAck(ctx, []byte("?"), nil)
		return len(answers), err
	}, 0, 1},
}

// names reports whether err says that a node is missing; others may be, too.
func names(err error, node string) bool {
	var partial *cluster.PartialError
	return errors.As(err, &partial) && slices.Contains(partial.Nodes, node)
}

// TestCrash loses a node to kill -9, again and again, with one call at a time that comes right behind: it returns with what the other nodes have
// answered and the name of the one that is missing, not when that one was silent for long, but as soon as NATS says that nobody is there. In the
// end, after the time that is configured, calls count without it.
func TestCrash(t *testing.T) {
	const soon, silence = 100 * time.Millisecond, time.Second // what is promised; far below what a silence takes to be noticed
	servers := natstest.NewCluster(t, 3)
	const naming = 3 * time.Second
	open := func(i int) *cluster.Rooms {
		h := cluster.NewHub(cluster.HubConfig{
			Adapter:      natsadapter.New(natsadapter.Config{URL: servers[i].URL(), Cluster: "test"}),
			NameSuspects: naming,
			Logger:       testLogger(t),
		})
		t.Cleanup(func() { h.Close(context.Background()) })
		if err := h.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		h.OnServerSide(func(context.Context, cluster.ServerEvent) ([]byte, error) { return []byte("done"), nil })
		r := h.Rooms("/", func(payload []byte, _ bool) (any, error) { return payload, nil })
		if err := populate(t.Context(), h, r, calm{}); err != nil {
			t.Fatal(err)
		}
		return r
	}
	rooms := open(0)
	open(1)
	whole := func(each, of, nodes int) int { return each + of*nodes }
	fastest := time.Hour
	var killed time.Time
	for i, c := range crashCalls {
		node := child.Start(t, "calm", servers[i%3].URL())
		id, err := node.Line()
		if err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(2 * time.Minute); ; {
			n, err := c.call(t.Context(), rooms)
			if !names(err, id) && n == whole(c.each, c.of, 2) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s before the crash: %d, %v", c.name, n, err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		node.Kill()
		killed = time.Now()
		n, err := c.call(t.Context(), rooms)
		took := time.Since(killed)
		if !names(err, id) || n != whole(c.each, c.of, 1) {
			t.Errorf("%s after the crash of %s: %d, %v; want %d, without that node", c.name, id, n, err, whole(c.each, c.of, 1))
		}
		if took > silence {
			t.Errorf("%s returned %v after the crash, want less than %v", c.name, took, silence)
		}
		t.Logf("%s returned %v after the crash", c.name, took)
		fastest = min(fastest, took)
	}
	if fastest > soon {
		t.Errorf("the fastest of the calls took %v, want less than %v", fastest, soon)
	}
	const beat = 500 * time.Millisecond // a node says something so often: its silence may have begun before it died
	for {
		n, err := rooms.Count(t.Context(), cluster.Selection{Rooms: []string{"lobby"}})
		d := time.Since(killed)
		if err == nil {
			if n != 2*members || d < naming-2*beat {
				t.Errorf("%v after the crash: %d without an error, want %d, and the node's name until %v", d, n, 2*members, naming)
			}
			t.Logf("a count is without an error %v after the crash", d)
			break
		}
		if d > naming+20*time.Second { // well before it is given up
			t.Fatalf("%v after the crash: %v", d, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

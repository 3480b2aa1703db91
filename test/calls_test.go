package test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/cluster"
)

// A mortal node says nothing and hears nothing once it is dead, as after kill -9.
type mortal struct {
	adapter.Adapter
	dead atomic.Bool
}

func (m *mortal) Open(ctx context.Context, recv func(msg []byte)) (adapter.Link, error) {
	link, err := m.Adapter.Open(ctx, func(msg []byte) {
		if !m.dead.Load() {
			recv(msg)
		}
	})
	if err != nil {
		return nil, err
	}
	return &mortalLink{link, m}, nil
}

type mortalLink struct {
	adapter.Link
	node *mortal
}

func (l *mortalLink) Publish(ctx context.Context, topic adapter.Topic, msg []byte) error {
	if l.node.dead.Load() {
		return nil
	}
	return l.Link.Publish(ctx, topic, msg)
}

// TestCallsAcrossServers asks nodes on three NATS servers for everything that nodes ask of each other, first all of them, and then with one
// that dies. The calls are made at the same time then, so none of them may depend on what another one changes: only blue comes and goes.
func TestCallsAcrossServers(t *testing.T) {
	t.Parallel()
	const members = 200
	last := new(mortal)
	var hubs [3]*cluster.Hub
	var rooms [3]*cluster.Rooms
	for i, a := range adapters(t, 3) {
		if i == 2 {
			last.Adapter = a
			hubs[i], rooms[i] = newHub(t, last)
		} else {
			hubs[i], rooms[i] = newHub(t, a)
		}
		hubs[i].OnServerSide(func(context.Context, cluster.ServerEvent) ([]byte, error) { return []byte("here"), nil })
		for n := range members {
			id, _ := newMember(t, hubs[i], rooms[i])
			if n == 0 {
				join(t, func() error { return rooms[i].Join(t.Context(), id, "black") })
			}
		}
	}
	for _, h := range hubs {
		waitForHub(t, h, len(hubs)-1)
	}
	all := cluster.Selection{}
	calls := []struct {
		name string
		call func(ctx context.Context) (parts, whole int, err error)
	}{
		{"SocketsJoin", func(ctx context.Context) (int, int, error) {
			return 0, 0, rooms[0].SocketsJoin(ctx, all, "red", "blue")
		}},
		{"SocketsLeave", func(ctx context.Context) (int, int, error) { return 0, 0, rooms[0].SocketsLeave(ctx, all, "blue") }},
		{"Fetch", func(ctx context.Context) (int, int, error) {
			infos, err := rooms[0].FetchSockets(ctx, cluster.Selection{Rooms: []string{"red"}})
			return len(infos), members, err
		}},
		{"Count", func(ctx context.Context) (int, int, error) {
			n, err := rooms[0].Count(ctx, cluster.Selection{Rooms: []string{"red"}, Except: []string{"black"}})
			return n, members - 1, err
		}},
		{"EmitWithAck", func(ctx context.Context) (int, int, error) {
			acks, err := rooms[0].EmitWithAck(ctx, cluster.Broadcast{Rooms: []string{"red"}, Payload: []byte("ask")})
			return len(acks.Answers), members, err
		}},
		{"ServerSideEmitWithAck", func(ctx context.Context) (int, int, error) {
			answers, err := rooms[0].ServerSideEmitWithAck(ctx, []byte("where"), nil)
			return len(answers) + 1, 1, err
		}},
	}
	for _, c := range calls {
		var n, each int
		err := rejoin(func() (err error) { n, each, err = c.call(t.Context()); return err })
		if err != nil || n != each*len(hubs) {
			t.Errorf("%s: %d of %d, %v", c.name, n, each*len(hubs), err)
		}
	}
	last.dead.Store(true)
	gone := hubs[2].Node()
	results := make(chan func(), len(calls))
	for _, c := range calls {
		go func() {
			start := time.Now()
			n, each, err := c.call(t.Context())
			d := time.Since(start)
			results <- func() {
				var p *cluster.PartialError
				if !errors.As(err, &p) || !slices.Equal(p.Nodes, []string{gone}) || n != each*2 {
					t.Errorf("%s without a node: %d of %d, %v; want a PartialError that names %s", c.name, n, each*2, err, gone)
				}
				if d > 20*time.Second {
					t.Errorf("%s without a node took %v", c.name, d)
				}
			}
		}()
	}
	for range calls {
		(<-results)()
	}
}

package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/belfry-io/belfry/test/kit"
)

func TestChangeMembers(t *testing.T) {
	clusters(t, func(t *testing.T, hubs []*Hub) {
		r := hubs[0].Rooms("/", frame)
		var reds, blues []*member
		for _, h := range hubs {
			_, m := add(t, h, "red")
			reds = append(reds, m)
			_, m = add(t, h, "blue")
			blues = append(blues, m)
		}
		each := func(name string, members []*member, want ...string) {
			t.Helper()
			for i, m := range members {
				got(t, fmt.Sprint(name, " of node ", i), m, want...)
			}
		}
		kit.OK(t, r.SocketsJoin(t.Context(), Selection{Rooms: []string{"red"}}, "green", "gold"))
		for i, h := range hubs { // live from everywhere
			say(t, h, fmt.Sprint("green ", i), Broadcast{Rooms: []string{"green"}})
			settle()
			each("red", reds, fmt.Sprint("green ", i))
		}
		kit.OK(t, r.SocketsLeave(t.Context(), Selection{Rooms: []string{"gold"}}, "green", "none"))
		kit.Got(r.Count(t.Context(), Selection{Rooms: []string{"green"}})).Is(t, 0, "left in green")
		kit.Got(r.Count(t.Context(), Selection{Rooms: []string{"gold"}})).Is(t, len(hubs), "left in gold")
		kit.OK(t, r.SocketsJoin(t.Context(), Selection{Local: true}, "here"), "SocketsJoin on this node")
		kit.Got(r.Count(t.Context(), Selection{Rooms: []string{"here"}})).Is(t, 2, "joined here")
		kit.ErrorIs(t, r.SocketsJoin(t.Context(), Selection{}, strings.Repeat("x", MaxRoomName+1)), ErrRoomName,
			"SocketsJoin of a name that is none")
		kit.OK(t, r.DisconnectSockets(t.Context(), Selection{Rooms: []string{"red"}}, true))
		kit.OK(t, r.DisconnectSockets(t.Context(), Selection{}, false))
		each("red", reds, "disconnect true")
		each("blue", blues, "disconnect false")
		kit.Got(r.Count(t.Context(), Selection{})).Is(t, 0, "members left")
	})
}

// Requests that change members have their place among the broadcasts of the same goroutine, whether or not it waits for them.
func TestChangesKeepTheirPlace(t *testing.T) {
	impatient, cancel := context.WithCancel(context.Background())
	cancel()
	clusters(t, func(t *testing.T, hubs []*Hub) {
		r := hubs[0].Rooms("/", frame)
		red := []string{"red"}
		var members []*member
		var ids []string
		for _, h := range hubs {
			id, m := add(t, h, "red")
			members, ids = append(members, m), append(ids, id)
		}
		for range 20 {
			say(t, hubs[0], "blue 1", Broadcast{Rooms: []string{"blue"}})
			_ = r.SocketsJoin(impatient, Selection{Rooms: red}, "blue", "gold")
			say(t, hubs[0], "red and gold", Broadcast{Rooms: []string{"red", "gold"}})
			_ = r.SocketsLeave(impatient, Selection{Rooms: []string{"blue"}}, "blue")
			say(t, hubs[0], "blue 3", Broadcast{Rooms: []string{"blue"}})
			_, _ = r.EmitWithAck(impatient, Broadcast{Rooms: red, Payload: []byte("ask")})
			for _, id := range ids {
				say(t, hubs[0], "own", Broadcast{Rooms: []string{id}})
			}
			_ = r.SocketsLeave(impatient, Selection{}, "gold")
			say(t, hubs[0], "not gold", Broadcast{Except: []string{"gold"}})
			settle()
			for i, m := range members {
				got(t, fmt.Sprint("node ", i), m, "red and gold", "ask", "own", "not gold")
			}
		}
		say(t, hubs[0], "bye", Broadcast{Rooms: red})
		_ = r.DisconnectSockets(impatient, Selection{Rooms: red}, false)
		say(t, hubs[0], "nobody", Broadcast{})
		settle()
		for i, m := range members {
			got(t, fmt.Sprint("node ", i), m, "bye", "disconnect false")
		}
	})
}

// What a remote node's Join could not confirm is said to the one who asked for it.
func TestUnfencedRemoteJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, wires := newWires(3)
		var deaf sync.Map // the node whose messages node 1 does not get
		wires[1].receiving = func(msg []byte, broadcast bool, recv func([]byte)) {
			if from, _, m, _ := decode(msg); m != nil {
				if id, ok := deaf.Load("node"); ok && id == from {
					return
				}
			}
			recv(msg)
		}
		hubs := clusterOn(t, wires...)
		add(t, hubs[1], "red")
		deaf.Store("node", hubs[2].Node())
		err := hubs[0].Rooms("/", frame).SocketsJoin(t.Context(), Selection{Rooms: []string{"red"}}, "blue")
		unfenced, ok := err.(*UnfencedError)
		if !ok || !slices.Equal(unfenced.Nodes, []string{hubs[2].Node()}) {
			t.Errorf("SocketsJoin: %v, want an UnfencedError that names %s", err, hubs[2].Node())
		}
		idle(t, hubs...)
	})
}

// So is what the asker's own could not.
func TestUnfencedSocketsJoinHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, wires := newWires(2)
		var deaf atomic.Bool
		wires[0].receiving = func(msg []byte, broadcast bool, recv func([]byte)) {
			if broadcast || !deaf.Load() {
				recv(msg)
			}
		}
		hubs := clusterOn(t, wires...)
		_, m := add(t, hubs[0], "red")
		deaf.Store(true)
		err := hubs[0].Rooms("/", frame).SocketsJoin(t.Context(), Selection{Rooms: []string{"red"}}, "blue")
		if unfenced, ok := err.(*UnfencedError); !ok || !slices.Equal(unfenced.Nodes, []string{hubs[1].Node()}) {
			t.Errorf("SocketsJoin: %v, want an UnfencedError that names %s", err, hubs[1].Node())
		}
		say(t, hubs[0], "x", Broadcast{Rooms: []string{"blue"}})
		got(t, "the member", m, "x")
		idle(t, hubs...)
	})
}

// What is asked for is done on this node while others take their time.
func TestOwnNodeIsServedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := deafened(t, 2)
		_, m := add(t, hubs[0], "red")
		r := hubs[0].Rooms("/", frame)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for _, call := range []func(){
			func() { r.SocketsJoin(ctx, Selection{Rooms: []string{"red"}}, "blue") },
			func() { r.EmitWithAck(ctx, Broadcast{Rooms: []string{"blue"}, Payload: []byte("ask")}) },
			func() { r.SocketsLeave(ctx, Selection{Rooms: []string{"red"}}, "red") },
			func() { r.DisconnectSockets(ctx, Selection{Rooms: []string{"blue"}}, true) },
		} {
			go call()
			settle()
		}
		got(t, "the member", m, "ask", "disconnect true")
		if names := r.all(); slices.Contains(names, "red") || slices.Contains(names, "blue") {
			t.Errorf("rooms %q are left", names)
		}
		cancel()
		settle()
		idle(t, hubs...)
	})
}

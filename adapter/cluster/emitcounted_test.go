package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/test/kit"
)

// A broadcast that is counted reaches whom it selects, once, and counts those who have taken it.
func TestEmitCounted(t *testing.T) {
	clusters(t, func(t *testing.T, hubs []*Hub) {
		n := len(hubs)
		r := hubs[0].Rooms("/", frame)
		var red, blue, both, deaf []*member
		for _, h := range hubs {
			for _, m := range []struct {
				list  *[]*member
				rooms []string
			}{{&red, []string{"red"}}, {&blue, []string{"blue"}}, {&both, []string{"red", "blue"}}, {&deaf, []string{"red"}}} {
				_, added := add(t, h, m.rooms...)
				*m.list = append(*m.list, added)
			}
			deaf[len(deaf)-1].refusing = true
		}
		for _, c := range []struct {
			rule      string
			broadcast Broadcast
			want      int
			to        string // of red, blue, both and deaf
		}{
			{"all", Broadcast{}, 3 * n, "rbBd"},
			{"a room", Broadcast{Rooms: []string{"red"}}, 2 * n, "rBd"},
			{"a union, each once", Broadcast{Rooms: []string{"red", "blue", "red"}}, 3 * n, "rbBd"},
			{"except", Broadcast{Except: []string{"blue"}}, n, "rd"},
			{"except wins", Broadcast{Rooms: []string{"red", "blue"}, Except: []string{"red"}}, n, "b"},
			{"many rooms", Broadcast{Rooms: []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "blue"}}, 2 * n, "bB"},
			{"this node", Broadcast{Rooms: []string{"blue"}, Local: true}, 2, "bB"},
			{"volatile", Broadcast{Rooms: []string{"blue"}, Volatile: true}, 2 * n, "bB"},
			{"nobody", Broadcast{Rooms: []string{"none"}}, 0, ""},
		} {
			start := time.Now()
			c.broadcast.Payload = []byte("x")
			got, err := r.EmitCounted(t.Context(), c.broadcast)
			if d := time.Since(start); got != c.want || err != nil || d > 10*time.Millisecond {
				t.Errorf("%s: %d, %v after %v; want %d", c.rule, got, err, d, c.want)
			}
			var want []string
			if c.broadcast.Volatile {
				want = []string{"volatile x"}
			} else {
				want = []string{"x"}
			}
			for key, members := range map[string][]*member{"r": red, "b": blue, "B": both, "d": deaf} {
				for i, m := range members {
					if got := m.take(); slices.Equal(got, want) != (strings.Contains(c.to, key) && (i == 0 || !c.broadcast.Local)) || len(got) > 1 {
						t.Errorf("%s: member %s of node %d got %q", c.rule, key, i, got)
					}
				}
			}
		}
	})
}

// Broadcasts that are counted come in their order with those that are not, and with changes of the rooms.
func TestCountedKeepsItsPlace(t *testing.T) {
	clusters(t, func(t *testing.T, hubs []*Hub) {
		r := hubs[0].Rooms("/", frame)
		var members []*member
		for _, h := range hubs {
			_, m := add(t, h, "red")
			members = append(members, m)
		}
		var want []string
		for i := range 50 {
			say(t, hubs[0], fmt.Sprint(i), Broadcast{Rooms: []string{"red"}})
			if got, err := r.EmitCounted(t.Context(), Broadcast{Rooms: []string{"red", "blue"}, Payload: []byte("count")}); err != nil || got != len(hubs) {
				t.Errorf("%d, %v", got, err)
			}
			say(t, hubs[0], fmt.Sprint(i), Broadcast{})
			want = append(want, fmt.Sprint(i), "count", fmt.Sprint(i))
		}
		go r.SocketsLeave(t.Context(), Selection{}, "red")
		synctest.Wait()
		if got, err := r.EmitCounted(t.Context(), Broadcast{Rooms: []string{"red"}, Payload: []byte("left")}); err != nil || got != 0 {
			t.Errorf("behind a leave: %d, %v", got, err)
		}
		settle()
		for i, m := range members {
			got(t, fmt.Sprint("node ", i), m, want...)
		}
	})
}

func TestUnframeableCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := cluster(t, 2)
		add(t, hubs[1])
		_, err := hubs[0].Rooms("/", frame).EmitCounted(t.Context(), Broadcast{Payload: []byte("unframeable")})
		var p *PartialError
		if !errors.As(err, &p) || !slices.Equal(p.Nodes, []string{hubs[1].Node()}) || !strings.Contains(err.Error(), "no frame for it") {
			t.Errorf("with a member elsewhere: %v", err)
		}
		add(t, hubs[0])
		if _, err := hubs[0].Rooms("/", frame).EmitCounted(t.Context(), Broadcast{Payload: []byte("unframeable")}); err == nil || errors.As(err, &p) {
			t.Errorf("with a member here: %v", err)
		}
		idle(t, hubs...)
	})
}

// A node whose queue is full has handed the broadcast on all the same, and says so when there is room.
func TestCountWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var full atomic.Bool
		stuck := make(chan struct{})
		_, wires := newWires(2)
		wires[1].publishing = func(ctx context.Context, topic adapter.Topic) error {
			if full.Load() {
				<-stuck
			}
			return nil
		}
		near, far := open(t, wires[0]), NewHub(HubConfig{Adapter: wires[1], Logger: silent, QueueBytes: 1000})
		t.Cleanup(func() { far.Close(context.Background()) })
		for _, h := range []*Hub{near, far} {
			kit.OK(t, h.Ready(t.Context()))
		}
		_, m := add(t, far)
		settle()
		full.Store(true)
		say(t, far, string(make([]byte, 2000)), Broadcast{})
		m.take()
		time.AfterFunc(time.Second, func() { close(stuck) })
		start := time.Now()
		n, err := near.Rooms("/", frame).EmitCounted(t.Context(), Broadcast{Payload: []byte("x")})
		if d := time.Since(start); n != 1 || err != nil || d < time.Second {
			t.Errorf("%d, %v after %v; want 1 after a second", n, err, d)
		}
		got(t, "the member", m, "x")
		idle(t, near, far)
	})
}

// Whoever else comes or goes, a client is answered.
func TestClientIsAnsweredThroughChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, wires := cluster(t, 3)
		_, m := add(t, hubs[0])
		answering(m, "late", 5*time.Second)
		client := NewHub(HubConfig{Adapter: wires[0].Memory, Client: true, Logger: silent})
		t.Cleanup(func() { client.Close(context.Background()) })
		kit.OK(t, client.Ready(t.Context()))
		for _, change := range []func(){
			func() { open(t, wires[0].Memory) },
			func() { hubs[1].Close(t.Context()) },
			wires[2].die,
		} {
			time.AfterFunc(time.Second, change)
			acks, err := client.Rooms("/", frame).EmitWithAck(t.Context(), Broadcast{Payload: []byte("x")})
			kit.Equal(t, len(acks.Answers), 1, "answers, that of the member alone", err)
		}
		client.Close(t.Context())
		settle()
		idle(t, hubs[0])
	})
}

// A client that goes leaves no answer behind.
func TestClientLeavesUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, wires := cluster(t, 1)
		_, m := add(t, hubs[0])
		client := NewHub(HubConfig{Adapter: wires[0].Memory, Client: true, Logger: silent})
		kit.OK(t, client.Ready(t.Context()))
		go client.Rooms("/", frame).EmitWithAck(t.Context(), Broadcast{})
		settle()
		if m.forgotten() != 0 {
			t.Fatal("the question was given up too soon")
		}
		client.Close(t.Context())
		settle()
		kit.Equal(t, m.forgotten(), 1, "questions forgotten when the client is gone")
		idle(t, hubs[0])
	})
}

// A node without members counts those of others, and counts as none.
func TestClientCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		hubs := clusterOn(t, &wire{Memory: memory}, &wire{Memory: memory})
		populate(t, hubs)
		client := NewHub(HubConfig{Adapter: memory, Client: true, Logger: silent})
		t.Cleanup(func() { client.Close(context.Background()) })
		kit.OK(t, client.Ready(t.Context()))
		for i := range 2 {
			kit.Got(client.Rooms("/", frame).EmitCounted(t.Context(), Broadcast{})).Is(t, 2, "the client")
			kit.Got(hubs[i].Rooms("/", frame).EmitCounted(t.Context(), Broadcast{})).Is(t, 2, "node", i)
		}
	})
}

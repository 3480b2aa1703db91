package cluster

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
	"github.com/belfry-io/belfry/adapter/internal/mesh"
	"github.com/belfry-io/belfry/test/kit"
)

// works checks that hubs, of which no member is in the room, do together what a cluster does.
func works(t *testing.T, room string, hubs ...*Hub) {
	t.Helper()
	members := make([]*member, len(hubs))
	for i, h := range hubs {
		_, members[i] = add(t, h, room)
		h.Handle(room, func(_ context.Context, _ string, payload []byte) ([]byte, error) { return payload, nil })
	}
	var want []string
	for _, h := range hubs {
		for k := range 5 {
			want = append(want, fmt.Sprint(h.Node(), k))
			say(t, h, want[len(want)-1], Broadcast{Rooms: []string{room}})
		}
	}
	time.Sleep(time.Second)
	slices.Sort(want)
	for i, m := range members {
		came := m.take()
		slices.Sort(came)
		kit.EqualSlices(t, came, want, "member", i, "in", room)
		r := hubs[i].Rooms("/", frame)
		if n, err := r.Count(t.Context(), Selection{Rooms: []string{room}}); n != len(hubs) || err != nil {
			t.Errorf("node %d counts %d in %s, %v", i, n, room, err)
		}
		for _, h := range hubs {
			if out, err := hubs[i].Call(t.Context(), h.Node(), room, []byte("x")); string(out) != "x" || err != nil {
				t.Errorf("node %d called %s: %q, %v", i, h.Node(), out, err)
			}
		}
	}
}

// stranger returns a function that says something to all nodes of a cluster, as none of them.
func stranger(t *testing.T, memory *adapter.Memory) func(msg []byte) {
	t.Helper()
	link, err := memory.Open(t.Context(), func([]byte) {})
	kit.OK(t, err)
	t.Cleanup(func() { link.Close() })
	return func(msg []byte) {
		t.Helper()
		kit.OK(t, link.Publish(t.Context(), adapter.Topic{Kind: adapter.Cluster}, msg))
	}
}

// A node that says what this version does not know is ignored in that, and counted; the others are not disturbed, nor the rest of what it says.
func TestNewerNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		sieves := []*sieve{newSieve(memory), newSieve(memory)}
		hubs := clusterOn(t, sieves[0].wire, sieves[1].wire)
		newer := stranger(t, memory)
		count := uint64(0)
		speak := func(msg []byte) {
			count++
			newer(msg)
		}
		say := func() {
			id := string(append([]byte{byte(len(nodeA))}, nodeA...))
			for _, version := range []byte{0, 2, 255} {
				for kind := range 20 {
					speak([]byte(string([]byte{version, byte(kind)}) + id + "\x00whatever there is"))
				}
			}
			for _, kind := range []byte{0, 13, 100, 255} {
				speak([]byte(string([]byte{envelope.Version, kind}) + id + "\x00whatever there is"))
			}
			body := envelope.AppendBody(nil, &envelope.Body{Route: 5, Namespace: "/"})
			speak(envelope.AppendBroadcast(nil, nodeA, mesh.Stamp{Sequence: 1, Prev: []uint64{0}}, body))
		}
		say()
		works(t, "red", hubs...)
		say()
		works(t, "blue", hubs...)
		for i, h := range hubs {
			if s := h.Stats(); s.Malformed != count || len(s.Nodes) != 1 || len(s.Suspects) != 0 {
				t.Errorf("node %d: %+v, want %d malformed, and one node", i, s, count)
			}
		}
	})
}

// A version that appends fields to every message, flags to every broadcast, and asks what is not known here, is understood in the rest.
func TestAppendedFields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, wires := newWires(3)
		for i, w := range wires {
			rng := rand.New(rand.NewPCG(1, uint64(i)))
			w.receiving = func(msg []byte, broadcast bool, recv func([]byte)) {
				if broadcast && rng.IntN(5) == 0 {
					return // the messages of repair have more in them, too
				}
				if m, err := envelope.Decode(msg); err == nil && m.Chunk == nil {
					msg = append(msg, "\xff what comes later"...)
				}
				recv(msg)
			}
		}
		hubs := clusterOn(t, wires...)
		works(t, "red", hubs...)
		_, m := add(t, hubs[1], "green")
		body := &envelope.Body{Route: envelope.ByRoom, Flags: 1<<40 | envelope.Volatile, Namespace: "/", Rooms: []string{"green"}, Payload: []byte("flagged")}
		_, err := hubs[0].publish(body)
		kit.OK(t, err)
		time.Sleep(time.Second)
		got(t, "the member", m, "volatile flagged")
		for i, h := range hubs {
			if s := h.Stats(); s.Malformed+s.Missed+s.Unknown != 0 || len(s.Nodes) != 2 {
				t.Errorf("node %d: %+v, want nothing malformed", i, s)
			}
		}
		for _, h := range hubs {
			kit.OK(t, h.Close(t.Context()))
		}
	})
}

// A link may bring what is for other nodes: it is ignored, whatever it says.
func TestMessagesForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, wires := newWires(3)
		var mu sync.Mutex // recv is called by one goroutine at a time
		rng := rand.New(rand.NewPCG(1, 1))
		strayed := 0
		for _, w := range wires {
			w.receiving = func(msg []byte, _ bool, recv func([]byte)) {
				mu.Lock()
				defer mu.Unlock()
				if m, err := envelope.Decode(msg); err == nil && broadcasts(m) && rng.IntN(4) == 0 {
					return // so that there are repairs, and what belongs to them
				}
				recv(msg)
			}
			w.over = func(topic adapter.Topic, msg []byte, _ func(*wire)) {
				if topic.Kind == adapter.Node {
					mu.Lock()
					defer mu.Unlock()
					for _, to := range wires {
						to.mu.Lock()
						recv := to.recv
						to.mu.Unlock()
						if recv != nil {
							strayed++
							recv(bytes.Clone(msg))
						}
					}
				}
			}
		}
		hubs := clusterOn(t, wires...)
		for i := range 5 {
			works(t, fmt.Sprint("room", i), hubs...)
		}
		for i, h := range hubs {
			if s := h.Stats(); s.Malformed+s.Missed+s.Unknown != 0 || s.Repaired == 0 || s.Resent == 0 || len(s.Suspects) != 0 {
				t.Errorf("node %d: %+v, want repairs and nothing missed", i, s)
			}
		}
		if strayed < 100 {
			t.Errorf("%d messages went astray, too few to see anything", strayed)
		}
		idle(t, hubs...)
	})
}

// Nor does it matter what is said to others, by a node that is known.
func TestOrdersForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, wires := cluster(t, 2)
		_, m := add(t, hubs[0], "red")
		say(t, hubs[1], "1", Broadcast{Rooms: []string{"red"}})
		synctest.Wait()
		speak := stranger(t, wires[0].Memory)
		hash := hash(roomTopic("/", "red"))
		about := mesh.About{Age: time.Second}
		for _, message := range []mesh.Message{
			&mesh.Fence{About: about, Number: 1 << 30, Hello: true},
			&mesh.Ack{About: about, Fence: 2, Sent: 1 << 30, Members: []string{nodeB}},
			&mesh.Heartbeat{About: about, Upto: 1 << 30, Horizon: 1 << 29, Parts: 1, Tails: []mesh.Tail{{Hash: hash, Sequence: 1 << 30}}},
			&mesh.Resync{About: about},
			&mesh.Nack{Ranges: []mesh.Range{{Hash: hash, Upto: 1 << 30}}},
			&mesh.Gone{Horizon: 1 << 29, Stubs: []mesh.Stub{{Sequence: 2, Links: []mesh.Link{{Hash: hash, Prev: 1}}}}},
			&mesh.Confirm{},
			&mesh.Bye{Last: 1 << 30},
		} {
			speak(envelope.AppendMessage(nil, hubs[1].Node(), nodeA, message))
		}
		body := envelope.AppendBody(nil, &envelope.Body{Route: envelope.ByRoom, Namespace: "/", Rooms: []string{"red"}, Payload: []byte("not yours")})
		speak(envelope.AppendRepair(nil, hubs[1].Node(), nodeA, mesh.Stamp{Sequence: 2, Prev: []uint64{1}}, body))
		say(t, hubs[1], "2", Broadcast{Rooms: []string{"red"}})
		time.Sleep(3 * time.Second)
		got(t, "the member", m, "1", "2")
		if s := hubs[0].Stats(); !slices.Equal(s.Nodes, []string{hubs[1].Node()}) || len(s.Suspects) != 0 || s.Missed+s.Unknown+s.Malformed+s.Stale+s.Copies != 0 {
			t.Errorf("%+v, want that nothing has happened", s)
		}
	})
}

// captured returns messages of every kind, of a cluster that works and loses.
func captured(t *testing.T) (msgs [][]byte) {
	t.Helper()
	kinds := make(map[byte]bool)
	synctest.Test(t, func(t *testing.T) {
		hubs, sieves, _ := narrow(t, 2)
		var mu sync.Mutex
		for _, s := range sieves {
			n := 0
			drop := s.receiving
			s.receiving = func(msg []byte, broadcast bool, recv func([]byte)) {
				mu.Lock()
				msgs = append(msgs, bytes.Clone(msg))
				kinds[msg[1]] = true
				mu.Unlock()
				drop(msg, broadcast, recv)
			}
			s.set(func(m *envelope.Message) bool {
				if broadcasts(m) {
					n++
				}
				return broadcasts(m) && n%3 == 0
			})
		}
		works(t, "red", hubs...)
		say(t, hubs[0], text(1, 20_000), Broadcast{Rooms: []string{"red", "blue"}})
		settle()
		sieves[1].die()
		time.Sleep(time.Second)
		sieves[1].wire.set(adapter.State{Status: adapter.Connected})
		time.Sleep(time.Second)
		hubs[0].Close(t.Context())
	})
	if len(kinds) != 11 {
		t.Fatalf("kinds %v were captured, want all", kinds)
	}
	return msgs
}

// Messages that are no messages, or of nodes that are none, whatever their kind: nothing breaks, and those who are there go on.
func TestForgedMessages(t *testing.T) {
	msgs := captured(t)
	seed := uint64(time.Now().UnixNano())
	for _, as := range []string{"strangers", "members of the cluster"} {
		kit.Bubble(t, as, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			memory := new(adapter.Memory)
			var mu sync.Mutex // recv is called by one goroutine at a time
			wires := []*wire{{Memory: memory}, {Memory: memory}}
			for _, w := range wires {
				w.receiving = func(msg []byte, _ bool, recv func([]byte)) {
					mu.Lock()
					defer mu.Unlock()
					recv(msg)
				}
			}
			hubs := clusterOn(t, wires...)
			_, m := add(t, hubs[0], "red")
			_, n := add(t, hubs[1], "red")
			for range 20_000 {
				msg := bytes.Clone(msgs[rng.IntN(len(msgs))])
				if as == "strangers" {
					copy(msg[3:], fmt.Sprintf("stranger-%c", 'a'+rng.IntN(20)))
				} else {
					copy(msg[3:], hubs[1].Node())
				}
				if rng.IntN(2) == 0 { // for this node, whoever it was for; but not of a broadcast
					if i := bytes.IndexByte(msg[13:], nodeLen); i == 0 && len(msg) > 24 {
						copy(msg[14:], hubs[0].Node())
					}
				}
				for range rng.IntN(4) {
					i := rng.IntN(len(msg))
					if i >= 3 && i < 13 {
						continue // the sender
					}
					switch rng.IntN(5) {
					case 0:
						msg[i] = byte(rng.Uint32())
					case 1:
						msg[i] ^= 1 << rng.IntN(8)
					case 2:
						msg[i] = 0xff
					case 3:
						msg = slices.Insert(msg, i, byte(rng.Uint32()))
					case 4:
						if i > 13 {
							msg = msg[:i]
						}
					}
				}
				mu.Lock()
				wires[0].recv(msg)
				mu.Unlock()
				if rng.IntN(100) == 0 {
					time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
				}
			}
			for _, id := range append(hubs[0].Stats().Suspects, hubs[0].Stats().Nodes...) {
				if !validNode(id) {
					t.Errorf("%q became a node", id)
				}
			}
			time.Sleep(40 * time.Second) // strangers are given up now
			m.take()
			n.take()
			if s := hubs[0].Stats(); s.Malformed == 0 {
				t.Errorf("%+v, want something malformed", s)
			}
			if as == "strangers" {
				works(t, "blue", hubs...)
			} else {
				// What was forged of a node is that node's harm on those that have heard it, such as a goodbye: with others these go on.
				works(t, "blue", hubs[0], openWith(t, HubConfig{Adapter: &wire{Memory: memory}}))
			}
			if t.Failed() {
				t.Logf("seed %d", seed)
			}
		})
	}
}

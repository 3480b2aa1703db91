package wsserver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
	"github.com/belfry-io/belfry/wsserver/msgpack"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// travellers are clients of a node that is to leave, in rooms and namespaces, while all nodes emit.
type travellers struct {
	*handover
	clients []*traveller
	spaces  []string     // the namespaces that each is in
	said    map[from]int // how often, to each room
}

// from is who emits: a node, in a namespace. It may be in a dynamic one only for a while.
type from struct{ node, space string }

// A traveller is a client of travellers in one namespace, which goes from node to node.
type traveller struct {
	*wstest.Client
	space string
	id    string
	room  string
	last  map[string]int // by node that emitted, the number of the last event
}

type user struct{ Name string }

// newTravellers returns nodes, and n clients on the first one.
func newTravellers(t *testing.T, n int, spaces []string, cfg wsserver.Config) *travellers {
	cfg.Recovery = &wsserver.Recovery{Data: user{}}
	c := &travellers{handover: newHandover(t, 3, cfg), spaces: spaces, said: make(map[from]int)}
	for _, srv := range c.srvs {
		c.setUp(srv)
	}
	for i := range n {
		var first *wstest.Client
		for _, space := range spaces {
			var client *wstest.Client
			if first == nil {
				first = wstest.Dial(t, c.srvs[0], wstest.Config{Codec: cfg.Codec, Namespace: space})
				client = first
			} else {
				client = first.Of(space, nil)
			}
			tr := &traveller{client, space, client.ID(), fmt.Sprint("room ", i%7), make(map[string]int)}
			ns, _ := c.srvs[0].Lookup(space)
			s, _ := ns.Socket(tr.id)
			kit.OK(t, s.Join(t.Context(), tr.room))
			s.SetData(user{fmt.Sprint(i)})
			c.clients = append(c.clients, tr)
		}
	}
	return c
}

func (c *travellers) setUp(srv *wsserver.Server) {
	srv.OfFunc(func(name string) bool { return strings.HasPrefix(name, "/dynamic") })
	for _, space := range c.spaces {
		if !strings.HasPrefix(space, "/dynamic") {
			srv.Of(space)
		}
	}
}

// emit has each node that is there emit to each room of each namespace.
func (c *travellers) emit(srvs []*wsserver.Server) {
	for _, srv := range srvs {
		for _, space := range c.spaces {
			ns, ok := srv.Lookup(space)
			if !ok {
				continue
			}
			who := from{srv.Node(), space}
			c.said[who]++
			for room := range 7 {
				if err := ns.To(fmt.Sprint("room ", room)).Emit(c.t.Context(), "n", c.said[who], srv.Node()); err != nil {
					c.t.Errorf("emit: %v", err)
				}
			}
		}
	}
}

// check has each client count its events: those of each node come once and in order.
func (c *travellers) check() {
	c.t.Helper()
	synctest.Wait()
	for i, tr := range c.clients {
		for _, e := range tr.Pending() {
			var n int
			var node string
			kit.OK(c.t, e.Decode(&n, &node))
			if last := tr.last[node]; last != 0 && n != last+1 {
				c.t.Fatalf("client %d in %s: event %d after %d", i, tr.space, n, last)
			}
			tr.last[node] = n
		}
	}
}

// follow has clients return to random nodes after their connections have ended, later by up to
// after, until stop is closed and all are back.
func (c *travellers) follow(after time.Duration, srvs []*wsserver.Server, stop <-chan struct{}) {
	due := make(map[*traveller]time.Time)
	for lead := len(c.spaces); ; time.Sleep(20 * time.Millisecond) {
		c.emit(c.srvs)
		ended := false
		select {
		case <-stop:
			ended = true
		default:
		}
		for i := 0; i < len(c.clients); i += lead {
			tr := c.clients[i]
			at, gone := due[tr]
			select {
			case <-tr.Disconnected():
				if !gone {
					at = time.Now().Add(rand.N(after))
					due[tr] = at
				}
				if ended || !time.Now().Before(at) {
					tr.Return(srvs[rand.N(len(srvs))])
					delete(due, tr)
				}
			default:
			}
		}
		if ended && len(due) == 0 {
			return
		}
	}
}

// TestGiveCrowd: all clients of a node that leaves are recovered at random nodes, with each event once
// and in order, however soon they are back, and in all namespaces.
func TestGiveCrowd(t *testing.T) {
	for _, test := range []struct {
		name   string
		n      int
		after  time.Duration
		spaces []string
		codec  packet.Codec
		away   int // of the clients, before the drain
		late   bool
	}{
		{name: "soon", n: 40, after: 500 * time.Millisecond, spaces: []string{"/"}},
		{name: "late", n: 40, after: 10 * time.Second, spaces: []string{"/"}},
		{name: "at once", n: 40, after: 1, spaces: []string{"/"}},
		{name: "MessagePack", n: 15, after: 2 * time.Second, spaces: []string{"/"}, codec: msgpack.Codec{}},
		{name: "namespaces", n: 15, after: 2 * time.Second, spaces: []string{"/", "/a", "/dynamic 1", "/dynamic 2"}},
		{name: "away before", n: 20, after: 10 * time.Second, spaces: []string{"/", "/dynamic 1"}, away: 10},
	} {
		kit.Bubble(t, test.name, func(t *testing.T) {
			if !kit.All() {
				test.n, test.away = test.n/3, test.away/3
			}
			c := newTravellers(t, test.n, test.spaces, wsserver.Config{Codec: test.codec})
			stop := make(chan struct{})
			var err error
			for range 3 {
				c.emit(c.srvs)
				time.Sleep(20 * time.Millisecond)
			}
			c.check()
			for i := range test.away {
				c.clients[i*len(c.spaces)].Abort()
			}
			go func() {
				err = c.srvs[0].Drain(t.Context(), wsserver.Drain{Notice: -1, Over: 4 * time.Second})
				close(stop)
			}()
			c.follow(test.after, c.srvs[1:], stop)
			kit.OK(t, err)
			time.Sleep(5 * time.Second)
			c.emit(c.srvs)
			time.Sleep(time.Second)
			c.check()
			var here, elsewhere, away int
			for _, srv := range c.srvs[1:] {
				r := srv.Stats().Recovery
				here, elsewhere, away = here+int(r.Here), elsewhere+int(r.Elsewhere), away+r.Away
				kit.Equal(t, r.Refused, wsserver.RecoveryRefused{}, "refused")
			}
			kit.Equal(t, here+elsewhere, len(c.clients), "recovered")
			s := c.srvs[0].Stats().Drain
			kit.Equal(t, s.NotHandedOver, 0, "not handed over")
			kit.Equal(t, away, 1, "away") // the client of the handover
			t.Logf("%d handed over, %d recovered where they came to, %d elsewhere", s.HandedOver, here, elsewhere)
			for i, tr := range c.clients {
				wantBackAs(t, tr.Client, tr.id, true)
				for _, srv := range c.srvs {
					kit.Equal(t, tr.last[srv.Node()], c.said[from{srv.Node(), tr.space}], "the last event of client", i)
				}
				s := c.socket(tr)
				kit.Equal(t, s.Data(), any(user{fmt.Sprint(i / len(c.spaces))}), "data")
			}
			kit.Close(t, c.srvs[0])
			time.Sleep(30 * time.Second)
			c.finished(1)
		})
	}
}

// socket is the server's end of a client.
func (c *travellers) socket(tr *traveller) *wsserver.Socket {
	c.t.Helper()
	for _, srv := range c.srvs {
		if ns, ok := srv.Lookup(tr.space); ok {
			if s, ok := ns.Socket(tr.ID()); ok {
				return s
			}
		}
	}
	c.t.Fatalf("no node has the socket %s", tr.ID())
	return nil
}

// TestGivePolling: a client that polls is handed over, and goes on with its offset.
func TestGivePolling(t *testing.T) {
	for _, test := range []struct {
		name  string
		polls bool // until its connection has ended
	}{{"polls", true}, {"asks no more", false}} {
		kit.Bubble(t, test.name, func(t *testing.T) {
			h := newHandover(t, 3, wsserver.Config{})
			p := newPoller(t, func() net.Conn { return wsrig.Serve(t, h.srvs[0]) })
			var connect struct{ SID, PID string }
			kit.OK(t, json.Unmarshal([]byte(strings.TrimPrefix(p.next(), "0")), &connect))
			say := func(node int, n int) {
				t.Helper()
				kit.OK(t, h.srvs[node].To(connect.SID).Emit(t.Context(), "e", n))
			}
			say(0, 1)
			p.fetch()
			offset := offsetIn(t, p.next(), 1)
			say(0, 2)
			if test.polls {
				p.poll()
				offset = offsetIn(t, p.next(), 2)
			}
			h.drain(0, quick)
			time.Sleep(time.Second)
			say(1, 3)
			h.drained()
			h.given(2, 0) // with the client of the handover
			kit.Close(t, h.srvs[0])
			say(2, 4)
			auth := fmt.Sprintf(`40{"pid":%q,"offset":%q}`, connect.PID, offset)
			for node := 1; node < 3; node++ { // and once more, from the one to the other
				q := newPollerAs(t, func() net.Conn { return wsrig.Serve(t, h.srvs[node]) }, auth)
				q.poll()
				kit.Equal(t, q.next(), fmt.Sprintf(`0{"sid":%q,"pid":%q}`, connect.SID, connect.PID))
				want := []int{2, 3, 4}
				if test.polls {
					want = want[1:]
				}
				for _, n := range want {
					offsetIn(t, q.next(), n)
				}
				synctest.Wait()
				kit.Equal(t, len(q.events), 0, "further events")
				q.close()
				synctest.Wait()
			}
		})
	}
}

// offsetIn is the offset of an event, whose number is n.
func offsetIn(t *testing.T, packet string, n int) (offset string) {
	t.Helper()
	var name string
	var got int
	kit.OK(t, json.Unmarshal([]byte(strings.TrimPrefix(packet, "2")), &[]any{&name, &got, &offset}), packet)
	kit.Equal(t, got, n, "event")
	return offset
}

// TestGiveLate: the handlers of the end take their time: the session is handed over all the same.
func TestGiveLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandover(t, 2, wsserver.Config{})
		h.srvs[0].Of("/").OnDisconnecting(func(context.Context, *wsserver.Socket, error) { time.Sleep(2 * time.Second) })
		h.drain(0, quick)
		h.drained()
		h.given(1, 0)
		kit.Close(t, h.srvs[0])
		h.say(1, 1)
		h.back(1, true, "1")
	})
}

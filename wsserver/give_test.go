package wsserver_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// A handover is nodes with recovery, of which the first one is to leave, in a bubble.
type handover struct {
	t    *testing.T
	srvs []*wsserver.Server // the first one leaves; then the heirs of c's session, in their order
	cfg  wsserver.Config
	c    *wstest.Client
	id   string // of c's socket

	offset string // that c has, if it is known
	ended  chan error
}

// newHandover returns nodes, and a client on the first with the room x.
func newHandover(t *testing.T, n int, cfg wsserver.Config) *handover {
	t.Helper()
	if cfg.Recovery == nil {
		cfg.Recovery = &wsserver.Recovery{}
	}
	if cfg.Adapter == nil {
		cfg.Adapter = new(adapter.Memory)
	}
	h := &handover{t: t, srvs: newCluster(t, n, cfg), cfg: cfg, ended: make(chan error, 1)}
	h.c = wstest.Dial(t, h.srvs[0], wstest.Config{Codec: cfg.Codec})
	h.id = h.c.ID()
	kit.OK(t, socketOf(t, h.srvs[0], h.c).Join(t.Context(), "x"))
	h.sort()
	return h
}

// sort puts the heir of the client's session second.
func (h *handover) sort() {
	if len(h.srvs) == 1 {
		return
	}
	node := h.srvs[0].HeirOf(h.id)
	i := slices.IndexFunc(h.srvs, func(srv *wsserver.Server) bool { return srv.Node() == node })
	h.srvs[1], h.srvs[i] = h.srvs[i], h.srvs[1]
}

// say emits to the room x, from a node.
func (h *handover) say(node int, what any) {
	h.t.Helper()
	kit.OK(h.t, h.srvs[node].To("x").Emit(h.t.Context(), "e", what))
}

// drain begins to drain a node.
func (h *handover) drain(node int, how wsserver.Drain) {
	go func() { h.ended <- h.srvs[node].Drain(h.t.Context(), how) }()
}

// drained waits for the end of a drain.
func (h *handover) drained() {
	h.t.Helper()
	kit.OK(h.t, kit.Receive(h.t, "the end of Drain", h.ended))
}

// leaves has a node drain and close.
func (h *handover) leaves(node int, how wsserver.Drain) {
	h.t.Helper()
	h.drain(node, how)
	h.drained()
	kit.Close(h.t, h.srvs[node])
	synctest.Wait()
}

// given checks what the first node says of the sessions.
func (h *handover) given(handedOver, not int) {
	h.t.Helper()
	s := h.srvs[0].Stats().Drain
	kit.Equal(h.t, [2]int{int(s.HandedOver), int(s.NotHandedOver)}, [2]int{handedOver, not}, "handed over, and not")
}

// back has the client return to a node: it is recovered, or not, and gets these events.
func (h *handover) back(node int, recovered bool, want ...string) {
	h.t.Helper()
	h.c.Return(h.srvs[node])
	wantBackAs(h.t, h.c, h.id, recovered)
	if recovered {
		kit.EqualSlices(h.t, heard(h.c), want, "missed")
	}
}

func wantBackAs(t *testing.T, c *wstest.Client, id string, recovered bool) {
	t.Helper()
	if c.Recovered() != recovered || (c.ID() == id) != recovered {
		t.Fatalf("recovered %v with id %s; want %v, id was %s", c.Recovered(), c.ID(), recovered, id)
	}
}

// asBefore is what the client says of its session when it comes back.
func (h *handover) asBefore() map[string]string {
	said := map[string]string{"pid": h.c.PID()}
	if h.offset != "" {
		said["offset"] = h.offset
	}
	return said
}

// heard are the first arguments of the events that a client has got, in a bubble.
func heard(c *wstest.Client) (args []string) {
	synctest.Wait()
	for _, e := range c.Pending() {
		var arg any
		_ = e.Decode(&arg)
		args = append(args, fmt.Sprint(arg))
	}
	return args
}

// lose breaks the client's connection, and has the server notice.
func (h *handover) lose() {
	h.c.Abort()
	synctest.Wait()
}

// quick drains without a notice, and answers for sessions for five seconds.
var quick = wsserver.Drain{Notice: -1}

// TestGive: a session is handed over, and its client has what it missed at whatever node it comes to.
func TestGive(t *testing.T) {
	for _, clean := range []bool{true, false} {
		for to := range 3 {
			kit.Bubble(t, fmt.Sprintf("clean %v, to %d", clean, to), func(t *testing.T) {
				h := newHandover(t, 3, wsserver.Config{})
				h.say(0, "before")
				h.say(1, "before 1")
				if clean {
					kit.EqualSlices(t, heard(h.c), []string{"before", "before 1"})
				} else {
					synctest.Wait()
					h.c.Stall()
					h.say(0, "unread")
				}
				h.drain(0, quick)
				time.Sleep(3 * time.Second)
				h.say(1, 1)
				h.say(2, 2)
				h.drained()
				h.given(1, 0)
				kit.Close(t, h.srvs[0])
				h.say(1, 3)
				want := []string{"1", "2", "3"}
				if !clean {
					want = append([]string{"before", "before 1", "unread"}, want...)
				}
				if to == 0 {
					h.srvs[0] = newCluster(t, 1, h.cfg)[0]
				}
				h.back(to, true, want...) // to one that has just started, without the keys yet
				kit.EqualSlices(t, socketOf(t, h.srvs[to], h.c).Rooms(), []string{h.id, "x"}, "rooms")
			})
		}
	}
}

package wsserver_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
)

// giveSteps are the moments of a hand-over at which others interfere: before and after a call is
// served at the heir, and before its answer is there.
var giveSteps = []struct {
	name  string
	call  string
	after bool
}{
	{"before the offer", wsserver.Offer, false},
	{"after the offer", wsserver.Offer, true},
	{"before the gift", wsserver.Give, false},
	{"after the gift", wsserver.Give, true},
}

// at has do called at a step of the first hand-over of the session.
func (h *handover) at(call string, after bool, do func()) {
	var once sync.Once
	h.srvs[1].Around(call, func(serve func()) bool {
		if after {
			serve()
		}
		once.Do(do)
		if !after {
			serve()
		}
		return true
	})
}

// all emits to a room from all nodes that are there; nodes from first on.
func (h *handover) all(room, what string, first int) (said []string) {
	for i, srv := range h.srvs[first:] {
		arg := fmt.Sprintf("%s of %d", what, first+i)
		kit.OK(h.t, srv.To(room).Emit(h.t.Context(), "e", arg))
		said = append(said, arg)
	}
	return said
}

// wantAll checks that a client has got these, each once, in any order, but for those of one node.
func (h *handover) wantAll(want []string) {
	h.t.Helper()
	got := heard(h.c)
	for node := range h.srvs {
		of := func(all []string) (its []string) {
			for _, s := range all {
				if strings.HasSuffix(s, fmt.Sprint(" of ", node)) {
					its = append(its, s)
				}
			}
			return its
		}
		kit.EqualSlices(h.t, of(got), of(want), "events of node", node)
	}
	kit.Len(h.t, got, len(want), "all events")
}

// away is how many sessions the nodes have whose client is away.
func (h *handover) away() (n int) {
	for _, srv := range h.srvs {
		n += srv.Stats().Recovery.Away
	}
	return n
}

// finished checks that nodes have nothing under way.
func (h *handover) finished(first int) {
	h.t.Helper()
	for i, srv := range h.srvs[first:] {
		offered, departures := srv.Unfinished()
		kit.Equal(h.t, [2]int{offered, departures}, [2]int{}, "unfinished at node", first+i)
	}
}

// TestKickWhileGiven: a client that is disconnected while its session is handed over stays out.
func TestKickWhileGiven(t *testing.T) {
	for _, step := range giveSteps {
		for from := range 3 {
			kit.Bubble(t, fmt.Sprintf("%s, from %d", step.name, from), func(t *testing.T) {
				h := newHandover(t, 3, wsserver.Config{})
				h.at(step.call, step.after, func() {
					kit.OK(t, h.srvs[from].To("x").DisconnectSockets(t.Context(), false))
				})
				h.drain(0, quick)
				h.drained()
				time.Sleep(30 * time.Second)
				kit.Equal(t, h.away(), 0, "sessions")
				h.finished(0)
				kit.Close(t, h.srvs[0])
				h.c.Return(h.srvs[2])
				wantBackAs(t, h.c, h.id, false)
				kit.EqualSlices(t, socketOf(t, h.srvs[2], h.c).Rooms(), []string{h.c.ID()}, "rooms")
			})
		}
	}
}

// TestMovedWhileGiven: SocketsJoin and SocketsLeave count while a session is handed over, and events
// go to it by the rooms that it had at each time.
func TestMovedWhileGiven(t *testing.T) {
	for _, step := range giveSteps {
		for from := range 3 {
			for _, leave := range []bool{false, true} {
				kit.Bubble(t, fmt.Sprintf("%s, from %d, leave %v", step.name, from, leave), func(t *testing.T) {
					h := newHandover(t, 3, wsserver.Config{})
					rooms, want := []string{h.id, "x", "y"}, []string(nil)
					h.at(step.call, step.after, func() {
						want = append(want, h.all("x", "first", 0)...)
						h.all("y", "first", 0)
						synctest.Wait()
						if x := h.srvs[from].To("x"); leave {
							kit.OK(t, x.SocketsLeave(t.Context(), "x"))
							rooms = []string{h.id}
							h.all("x", "second", 0)
						} else {
							kit.OK(t, x.SocketsJoin(t.Context(), "y"))
							want = append(want, h.all("y", "second", 0)...)
						}
						want = append(want, h.all(h.id, "third", 0)...)
					})
					h.drain(0, quick)
					h.drained()
					h.given(1, 0)
					kit.Close(t, h.srvs[0])
					if h.all("y", "fourth", 1); !leave {
						want = append(want, "fourth of 1", "fourth of 2")
					}
					h.c.Return(h.srvs[2])
					wantBackAs(t, h.c, h.id, true)
					h.wantAll(want)
					got := socketOf(t, h.srvs[2], h.c).Rooms()
					slices.Sort(got[1:])
					kit.EqualSlices(t, got, rooms, "rooms")
					time.Sleep(30 * time.Second)
					h.finished(1)
				})
			}
		}
	}
}

// TestBackWhileGiven: a client is back, at the heir or a third node, while its session is handed over.
func TestBackWhileGiven(t *testing.T) {
	for _, step := range giveSteps {
		for _, to := range []int{1, 2} {
			kit.Bubble(t, fmt.Sprintf("%s, to %d", step.name, to), func(t *testing.T) {
				h := newHandover(t, 3, wsserver.Config{})
				back := make(chan bool, 1)
				var want []string
				h.at(step.call, step.after, func() {
					want = append(want, h.all("x", "first", 0)...)
					go func() {
						h.c.Return(h.srvs[to])
						back <- true
					}()
					time.Sleep(time.Second)
					want = append(want, h.all("x", "second", 0)...)
				})
				h.drain(0, quick)
				kit.Receive(t, "the client", back)
				h.drained()
				want = append(want, h.all("x", "third", 0)...)
				wantBackAs(t, h.c, h.id, true)
				h.wantAll(want)
				kit.Close(t, h.srvs[0])
				time.Sleep(30 * time.Second)
				h.finished(1)
				kit.Equal(t, h.away(), 0, "sessions")
				want = h.all("x", "fourth", 1)
				h.wantAll(want)
				kit.EqualSlices(t, socketOf(t, h.srvs[to], h.c).Rooms(), []string{h.id, "x"}, "rooms")
			})
		}
	}
}

// TestBackAtHeirDuringOffer: a session moves to the very node to which it is offered. What was offered
// there goes after a time, and the socket that has the seat by then stays.
func TestBackAtHeirDuringOffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandover(t, 2, wsserver.Config{})
		taking, take := make(chan bool, 1), make(chan bool)
		h.srvs[0].Around(wsserver.Take, func(serve func()) bool {
			taking <- true
			<-take
			serve()
			return true
		})
		back := make(chan bool, 1)
		h.srvs[1].Around(wsserver.Offer, func(serve func()) bool {
			go func() {
				h.c.Return(h.srvs[1])
				back <- true
			}()
			<-taking
			serve()
			close(take)
			<-back
			return true
		})
		h.drain(0, quick)
		h.drained()
		time.Sleep(30 * time.Second)
		wantBackAs(t, h.c, h.id, true)
		h.say(1, "here")
		kit.EqualSlices(t, heard(h.c), []string{"here"})
		h.finished(1)
		kit.EqualSlices(t, socketOf(t, h.srvs[1], h.c).Rooms(), []string{h.id, "x"}, "rooms")
	})
}

// TestClaimedBeforeGift: a session that was claimed before it could be given moves by itself.
func TestClaimedBeforeGift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandover(t, 3, wsserver.Config{})
		taking := make(chan bool, 1)
		h.srvs[0].Around(wsserver.Take, func(serve func()) bool {
			taking <- true
			time.Sleep(time.Second) // the answer to the offer comes first
			serve()
			return true
		})
		back := make(chan bool, 1)
		h.at(wsserver.Offer, true, func() {
			go func() {
				h.c.Return(h.srvs[2])
				back <- true
			}()
			<-taking
		})
		h.drain(0, quick)
		kit.Receive(t, "the client", back)
		wantBackAs(t, h.c, h.id, true)
		h.drained()
		h.given(0, 0)
		time.Sleep(30 * time.Second)
		h.finished(1)
		h.say(1, 1)
		kit.EqualSlices(t, heard(h.c), []string{"1"})
	})
}

// TestOfferedOnly: sessions that were offered and are never given leave nothing behind at the heir.
func TestOfferedOnly(t *testing.T) {
	for _, again := range []bool{false, true} {
		kit.Bubble(t, fmt.Sprint("offered again ", again), func(t *testing.T) {
			h := newHandover(t, 2, wsserver.Config{})
			for _, srv := range h.srvs {
				srv.OfFunc(func(name string) bool { return strings.HasPrefix(name, "/d") })
			}
			child := h.c.Of("/d1", nil)
			kit.OK(t, h.srvs[0].Of("/").To("x").SocketsJoin(t.Context(), "y"))
			ctx := kit.Within(t, time.Minute)
			h.srvs[1].Around(wsserver.Offer, func(serve func()) bool {
				serve()
				if again {
					serve()
				}
				return false
			})
			h.lose()
			go func() { h.ended <- h.srvs[0].Drain(ctx, quick) }()
			h.drained()
			h.given(0, 2)
			kit.Equal(t, h.away(), 2, "sessions")
			time.Sleep(30 * time.Second)
			h.finished(1)
			kit.Check(t, !slices.Contains(namespacesOf(h.srvs[1]), "/d1"), "the heir has the namespace")
			h.c.Return(h.srvs[1])
			wantBackAs(t, h.c, h.id, true)
			kit.Check(t, child.Recovered(), "the child is not recovered")
		})
	}
}

// namespacesOf are the names of a server's namespaces.
func namespacesOf(srv *wsserver.Server) (names []string) {
	all, _ := srv.Namespaces()
	for _, ns := range all {
		names = append(names, ns.Name())
	}
	return names
}

package wsserver_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestHeirCannot: an heir that takes no sessions is passed over.
func TestHeirCannot(t *testing.T) {
	for name, make := range map[string]func(h *handover){
		"it drains": func(h *handover) {
			go h.srvs[1].Drain(h.t.Context(), wsserver.Drain{Notice: time.Hour})
		},
		"it fails": func(h *handover) {
			h.srvs[1].Around(wsserver.Offer, func(func()) bool { return false })
		},
		"it closes at the offer": func(h *handover) {
			h.srvs[1].Around(wsserver.Offer, func(serve func()) bool {
				serve()
				go h.srvs[1].Close(h.t.Context())
				synctest.Wait()
				return true
			})
		},
		"it closes at the gift": func(h *handover) {
			h.srvs[1].Around(wsserver.Give, func(serve func()) bool {
				go h.srvs[1].Close(h.t.Context())
				synctest.Wait()
				return true
			})
		},
	} {
		kit.Bubble(t, name, func(t *testing.T) {
			h := newHandover(t, 3, wsserver.Config{})
			make(h)
			synctest.Wait()
			h.drain(0, quick)
			time.Sleep(time.Second)
			h.say(0, 1)
			h.drained()
			h.given(1, 0)
			kit.Close(t, h.srvs[0])
			kit.Equal(t, h.srvs[2].Stats().Recovery.Away, 1, "sessions of the other node")
			h.back(2, true, "1")
		})
	}
}

// TestHeirWithoutRecovery: nodes without recovery take no sessions.
func TestHeirWithoutRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandover(t, 1, wsserver.Config{})
		other := newServer(t, wsserver.Config{Adapter: h.cfg.Adapter})
		kit.OK(t, other.Ready(t.Context()))
		h.drain(0, quick)
		h.drained()
		h.given(0, 1)
		kit.Equal(t, h.away(), 1, "sessions")
	})
}

// TestAllDrain: nodes that all drain at once keep their sessions, and say so.
func TestAllDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandover(t, 3, wsserver.Config{})
		for _, srv := range h.srvs[1:] {
			wstest.Dial(t, srv, wstest.Config{})
		}
		start := time.Now()
		for node := range h.srvs {
			h.drain(node, quick)
		}
		for range h.srvs {
			h.drained()
		}
		kit.Took(t, start, 0, 10*time.Second, "the drains took")
		for i, srv := range h.srvs {
			s := srv.Stats().Drain
			kit.Equal(t, [2]uint64{s.HandedOver, s.NotHandedOver}, [2]uint64{0, 1}, "handed over, and not, at node", i)
		}
	})
}

// TestDrainEndsInGift: ctx ends, or the server is closed, while sessions are handed over.
func TestDrainEndsInGift(t *testing.T) {
	for _, close := range []bool{false, true} {
		for _, step := range giveSteps {
			kit.Bubble(t, fmt.Sprintf("close %v, %s", close, step.name), func(t *testing.T) {
				h := newHandover(t, 3, wsserver.Config{})
				ctx, cancel := context.WithCancel(t.Context())
				h.at(step.call, step.after, func() {
					if close {
						go h.srvs[0].Close(t.Context())
					} else {
						cancel()
					}
					time.Sleep(time.Second)
				})
				go func() { h.ended <- h.srvs[0].Drain(ctx, quick) }()
				err := kit.Receive(t, "the end of Drain", h.ended)
				if close && !errors.Is(err, wsserver.ErrShutdown) {
					t.Errorf("Drain: %v", err)
				}
				s := h.srvs[0].Stats().Drain
				if !close {
					kit.Equal(t, s.HandedOver+s.NotHandedOver, 1, "sessions that are counted")
				}
				h.srvs[0].Close(t.Context())
				time.Sleep(30 * time.Second)
				h.finished(1)
				if n := h.srvs[1].Stats().Recovery.Away + h.srvs[2].Stats().Recovery.Away; n > 1 || n < int(s.HandedOver) {
					t.Errorf("%d sessions at the others, %d handed over", n, s.HandedOver)
				}
				cancel()
			})
		}
	}
}

// TestGiftTwice: the answer to a gift is lost. There is one session all the same.
func TestGiftTwice(t *testing.T) {
	for _, served := range []bool{false, true} {
		kit.Bubble(t, fmt.Sprint("served ", served), func(t *testing.T) {
			h := newHandover(t, 3, wsserver.Config{})
			h.say(0, "seen")
			kit.EqualSlices(t, heard(h.c), []string{"seen"})
			lost := false
			h.srvs[1].Around(wsserver.Give, func(serve func()) bool {
				if lost {
					serve()
					return true
				}
				if lost = true; served {
					serve()
				}
				return false
			})
			h.drain(0, quick)
			time.Sleep(time.Second)
			h.say(2, 1)
			h.drained()
			h.given(1, 0)
			kit.Close(t, h.srvs[0])
			kit.Equal(t, h.away(), 1, "sessions")
			h.back(2, true, "1")
			h.say(1, 2)
			kit.EqualSlices(t, heard(h.c), []string{"2"})
			h.lose()
			h.say(1, 3)
			late := newCluster(t, 1, h.cfg)[0]
			h.c.Return(late)
			wantBackAs(t, h.c, h.id, true)
			kit.EqualSlices(t, heard(h.c), []string{"3"})
		})
	}
}

// TestGivenTwice: a session is handed over by node after node, and its client has not come to any of
// them: its offset is of the first.
func TestGivenTwice(t *testing.T) {
	for _, seen := range []int{0, 1, 2} {
		for _, nodes := range []int{2, 3} {
			kit.Bubble(t, fmt.Sprintf("seen %d of 2, handed over %d times", seen, nodes), func(t *testing.T) {
				h := newHandover(t, 1, wsserver.Config{})
				for i := range seen {
					h.say(0, i)
				}
				heard(h.c)
				h.c.Stall()
				for i := seen; i < 2; i++ {
					h.say(0, i)
				}
				h.lose() // unclean: the node cannot know what the client has
				want := []string{"0", "1"}[seen:]
				if seen == 0 { // it has no offset
					want = []string{"0", "1"}
				}
				for i := range nodes {
					h.srvs = append(h.srvs, newCluster(t, 1, h.cfg)...)
					h.say(i, 2+2*i)
					h.leaves(i, quick)
					h.say(i+1, 3+2*i)
					want = append(want, fmt.Sprint(2+2*i), fmt.Sprint(3+2*i))
				}
				h.back(nodes, true, want...)
			})
		}
	}
}

// TestGivenNotWhole: what a session has lost on its first node is not forgotten on the next ones.
func TestGivenNotWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandover(t, 1, wsserver.Config{Recovery: &wsserver.Recovery{LogBytes: 20_000}})
		h.say(0, "seen")
		heard(h.c)
		h.lose()
		for i := range 200 {
			h.say(0, fmt.Sprintf("%0200d", i))
		}
		for i := range 2 {
			h.srvs = append(h.srvs, newCluster(t, 1, h.cfg)...)
			h.leaves(i, quick)
		}
		h.c.Return(h.srvs[2])
		wantBackAs(t, h.c, h.id, false)
		kit.Len(t, heard(h.c), 0, "events")
	})
}

// TestGivenAndLost: a client comes back to the heir, and its connection breaks before it has anything
// from there: its offset is of the node that has left.
func TestGivenAndLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandover(t, 2, wsserver.Config{})
		h.say(0, "seen")
		var seen, offset string
		kit.OK(t, h.c.Next("e").Decode(&seen, &offset))
		h.c.Stall()
		h.say(0, 1)
		h.lose()
		h.leaves(0, quick)
		h.say(1, 2)
		lost := wstest.Dial(t, h.srvs[1], wstest.Config{Auth: map[string]string{"pid": h.c.PID(), "offset": offset}})
		kit.Equal(t, lost.ID(), h.id, "id")
		lost.Abort()
		synctest.Wait()
		h.back(1, true, "1", "2")
	})
}

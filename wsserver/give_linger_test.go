package wsserver_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestLinger: while the leaving node lingers, it tells whoever asks for a session where that is.
func TestLinger(t *testing.T) {
	for to := 1; to < 3; to++ {
		kit.Bubble(t, fmt.Sprint("to ", to), func(t *testing.T) {
			h := newHandover(t, 3, wsserver.Config{})
			claims := 0
			h.srvs[0].Around(wsserver.Claim, func(serve func()) bool {
				claims++
				serve()
				return true
			})
			h.drain(0, wsserver.Drain{Notice: -1, Linger: time.Minute})
			time.Sleep(10 * time.Second)
			kit.Equal(t, h.srvs[0].Stats().Drain.State, wsserver.DrainLinger, "state")
			h.given(1, 0)
			h.say(0, 1)
			synctest.Wait()
			h.say(1, 2)
			start := time.Now()
			h.back(to, true, "1", "2")
			kit.Took(t, start, 0, 100*time.Millisecond, "the return took")
			kit.Equal(t, claims, to-1, "claims at the leaving node") // the heir has it
			kit.OK(t, <-h.ended)
		})
	}
}

// TestFirstNodeLongGone: a session is recovered long after the node has left on which it began, at nodes
// that started after that.
func TestFirstNodeLongGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandover(t, 2, wsserver.Config{})
		h.leaves(0, quick)
		h.back(1, true)
		for i := 1; i < 4; i++ {
			h.say(i, "seen")
			kit.EqualSlices(t, heard(h.c), []string{"seen"})
			time.Sleep(5 * time.Minute) // connected
			h.srvs = append(h.srvs, newCluster(t, 1, h.cfg)...)
			switch i {
			case 1: // dropped, and moved
				h.lose()
				h.say(1, i)
				h.back(2, true, fmt.Sprint(i))
				kit.Close(t, h.srvs[1])
			case 2: // handed over
				h.leaves(2, quick)
				h.say(3, i)
				h.back(3, true, fmt.Sprint(i))
			case 3: // dropped when the first nodes are long forgotten
				h.lose()
				h.say(3, i)
				time.Sleep(time.Minute)
				h.back(4, true, fmt.Sprint(i))
			}
		}
	})
}

// TestMovedThenGiven: a client has come from another node, and its new one leaves, too: before it has
// anything from there, or after.
func TestMovedThenGiven(t *testing.T) {
	for _, heardThere := range []bool{false, true} {
		for _, clean := range []bool{false, true} {
			kit.Bubble(t, fmt.Sprintf("heard there %v, clean %v", heardThere, clean), func(t *testing.T) {
				h := newHandover(t, 3, wsserver.Config{})
				h.say(0, "seen")
				var seen string
				kit.OK(t, h.c.Next("e").Decode(&seen, &h.offset))
				h.lose()
				h.say(0, 1)
				if heardThere {
					h.back(2, true, "1")
				} else { // the answer is lost with the connection
					lost := wstest.Dial(t, h.srvs[2], wstest.Config{Auth: h.asBefore()})
					kit.Equal(t, lost.ID(), h.id, "id")
					lost.Abort()
					synctest.Wait()
				}
				h.srvs[0], h.srvs[2] = h.srvs[2], h.srvs[0]
				if clean && heardThere {
					h.drain(0, quick)
				} else {
					h.lose()
					h.drain(0, quick)
				}
				time.Sleep(3 * time.Second)
				h.say(2, 2)
				h.drained()
				h.given(1, 0)
				kit.Close(t, h.srvs[0])
				want := []string{"2"}
				if !heardThere {
					want = []string{"1", "2"}
				}
				h.back(2, true, want...)
			})
		}
	}
}

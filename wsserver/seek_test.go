package wsserver_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestClaimFails: a node whose answer to a claim is lost, as of one that is suspect for a moment, is asked again: it may have
// the session.
func TestClaimFails(t *testing.T) {
	for name, began := range map[string]int{"where the session began": 0, "on the heir": 1} {
		kit.Bubble(t, name, func(t *testing.T) {
			srvs, _ := newRecoveringCluster(t, 3, wsserver.Recovery{})
			c := wstest.Dial(t, srvs[began], wstest.Config{})
			if began != 0 {
				c.Abort()
				c.Return(srvs[0]) // where another than the node in its id has it
				kit.Check(t, c.Recovered(), "the client is not recovered")
			}
			c.Abort()
			synctest.Wait()
			failures := 0
			srvs[0].Around(wsserver.Claim, func(serve func()) bool {
				if failures++; failures <= 3 {
					return false
				}
				serve()
				return true
			})
			start := time.Now()
			c.Return(srvs[2])
			kit.Check(t, c.Recovered(), "the client is not recovered")
			kit.Took(t, start, 0, 500*time.Millisecond, "the return")
		})
	}
}

// TestAnswersOfMoveLost: a session moves, and is nowhere else, although the answers to its holder's last steps are lost.
func TestAnswersOfMoveLost(t *testing.T) {
	for _, kind := range []string{wsserver.Take, wsserver.Done} {
		kit.Bubble(t, kind, func(t *testing.T) {
			srvs, _ := newRecoveringCluster(t, 2, wsserver.Recovery{})
			c := wstest.Dial(t, srvs[0], wstest.Config{})
			id := c.ID()
			c.Abort()
			synctest.Wait()
			lost := 0
			srvs[0].Around(kind, func(serve func()) bool {
				serve()
				lost++
				return lost > 3
			})
			kit.OK(t, srvs[1].To(id).Emit(t.Context(), "missed"))
			c.Return(srvs[1])
			kit.Check(t, c.Recovered() && c.ID() == id, "the client is not recovered")
			c.Next("missed")
			kit.Equal(t, lost, 4, "answers")
			kit.Equal(t, srvs[0].Stats().Recovery.Away, 0, "sessions at the first node")
			kit.Equal(t, srvs[1].Stats().Recovery.Elsewhere, 1, "recovered")
		})
	}
}

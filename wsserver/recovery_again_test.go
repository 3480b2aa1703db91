package wsserver_test

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestBackDuringMove: a client goes away at a step of a move, and is back somewhere else, or there, before that step is over. Its session
// is in one place then, whether or not it has moved between these nodes before: nothing is lost or doubled on its next returns.
func TestBackDuringMove(t *testing.T) {
	for _, movedBefore := range []bool{false, true} {
		for _, step := range []string{"recovery.claim", "recovery.take", "recovery.done"} {
			for _, at := range []int{0, 1, 2} {
				kit.Bubble(t, fmt.Sprintf("moved before %v, %s, back at %d", movedBefore, step, at), func(t *testing.T) {
					srvs, links := newRecoveringCluster(t, 3, wsserver.Recovery{})
					c := wstest.Dial(t, srvs[0], wstest.Config{})
					id := c.ID()
					kit.OK(t, socketOf(t, srvs[0], c).Join(t.Context(), "x"))
					n := 0
					emit := func() (want []string) {
						for _, srv := range srvs {
							n++
							kit.OK(t, srv.To("x").Emit(t.Context(), "x", n))
							synctest.Wait()
							want = append(want, fmt.Sprint("x ", n))
						}
						return want
					}
					back := func(at int) {
						t.Helper()
						want := emit()
						c.Return(srvs[at])
						wantBack(t, fmt.Sprint("return to ", at), c, id, true)
						wantTold(t, fmt.Sprint("missed by the return to ", at), c, want...)
						wantTold(t, fmt.Sprint("live at ", at), c, emit()...)
					}
					drop(c)
					if movedBefore {
						for _, at := range []int{1, 0} {
							back(at)
							drop(c)
						}
					}
					var paused atomic.Bool
					reached := make(chan struct{})
					links[0].set(func(msg []byte, pass func([]byte)) {
						if bytes.Contains(msg, []byte(step)) && paused.CompareAndSwap(false, true) {
							msg = bytes.Clone(msg)
							close(reached)
							go func() {
								time.Sleep(100 * time.Millisecond)
								pass(msg)
							}()
							return
						}
						pass(msg)
					})
					conn := comes(t, srvs[1], backAs(c, ""))
					<-reached
					conn.Abort()
					synctest.Wait()
					back(at)
					time.Sleep(time.Second)
					for _, at := range []int{1, 0, 2, 1} {
						drop(c)
						back(at)
					}
					drop(c)
					time.Sleep(time.Second)
					away := 0
					for _, srv := range srvs {
						away += srv.Stats().Recovery.Away
					}
					kit.Equal(t, away, 1, "sessions in the cluster")
				})
			}
		}
	}
}

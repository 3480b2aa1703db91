package wsserver_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestQuietClient: a client that has been connected for long, and was told nothing or nothing of
// late, has missed no more than what was emitted while it was away.
func TestQuietClient(t *testing.T) {
	for _, early := range []bool{false, true} {
		for _, busy := range []bool{false, true} {
			for _, moves := range []bool{false, true} {
				kit.Bubble(t, fmt.Sprint("told early ", early, ", others are told ", busy, ", moves ", moves), func(t *testing.T) {
					srvs, _ := newRecoveringCluster(t, 2, wsserver.Recovery{LogBytes: 64 << 10})
					srv := srvs[0]
					c := wstest.Dial(t, srv, wstest.Config{})
					id := c.ID()
					other := wstest.Dial(t, srv, wstest.Config{})
					if early {
						kit.OK(t, srv.To(id).Emit(t.Context(), "early", 1))
						wantTold(t, "c", c, "early 1")
					}
					if busy {
						for range 200 {
							kit.OK(t, srv.To(other.ID()).Emit(t.Context(), "much", strings.Repeat("x", 1000)))
						}
					}
					kit.OK(t, srv.To(other.ID()).Emit(t.Context(), "other", 1))
					time.Sleep(time.Hour)
					synctest.Wait()
					drop(c)
					kit.OK(t, srv.To(id).Emit(t.Context(), "missed", 2))
					c.Return(srvs[map[bool]int{true: 1}[moves]])
					wantBack(t, "return", c, id, true)
					wantTold(t, "missed", c, "missed 2")
				})
			}
		}
	}
}

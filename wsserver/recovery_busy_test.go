package wsserver_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestAllComeBackAtOnce: all clients of a node come back to another one before their node has noticed,
// more than a node does for others at a time. All are recovered: who finds the node busy asks again.
func TestAllComeBackAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const clients = 600
		srvs, _ := newRecoveringCluster(t, 2, wsserver.Recovery{})
		srvs[0].OnConnect(func(_ context.Context, s *wsserver.Socket) error {
			s.OnDisconnect(func(context.Context, error) { time.Sleep(time.Second) }) // the claim waits for that
			return nil
		})
		all := make([]*wstest.Client, clients)
		for i := range all {
			all[i] = wstest.Dial(t, srvs[0], wstest.Config{})
		}
		synctest.Wait()
		kit.OK(t, srvs[1].Emit(t.Context(), "missed"))
		var back sync.WaitGroup
		for _, c := range all {
			c.Stall()
			back.Go(func() { c.Return(srvs[1]) })
		}
		back.Wait()
		for i, c := range all {
			wantBack(t, fmt.Sprint("client ", i), c, c.ID(), true)
		}
		kit.Equal(t, srvs[1].Stats().Recovery.Elsewhere, clients, "moved")
		kit.Equal(t, srvs[1].Stats().Recovery.Refused, wsserver.RecoveryRefused{}, "refused")
	})
}

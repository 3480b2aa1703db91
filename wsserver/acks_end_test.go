package wsserver_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestAckEndsWithClose: calls that wait end when their server closes, and say what they have.
func TestAckEndsWithClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, wsserver.Config{})
		w.clients["a"].On("q", func(wstest.Event) []any { return []any{1} })
		w.srvs[1].Of("/").OnServerSide("q", func(ctx context.Context, e *wsserver.ServerEvent) error {
			<-ctx.Done() // or Close would wait for it
			return ctx.Err()
		})
		var wg sync.WaitGroup
		wg.Go(func() {
			responses, err := w.srvs[0].All().EmitWithAck(t.Context(), "q")
			if got := w.answered(t, responses); got != "a 1" || err == nil {
				t.Errorf("EmitWithAck: got %q, %v, want the answer of a and an error", got, err)
			}
		})
		wg.Go(func() {
			if responses, err := w.srvs[0].Of("/").ServerSideEmitWithAck(t.Context(), "q"); len(responses) > 0 || err == nil {
				t.Errorf("ServerSideEmitWithAck: got %v, %v, want an error", responses, err)
			}
		})
		synctest.Wait()
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), kit.Patience)
		defer cancel()
		kit.OK(t, w.srvs[0].Close(ctx))
		wg.Wait()
		if got := time.Since(start); got > 5*time.Second {
			t.Errorf("took %v", got)
		}
		time.Sleep(5 * time.Second)
		w.noAcks(t)
	})
}

// TestAckStress: while sockets come and go, calls of all nodes end, nobody answers twice, and nothing stays behind.
func TestAckStress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srvs := newCluster(t, 3, wsserver.Config{})
		var mu sync.Mutex
		var sockets []*wsserver.Socket
		for _, srv := range srvs {
			srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
				mu.Lock()
				defer mu.Unlock()
				sockets = append(sockets, s)
				return nil
			})
		}
		dial := func(srv *wsserver.Server, answers bool) *wstest.Client {
			c := wstest.Dial(t, srv, wstest.Config{})
			c.On("q", func(e wstest.Event) []any {
				if !answers {
					return nil
				}
				return []any{c.ID()}
			})
			return c
		}
		for i := range 9 {
			dial(srvs[i%3], true)
		}
		stop := make(chan struct{})
		var coming, asking sync.WaitGroup
		for i, srv := range srvs {
			coming.Go(func() {
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					c := dial(srv, n%2 == 0)
					time.Sleep(time.Duration(1+(n+i)%7) * time.Millisecond)
					if n%3 == 0 {
						c.Disconnect()
					}
					c.Abort()
				}
			})
		}
		var answers atomic.Int64
		for _, srv := range srvs {
			for range 3 {
				asking.Go(func() {
					for range 40 {
						ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
						responses, err := srv.All().EmitWithAck(ctx, "q")
						cancel()
						var partial *cluster.PartialError
						if err != nil && (!errors.As(err, &partial) || len(partial.Nodes) > 0) {
							t.Errorf("got %v", err)
						}
						seen := make(map[string]bool)
						for _, r := range responses {
							if id, err := one(r.Response, nil); err != nil || id != r.Socket || seen[id] {
								t.Errorf("socket %s: got %q, %v; twice: %t", r.Socket, id, err, seen[id])
							}
							seen[r.Socket] = true
						}
						answers.Add(int64(len(responses)))
					}
				})
			}
		}
		asking.Wait()
		close(stop)
		coming.Wait()
		synctest.Wait()
		if got := answers.Load(); got < 9*9*40 {
			t.Errorf("got %d answers, want at least those of the clients that stay", got)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, s := range sockets {
			kit.Want(t, s.PendingAcks(), 0, "a socket still waits for answers")
		}
	})
}

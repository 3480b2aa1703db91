package wsserver_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestTwoClaims: of the connections that claim one session at several nodes at once, not more than
// one has it in the end, whole.
func TestTwoClaims(t *testing.T) {
	for _, step := range []string{"", "recovery.claim", "recovery.take", "recovery.done"} {
		kit.Bubble(t, "slow "+step, func(t *testing.T) {
			srvs, links := newRecoveringCluster(t, 3, wsserver.Recovery{})
			c := wstest.Dial(t, srvs[0], wstest.Config{})
			id := c.ID()
			kit.OK(t, socketOf(t, srvs[0], c).Join(t.Context(), "x"))
			drop(c)
			kit.OK(t, srvs[2].To("x").Emit(t.Context(), "missed", 1))
			delay := 300 * time.Millisecond
			links[0].set(func(msg []byte, pass func([]byte)) {
				if step != "" && bytes.Contains(msg, []byte(step)) {
					delay -= 50 * time.Millisecond // later ones overtake it
					msg := bytes.Clone(msg)
					time.AfterFunc(max(delay, 0), func() { pass(msg) })
					return
				}
				pass(msg)
			})
			for i := range 6 {
				comes(t, srvs[i%3], backAs(c, ""))
				time.Sleep(10 * time.Millisecond)
			}
			time.Sleep(20 * time.Second)
			kit.OK(t, srvs[1].To("x").Emit(t.Context(), "missed", 2))
			synctest.Wait()
			have := 0
			for _, srv := range srvs {
				if s, ok := srv.Of("/").Socket(id); ok {
					have++
					kit.EqualSlices(t, s.Rooms(), []string{id, "x"}, "rooms")
				}
			}
			kit.Check(t, have <= 1, "%d sockets have the id", have)
			c.Return(srvs[1]) // it has got nothing: all that is due comes
			if c.Recovered() {
				wantTold(t, "missed", c, "missed 1", "missed 2")
			} else {
				wantTold(t, "new", c)
			}
			time.Sleep(3 * time.Minute)
			for i, srv := range srvs {
				kit.Equal(t, srv.Stats().Recovery.Away, 0, "away at", i)
			}
			rooms := kit.Must(srvs[2].Of("/").To("x").FetchSockets(t.Context()))(t)
			kit.Check(t, len(rooms) == 1 && c.Recovered() || len(rooms) == 0 && !c.Recovered(), "in the room: %d", len(rooms))
		})
	}
}

// TestNodeWithoutRecovery: a node that recovers nothing does no harm to those that do.
func TestNodeWithoutRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		secret := []byte("a secret of all nodes")
		with := newCluster(t, 2, wsserver.Config{Adapter: memory, Recovery: &wsserver.Recovery{Secret: secret}})
		without := newCluster(t, 1, wsserver.Config{Adapter: memory})[0]
		time.Sleep(time.Second)
		c := wstest.Dial(t, with[0], wstest.Config{})
		id := c.ID()
		drop(c)
		kit.OK(t, without.To(id).Emit(t.Context(), "missed", 1))
		synctest.Wait()
		c.Return(with[1])
		wantBack(t, "return", c, id, true)
		wantTold(t, "missed", c, "missed 1")
		c.Return(without)
		wantBack(t, "without", c, id, false)
		kit.OK(t, without.To(c.ID()).Emit(t.Context(), "live", "text"))
		wantTold(t, "live", c, "live text")
	})
}

// TestMovesUnderLoad: clients that are dropped and come back to any node, while all nodes emit and
// the links let messages overtake others, get all that is due to them, once, and that of each node in its
// order. Those that are not recovered have a reason.
func TestMovesUnderLoad(t *testing.T) {
	for seed := range uint64(4) {
		kit.Bubble(t, fmt.Sprint("seed ", seed), func(t *testing.T) {
			srvs, links := newRecoveringCluster(t, 3, wsserver.Recovery{})
			var mu sync.Mutex
			rng := rand.New(rand.NewPCG(seed, 1))
			below := func(n int) int {
				mu.Lock()
				defer mu.Unlock()
				return rng.IntN(n)
			}
			const clients, rounds, each = 6, 12, 5
			var all []*wstest.Client
			for i := range clients {
				c := wstest.Dial(t, srvs[i%3], wstest.Config{})
				kit.OK(t, socketOf(t, srvs[i%3], c).Join(t.Context(), "x"))
				all = append(all, c)
			}
			for _, link := range links {
				link.set(func(msg []byte, pass func([]byte)) {
					if seed > 0 && below(10) == 0 { // others overtake it
						msg := bytes.Clone(msg)
						time.AfterFunc(5*time.Millisecond, func() { pass(msg) })
						return
					}
					pass(msg)
				})
			}
			numbers, recovered := [3]int{}, 0
			last := make([][3]int, clients)
			emit := func() {
				for range each {
					for at, srv := range srvs {
						numbers[at]++
						kit.OK(t, srv.To("x").Emit(t.Context(), "e", at, numbers[at]))
						time.Sleep(time.Millisecond)
					}
				}
			}
			check := func(i int) {
				synctest.Wait()
				for _, e := range all[i].Pending() {
					var at, n int
					kit.OK(t, e.Decode(&at, &n))
					if n != last[i][at]+1 {
						t.Errorf("client %d got %d of node %d behind %d", i, n, at, last[i][at])
					}
					last[i][at] = n
				}
			}
			for range rounds {
				emit()
				i, to := below(clients), below(3)
				if below(2) == 0 {
					drop(all[i])
				}
				emit()
				all[i].Return(srvs[to])
				emit()
				if !all[i].Recovered() {
					t.Errorf("client %d is not recovered at %d: %+v", i, to, srvs[to].Stats().Recovery.Refused)
					kit.OK(t, socketOf(t, srvs[to], all[i]).Join(t.Context(), "x"))
					all[i].Pending()
					last[i] = numbers
					continue
				}
				recovered++
			}
			time.Sleep(10 * time.Second)
			for i := range all {
				check(i)
				kit.Equal(t, last[i], numbers, "the last of client", i)
			}
			t.Logf("%d recovered", recovered)
		})
	}
}

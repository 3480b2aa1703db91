package wsserver_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// A faulty node hears what filter passes on, by pass, now or later, or not at all.
type faulty struct {
	*adapter.Memory
	filter atomic.Pointer[func(msg []byte, pass func([]byte))]
	dead   atomic.Bool // it hears nothing, and says nothing
}

type faultyLink struct {
	adapter.Link
	node *faulty
}

func (l faultyLink) Publish(ctx context.Context, topic adapter.Topic, msg []byte) error {
	if l.node.dead.Load() {
		return nil
	}
	return l.Link.Publish(ctx, topic, msg)
}

func (a *faulty) Open(ctx context.Context, recv func([]byte)) (adapter.Link, error) {
	link, err := a.Memory.Open(ctx, func(msg []byte) {
		filter := a.filter.Load()
		switch {
		case a.dead.Load():
		case filter != nil:
			(*filter)(msg, recv)
		default:
			recv(msg)
		}
	})
	return faultyLink{link, a}, err
}

func (a *faulty) set(filter func(msg []byte, pass func([]byte))) { a.filter.Store(&filter) }

// newRecoveringCluster returns nodes with recovery that have met, and what each hears by.
func newRecoveringCluster(t *testing.T, n int, r wsserver.Recovery) (srvs []*wsserver.Server, links []*faulty) {
	t.Helper()
	memory := new(adapter.Memory)
	r.Secret = []byte("the secret of all nodes of a test")
	for range n {
		link := &faulty{Memory: memory}
		srv := wsserver.New(wsserver.Config{Adapter: link, Recovery: &r, Logger: kit.Silent})
		t.Cleanup(func() { srv.Close(context.Background()) }) // others may have died
		srv.Of("/").On("echo", echo)
		kit.OK(t, srv.Ready(t.Context()))
		srvs = append(srvs, srv)
		links = append(links, link)
	}
	time.Sleep(time.Second) // they have met, and are not as young as nothing
	return srvs, links
}

// TestMove: a session moves to the node that its client comes to, from one to the next and back,
// also of a client that is faster than its server.
func TestMove(t *testing.T) {
	for _, noticed := range []bool{true, false} {
		kit.Bubble(t, fmt.Sprint("noticed ", noticed), func(t *testing.T) {
			type data struct{ Name string }
			srvs, _ := newRecoveringCluster(t, 3, wsserver.Recovery{Data: data{}})
			c := wstest.Dial(t, srvs[0], wstest.Config{})
			id := c.ID()
			s := socketOf(t, srvs[0], c)
			kit.OK(t, s.Join(t.Context(), "x", "y"))
			s.SetData(data{"a"})
			n := 0
			for hop, at := range []int{1, 2, 0, 2, 1} {
				if noticed {
					drop(c)
				} else {
					c.Stall()
				}
				var want []string
				for range 3 {
					for _, srv := range srvs {
						n++
						kit.OK(t, srv.To("x").Emit(t.Context(), "x", n))
						kit.OK(t, srv.To(id).Emit(t.Context(), "own", n))
						kit.OK(t, srv.To("z").Emit(t.Context(), "z", n))
						_ = kit.Must(srv.To("y").EmitCounted(t.Context(), "y", n))(t)
						want = append(want, fmt.Sprint("x ", n), fmt.Sprint("own ", n), fmt.Sprint("y ", n))
					}
				}
				synctest.Wait()
				c.Return(srvs[at])
				wantBack(t, fmt.Sprint("hop ", hop), c, id, true)
				got := told(c)
				kit.EqualSlices(t, slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want)), "missed")
				kit.EqualSlices(t, got, want, "in order")
				s := socketOf(t, srvs[at], c)
				kit.EqualSlices(t, s.Rooms(), []string{id, "x", "y"}, "rooms")
				kit.Equal(t, s.Data(), any(data{"a"}), "data")
				want = nil
				if hop%2 == 0 { // else it is dropped before it gets anything more
					for _, srv := range srvs {
						n++
						kit.OK(t, srv.To("x").Emit(t.Context(), "live", n))
						kit.OK(t, srv.To(id).Emit(t.Context(), "live own", n))
						synctest.Wait()
						want = append(want, fmt.Sprint("live ", n), fmt.Sprint("live own ", n))
					}
					wantTold(t, "live", c, want...)
				}
			}
			for i, srv := range srvs {
				kit.Equal(t, srv.Stats().Recovery.Away, 0, "away at", i)
			}
		})
	}
}

// TestSecondDrop: a client that is dropped before it gets anything of the node that it has moved to,
// though that has sent it, gets it all the same.
func TestSecondDrop(t *testing.T) {
	for _, at := range []int{0, 1, 2} {
		kit.Bubble(t, fmt.Sprint("back at ", at), func(t *testing.T) {
			srvs, _ := newRecoveringCluster(t, 3, wsserver.Recovery{})
			c := wstest.Dial(t, srvs[0], wstest.Config{})
			id := c.ID()
			kit.OK(t, srvs[0].To(id).Emit(t.Context(), "got", 1))
			wantTold(t, "first", c, "got 1")
			drop(c)
			kit.OK(t, srvs[2].To(id).Emit(t.Context(), "missed", 2))
			synctest.Wait()
			other := comes(t, srvs[1], backAs(c, "")) // it has not told its offset
			synctest.Wait()
			kit.Check(t, isBack(c, other.Read()), "it is not back")
			other.Abort()
			synctest.Wait()
			kit.OK(t, srvs[0].To(id).Emit(t.Context(), "missed", 3))
			synctest.Wait()
			c.Return(srvs[at])
			wantBack(t, "return", c, id, true)
			got := told(c)
			kit.EqualSlices(t, got[max(0, len(got)-2):], []string{"missed 2", "missed 3"}, "missed")
		})
	}
}

// TestMoveKicked: a session that is disconnected, or leaves or joins a room, while it moves is the
// same as one that does so before.
func TestMoveKicked(t *testing.T) {
	steps := []string{"recovery.claim", "middleware", "recovery.take", "recovery.done"}
	for _, step := range steps {
		for _, by := range []int{0, 1, 2} {
			for _, what := range []string{"kick", "leave", "join"} {
				kit.Bubble(t, fmt.Sprint(what, " at ", step, " by ", by), func(t *testing.T) {
					srvs, links := newRecoveringCluster(t, 3, wsserver.Recovery{})
					c := wstest.Dial(t, srvs[0], wstest.Config{})
					id := c.ID()
					kit.OK(t, socketOf(t, srvs[0], c).Join(t.Context(), "x", "y"))
					drop(c)
					var acted atomic.Bool
					act := func(after func()) {
						if acted.CompareAndSwap(false, true) {
							from := srvs[by].To("x")
							var err error
							switch what {
							case "kick":
								err = from.DisconnectSockets(t.Context(), false)
							case "leave":
								err = from.SocketsLeave(t.Context(), "y")
							case "join":
								err = from.SocketsJoin(t.Context(), "z")
							}
							kit.OK(t, err)
						}
						after()
					}
					srvs[1].Of("/").Use(func(context.Context, *wsserver.Socket) error {
						if step == "middleware" {
							act(func() {})
						}
						return nil
					})
					links[0].set(func(msg []byte, pass func([]byte)) {
						if !bytes.Contains(msg, []byte(step)) {
							pass(msg)
							return
						}
						msg = bytes.Clone(msg)
						go act(func() { pass(msg) })
					})
					conn := comes(t, srvs[1], backAs(c, ""))
					time.Sleep(20 * time.Second)
					kit.OK(t, srvs[2].To("y").Emit(t.Context(), "y", 1))
					kit.OK(t, srvs[2].To("z").Emit(t.Context(), "z", 1))
					time.Sleep(time.Second)
					all := 0
					for _, srv := range srvs {
						for _, s := range srv.Of("/").Sockets() {
							all++
							rooms := s.Rooms()
							switch {
							case what == "kick":
								kit.Check(t, !s.Recovered() && s.ID() != id, "it is back in rooms %v", rooms)
							case !s.Recovered():
								t.Errorf("it is not recovered: %v", srvs[1].Stats().Recovery)
							case what == "leave":
								kit.EqualSlices(t, rooms, []string{id, "x"}, "rooms")
							default:
								kit.EqualSlices(t, rooms, []string{id, "x", "y", "z"}, "rooms")
							}
						}
					}
					kit.Check(t, all == 1 || what == "kick" && all == 0, "%d sockets", all)
					if all == 1 && what != "kick" {
						kit.Check(t, isBack(c, conn.Read()), "it is not back")
						event := map[string]string{"leave": "z", "join": "y"}[what]
						if what == "join" {
							kit.Check(t, strings.HasPrefix(conn.Read(), `42["`+event+`",1`), "not told")
							kit.Check(t, strings.HasPrefix(conn.Read(), `42["z",1`), "not told of z")
						}
					}
					for i, srv := range srvs {
						kit.Equal(t, srv.Stats().Recovery.Away, 0, "away at", i)
					}
				})
			}
		}
	}
}

// TestHolderDies: when the node that has a session ends at a step of its move, the session is moved
// whole, or the client gets a new one.
func TestHolderDies(t *testing.T) {
	for _, step := range []string{"recovery.claim", "recovery.take", "recovery.done", "after recovery.done"} {
		kit.Bubble(t, step, func(t *testing.T) {
			srvs, links := newRecoveringCluster(t, 3, wsserver.Recovery{})
			c := wstest.Dial(t, srvs[0], wstest.Config{})
			id := c.ID()
			kit.OK(t, socketOf(t, srvs[0], c).Join(t.Context(), "x"))
			drop(c)
			for i := range 3 {
				kit.OK(t, srvs[i].To("x").Emit(t.Context(), "x", i))
			}
			synctest.Wait()
			links[0].set(func(msg []byte, pass func([]byte)) {
				name, answered := strings.CutPrefix(step, "after ")
				if !bytes.Contains(msg, []byte(name)) {
					pass(msg)
					return
				}
				if answered {
					links[1].dead.Store(true) // the answer does not come
					pass(msg)
					go func() {
						time.Sleep(10 * time.Millisecond)
						links[1].dead.Store(false)
					}()
				}
				links[0].dead.Store(true)
			})
			conn := comes(t, srvs[1], backAs(c, ""))
			time.Sleep(30 * time.Second)
			conn.Abort() // whatever it was told
			synctest.Wait()
			c.Return(srvs[1])
			got := told(c)
			if c.Recovered() {
				kit.Equal(t, c.ID(), id, "id")
				kit.EqualSlices(t, got, []string{"x 0", "x 1", "x 2"}, "missed")
			} else {
				kit.Check(t, c.ID() != id && len(got) == 0, "half: %q %v", c.ID(), got)
				r := srvs[1].Stats().Recovery.Refused
				kit.Check(t, r.Owner+r.Unknown > 0, "refused: %v", r)
			}
			kit.OK(t, srvs[2].To(c.ID()).Emit(t.Context(), "live", 1))
			time.Sleep(time.Second)
			wantTold(t, "live", c, "live 1")
		})
	}
}

// TestMoverGoes: when the client goes away at a step of the move, its session can be had by its next
// return, or it gets a new one, and nothing is left.
func TestMoverGoes(t *testing.T) {
	for _, step := range []string{"recovery.claim", "recovery.take", "recovery.done", "middleware"} {
		for _, at := range []int{0, 1, 2} {
			kit.Bubble(t, fmt.Sprint(step, ", then at ", at), func(t *testing.T) {
				srvs, links := newRecoveringCluster(t, 3, wsserver.Recovery{})
				c := wstest.Dial(t, srvs[0], wstest.Config{})
				id := c.ID()
				kit.OK(t, socketOf(t, srvs[0], c).Join(t.Context(), "x"))
				drop(c)
				var paused atomic.Bool
				reached := make(chan struct{})
				pause := func() {
					if paused.CompareAndSwap(false, true) {
						close(reached)
						time.Sleep(100 * time.Millisecond)
					}
				}
				srvs[1].Of("/").Use(func(context.Context, *wsserver.Socket) error {
					if step == "middleware" {
						pause()
					}
					return nil
				})
				links[0].set(func(msg []byte, pass func([]byte)) {
					if bytes.Contains(msg, []byte(step)) {
						msg = bytes.Clone(msg)
						go func() { pause(); pass(msg) }()
						return
					}
					pass(msg)
				})
				conn := comes(t, srvs[1], backAs(c, ""))
				<-reached
				conn.Abort()
				time.Sleep(time.Second)
				for i := range 3 {
					kit.OK(t, srvs[i].To("x").Emit(t.Context(), "x", i))
					synctest.Wait()
				}
				synctest.Wait()
				c.Return(srvs[at])
				wantBack(t, "return", c, id, true)
				wantTold(t, "missed", c, "x 0", "x 1", "x 2")
				for i, srv := range srvs {
					kit.Equal(t, srv.Stats().Recovery.Away, 0, "away at", i)
				}
			})
		}
	}
}

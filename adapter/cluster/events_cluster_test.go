package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/internal/ask"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
	"github.com/belfry-io/belfry/test/kit"
)

// What another node asks for is told where the members are, in the order of the changes, and nowhere else.
func TestEventsOfChangesByOtherNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := cluster(t, 3)
		asker, r := hubs[0].Rooms("/", frame), hubs[1].Rooms("/", frame)
		a := addAs(t, r, "a", "red")
		a.remove = func() { r.Remove("a") }
		addAs(t, r, "b", "blue")
		addAs(t, asker, "here")
		told, here, elsewhere := listenTo(r), listenTo(asker), listenTo(hubs[2].Rooms("/", frame))
		for _, c := range []struct {
			change func() error
			want   []string
		}{
			{func() error {
				return asker.SocketsJoin(t.Context(), Selection{Rooms: []string{"red", "blue"}}, "new", "red")
			},
				[]string{"create-room new", "join-room new, a", "join-room new, b", "join-room red, b"}},
			{func() error { return asker.SocketsJoin(t.Context(), Selection{Rooms: []string{"new"}}, "red", "new") }, nil},
			{func() error { return asker.SocketsLeave(t.Context(), Selection{Rooms: []string{"new"}}, "new", "blue") },
				[]string{"leave-room new, a", "leave-room new, b", "delete-room new", "leave-room blue, b", "delete-room blue"}},
			{func() error { return asker.SocketsLeave(t.Context(), Selection{Rooms: []string{"red"}}, "new") }, nil},
			{func() error {
				return asker.DisconnectSockets(t.Context(), Selection{Rooms: []string{"red"}, Except: []string{"b"}}, false)
			},
				[]string{"leave-room a, a", "delete-room a", "leave-room red, a"}},
		} {
			kit.OK(t, c.change())
			told.want(t, "where the members are", c.want...) // told before the asker hears that it is done
		}
		here.want(t, "the asker")
		elsewhere.want(t, "another node")
		idle(t, hubs...)
	})
}

// Of its own members the asker's node tells before it waits for others.
func TestEventsOfChangesHereAreToldFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := deafened(t, 2)
		r := hubs[0].Rooms("/", frame)
		addAs(t, r, "a", "red")
		told := listenTo(r)
		ctx, cancel := context.WithCancel(t.Context())
		go r.SocketsJoin(ctx, Selection{Rooms: []string{"red"}}, "new")
		settle()
		told.want(t, "while the other node does not answer", "create-room new", "join-room new, a")
		cancel()
		settle()
		idle(t, hubs...)
	})
}

// A listener that blocks where the members are keeps the asker waiting, and the events behind: neither broadcasts, nor the changes
// themselves, nor what others ask.
func TestBlockedListenerHoldsUpNoBroadcast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := cluster(t, 3)
		r := hubs[1].Rooms("/", frame)
		m := addAs(t, r, "a", "red")
		m.remove = func() {}
		hold := make(chan struct{})
		r.Listen(func(e RoomEvent) {
			if e.Kind == CreateRoom && e.Room == "slow" {
				<-hold
			}
		})
		told := listenTo(r)
		asker, red := hubs[0].Rooms("/", frame), Selection{Rooms: []string{"red"}}
		patient := func() (context.Context, context.CancelFunc) { return context.WithTimeout(t.Context(), time.Second) }
		ctx, cancel := patient()
		err := asker.SocketsJoin(ctx, red, "slow")
		cancel()
		missing(t, "a listener blocks", err, 0, context.DeadlineExceeded, hubs[1].Node())
		var want []string
		for i := range 50 {
			for _, h := range []*Hub{hubs[0], hubs[2]} {
				payload := fmt.Sprint(i, " of ", h.Node())
				say(t, h, payload, Broadcast{Rooms: []string{"slow"}})
				want = append(want, payload)
				synctest.Wait()
			}
			kit.OK(t, asker.SocketsJoin(t.Context(), red, "fast"))
			say(t, hubs[0], "fast", Broadcast{Rooms: []string{"fast"}})
			kit.OK(t, asker.SocketsLeave(t.Context(), Selection{}, "fast"))
			want = append(want, "fast")
		}
		kit.OK(t, asker.DisconnectSockets(t.Context(), red, false))
		kit.Got(asker.Count(t.Context(), Selection{Rooms: []string{"slow"}})).Is(t, 1, "Count")
		got(t, "the member", m, append(want, "disconnect false")...)
		told.want(t, "while a listener blocks")
		close(hold)
		synctest.Wait()
		events := []string{"create-room slow", "join-room slow, a"}
		for range 50 {
			events = append(events, "create-room fast", "join-room fast, a", "leave-room fast, a", "delete-room fast")
		}
		told.want(t, "afterwards", events...)
		idle(t, hubs...)
	})
}

// A change is told, too, if the node has so much to do that nobody hears that it was made.
func TestEventsOfChangesThatCannotBeConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := cluster(t, 2)
		r := hubs[1].Rooms("/", frame)
		addAs(t, r, "a", "red")
		for i := range ask.MaxChanges {
			b := &envelope.Broadcast{From: hubs[0].Node(), Body: envelope.Body{Request: envelope.Request{ID: uint64(1e6 + i), Left: time.Hour}}}
			hubs[1].ask.Answer(b, ask.Changing, func(a *ask.Answer) { <-a.Context().Done() })
		}
		told := listenTo(r)
		err := hubs[0].Rooms("/", frame).SocketsJoin(t.Context(), Selection{Rooms: []string{"red"}}, "new")
		missing(t, "a node that is busy", err, 0, ErrBusy, hubs[1].Node())
		synctest.Wait()
		told.want(t, "where the member is", "create-room new", "join-room new, a")
	})
}

// Where nodes and goroutines move the same members, each node's listeners are told what can be, one at a time.
func TestEventsOfConcurrentChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, wires := cluster(t, 3)
		ledgers := make([]*ledger, len(hubs))
		for i, h := range hubs {
			ledgers[i] = keepLedger(t, h.Rooms("/", frame))
			for k := range 3 {
				add(t, h, fmt.Sprint("group", k))
			}
		}
		settle()
		var moved atomic.Int64
		var tasks sync.WaitGroup
		for i, h := range hubs {
			for k := range 3 {
				tasks.Go(func() {
					r, group := h.Rooms("/", frame), Selection{Rooms: []string{fmt.Sprint("group", k)}}
					for n := range 100 {
						room := fmt.Sprint("room", (n+i)%4)
						err := r.SocketsJoin(t.Context(), group, room, "all")
						if n%2 == 0 {
							err = errors.Join(err, r.SocketsLeave(t.Context(), Selection{Rooms: []string{room}}, room, fmt.Sprint("room", n%4)))
						}
						if err != nil {
							t.Error(err)
						}
						moved.Add(1)
					}
				})
			}
		}
		tasks.Wait()
		settle()
		for i, h := range hubs {
			ledgers[i].want(h.Rooms("/", frame))
			if ledgers[i].told < 500 || h.Stats().Elided != 0 {
				t.Errorf("node %d: %d events told, %d elided; want many, and none", i, ledgers[i].told, h.Stats().Elided)
			}
		}
		if err := hubs[0].Rooms("/", frame).SocketsLeave(t.Context(), Selection{}, "all", "room0", "room1", "room2", "room3"); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Second)
		want := map[adapter.Topic]bool{{Kind: adapter.Namespace, Namespace: "/"}: true}
		for k := range 3 {
			want[roomTopic("/", fmt.Sprint("group", k))] = true
		}
		for i := range hubs {
			if got := wires[i].subscriptions(); !maps.Equal(got, want) {
				t.Errorf("node %d is subscribed to %v, want %v", i, got, want)
			}
		}
		idle(t, hubs...)
	})
}

// A room that is somebody's own, which others are sent into and out of, is received where they are, as long as they are there.
func TestChangesInRoomsOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, wires := cluster(t, 3)
		r := hubs[0].Rooms("/", frame)
		var ids []string
		var members []*member
		for _, h := range []*Hub{hubs[0], hubs[1], hubs[1], hubs[2]} {
			id, m := add(t, h)
			ids, members = append(ids, id), append(members, m)
		}
		own := ids[1] // a member of node 1, with another one there
		topic := roomTopic("/", own)
		check := func(what string, reached string, subscribed ...int) {
			t.Helper()
			time.Sleep(3 * time.Second) // interest is kept for a while
			for i, h := range hubs {
				say(t, h, fmt.Sprint("of node ", i), Broadcast{Rooms: []string{own}})
				synctest.Wait()
				for k, m := range members {
					if got, want := len(m.take()), slices.Contains([]byte(reached), byte('0'+k)); got > 1 || (got == 1) != want {
						t.Errorf("%s: member %d got what node %d emitted %d times, want it: %t", what, k, i, got, want)
					}
				}
				want := map[adapter.Topic]bool{{Kind: adapter.Namespace, Namespace: "/"}: true}
				if slices.Contains(subscribed, i) {
					want[topic] = true
				}
				if got := wires[i].subscriptions(); !maps.Equal(got, want) {
					t.Errorf("%s: node %d is subscribed to %v, want %v", what, i, got, want)
				}
			}
		}
		change := func(err error) {
			t.Helper()
			kit.OK(t, err)
		}
		check("at first", "1")
		change(r.SocketsJoin(t.Context(), Selection{Rooms: []string{own}}, own))
		check("its own again", "1")
		change(r.SocketsJoin(t.Context(), Selection{}, own, own))
		interested := []int{0, 2} // what is private to a node comes there anyhow
		check("all have joined", "0123", interested...)
		change(r.SocketsLeave(t.Context(), Selection{Rooms: []string{own}, Except: ids[3:]}, own))
		check("all but one have left", "3", 2)
		change(r.SocketsJoin(t.Context(), Selection{Rooms: ids[1:2]}, own)) // selects the one that is left
		check("the one that is left again", "3", 2)
		change(r.SocketsJoin(t.Context(), Selection{Rooms: ids[:1]}, own))
		check("another one", "03", interested...)
		change(r.SocketsLeave(t.Context(), Selection{}, own, own))
		check("none", "")
		change(r.SocketsJoin(t.Context(), Selection{Except: []string{ids[0], ids[3]}}, own))
		check("those of its node", "12")
		change(r.SocketsLeave(t.Context(), Selection{}, own))
		check("none", "")
		idle(t, hubs...)
	})
}

// The same for ids that this node's NewID has not made, and so are names as any other: its node is interested in one as long as anybody is in
// the room, the member itself or others.
func TestChangesInAnOwnRoomOfAnyName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, wires := cluster(t, 2)
		r := hubs[0].Rooms("/", frame)
		far := hubs[1].Rooms("/", frame)
		addAs(t, far, "a", "of a")
		addAs(t, far, "b", "of b")
		for _, c := range []struct {
			what       string
			change     func(context.Context, Selection, ...string) error
			who        string
			interested bool
		}{
			{"a joins its own", r.SocketsJoin, "a", true},
			{"b joins it", r.SocketsJoin, "b", true},
			{"a leaves it", r.SocketsLeave, "a", true},
			{"a comes back", r.SocketsJoin, "a", true},
			{"b leaves it", r.SocketsLeave, "b", true},
			{"a leaves it", r.SocketsLeave, "a", false},
		} {
			kit.OK(t, c.change(t.Context(), Selection{Rooms: []string{"of " + c.who}}, "a"), c.what)
			time.Sleep(3 * time.Second)
			kit.Equal(t, wires[1].subscriptions()[roomTopic("/", "a")], c.interested, c.what, "interested")
		}
	})
}

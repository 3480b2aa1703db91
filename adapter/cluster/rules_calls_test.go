package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter/internal/envelope"
	"github.com/belfry-io/belfry/test/kit"
)

// The rules about what nodes ask of each other: see rules_test.go for all of them.

// What Socket.IO promises of a disconnection alone ("sends a packet before all socket instances disconnect") holds in belfry for a leave as
// well, and while what was emitted is lost on its way to a node and comes again.
func TestRule16BroadcastComesBeforeTheChangeThatFollows(t *testing.T) {
	red := []string{"red"}
	type change func(ctx context.Context, r *Rooms, s Selection) error
	disconnect := func(close bool) change {
		return func(ctx context.Context, r *Rooms, s Selection) error { return r.DisconnectSockets(ctx, s, close) }
	}
	leave := func(ctx context.Context, r *Rooms, s Selection) error { return r.SocketsLeave(ctx, s, "red", "blue") }
	for _, c := range []struct {
		name   string
		change change
		rooms  []string
		after  []string // what members get after what was emitted before the change
	}{
		{"disconnect a room", disconnect(false), red, []string{"disconnect false"}},
		{"close a room", disconnect(true), red, []string{"disconnect true"}},
		{"disconnect a union", disconnect(false), []string{"none", "red", "blue"}, []string{"disconnect false"}},
		{"disconnect many rooms", disconnect(false), []string{"1", "2", "3", "4", "red"}, []string{"disconnect false"}},
		{"disconnect all", disconnect(false), nil, []string{"disconnect false"}},
		{"leave a room", leave, red, nil},
		{"leave all", leave, nil, nil},
	} {
		for _, lossy := range []bool{false, true} {
			kit.Bubble(t, fmt.Sprintf("%s, lossy %t", c.name, lossy), func(t *testing.T) {
				hubs, sieves := sifted(t, 3)
				var members []*member
				for _, h := range hubs {
					for range 2 {
						_, m := add(t, h, "red", "blue")
						members = append(members, m)
					}
				}
				_, bystander := add(t, hubs[1], "green")
				synctest.Wait()
				if lossy { // node 1 gets nothing that was emitted, and node 2 only some
					sieves[1].set(func(m *envelope.Message) bool { return broadcasts(m) && m.Broadcast.Kind == 0 })
					sieves[2].set(func(m *envelope.Message) bool { return broadcasts(m) && string(m.Broadcast.Payload) == "2" })
				}
				want := []string{"1", "2", "3"}
				for _, payload := range want {
					say(t, hubs[0], payload, Broadcast{Rooms: c.rooms})
				}
				if err := c.change(t.Context(), hubs[0].Rooms("/", frame), Selection{Rooms: c.rooms}); err != nil {
					t.Errorf("%v, want that it is done everywhere", err)
				}
				say(t, hubs[0], "too late", Broadcast{Rooms: red})
				for _, s := range sieves {
					s.set(nil)
				}
				time.Sleep(3 * time.Second)
				for i, m := range members {
					got(t, fmt.Sprint("member ", i), m, slices.Concat(want, c.after)...)
				}
				if c.rooms == nil {
					got(t, "the bystander", bystander, slices.Concat(want, c.after)...)
				} else {
					got(t, "the bystander", bystander)
				}
				for i, h := range hubs {
					if s := h.Stats(); s.Missed+s.Unknown != 0 || i > 0 && (s.Repaired > 0) != lossy {
						t.Errorf("node %d: %+v, want repairs: %v", i, s, lossy && i > 0)
					}
				}
				idle(t, hubs...)
			})
		}
	}
}

// To a room, then to one of it: in this order, and each once. Where the first is lost, it comes later: the two have no room in common.
func TestRule16ToARoomThenToOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, sieves := sifted(t, 3)
		ids, members := make([]string, 3), make([]*member, 3)
		for i, h := range hubs {
			ids[i], members[i] = add(t, h, "red")
		}
		var want []string
		for i := range 20 {
			room, one := fmt.Sprint("room ", i), fmt.Sprint("one ", i)
			say(t, hubs[0], room, Broadcast{Rooms: []string{"red"}})
			for _, id := range ids {
				say(t, hubs[0], one, Broadcast{Rooms: []string{id}})
			}
			want = append(want, room, one)
		}
		settle()
		for i, m := range members {
			got(t, fmt.Sprint("member ", i), m, want...)
		}
		sieves[1].set(func(m *envelope.Message) bool {
			return broadcasts(m) && slices.Equal(m.Broadcast.Rooms, []string{"red"})
		})
		say(t, hubs[0], "to all", Broadcast{Rooms: []string{"red"}})
		say(t, hubs[0], "to one", Broadcast{Rooms: ids[1:2]})
		got(t, "the one that missed the first", members[1], "to one")
		say(t, hubs[0], "to both", Broadcast{Rooms: []string{"red", ids[1]}}) // has to do with both, and shows that something is missing
		got(t, "it", members[1], "to all", "to both")
		if s := hubs[1].Stats(); s.Overtaken != 1 || s.Repaired != 1 {
			t.Errorf("%+v, want one that was repaired, and overtaken", s)
		}
	})
}

// Each node says once how many members have the broadcast, also that none has, and only after they have it. Here every member is asked with
// the one frame of its node; that one id serves all of them is the server's part.
func TestRule19EachNodeSaysOnceHowManyItHasAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, sieves := sifted(t, 3)
		framed := make([]int, 3)
		asked := make([]int, 3)
		var mu sync.Mutex // guards asked and said
		said := make(map[string][]string)
		sieves[0].set(func(m *envelope.Message) bool {
			if m != nil && m.Broadcast != nil && m.Broadcast.Kind == envelope.KindAnswer {
				mu.Lock()
				defer mu.Unlock()
				if n := m.Broadcast.From; len(said[n]) == 0 {
					count, err := envelope.Number(m.Broadcast.Payload)
					said[n] = append(said[n], fmt.Sprint(count, " asked ", asked[slices.IndexFunc(hubs, func(h *Hub) bool { return h.Node() == n })], " ", err))
				} else {
					replies, err := envelope.MemberAcks(m.Broadcast.Payload)
					said[n] = append(said[n], fmt.Sprint(len(replies), " answers ", err))
				}
			}
			return false
		})
		for i, h := range hubs {
			r := h.Rooms("/asked", func(payload []byte, volatile bool) (any, error) { framed[i]++; return frame(payload, volatile) })
			for k := range []int{2, 0, 4}[i] {
				m := addAs(t, r, fmt.Sprintf("%d%d", i, k))
				m.asking = func(text string, answer func([]byte, bool)) {
					mu.Lock()
					asked[i]++
					mu.Unlock()
					time.AfterFunc(time.Second, func() {
						answer([]byte("the first"), true)
						answer([]byte("a second"), true)
					})
				}
			}
		}
		settle()
		acks, err := hubs[0].Rooms("/asked", frame).EmitWithAck(t.Context(), Broadcast{Payload: []byte("x")})
		if err != nil || acks.Members != 6 || len(acks.Answers) != 6 {
			t.Errorf("%d answers of %d, %v; want 6", len(acks.Answers), acks.Members, err)
		}
		for _, a := range acks.Answers {
			kit.Equal(t, string(a.Payload), "the first", "the answer of", a.Member)
		}
		kit.EqualSlices(t, framed, []int{1, 0, 1}, "framings, once where there are members")
		mu.Lock()
		defer mu.Unlock()
		for i, want := range [][]string{nil, {"0 asked 0 <nil>"}, {"4 asked 4 <nil>", "4 answers <nil>"}} {
			kit.EqualSlices(t, said[hubs[i].Node()], want, "node", i, "has said")
		}
		idle(t, hubs...)
	})
}

// A broadcast with acks ends when every node has said how many it has asked and all of those have answered; or with ctx, and the answers
// so far; or with the first answer, if only one is wanted. Of nobody there are none, at once.
func TestRule20AcksAreWhole(t *testing.T) {
	clusters(t, func(t *testing.T, hubs []*Hub) {
		r := hubs[0].Rooms("/", frame)
		for i, h := range hubs {
			for k := range 2 {
				m := addAs(t, h.Rooms("/", frame), fmt.Sprintf("%d%d", i, k), fmt.Sprint("node", i))
				answering(m, fmt.Sprintf("%d%d", i, k), time.Duration(1+2*i+k)*time.Second)
			}
		}
		settle()
		last := 2 * len(hubs)
		for _, c := range []struct {
			b       Broadcast
			patient time.Duration
			answers int
			members int
			took    time.Duration
		}{
			{Broadcast{}, time.Minute, last, last, time.Duration(last) * time.Second},
			{Broadcast{Rooms: []string{"node0"}}, time.Minute, 2, 2, 2 * time.Second},
			{Broadcast{Local: true}, time.Minute, 2, 2, 2 * time.Second},
			{Broadcast{Rooms: []string{"nobody"}}, time.Minute, 0, 0, 0},
			{Broadcast{}, 1500 * time.Millisecond, 1, last, 1500 * time.Millisecond},
			{Broadcast{}, 500 * time.Millisecond, 0, last, 500 * time.Millisecond},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), c.patient)
			start := time.Now()
			acks, err := r.EmitWithAck(ctx, c.b)
			cancel()
			kit.Took(t, start, c.took, c.took+3*ackDelay, c.b)
			kit.Equal(t, len(acks.Answers), c.answers, c.b, "answers")
			kit.Equal(t, acks.Members, c.members, c.b, "members")
			if c.answers == c.members {
				kit.OK(t, err, c.b)
			} else {
				missing(t, fmt.Sprintf("%+v", c.b), err, c.members-c.answers, context.DeadlineExceeded)
			}
		}
		start := time.Now()
		ack, err := r.EmitWithFirstAck(t.Context(), Broadcast{Payload: []byte("one")})
		if err != nil || ack.Member != "00" || time.Since(start) != time.Second {
			t.Errorf("the first answer: %+v, %v after %v", ack, err, time.Since(start))
		}
		settle()
	})
}

// A server event goes to the other nodes, of this namespace. With an answer wanted, all others answer; who leaves is not waited for; and with
// ctx come the answers so far.
func TestRule24ServerEventsGoToTheOthers(t *testing.T) {
	clusters(t, func(t *testing.T, hubs []*Hub) {
		var mu sync.Mutex
		var got []string
		r, silent := hubs[0].Rooms("/", frame), make(chan struct{})
		for i, h := range hubs {
			h.OnServerSide(func(ctx context.Context, e ServerEvent) ([]byte, error) {
				if string(e.Payload) == "silence" && i == len(hubs)-1 {
					select {
					case <-silent:
					case <-ctx.Done():
						return nil, ctx.Err()
					}
				}
				mu.Lock()
				defer mu.Unlock()
				got = append(got, fmt.Sprint(e.Namespace, " ", string(e.Payload), " to ", i))
				return fmt.Append(nil, "answer of ", i), nil
			})
		}
		told := func(what string, want ...string) {
			t.Helper()
			settle()
			mu.Lock()
			defer mu.Unlock()
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("%s: told %q, want %q", what, got, want)
			}
			got = nil
		}
		answered := func(what string, answers []ServerAnswer, want int) {
			t.Helper()
			by := make(map[string]bool)
			for _, a := range answers {
				i := slices.IndexFunc(hubs, func(h *Hub) bool { return h.Node() == a.Node })
				if by[a.Node] || i <= 0 || string(a.Payload) != fmt.Sprint("answer of ", i) {
					t.Errorf("%s: node %d has answered %q", what, i, a.Payload)
				}
				by[a.Node] = true
			}
			kit.Equal(t, len(answers), want, what, "answers")
		}
		var want, other []string
		for i := 1; i < len(hubs); i++ {
			want = append(want, fmt.Sprint("/ x to ", i))
			other = append(other, fmt.Sprint("/other x to ", i))
		}
		kit.OK(t, r.ServerSideEmit(t.Context(), []byte("x"), nil))
		told("ServerSideEmit", want...)
		kit.OK(t, hubs[0].Rooms("/other", frame).ServerSideEmit(t.Context(), []byte("x"), nil))
		told("another namespace", other...)
		answers, err := r.ServerSideEmitWithAck(t.Context(), []byte("x"), nil)
		kit.OK(t, err)
		answered("ServerSideEmitWithAck", answers, len(hubs)-1)
		told("ServerSideEmitWithAck", want...)
		if len(hubs) == 1 {
			return // 0 others: no answers, and no error
		}
		last := hubs[len(hubs)-1]
		ctx := kit.Within(t, time.Second)
		answers, err = r.ServerSideEmitWithAck(ctx, []byte("silence"), nil)
		missing(t, "one is silent", err, 0, context.DeadlineExceeded, last.Node())
		answered("one is silent", answers, len(hubs)-2)
		time.AfterFunc(time.Second, func() { last.Close(context.Background()) })
		start := time.Now()
		answers, err = r.ServerSideEmitWithAck(t.Context(), []byte("silence"), nil)
		missing(t, "one leaves", err, 0, ErrNode, last.Node())
		kit.Took(t, start, 0, time.Second+10*time.Millisecond, "one that leaves was waited for")
		answered("one leaves", answers, len(hubs)-2)
		answers, err = r.ServerSideEmitWithAck(t.Context(), []byte("x"), nil)
		kit.OK(t, err, "when it has left")
		answered("when it has left", answers, len(hubs)-2)
	})
}

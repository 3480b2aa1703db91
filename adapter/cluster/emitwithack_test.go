package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/internal/ask"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
	"github.com/belfry-io/belfry/adapter/internal/mesh"
	"github.com/belfry-io/belfry/test/kit"
)

// answering has m answer everything that it is asked, after a while if that is not zero.
func answering(m *member, text string, after time.Duration) {
	m.asking = func(asked string, answer func([]byte, bool)) {
		if after == 0 {
			answer([]byte(text+" to "+asked), true)
		} else {
			time.AfterFunc(after, func() { answer([]byte(text+" to "+asked), true) })
		}
	}
}

func texts(acks Acks) []string {
	list := make([]string, 0, len(acks.Answers))
	for _, a := range acks.Answers {
		list = append(list, string(a.Payload))
	}
	slices.Sort(list)
	return list
}

func TestEmitWithAck(t *testing.T) {
	clusters(t, func(t *testing.T, hubs []*Hub) {
		r := hubs[0].Rooms("/", frame)
		nodes := make(map[string]string) // by member
		var want []string
		var members []*member
		for i, h := range hubs {
			id, m := add(t, h, "red")
			answering(m, fmt.Sprint("soon ", i), 0)
			nodes[id] = h.Node()
			members = append(members, m)
			id, m = add(t, h, "red", "late")
			answering(m, fmt.Sprint("late ", i), 100*time.Millisecond)
			nodes[id] = h.Node()
			members = append(members, m)
			add(t, h)
			want = append(want, fmt.Sprint("late ", i, " to x"), fmt.Sprint("soon ", i, " to x"))
		}
		slices.Sort(want)
		start := time.Now()
		acks, err := r.EmitWithAck(t.Context(), Broadcast{Rooms: []string{"red"}, Payload: []byte("x")})
		if err != nil || acks.Members != 2*len(hubs) || !slices.Equal(texts(acks), want) {
			t.Errorf("%d members, answers %q, %v; want %q", acks.Members, texts(acks), err, want)
		}
		for _, a := range acks.Answers {
			kit.Equal(t, nodes[a.Member], a.Node, "the node of", a.Member, "who answered for", a.Node)
		}
		kit.Took(t, start, 100*time.Millisecond, 150*time.Millisecond)
		acks, err = r.EmitWithAck(t.Context(), Broadcast{Rooms: []string{"red"}, Except: []string{"late"}, Volatile: true, Payload: []byte("y")})
		if err != nil || acks.Members != len(hubs) || len(acks.Answers) != len(hubs) || !strings.HasSuffix(texts(acks)[0], " to volatile y") {
			t.Errorf("%d members, answers %q, %v", acks.Members, texts(acks), err)
		}
		acks, err = r.EmitWithAck(t.Context(), Broadcast{Rooms: []string{"red"}, Local: true, Payload: []byte("z")})
		if err != nil || !slices.Equal(texts(acks), []string{"late 0 to z", "soon 0 to z"}) {
			t.Errorf("on this node: %d members, answers %q, %v", acks.Members, texts(acks), err)
		}
		start = time.Now()
		for _, b := range []Broadcast{{Rooms: []string{"none"}}, {Rooms: []string{"none"}, Local: true}} {
			acks, err = r.EmitWithAck(t.Context(), b)
			if err != nil || acks.Members != 0 || len(acks.Answers) != 0 || time.Since(start) > 10*time.Millisecond {
				t.Errorf("to nobody: %+v, %v after %v", acks, err, time.Since(start))
			}
		}
		settle()
		for _, m := range members {
			kit.Equal(t, m.forgotten(), 0, "questions that a member that has answered was told to forget")
		}
	})
}

func TestEmitWithFirstAck(t *testing.T) {
	clusters(t, func(t *testing.T, hubs []*Hub) {
		r := hubs[0].Rooms("/", frame)
		for i, h := range hubs {
			id, m := add(t, h, "red")
			answering(m, fmt.Sprint("member ", i), time.Duration(i+1)*100*time.Millisecond)
			ack, err := r.EmitWithFirstAck(t.Context(), Broadcast{Rooms: []string{id}, Payload: []byte("x")})
			if err != nil || ack.Member != id || ack.Node != h.Node() || string(ack.Payload) != fmt.Sprint("member ", i, " to x") {
				t.Errorf("%+v, %v", ack, err)
			}
			m.take()
		}
		start := time.Now()
		ack, err := r.EmitWithFirstAck(t.Context(), Broadcast{Rooms: []string{"red"}, Payload: []byte("y")})
		if err != nil || string(ack.Payload) != "member 0 to y" || time.Since(start) > 150*time.Millisecond {
			t.Errorf("the first of several: %+v, %v after %v", ack, err, time.Since(start))
		}
		settle()
		for i, h := range hubs {
			for _, m := range h.Rooms("/", frame).Select([]string{"red"}, nil) {
				kit.Equal(t, m.(*member).forgotten(), min(i, 1),
					"how often member", i, "was told that the answer is not wanted")
			}
		}
		if ack, err := r.EmitWithFirstAck(t.Context(), Broadcast{Rooms: []string{hubs[0].NewID()}}); err != ErrMember {
			t.Errorf("to nobody: %+v, %v; want ErrMember", ack, err)
		}
		id, m := add(t, hubs[len(hubs)-1])
		ctx := kit.Within(t, time.Second)
		_, err = r.EmitWithFirstAck(ctx, Broadcast{Rooms: []string{id}})
		settle()
		if missing(t, "a silent member", err, 1, context.DeadlineExceeded); m.forgotten() != 1 {
			t.Error("the silent member was not told to forget it")
		}
	})
}

// With the deadline come the answers so far, and nobody keeps waiting on any node.
func TestAcksThatDoNotCome(t *testing.T) {
	clusters(t, func(t *testing.T, hubs []*Hub) {
		var mute []*member
		var mu sync.Mutex // guards late
		var late []func([]byte, bool)
		for _, h := range hubs {
			_, m := add(t, h)
			answering(m, "answer", 0)
			_, m = add(t, h)
			m.asking = func(_ string, answer func([]byte, bool)) {
				mu.Lock()
				defer mu.Unlock()
				late = append(late, answer)
			}
			mute = append(mute, m)
		}
		for _, cause := range []error{context.DeadlineExceeded, context.Canceled} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if cause == context.Canceled {
				time.AfterFunc(time.Second/2, cancel)
			}
			acks, err := hubs[0].Rooms("/", frame).EmitWithAck(ctx, Broadcast{Payload: []byte("x")})
			cancel()
			missing(t, "half of them mute", err, len(hubs), cause)
			kit.Equal(t, len(acks.Answers), len(hubs), "answers")
			kit.Equal(t, acks.Members, 2*len(hubs), "members")
			settle()
			for i, m := range mute {
				kit.Equal(t, m.forgotten(), 1, "questions that the mute member of node", i, "was told to forget")
				m.forgot = nil
			}
			for _, answer := range late {
				answer([]byte("too late"), true)
			}
			late = late[:0]
			idle(t, hubs...)
		}
	})
}

// A member that leaves without an answer is missing and not waited for.
func TestMemberLeavesUnanswered(t *testing.T) {
	clusters(t, func(t *testing.T, hubs []*Hub) {
		var left []*member
		for _, h := range hubs {
			_, m := add(t, h)
			answering(m, "answer", 0)
			_, m = add(t, h)
			m.asking = func(_ string, answer func([]byte, bool)) {
				time.AfterFunc(50*time.Millisecond, func() { answer(nil, false); answer([]byte("again"), true) })
			}
			left = append(left, m)
		}
		start := time.Now()
		acks, err := hubs[0].Rooms("/", frame).EmitWithAck(t.Context(), Broadcast{Payload: []byte("x")})
		missing(t, "half of them left", err, len(hubs), nil)
		if d := time.Since(start); len(acks.Answers) != len(hubs) || acks.Members != 2*len(hubs) || d > 100*time.Millisecond {
			t.Errorf("%d answers of %d after %v", len(acks.Answers), acks.Members, d)
		}
		for _, m := range left {
			kit.Equal(t, m.forgotten(), 0, "questions that a member that had left was told to forget")
		}
	})
}

// The answers of a node's members come together.
func TestAcksAreSentTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, wires := newWires(2)
		var pages, bytes atomic.Int64
		wires[0].receiving = func(msg []byte, _ bool, recv func([]byte)) {
			if _, b, _, _ := decode(msg); b != nil && b.Kind == envelope.KindAnswer {
				pages.Add(1)
				bytes.Store(max(bytes.Load(), int64(len(b.Payload))))
			}
			recv(msg)
		}
		hubs := clusterOn(t, wires...)
		var large atomic.Bool
		for i := range 1000 {
			_, m := add(t, hubs[1])
			m.asking = func(_ string, answer func([]byte, bool)) {
				size := 20
				if large.Load() {
					size = 2000
				}
				time.AfterFunc(time.Duration(i)*100*time.Microsecond, func() { answer(make([]byte, size), true) })
			}
		}
		for _, c := range []struct{ least, most int64 }{{5, 10}, {60, 75}} {
			pages.Store(0)
			acks, err := hubs[0].Rooms("/", frame).EmitWithAck(t.Context(), Broadcast{})
			if n := pages.Load(); len(acks.Answers) != 1000 || err != nil || n < c.least || n > c.most || bytes.Load() > ask.MaxPage {
				t.Errorf("%d answers in %d messages of up to %d bytes, %v; want %d to %d", len(acks.Answers), n, bytes.Load(), err, c.least, c.most)
			}
			large.Store(true)
		}
		idle(t, hubs...)
	})
}

// Broadcasts with and without acks come in their order.
func TestAcksKeepTheirPlace(t *testing.T) {
	clusters(t, func(t *testing.T, hubs []*Hub) {
		r := hubs[0].Rooms("/", frame)
		var members []*member
		for _, h := range hubs {
			_, m := add(t, h, "red", "blue")
			answering(m, "", 0)
			members = append(members, m)
		}
		var want []string
		for i := range 50 {
			say(t, hubs[0], fmt.Sprint(i), Broadcast{Rooms: []string{"red"}})
			if acks, err := r.EmitWithAck(t.Context(), Broadcast{Rooms: []string{"red", "blue"}, Payload: []byte("ask")}); err != nil || len(acks.Answers) != len(hubs) {
				t.Errorf("%d answers, %v", len(acks.Answers), err)
			}
			say(t, hubs[0], fmt.Sprint(i), Broadcast{Rooms: []string{"blue"}})
			want = append(want, fmt.Sprint(i), "ask", fmt.Sprint(i))
		}
		settle()
		for i, m := range members {
			got(t, fmt.Sprint("node ", i), m, want...)
		}
	})
}

func TestUnframeableWithAck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := cluster(t, 2)
		add(t, hubs[1])
		_, err := hubs[0].Rooms("/", frame).EmitWithAck(t.Context(), Broadcast{Payload: []byte("unframeable")})
		var p *PartialError
		if !errors.As(err, &p) || !slices.Equal(p.Nodes, []string{hubs[1].Node()}) || !strings.Contains(err.Error(), "no frame for it") {
			t.Errorf("with a member elsewhere: %v", err)
		}
		add(t, hubs[0])
		if _, err := hubs[0].Rooms("/", frame).EmitWithAck(t.Context(), Broadcast{Payload: []byte("unframeable")}); err == nil || errors.As(err, &p) {
			t.Errorf("with a member here: %v", err)
		}
		idle(t, hubs...)
	})
}

// A node that dies or leaves while its members have the question takes their answers with it, and no more. The answers that it has sent count.
func TestNodeDiesWithQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, wires := cluster(t, 3)
		for _, h := range hubs {
			_, m := add(t, h)
			answering(m, "answer", 0)
			_, m = add(t, h)
			answering(m, "late", 5*time.Second)
		}
		time.AfterFunc(time.Second, wires[2].die)
		start := time.Now()
		acks, err := hubs[0].Rooms("/", frame).EmitWithAck(t.Context(), Broadcast{})
		missing(t, "a node that died", err, 1, ErrNode, hubs[2].Node())
		if d := time.Since(start); len(acks.Answers) != 5 || acks.Members != 6 || d > 6*time.Second {
			t.Errorf("%d answers of %d after %v, want 5 of 6 after 5s", len(acks.Answers), acks.Members, d)
		}
		settle()
		idle(t, hubs[:2]...)
	})
}

// What a node is asked by a broadcast that was lost, and is repaired when the asker has said goodbye, nobody waits for.
func TestAskedByOneWhoLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, sieves := sifted(t, 2)
		_, m := add(t, hubs[1])
		sieves[1].set(func(m *envelope.Message) bool { return m.Broadcast != nil && !m.Broadcast.Repaired })
		ctx := kit.Within(t, time.Hour)
		go hubs[0].Rooms("/", frame).EmitWithAck(ctx, Broadcast{Payload: []byte("ask")})
		synctest.Wait()
		kit.OK(t, hubs[0].Close(t.Context()))
		got(t, "the member", m, "ask")
		kit.Equal(t, m.forgotten(), 1, "questions forgotten of a node that has left")
		idle(t, hubs[1])
	})
}

// A call that ends since the other node is silent is taken back there, too: the request may reach it yet.
func TestSilentNodeIsToldToForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		hubs := []*Hub{openWith(t, HubConfig{Adapter: memory}), openWith(t, HubConfig{Adapter: memory})}
		_, m := add(t, hubs[1])
		var handling atomic.Int32
		hubs[1].OnServerSide(func(ctx context.Context, e ServerEvent) ([]byte, error) {
			handling.Add(1)
			defer handling.Add(-1)
			<-ctx.Done()
			return nil, ctx.Err()
		})
		restore := memory.Interrupt()
		synctest.Wait()
		ctx := kit.Within(t, time.Hour)
		r := hubs[0].Rooms("/", frame)
		_, err := r.EmitWithAck(ctx, Broadcast{Payload: []byte("ask")})
		missing(t, "EmitWithAck", err, 0, ErrNode, hubs[1].Node())
		_, err = r.ServerSideEmitWithAck(ctx, nil, nil)
		missing(t, "ServerSideEmitWithAck", err, 0, ErrNode, hubs[1].Node())
		restore()
		time.Sleep(time.Second)
		got(t, "the member", m, "ask")
		kit.Equal(t, m.forgotten(), 1, "questions that the member was told to forget")
		kit.Equal(t, handling.Load(), 0, "handlers that run still")
		idle(t, hubs...)
	})
}

// An asker that has left is not answered: its questions end at once, not with the patience that it had.
func TestAskerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, wires := cluster(t, 4)
		_, m := add(t, hubs[0])
		for i, how := range []func(){
			func() { hubs[1].Close(t.Context()); settle() },
			func() { wires[2].die(); time.Sleep(mesh.DeadAfter + 3*time.Second) },
			func() { hubs[3].Close(t.Context()); settle() },
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			go hubs[i+1].Rooms("/", frame).EmitWithAck(ctx, Broadcast{})
			settle()
			if m.forgotten() != 0 {
				t.Fatal("the question was given up too soon")
			}
			how()
			kit.Equal(t, m.forgotten(), 1, "questions forgotten when asker", i+1, "is gone")
			m.forgot = nil
			cancel()
		}
		idle(t, hubs[0])
	})
}

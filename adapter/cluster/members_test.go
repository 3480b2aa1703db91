package cluster

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter/internal/ask"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
	"github.com/belfry-io/belfry/test/kit"
)

// clusters runs a test on 1 to 4 nodes, and on one without an adapter.
func clusters(t *testing.T, test func(t *testing.T, hubs []*Hub)) {
	kit.Bubble(t, "no adapter", func(t *testing.T) {
		hubs := []*Hub{open(t, nil)}
		test(t, hubs)
		idle(t, hubs...)
	})
	for n := 1; n <= 4; n++ {
		kit.Bubble(t, fmt.Sprint(n, " nodes"), func(t *testing.T) {
			hubs, _ := cluster(t, n)
			test(t, hubs)
			idle(t, hubs...)
		})
	}
}

func TestFetchCountAndAllRooms(t *testing.T) {
	clusters(t, func(t *testing.T, hubs []*Hub) {
		r := hubs[0].Rooms("/", frame)
		all := make(map[string]MemberInfo)
		in := make(map[string][]string) // ids by room
		for n, h := range hubs {
			for i := range 3 {
				rooms := []string{fmt.Sprint("node", n), fmt.Sprint("number", i)}
				id, m := add(t, h, rooms...)
				m.describing = func() []byte { return []byte("data of " + id) }
				all[id] = MemberInfo{ID: id, Node: h.Node(), Rooms: append([]string{id}, rooms...), Data: []byte("data of " + id)}
				for _, room := range append(rooms, "", id) {
					in[room] = append(in[room], id)
				}
			}
		}
		someone := in[fmt.Sprint("node", len(hubs)-1)][1]
		last := fmt.Sprint("node", len(hubs)-1)
		without := func(ids, except []string) []string {
			return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return slices.Contains(except, id) })
		}
		for _, c := range []struct {
			name string
			s    Selection
			want []string
		}{
			{"all", Selection{}, in[""]},
			{"a room on every node", Selection{Rooms: []string{"number1"}}, in["number1"]},
			{"a union", Selection{Rooms: []string{last, "number1", last, "none"}}, append(without(in["number1"], in[last]), in[last]...)},
			{"many rooms", Selection{Rooms: []string{"number0", "number1", "number2", "a", "b", "c"}}, in[""]},
			{"all except a room", Selection{Except: []string{"number1", "none"}}, append(slices.Clone(in["number0"]), in["number2"]...)},
			{"a room except one", Selection{Rooms: []string{last}, Except: []string{someone}}, without(in[last], []string{someone})},
			{"a member's own", Selection{Rooms: []string{someone}}, []string{someone}},
			{"an unknown room", Selection{Rooms: []string{"none"}}, nil},
			{"this node", Selection{Local: true}, in["node0"]},
			{"this node, a room", Selection{Local: true, Rooms: []string{"number1"}}, in["node0"][1:2]},
		} {
			count, err := r.Count(t.Context(), c.s)
			if count != len(c.want) || err != nil {
				t.Errorf("%s: counted %d, %v; want %d", c.name, count, err, len(c.want))
			}
			infos, err := r.FetchSockets(t.Context(), c.s)
			var ids []string
			for i, m := range infos {
				ids = append(ids, m.ID)
				want := all[m.ID]
				if m.Node != want.Node || !slices.Equal(m.Rooms, want.Rooms) || !bytes.Equal(m.Data, want.Data) {
					t.Errorf("%s: fetched %+v, want %+v", c.name, m, want)
				}
				if i > 0 && m.Node == hubs[0].Node() && infos[i-1].Node != m.Node {
					t.Errorf("%s: a member of this node comes behind one of another", c.name)
				}
			}
			slices.Sort(ids)
			if want := slices.Sorted(slices.Values(c.want)); err != nil || !slices.Equal(ids, want) {
				t.Errorf("%s: fetched %q, %v; want %q", c.name, ids, err, want)
			}
		}
		// The room of a member's own is nobody's else, though another joins it.
		kit.OK(t, r.Join(t.Context(), in["node0"][0], someone))
		want := []string{"number0", "number1", "number2"}
		for n := range hubs {
			want = append(want, fmt.Sprint("node", n))
		}
		slices.Sort(want)
		names, err := r.AllRooms(t.Context())
		if slices.Sort(names); err != nil || !slices.Equal(names, want) {
			t.Errorf("rooms %q, %v; want %q", names, err, want)
		}
		other := hubs[0].Rooms("/other", frame)
		infos, err := other.FetchSockets(t.Context(), Selection{})
		count, err2 := other.Count(t.Context(), Selection{})
		names, err3 := other.AllRooms(t.Context())
		acks, err4 := other.EmitWithAck(t.Context(), Broadcast{})
		if err := errors.Join(err, err2, err3, err4); len(infos)+count+len(names)+acks.Members != 0 || err != nil {
			t.Errorf("another namespace: %v, %d, %q, %v", infos, count, names, err)
		}
	})
}

// An answer comes in pages, none larger than its bound unless by a single member, and they wait for room in the queue.
func TestFetchIsPaged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, wires := newWires(2)
		var mu sync.Mutex
		pages, large := 0, 0
		wires[0].receiving = func(msg []byte, broadcast bool, recv func([]byte)) {
			if _, b, _, _ := decode(msg); b != nil && b.Kind == envelope.KindAnswer {
				mu.Lock()
				pages++
				if len(b.Payload) > ask.MaxPage {
					large++
				}
				mu.Unlock()
			}
			recv(msg)
		}
		far := NewHub(HubConfig{Adapter: wires[1], Logger: silent, QueueBytes: 3 * ask.MaxPage})
		t.Cleanup(func() { far.Close(context.Background()) })
		near := open(t, wires[0])
		for _, h := range []*Hub{near, far} {
			kit.OK(t, h.Ready(t.Context()))
		}
		const members = 20_000
		r := far.Rooms("/", frame)
		want := 0
		for i := range members {
			size := 50
			if i == members/2 {
				size = 200 << 10
			}
			m := &member{describing: func() []byte { return bytes.Repeat([]byte{byte(i)}, size) }}
			kit.OK(t, r.Add(t.Context(), far.NewID(), m))
			want += size
		}
		synctest.Wait()
		infos, err := near.Rooms("/", frame).FetchSockets(t.Context(), Selection{})
		got := 0
		ids := make(map[string]bool)
		for _, m := range infos {
			got += len(m.Data)
			ids[m.ID] = true
		}
		if err != nil || len(ids) != members || len(infos) != members || got != want {
			t.Errorf("fetched %d members with %d different ids and %d bytes, %v; want %d and %d bytes", len(infos), len(ids), got, err, members, want)
		}
		if pages < want/ask.MaxPage || large != 1 {
			t.Errorf("%d pages, %d of them beyond the bound; want many, and one for the member that is itself", pages, large)
		}
		if s := far.Stats(); s.Refused != 0 || s.Queued != 0 {
			t.Errorf("%+v, want none refused", s)
		}
		idle(t, near, far)
	})
}

// What a member's Describe does is the program's fault, and costs that member's data.
func TestDescribePanics(t *testing.T) {
	clusters(t, func(t *testing.T, hubs []*Hub) {
		for _, h := range hubs {
			_, m := add(t, h)
			m.describing = func() []byte { panic("no data") }
			_, m = add(t, h)
			m.describing = func() []byte { return []byte("data") }
		}
		infos, err := hubs[0].Rooms("/", frame).FetchSockets(t.Context(), Selection{})
		data := 0
		for _, m := range infos {
			if string(m.Data) == "data" {
				data++
			}
		}
		if err != nil || len(infos) != 2*len(hubs) || data != len(hubs) {
			t.Errorf("fetched %+v, %v", infos, err)
		}
	})
}

// Two calls at a time, and more, do not mix.
func TestConcurrentCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := cluster(t, 3)
		for _, h := range hubs {
			for i := range 5 {
				for range i {
					add(t, h, fmt.Sprint("room", i))
				}
			}
		}
		var tasks sync.WaitGroup
		for n := range 100 {
			h, i := hubs[n%3], n%5
			s := Selection{Rooms: []string{fmt.Sprint("room", i)}}
			tasks.Go(func() {
				r := h.Rooms("/", frame)
				kit.Got(r.Count(t.Context(), s)).Is(t, 3*i, "counted")
				if infos, err := r.FetchSockets(t.Context(), s); len(infos) != 3*i || err != nil {
					t.Errorf("fetched %d, %v; want %d", len(infos), err, 3*i)
				}
			})
		}
		tasks.Wait()
		idle(t, hubs...)
	})
}

// Members that leave while they are fetched, and others that come, do no harm.
func TestFetchDuringChurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := cluster(t, 2)
		stays := make([]string, 0, 20)
		for range 20 {
			id, _ := add(t, hubs[1], "red")
			stays = append(stays, id)
		}
		slices.Sort(stays)
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		var tasks sync.WaitGroup
		for range 3 {
			tasks.Go(func() {
				r := hubs[1].Rooms("/", frame)
				for ctx.Err() == nil {
					id := hubs[1].NewID()
					_ = r.Add(ctx, id, new(member))
					_ = r.Join(ctx, id, "red")
					time.Sleep(time.Millisecond)
					r.Remove(id)
				}
			})
		}
		for ctx.Err() == nil {
			infos, err := hubs[0].Rooms("/", frame).FetchSockets(t.Context(), Selection{Rooms: []string{"red"}})
			slices.SortFunc(infos, func(a, b MemberInfo) int { return cmp.Compare(a.ID, b.ID) })
			found := 0
			for _, m := range infos {
				if _, ok := slices.BinarySearch(stays, m.ID); ok {
					found++
				}
			}
			if err != nil || found != len(stays) {
				t.Fatalf("fetched %d of %d that stay, %v", found, len(stays), err)
			}
			time.Sleep(time.Millisecond)
		}
		tasks.Wait()
		settle()
		idle(t, hubs...)
	})
}

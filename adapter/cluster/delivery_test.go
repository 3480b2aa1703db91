package cluster

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/test/kit"
)

// TestOnDelivery: every way of a broadcast takes its trace along, to this node and to others, in one
// message and in chunks. Nodes without a selected member say nothing; nor does anybody without a
// trace. A panic has no consequence.
func TestOnDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []string
		memory := new(adapter.Memory)
		var hubs []*Hub
		for i := range 3 {
			hubs = append(hubs, openWith(t, HubConfig{Adapter: memory, Logger: kit.Silent, OnDelivery: func(d Delivery) {
				mu.Lock()
				defer mu.Unlock()
				from := slices.IndexFunc(hubs, func(h *Hub) bool { return h.Node() == d.From })
				told = append(told, fmt.Sprintf("%d from %d: %s %s %d in %d of %s, %v",
					i, from, d.Trace, d.Payload[:1], d.Members, len(d.Rooms), d.Namespace, d.Err))
				panic("as a program may")
			}}))
		}
		_, here := add(t, hubs[0], "red")
		_, there := add(t, hubs[1], "red")
		_, deaf := add(t, hubs[1], "red")
		for _, m := range []*member{here, there, deaf} {
			answering(m, "yes", 0)
		}
		deaf.refusing = true
		r := hubs[0].Rooms("/", frame)
		take := func(what string, err error, want ...string) {
			t.Helper()
			kit.OK(t, err, what)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			slices.Sort(told)
			if !slices.Equal(told, want) {
				t.Errorf("%s: got\n%s\nwant\n%s", what, strings.Join(told, "\n"), strings.Join(want, "\n"))
			}
			told = nil
		}
		b := Broadcast{Rooms: []string{"red"}, Payload: []byte("x"), Trace: []byte("t")}
		both := []string{"0 from 0: t x 1 in 1 of /, <nil>", "1 from 0: t x 1 in 1 of /, <nil>"}
		take("Emit", r.Emit(b), both...)
		_, err := r.EmitCounted(t.Context(), b)
		take("EmitCounted", err, both...)
		_, err = r.EmitWithAck(t.Context(), b)
		take("EmitWithAck", err, both[0], strings.Replace(both[1], "x 1", "x 2", 1))
		b.Payload = slices.Repeat(b.Payload, 2<<20)
		take("Emit in chunks", r.Emit(b), both...)
		b.Payload, b.Local = []byte("x"), true
		take("Local", r.Emit(b), both[0])
		b.Local = false
		take("to nobody", r.Emit(Broadcast{Rooms: []string{"none"}, Trace: []byte("t")}))
		b.Trace = nil
		take("none", r.Emit(b))
		b.Trace, b.Payload = []byte("t"), []byte("unframeable")
		_, err = r.EmitCounted(t.Context(), b)
		if err == nil {
			t.Error("what has no frame was counted")
		}
		take("unframeable", nil, "0 from 0: t u 0 in 1 of /, no frame for it")
	})
}

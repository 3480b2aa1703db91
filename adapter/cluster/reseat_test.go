package cluster

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/belfry-io/belfry/test/kit"
)

// A seat is passed on from member to member while broadcasts run. Each broadcast reaches one of them, those of one goroutine come in their
// order, and whoever listens to the rooms hears nothing of it.
func TestReseat(t *testing.T) {
	const passes, emitters, each = 50, 4, 200
	h := open(t, nil)
	r := h.Rooms("/", frame)
	id, first := add(t, h, "red")
	told := listenTo(r)
	sitters := []*member{first}
	var wg sync.WaitGroup
	for e := range emitters {
		wg.Go(func() {
			for n := range each {
				say(t, h, fmt.Sprint(e, " ", n), Broadcast{Rooms: []string{[]string{"red", id}[n%2]}})
			}
		})
	}
	for range passes {
		next := new(member)
		if last := sitters[len(sitters)-1]; !r.Reseat(id, last, next) || r.Reseat(id, last, new(member)) {
			t.Fatal("Reseat: want that it passes the seat on, once")
		}
		sitters = append(sitters, next)
	}
	wg.Wait()
	next := make([]int, emitters)
	for _, m := range sitters {
		for _, text := range m.take() {
			var e, n int
			if _, err := fmt.Sscan(text, &e, &n); err != nil || n != next[e] {
				t.Fatalf("got broadcast %q (%v), want number %d of it", text, err, next[e])
			}
			next[e]++
		}
	}
	kit.EqualSlices(t, next, slices.Repeat([]int{each}, emitters), "broadcasts of each emitter")
	told.want(t, "a seat that is passed on")
	last := sitters[passes]
	if m, _ := r.Get(id); m != last || strings.Join(r.Of(id), " ") != id+" red" {
		t.Errorf("the last one is in %q, as %p, want its own room and red, as %p", r.Of(id), m, last)
	}
	r.Remove(id)
	if r.Reseat(id, last, first) || r.Len() > 0 {
		t.Error("Reseat brought a member back that had left")
	}
}

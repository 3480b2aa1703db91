package cluster

import (
	"testing"

	"github.com/belfry-io/belfry/test/kit"
)

// TestStopListening: a listener is told of nothing more that happens when it is taken back, others
// are, and one may take itself back.
func TestStopListening(t *testing.T) {
	h := open(t, nil)
	r := h.Rooms("/", frame)
	id, _ := add(t, h)
	var told []string
	listen := func(name string) func() {
		return r.Listen(func(e RoomEvent) { told = append(told, name+" "+e.Room) })
	}
	listen("a")
	stop := listen("b")
	listen("c")
	var stopOnce func()
	stopOnce = r.Listen(func(e RoomEvent) {
		told = append(told, "once "+e.Room)
		stopOnce()
	})
	change := func(want ...string) {
		t.Helper()
		kit.OK(t, r.Join(t.Context(), id, "red"))
		r.Leave(id, "red")
		kit.EqualSlices(t, told, want, "told")
		told = nil
	}
	change("a red", "b red", "c red", "once red", // create, join, leave and delete
		"a red", "b red", "c red", "a red", "b red", "c red", "a red", "b red", "c red")
	stop()
	stop() // nothing
	change("a red", "c red", "a red", "c red", "a red", "c red", "a red", "c red")
}

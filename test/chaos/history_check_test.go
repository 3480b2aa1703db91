package chaos

import (
	"slices"
	"strings"
	"testing"
)

// whole is a history in which all is well: three origins, one of them killed, and two nodes with members.
func whole() *history {
	h := &history{seed: 7, origins: []origin{{ID: "a", Sent: 500}, {ID: "b", Sent: 300, End: closed}, {ID: "c", End: killed}}}
	for _, id := range []string{"a", "x"} {
		n := node{ID: id, Stayed: true, Since: map[int]int{0: 0, 1: 0, 2: 0}, Missed: map[string]int{}, Unknown: map[string]int{}}
		for _, in := range memberships {
			m := member{Rooms: in, Got: make(map[int][]int)}
			for o, sent := range []int{500, 300, 200} {
				for i := range sent {
					if selected(h.seed, o, i).selects(in) {
						m.Got[o] = append(m.Got[o], i)
					}
				}
			}
			n.Members = append(n.Members, m)
		}
		h.nodes = append(h.nodes, n)
	}
	return h
}

// TestChecker plants what the checker is there to find, and what is to be allowed.
func TestChecker(t *testing.T) {
	everywhere := func(h *history) *member { return &h.nodes[1].Members[0] } // a member of all rooms
	lose := func(h *history, o, n int) (removed int) {                       // from all members of node x
		for i := range h.nodes[1].Members {
			m := &h.nodes[1].Members[i]
			before := len(m.Got[o])
			m.Got[o] = slices.DeleteFunc(m.Got[o], func(got int) bool { return got == n })
			removed += before - len(m.Got[o])
		}
		return removed
	}
	one := func(h *history, o int) int { return everywhere(h).Got[o][50] } // a number that was due
	for _, tc := range []struct {
		name  string
		plant func(h *history)
		want  string // in what is found; empty for nothing
	}{
		{"nothing", func(h *history) {}, ""},
		{"a loss", func(h *history) { lose(h, 0, one(h, 0)) }, "1 were lost, 0 of them"},
		{"a loss at one member alone", func(h *history) { m := everywhere(h); m.Got[0] = slices.Delete(m.Got[0], 9, 10) }, "1 were lost"},
		{"the last is lost", func(h *history) { m := everywhere(h); m.Got[1] = m.Got[1][:len(m.Got[1])-1] }, "1 were lost"},
		{"a loss that is told, of one that stayed", func(h *history) { lose(h, 0, one(h, 0)); h.nodes[1].Missed["a"] = 1 }, "1 were lost, 1 of them"},
		{"a double", func(h *history) { m := everywhere(h); m.Got[0] = append(m.Got[0], m.Got[0][3]) }, "twice"},
		{"a swap", func(h *history) { swapInRoom(h, everywhere(h)) }, "after"},
		{"a ghost", func(h *history) {
			m := &h.nodes[1].Members[1]
			m.Got[0] = append([]int{notFor(h, m.Rooms)}, m.Got[0]...)
		}, "which was for"},
		{"a number that was not sent", func(h *history) { m := everywhere(h); m.Got[0] = append(m.Got[0], 500) }, "has got 500, of 500"},
		{"a loss behind a Close that returned nil", func(h *history) { lose(h, 1, one(h, 1)) }, "1 were lost"},
		{"a loss that Close has named", func(h *history) { lose(h, 1, one(h, 1)); h.origins[1].Without = []string{"x"} }, "in silence"},
		{"a loss that Close has named, told", func(h *history) {
			lose(h, 1, one(h, 1))
			h.origins[1].Without, h.nodes[1].Unknown["b"] = []string{"x"}, 1
		}, ""},
		{"a loss of what has come nowhere, that Close has named", func(h *history) { h.origins[1].Sent, h.origins[1].Without = 400, []string{"a", "x"} }, ""},
		{"a loss of what has come nowhere, where Close has named another", func(h *history) { h.origins[1].Sent, h.origins[1].Without = 400, []string{"a"} }, "were lost"},
		{"a suspicion of a loss where Close has named the node", func(h *history) { h.origins[1].Without, h.nodes[1].Unknown["b"] = []string{"x"}, 1 }, ""},
		{"a suspicion of a loss where Close has named another", func(h *history) { h.origins[1].Without, h.nodes[1].Unknown["b"] = []string{"a"}, 1 }, ""},
		{"a count of losses that were none, where Close has named another", func(h *history) { h.origins[1].Without, h.nodes[1].Missed["b"] = []string{"a"}, 1 }, "nothing was lost"},
		{"a loss where Close has named another", func(h *history) { lose(h, 1, one(h, 1)); h.origins[1].Without = []string{"a"} }, "1 were lost"},
		{"a loss of what was not sent", func(h *history) { h.origins[1].Sent, h.origins[1].Failed = 400, "queue" }, ""},
		{"a loss of what was refused", func(h *history) {
			n := one(h, 0)
			h.origins[0].Refused = []int{n}
			lose(h, 0, n)
		}, ""},
		{"a silent loss of one that was killed", func(h *history) { lose(h, 2, one(h, 2)) }, "in silence"},
		{"a loss of one that was killed, told", func(h *history) { lose(h, 2, one(h, 2)); h.nodes[1].Missed["c"] = 1 }, ""},
		{"losses of one that was killed, told as unknown", func(h *history) { lose(h, 2, one(h, 2)); lose(h, 2, 150); h.nodes[1].Unknown["c"] = 1 }, ""},
		{"two losses of one that was killed, one told", func(h *history) {
			n := one(h, 2)
			lose(h, 2, n)
			lose(h, 2, everywhere(h).Got[2][60])
			h.nodes[1].Missed["c"] = 1
		}, "in silence"},
		{"a loss of one that was killed while all was well", func(h *history) { h.origins[2].Calm = true; lose(h, 2, one(h, 2)); h.nodes[1].Missed["c"] = 1 }, "were lost"},
		{"a false alarm", func(h *history) { h.nodes[1].Unknown["b"] = 1 }, "nothing was lost"},
		{"a false alarm of one that was killed while all was well", func(h *history) { h.origins[2].Calm = true; h.nodes[1].Unknown["c"] = 1 }, "nothing was lost"},
		{"a loss before the node came", func(h *history) { n := one(h, 0); lose(h, 0, n); h.nodes[1].Since[0] = n + 1 }, ""},
		{"a loss at a node that has gone", func(h *history) { lose(h, 0, one(h, 0)); h.nodes[1].Stayed = false }, ""},
		{"a double at a node that has gone", func(h *history) {
			h.nodes[1].Stayed = false
			m := everywhere(h)
			m.Got[0] = append(m.Got[0], m.Got[0][3])
		}, "twice"},
	} {
		h := whole()
		tc.plant(h)
		wrong, due := h.check()
		if due < 1000 {
			t.Errorf("%s: %d deliveries were due, want many", tc.name, due)
		}
		found := strings.Join(wrong, "\n")
		if tc.want == "" && found != "" || !strings.Contains(found, tc.want) {
			t.Errorf("%s: found %q, want %q", tc.name, found, tc.want)
		}
	}
}

// swapInRoom swaps two neighbours that went to the same room.
func swapInRoom(h *history, m *member) {
	got := m.Got[0]
	for i := range got[1:] {
		if selected(h.seed, 0, got[i]).rooms&selected(h.seed, 0, got[i+1]).rooms&m.Rooms != 0 {
			got[i], got[i+1] = got[i+1], got[i]
			return
		}
	}
	panic("no two neighbours in one room")
}

// notFor is a number that was not for a member of these rooms.
func notFor(h *history, in roomSet) int {
	for n := range h.origins[0].Sent {
		if !selected(h.seed, 0, n).selects(in) {
			return n
		}
	}
	panic("everything was")
}

// TestSelections: broadcasts go to one room, to unions of up to 8, to all, and with exceptions.
func TestSelections(t *testing.T) {
	sizes, excepts := make(map[int]int), 0
	for n := range 2000 {
		s := selected(1, 2, n)
		sizes[len(s.rooms.names())]++
		if s.except != 0 {
			excepts++
		}
	}
	for size := range 9 {
		if sizes[size] == 0 {
			t.Errorf("no selection of %d rooms: %v", size, sizes)
		}
	}
	if excepts < 200 {
		t.Errorf("%d of 2000 with exceptions, want more", excepts)
	}
}

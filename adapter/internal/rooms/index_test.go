package rooms

import (
	"fmt"
	"slices"
	"testing"
)

func TestOrderOfRooms(t *testing.T) {
	var x Index[int]
	x.Add("a", 1)
	x.Add("b", 2)
	for _, name := range []string{"z", "y", "b", "x"} {
		x.Join("b", name)
		x.Join("a", name)
	}
	x.Leave("a", "y")
	x.Join("a", "y")
	if got, want := x.RoomsOf("a"), []string{"a", "z", "b", "x", "y"}; !slices.Equal(got, want) {
		t.Errorf("rooms of a: %q, want %q", got, want)
	}
	x.Leave("a", "a")
	if got, want := x.RoomsOf("a"), []string{"z", "b", "x", "y"}; !slices.Equal(got, want) {
		t.Errorf("rooms of a: %q, want %q", got, want)
	}
	if got := x.RoomsOf("c"); got != nil {
		t.Errorf("rooms of a member that is not there: %q", got)
	}
	if got := x.Select(nil, nil, nil); len(got) != 2 {
		t.Errorf("%v are in the namespace; a member without rooms is too", got)
	}
}

func TestZeroIndex(t *testing.T) {
	var x Index[int]
	if _, ok := x.Get("a"); ok || x.Len() != 0 || !x.Empty("a") || x.Remove("a", nil) || x.Members("a") != nil {
		t.Error("an empty index has something in it")
	}
	if joined, created := x.Join("a", "r"); joined || created {
		t.Error("joined without a member")
	}
	if left, deleted := x.Leave("a", "r"); left || deleted {
		t.Error("left without a member")
	}
	if got := x.Select(nil, []string{"r"}, []string{"s"}); got != nil {
		t.Errorf("selected %v", got)
	}
}

func TestSelectDoesNotAllocate(t *testing.T) {
	x := filled(1000, 10)
	dst := make([]int, 0, 1000)
	rooms, except := []string{"r1", "r2", "m5"}, []string{"r3", "m7"}
	if n := testing.AllocsPerRun(100, func() { dst = x.Select(dst[:0], rooms, except) }); n != 0 || len(dst) == 0 {
		t.Errorf("%v allocations for %d members, want none", n, len(dst))
	}
}

// A room that was large gives its memory back.
func TestRoomsShrink(t *testing.T) {
	var x Index[int]
	for i := range 10_000 {
		id := fmt.Sprint("m", i)
		x.Add(id, i)
		x.Join(id, "r")
	}
	for i := range 9_990 {
		x.Leave(fmt.Sprint("m", i), "r")
	}
	if r := x.rooms.at(x.names["r"]); len(r.members) != 10 || cap(r.members) > 64 {
		t.Errorf("%d members in a slice of %d", len(r.members), cap(r.members))
	}
}

package sockets_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/belfry-io/belfry/adapter/sockets"
	"github.com/belfry-io/belfry/test/kit"
)

// none is what a program has found no rooms for.
var none []string

// A selection is what a Broadcast selects, and the manner of what it emits.
type selection struct {
	rule   string
	b      sockets.Broadcast
	want   string
	manner string
}

func selections(ns *sockets.Namespace, id func(name string) string) []selection {
	return []selection{
		{"all", ns.All(), "abcd", ""},
		{"a room", ns.To("y"), "bc", ""},
		{"a union, each socket once", ns.To("x", "y", "x"), "abc", ""},
		{"To adds to To", ns.In("x").In("y"), "abc", ""},
		{"more rooms than travel by their own topics", ns.To("1", "2", "3", "4", "5", "y"), "bc", ""},
		{"a room without members", ns.To("z"), "", ""},
		{"except", ns.Except("x"), "cd", ""},
		{"except several", ns.Except("x").Except("y"), "d", ""},
		{"a room except another", ns.To("x").Except("y"), "a", ""},
		{"except wins", ns.Except("y").To("x", "y"), "a", ""},
		{"a socket's id is its room", ns.To(id("d")), "d", ""},
		{"ids and rooms, one left out", ns.To(id("d"), id("a"), "y").Except(id("c")), "abd", ""},
		{"an empty list is nobody", ns.To(none...), "", ""},
		{"an empty list, and exceptions", ns.Except("x").In(none...), "", ""},
		{"an empty list, local", ns.All().Local().To(), "", ""},
		{"an empty list, in whatever manner", ns.To().Volatile().Compress(false), "", ""},
		{"an empty list, and a room", ns.To(none...).To("x").In(none...), "ab", ""},
		{"an empty list of exceptions", ns.Except(none...), "abcd", ""},
		{"a room, and an empty list of exceptions", ns.To("x").Except(none...), "ab", ""},
		{"local", ns.All().Local(), "ab", ""},
		{"local, a room", ns.To("y").Local(), "b", ""},
		{"volatile", ns.All().Volatile().To("y"), "bc", " volatile"},
		{"not compressed", ns.To("x").Compress(false), "ab", " plain"},
		{"compressed after all", ns.To("x").Compress(false).Compress(true), "ab", ""},
	}
}

// TestSelection: whatever is done to a selection is done to its sockets, on all nodes, and to no
// others.
func TestSelection(t *testing.T) {
	for i, more := 0, true; more; i++ {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, sockets.NamespaceConfig{})
			all := selections(w.ns, w.id)
			more = i+1 < len(all)
			checkSelection(t, w, all[i])
			if t.Failed() {
				t.Errorf("of the selection: %s", all[i].rule)
				more = false
			}
		})
	}
}

func checkSelection(t *testing.T, w *world, test selection) {
	b := test.b
	kit.OK(t, b.Emit(t.Context(), "e", 1))
	synctest.Wait()
	w.want(t, test.want, `2["e",1]`+test.manner)
	kit.Got(b.EmitCounted(t.Context(), "e", 2)).Is(t, len(test.want), "EmitCounted")
	w.want(t, test.want, `2["e",2]`+test.manner)
	responses, err := b.EmitWithAck(t.Context(), "q")
	var answered []string
	for _, r := range responses {
		var name string
		var bytes []byte
		err := r.Decode(&name, &bytes)
		if err != nil || name != w.names[r.Socket] || string(bytes) != name || r.Node != w.node(name) {
			t.Errorf("%s of %s answered %q, %q: %v", r.Socket, r.Node, name, bytes, err)
		}
		answered = append(answered, r.Socket)
	}
	if got := w.who(answered); err != nil || got != test.want {
		t.Errorf("EmitWithAck: got answers of %q, %v, want %q", got, err, test.want)
	}
	w.want(t, test.want, `2["q"]`+test.manner+" ack")
	kit.Equal(t, w.fetched(t, b), test.want, "FetchSockets")
	kit.Got(b.Count(t.Context())).Is(t, len(test.want), "Count")
	err = b.SocketsJoin(t.Context(), "new", "newer")
	if got, newer := w.in("new"), w.in("newer"); err != nil || got != test.want || newer != got {
		t.Errorf("SocketsJoin: %v, in the rooms are %q and %q, want %q", err, got, newer, test.want)
	}
	err = b.Except("y").SocketsLeave(t.Context(), "new", "never joined")
	if got, want := w.in("new"), left(test.want); err != nil || got != want {
		t.Errorf("SocketsLeave: %v, in the room are %q, want %q", err, got, want)
	}
	w.want(t, "", "")
	kit.OK(t, b.DisconnectSockets(t.Context(), true))
	w.want(t, test.want, "close true")
	rest := w.fetched(t, w.ns.All())
	if strings.ContainsAny(rest, test.want) || len(rest)+len(test.want) != 4 {
		t.Errorf("DisconnectSockets: left are %q, want all but %q", rest, test.want)
	}
}

// left are those of names that are in the room y, whom no Except of it concerns.
func left(names string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("bc", r) {
			return r
		}
		return -1
	}, names)
}

// TestBroadcastIsValue: a Broadcast that is kept is not changed by those that are made of it, even
// where its lists have room for more.
func TestBroadcastIsValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sockets.NamespaceConfig{})
		rooms := append(make([]string, 0, 8), "x")
		base := w.ns.To(rooms...).To("1").To("2").Except("3").Except("4").Except("5") // append would leave room
		ya, yb := base.To("y").Except("x"), base.To(w.id("d")).Except(w.id("a"))
		base.Volatile()
		base.Local()
		base.Compress(false)
		rooms[0] = "y"
		for _, test := range []struct {
			b    sockets.Broadcast
			want string
		}{{base, "ab"}, {ya, "c"}, {yb, "bd"}} {
			kit.OK(t, test.b.Emit(t.Context(), "e"))
			synctest.Wait()
			w.want(t, test.want, `2["e"]`)
		}
	})
}

package cluster

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/belfry-io/belfry/test/kit"
)

// everySelection are selections of the members a and b of one node, and c and d of another: a and c are in red, b and c in blue.
var everySelection = []struct {
	s    Selection
	want string
}{
	{Selection{}, "abcd"},
	{Selection{Local: true}, "ab"},
	{Selection{Rooms: []string{"red"}}, "ac"},
	{Selection{Rooms: []string{"red"}, Local: true}, "a"},
	{Selection{Rooms: []string{"red", "blue", "red"}}, "abc"},
	{Selection{Rooms: []string{"d"}}, "d"},
	{Selection{Rooms: []string{"d", "a", "nobody"}}, "ad"},
	{Selection{Rooms: []string{"nowhere"}}, ""},
	{Selection{Rooms: []string{"1", "2", "3", "4", "blue"}}, "bc"},
	{Selection{Except: []string{"red"}}, "bd"},
	{Selection{Except: []string{"red", "b", "nowhere"}}, "d"},
	{Selection{Rooms: []string{"blue"}, Except: []string{"red"}}, "b"},
	{Selection{Rooms: []string{"blue", "red"}, Except: []string{"blue"}}, "a"},
	{Selection{Rooms: []string{"red"}, Except: []string{"red"}}, ""},
	{Selection{Rooms: []string{"c"}, Local: true}, ""},
}

// quartet has the members of everySelection, and a lone e in another namespace with the same rooms.
func quartet(t *testing.T, hubs []*Hub) map[string]*member {
	t.Helper()
	members := make(map[string]*member)
	for id, rooms := range map[string][]string{"a": {"red"}, "b": {"blue"}, "c": {"red", "blue"}, "d": nil} {
		r := hubs[strings.Index("abcd", id)/2].Rooms("/", frame)
		m := addAs(t, r, id, rooms...)
		m.remove = func() { r.Remove(id) }
		m.describing = func() []byte { return []byte("data of " + id) }
		r.mu.Lock() // an id that can be read is no private topic, which would come here anyhow
		wait := r.interest(roomTopic("/", id))
		r.mu.Unlock()
		kit.OK(t, r.hub.fenced(t.Context(), wait))
		members[id] = m
	}
	members["e"] = addAs(t, hubs[1].Rooms("/other", frame), "e", "red", "blue")
	return members
}

// FetchSockets and Count select as Emit does. Where Socket.IO returns this node's sockets alive, belfry describes all alike, this node's first.
func TestRule21FetchSelectsAsBroadcast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := cluster(t, 2)
		members := quartet(t, hubs)
		in := map[string][]string{"a": {"a", "red"}, "b": {"b", "blue"}, "c": {"c", "red", "blue"}, "d": {"d"}}
		r := hubs[0].Rooms("/", frame)
		for _, c := range everySelection {
			say(t, hubs[0], "x", Broadcast{Rooms: c.s.Rooms, Except: c.s.Except, Local: c.s.Local})
			settle()
			for id, m := range members {
				if got, want := len(m.take()), strings.Count(c.want, id); got != want {
					t.Errorf("%+v: %s got the broadcast %d times, want %d", c.s, id, got, want)
				}
			}
			infos, err := r.FetchSockets(t.Context(), c.s)
			var ids []string
			for _, m := range infos {
				ids = append(ids, m.ID)
				node := hubs[strings.Index("abcd", m.ID)/2].Node()
				if m.Node != node || !slices.Equal(m.Rooms, in[m.ID]) || string(m.Data) != "data of "+m.ID {
					t.Errorf("%+v: fetched %+v", c.s, m)
				}
			}
			if !slices.IsSortedFunc(infos, func(x, y MemberInfo) int { return strings.Index("abcd", x.ID)/2 - strings.Index("abcd", y.ID)/2 }) {
				t.Errorf("%+v: %q, want this node's first", c.s, ids)
			}
			if slices.Sort(ids); err != nil || strings.Join(ids, "") != c.want {
				t.Errorf("%+v: fetched %q, %v; want %q", c.s, ids, err, c.want)
			}
			kit.Got(r.Count(t.Context(), c.s)).Is(t, len(c.want), c.s, "counted")
		}
		idle(t, hubs...)
	})
}

// What changes members selects as Broadcast does, too. Where Socket.IO does not say when it is done, in belfry it is when the call returns.
func TestRule22ChangesSelectAsBroadcast(t *testing.T) {
	for _, c := range everySelection {
		for _, close := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				hubs, _ := cluster(t, 2)
				members := quartet(t, hubs)
				r := hubs[0].Rooms("/", frame)
				in := func(room string) string {
					ids := slices.Concat(hubs[0].Rooms("/", frame).Members(room), hubs[1].Rooms("/", frame).Members(room))
					slices.Sort(ids)
					return strings.Join(ids, "")
				}
				if err := r.SocketsJoin(t.Context(), c.s, "new", "newer"); err != nil || in("new") != c.want || in("newer") != c.want {
					t.Errorf("SocketsJoin %+v: %v, %q and %q have joined, want %q", c.s, err, in("new"), in("newer"), c.want)
				}
				if err := r.SocketsJoin(t.Context(), Selection{}, "new"); err != nil || in("new") != "abcd" {
					t.Errorf("SocketsJoin of all: %v, %q have joined", err, in("new"))
				}
				if err := r.SocketsLeave(t.Context(), c.s, "new", "nowhere"); err != nil || in("new") != left("abcd", c.want) {
					t.Errorf("SocketsLeave %+v: %v, %q are left, want all but %q", c.s, err, in("new"), c.want)
				}
				kit.OK(t, r.DisconnectSockets(t.Context(), c.s, close), "DisconnectSockets", c.s)
				for id, m := range members { // it has been told by now, without another wait
					var want []string
					if strings.Contains(c.want, id) {
						want = []string{fmt.Sprint("disconnect ", close)}
					}
					kit.EqualSlices(t, m.take(), want, "DisconnectSockets", c.s, id)
				}
				idle(t, hubs...)
			})
		}
	}
}

// left are the letters of all without those of some.
func left(all, some string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(some, r) {
			return -1
		}
		return r
	}, all)
}

func TestRule12UnionOfRooms(t *testing.T) {
	h := open(t, nil)
	r := h.Rooms("/", frame)
	members := map[string]*member{
		"a": addAs(t, r, "a", "red", "blue"),
		"b": addAs(t, r, "b", "blue", "a"),
		"c": addAs(t, r, "c"),
	}
	r.Leave("c", "c")
	for _, c := range []struct {
		rooms []string
		want  string
	}{
		{nil, "abc"},
		{[]string{}, "abc"},
		{[]string{"red"}, "a"},
		{[]string{"red", "blue", "red"}, "ab"},
		{[]string{"nowhere"}, ""},
		{[]string{"nowhere", "blue"}, "ab"},
		{[]string{"a"}, "ab"},
		{[]string{"a", "b", "red"}, "ab"},
		{[]string{"c"}, ""}, // it is not in its own room
		{[]string{""}, ""},
	} {
		say(t, h, "x", Broadcast{Rooms: c.rooms})
		for name, m := range members {
			want := strings.Count(c.want, name)
			kit.Equal(t, len(m.take()), want, c.rooms, "broadcasts that came to", name)
		}
	}
}

func TestRule13ExceptWins(t *testing.T) {
	h := open(t, nil)
	r := h.Rooms("/", frame)
	members := map[string]*member{"a": addAs(t, r, "a", "red", "blue"), "b": addAs(t, r, "b", "blue"), "c": addAs(t, r, "c")}
	for _, c := range []struct {
		rooms, except []string
		want          string
	}{
		{nil, []string{"red"}, "bc"},
		{nil, []string{"red", "c"}, "b"},
		{nil, []string{"nowhere"}, "abc"},
		{[]string{"blue"}, []string{"red"}, "b"},
		{[]string{"red", "blue"}, []string{"blue"}, ""},
		{[]string{"a", "b", "c"}, []string{"b"}, "ac"},
		{[]string{"a"}, []string{"a"}, ""},
		{[]string{"blue", "c"}, []string{"nowhere", "red", "red"}, "bc"},
	} {
		say(t, h, "x", Broadcast{Rooms: c.rooms, Except: c.except})
		for name, m := range members {
			want := strings.Count(c.want, name)
			kit.Equal(t, len(m.take()), want, c.rooms, "except", c.except, "broadcasts that came to", name)
		}
	}
}

// restless is a member that changes the rooms when it is delivered something.
type restless struct {
	member
	change func()
}

func (m *restless) Deliver(frame any) bool {
	m.change()
	return m.member.Deliver(frame)
}

// A broadcast goes to those who were there when it began, once.
func TestRule14MembershipChangesDuringBroadcast(t *testing.T) {
	h := open(t, nil)
	r := h.Rooms("/", frame)
	const n = 20
	id := func(i int) string { return fmt.Sprint("m", i) }
	var members []*restless
	late := new(member)
	for i := range n {
		m := &restless{change: func() {
			r.Leave(id((i+1)%n), "red")
			r.Remove(id((i + 2) % n))
			_ = r.Join(t.Context(), id(i), "blue")
			if r.Add(t.Context(), "late", late) == nil {
				_ = r.Join(t.Context(), "late", "red")
			}
		}}
		members = append(members, m)
		kit.OK(t, r.Add(t.Context(), id(i), m))
		_ = r.Join(t.Context(), id(i), "red")
	}
	say(t, h, "x", Broadcast{Rooms: []string{"red", "blue"}})
	for i, m := range members {
		if got := m.take(); !slices.Equal(got, []string{"x"}) {
			t.Errorf("%s got %q, want x once", id(i), got)
		}
	}
	if got := late.take(); len(got) != 0 {
		t.Errorf("one that came during the broadcast got %q", got)
	}
	say(t, h, "y", Broadcast{Rooms: []string{"red"}})
	if got := late.take(); !slices.Equal(got, []string{"y"}) || len(r.Members("red")) != 1 {
		t.Errorf("the next: the one that came got %q, in the room are %q", got, r.Members("red"))
	}
}

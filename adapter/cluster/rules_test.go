package cluster

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/belfry-io/belfry/test/kit"
)

// What Socket.IO's adapters promise (socket.io-adapter 2.5, in-memory and cluster), rule by rule. Each has a test that is named after it:
// here, or in package wsserver if it is about sockets (W), or both. Where belfry deliberately does something else, the test says so.
//
//	   The state
//	 1   every namespace has rooms of its own: who is in a room, and the rooms of one; of this node alone
//	 2   a member may be there without being in any room
//	 3   a join goes room by room; the first member of a room creates it, which is told before the join
//	 4   joining again changes nothing and tells nothing
//	 5   a leave tells of those who were there; the room goes with the last; the member stays one of the namespace
//	 6   a removal leaves room by room, in the order of joining, and then forgets the member
//	 7   of a last member, the leave is told before the deletion; no room is created or deleted twice
//	 8   events are told at once and on this node alone
//	   The life of a socket
//	 9 W first its own room, then the CONNECT packet, then the handlers of the connection
//	10 W "disconnecting" still has the rooms, "disconnect" has none, and nothing is joined afterwards
//	11 W a client that a middleware refuses leaves nothing behind
//	   Selection
//	12   no rooms are all members; several are their union, each member once; names of nobody do no harm
//	13   the members of any exception are left out, whatever else they are in
//	14   what changes during a broadcast does not disturb it
//	   Broadcasts
//	15 W a packet is encoded once for all; here: framed once, local if asked for
//	16 W what was emitted comes before the disconnection that follows it; here: before the leave, and on all nodes
//	17   members of this node get it whatever the broker does
//	18   a node does not deliver what it has sent itself, nor what is another namespace's or not understood
//	19 W every member is asked once, with one id; every node says once how many it has asked
//	20 W the answers are whole when every node has said so and all have answered; otherwise an error comes with those so far
//	   What nodes ask of each other
//	21   all nodes' members are fetched as a broadcast selects them
//	22 W members of all nodes join, leave and are disconnected as a broadcast selects them, which is told where they are
//	23   the members of rooms, and the rooms of a member
//	24 W server events go to the other nodes, and are answered by each
//	25 W one server without a cluster counts one; in a cluster, those that are alive count
//	26   sessions that are resumed with what they have missed: belfry has none yet
//	27 W the adapter opens in the background, and closing says goodbye; a dynamic namespace goes with its last socket
//	28 W a parent reaches its children

// With ids that can be read, what is told can be, too.
func addAs(t *testing.T, r *Rooms, id string, rooms ...string) *member {
	t.Helper()
	m := new(member)
	kit.OK(t, r.Add(t.Context(), id, m))
	kit.OK(t, r.Join(t.Context(), id, rooms...))
	return m
}

// equal compares names in any order.
func equal(got []string, want ...string) bool {
	return slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want)))
}

func TestRule01EachNamespaceHasItsOwnRooms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := cluster(t, 2)
		r, other, far := hubs[0].Rooms("/", frame), hubs[0].Rooms("/other", frame), hubs[1].Rooms("/", frame)
		addAs(t, r, "a", "red", "blue")
		addAs(t, r, "b", "blue")
		addAs(t, other, "a", "green")
		addAs(t, far, "c", "red")
		for _, c := range []struct {
			r       *Rooms
			members map[string][]string
			of      map[string][]string
		}{
			{r, map[string][]string{"a": {"a"}, "b": {"b"}, "red": {"a"}, "blue": {"a", "b"}}, map[string][]string{"a": {"a", "red", "blue"}, "b": {"b", "blue"}}},
			{other, map[string][]string{"a": {"a"}, "green": {"a"}}, map[string][]string{"a": {"a", "green"}}},
			{far, map[string][]string{"c": {"c"}, "red": {"c"}}, map[string][]string{"c": {"c", "red"}}},
		} {
			names := []string{}
			for name, want := range c.members {
				names = append(names, name)
				if got := c.r.Members(name); !equal(got, want...) {
					t.Errorf("%s: in %s are %q, want %q", c.r.namespace, name, got, want)
				}
			}
			if got := c.r.all(); !equal(got, names...) {
				t.Errorf("%s: rooms %q, want %q", c.r.namespace, got, names)
			}
			for id, want := range c.of {
				kit.EqualSlices(t, c.r.Of(id), want, c.r.namespace, id, "rooms")
			}
			if got := c.r.IDs(); len(got) != len(c.of) {
				t.Errorf("%s: members %q, want %d", c.r.namespace, got, len(c.of))
			}
		}
	})
}

// Socket.IO takes any id and makes a member of it. belfry has a member added first, and refuses to join what nobody knows: nothing could
// be delivered to it. The member is then in its own room.
func TestRule02MembersMayBeInNoRoom(t *testing.T) {
	h := open(t, nil)
	r := h.Rooms("/", frame)
	told := listenTo(r)
	if err := r.Join(t.Context(), "a", "red"); !errors.Is(err, ErrMember) || len(r.all()) != 0 || r.Of("a") != nil {
		t.Errorf("Join of one that was not added: %v, rooms %q, want ErrMember and none", err, r.all())
	}
	kit.ErrorIs(t, r.Join(t.Context(), "a"), ErrMember, "Join of no room")
	told.want(t, "nobody joins")
	m := addAs(t, r, "a")
	told.want(t, "Add", "create-room a", "join-room a, a")
	r.Leave("a", "a")
	if got := r.Of("a"); got == nil || len(got) != 0 || !equal(r.IDs(), "a") || len(r.all()) != 0 {
		t.Errorf("a member in no room: it is in %q, members are %q", got, r.IDs())
	}
	say(t, h, "x", Broadcast{})
	kit.EqualSlices(t, m.take(), []string{"x"}, "a member in no room gets what is for all")
}

// In Socket.IO, the member is not in the room yet when create-room is told. In belfry it is, since it cannot be told with a lock held:
// listeners see what is, after the change.
func TestRule03CreateBeforeJoin(t *testing.T) {
	h := open(t, nil)
	r := h.Rooms("/", frame)
	addAs(t, r, "a", "blue")
	addAs(t, r, "b")
	told := listenTo(r)
	var sizes []int
	r.Listen(func(e RoomEvent) { sizes = append(sizes, len(r.Members(e.Room))) })
	kit.OK(t, r.Join(t.Context(), "b", "red", "blue", "green"))
	told.want(t, "Join", "create-room red", "join-room red, b", "join-room blue, b", "create-room green", "join-room green, b")
	kit.EqualSlices(t, sizes, []int{1, 1, 2, 1, 1}, "members seen")
	addAs(t, r, "c")
	told.want(t, "Add", "create-room c", "join-room c, c")
	kit.ErrorIs(t, r.Join(t.Context(), "c", "yellow", "\xff"), ErrRoomName)
	told.want(t, "a Join that was refused")
}

func TestRule04JoiningAgainTellsNothing(t *testing.T) {
	h := open(t, nil)
	r := h.Rooms("/", frame)
	m := addAs(t, r, "a", "red", "blue")
	told := listenTo(r)
	for range 2 {
		_ = r.Join(t.Context(), "a", "red", "a", "blue", "red")
	}
	_ = r.Join(t.Context(), "a")
	kit.ErrorIs(t, r.Add(t.Context(), "a", new(member)), ErrMemberID, "a second Add")
	told.want(t, "joined again")
	kit.EqualSlices(t, r.Of("a"), []string{"a", "red", "blue"}, "rooms")
	_ = r.Join(t.Context(), "a", "blue", "green", "green", "red")
	told.want(t, "one is new", "create-room green", "join-room green, a")
	say(t, h, "x", Broadcast{Rooms: []string{"red"}})
	if got := m.take(); len(got) != 1 {
		t.Errorf("got %q, want it once", got)
	}
}

func TestRule05LeavesTellOfThoseWhoWereThere(t *testing.T) {
	h := open(t, nil)
	r := h.Rooms("/", frame)
	m := addAs(t, r, "a", "red", "blue")
	addAs(t, r, "b", "blue")
	told := listenTo(r)
	r.Leave("a", "nowhere")
	r.Leave("nobody", "red", "nobody")
	r.Leave("b", "red")
	r.Remove("nobody")
	told.want(t, "nobody has left")
	r.Leave("a", "red", "blue", "red")
	told.want(t, "Leave", "leave-room red, a", "delete-room red", "leave-room blue, a")
	r.Leave("a", "red", "blue")
	told.want(t, "a second Leave")
	r.Leave("a", "a")
	told.want(t, "its own", "leave-room a, a", "delete-room a")
	if got := r.Of("a"); got == nil || len(got) != 0 {
		t.Errorf("it is in %q, want to be a member in no room", got)
	}
	say(t, h, "x", Broadcast{})
	say(t, h, "y", Broadcast{Rooms: []string{"a", "red", "blue"}})
	kit.EqualSlices(t, m.take(), []string{"x"}, "what is for all")
}

// In Socket.IO, the member still has all its rooms while leave-room is told. In belfry it has left them all in one step, of which listeners
// are told afterwards.
func TestRule06RemovalLeavesRoomByRoom(t *testing.T) {
	h := open(t, nil)
	r := h.Rooms("/", frame)
	addAs(t, r, "b", "y")
	addAs(t, r, "a", "z", "y", "x")
	r.Leave("a", "z")
	_ = r.Join(t.Context(), "a", "z")
	told := listenTo(r)
	r.Listen(func(e RoomEvent) {
		if r.Of("a") != nil || r.Len() != 1 {
			t.Errorf("%v: it is still there", e.Kind)
		}
	})
	r.Remove("a")
	told.want(t, "Remove", "leave-room a, a", "delete-room a", "leave-room y, a", "leave-room x, a", "delete-room x", "leave-room z, a", "delete-room z")
	r.Remove("a")
	told.want(t, "a second Remove")
}

func TestRule07LeaveBeforeDelete(t *testing.T) {
	h := open(t, nil)
	r := h.Rooms("/", frame)
	addAs(t, r, "a")
	addAs(t, r, "b")
	told := listenTo(r)
	for range 2 {
		_ = r.Join(t.Context(), "a", "red")
		_ = r.Join(t.Context(), "b", "red")
		r.Leave("a", "red")
		_ = r.Join(t.Context(), "a", "red")
		r.Leave("b", "red")
		r.Leave("a", "red")
		told.want(t, "a room's life", "create-room red", "join-room red, a", "join-room red, b", "leave-room red, a", "join-room red, a", "leave-room red, b",
			"leave-room red, a", "delete-room red")
	}
}

func TestRule08EventsAreImmediateAndLocal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := cluster(t, 2)
		here, there := hubs[0].Rooms("/", frame), hubs[1].Rooms("/", frame)
		toldHere, toldThere := listenTo(here), listenTo(there)
		addAs(t, there, "b", "red")
		toldThere.want(t, "there", "create-room b", "join-room b, b", "create-room red", "join-room red, b")
		addAs(t, here, "a")
		toldHere.want(t, "here", "create-room a", "join-room a, a")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_ = here.Join(ctx, "a", "red")
		toldHere.want(t, "Join without waiting, of a room with a member there", "create-room red", "join-room red, a") // before Join has returned
		here.Leave("a", "red")
		toldHere.want(t, "Leave", "leave-room red, a", "delete-room red")
		there.Remove("b")
		settle()
		toldHere.want(t, "of what the other node does")
		toldThere.want(t, "there", "leave-room b, b", "delete-room b", "leave-room red, b", "delete-room red")
	})
}

func TestRule23MembersOfRoomsAndRoomsOfMembers(t *testing.T) {
	h := open(t, nil)
	r := h.Rooms("/", frame)
	members := map[Member]string{addAs(t, r, "a", "red", "blue"): "a", addAs(t, r, "b", "blue"): "b", addAs(t, r, "c"): "c"}
	for _, c := range []struct {
		rooms, except []string
		want          []string
	}{
		{nil, nil, []string{"a", "b", "c"}},
		{[]string{"blue"}, nil, []string{"a", "b"}},
		{[]string{"red", "blue", "c"}, nil, []string{"a", "b", "c"}},
		{[]string{"nowhere"}, nil, nil},
		{nil, []string{"red"}, []string{"b", "c"}},
	} {
		var got []string
		for _, m := range r.Select(c.rooms, c.except) {
			got = append(got, members[m])
		}
		if !equal(got, c.want...) {
			t.Errorf("in %q except %q: %q, want %q", c.rooms, c.except, got, c.want)
		}
	}
	if got := r.Of("nobody"); got != nil {
		t.Errorf("the rooms of nobody: %q, want nil", got)
	}
	kit.EqualSlices(t, r.Of("c"), []string{"c"}, "the rooms of c")
}

package cluster

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter/internal/envelope"
	"github.com/belfry-io/belfry/test/kit"
)

// union returns a room and enough others for a union of n rooms, with the room at a place of it.
func union(n, place int, room string) []string {
	rooms := make([]string, n)
	for i := range rooms {
		rooms[i] = fmt.Sprint("other", i)
	}
	rooms[place] = room
	return rooms
}

// In a room the order holds whatever way a broadcast to it travels, and whatever of it the broker loses: unions of many rooms go by the topic of the
// namespace, of few by those of the rooms.
func TestOrderInARoomAcrossUnions(t *testing.T) {
	const r, s = "r", "s"
	one := []string{r}
	for _, n := range []int{2, maxUnionTopics, maxUnionTopics + 1, 6, 8, 100, 1000} {
		for _, place := range []int{0, n - 1} {
			u := union(n, place, r)
			both := slices.Clone(u) // names s, too
			both[1-min(place, 1)] = s
			for _, c := range []struct {
				name string
				says [][]string // the rooms of 0, 1, 2...
				lost []int      // which of them
				r, s string     // what the members of r and s get
				both string     // and who is in both, if not all in order
			}{
				{"the union", [][]string{one, u, one, one}, []int{1}, "0 1 2 3", "", ""},
				{"what is before it", [][]string{one, u, one, one}, []int{0}, "0 1 2 3", "", ""},
				{"what is behind it", [][]string{one, u, one, one}, []int{2}, "0 1 2 3", "", ""},
				{"the union at the end", [][]string{one, one, u}, []int{2}, "0 1 2", "", ""},
				{"the union alone", [][]string{u}, []int{0}, "0", "", ""},
				{"both unions", [][]string{u, one, u, one}, []int{0, 2}, "0 1 2 3", "", ""},
				{"the first of two unions in a row", [][]string{u, u, one}, []int{0}, "0 1 2", "", ""},
				{"the second of two unions in a row", [][]string{u, u, one}, []int{1}, "0 1 2", "", ""},
				{"all", [][]string{one, u, one, u}, []int{0, 1, 2, 3}, "0 1 2 3", "", ""},
				{"a union of both rooms", [][]string{one, both, {s}, one}, []int{1}, "0 1 3", "1 2", ""},
				{"in front of a union of both rooms", [][]string{one, {s}, both, one, {s}}, []int{0}, "0 2 3", "1 2 4", "1 0 2 3 4"},
				{"the union in front of one of few", [][]string{u, {r, s}, one}, []int{0}, "0 1 2", "1", ""},
				{"one of few in front of the union", [][]string{{r, s}, u, one}, []int{0}, "0 1 2", "0", ""},
				{"the union in front of one of many others", [][]string{u, union(7, 3, r), one}, []int{0}, "0 1 2", "", ""},
			} {
				kit.Bubble(t, fmt.Sprintf("%d rooms, r at %d, lost: %s", n, place, c.name), func(t *testing.T) {
					hubs, sieves := sifted(t, 2)
					_, x := add(t, hubs[0], r)
					_, y := add(t, hubs[0], s)
					_, both := add(t, hubs[0], s, r)
					sieves[0].set(func(m *envelope.Message) bool {
						return broadcasts(m) && slices.Contains(c.lost, int(m.Broadcast.Stamp.Sequence)-1)
					})
					all := make([]string, len(c.says))
					for i, rooms := range c.says {
						all[i] = fmt.Sprint(i)
						say(t, hubs[1], all[i], Broadcast{Rooms: rooms})
					}
					time.Sleep(3 * time.Second) // a Beat, and what it brings
					got(t, "the member of r", x, strings.Fields(c.r)...)
					got(t, "the member of s", y, strings.Fields(c.s)...)
					if c.both != "" {
						all = strings.Fields(c.both)
					}
					got(t, "the member of both", both, all...)
					if n := sieves[0].set(nil); n == 0 {
						t.Error("nothing was lost")
					}
					if st := hubs[0].Stats(); st.Repaired == 0 || st.Missed+st.Unknown+st.Malformed != 0 {
						t.Errorf("%+v", st)
					}
				})
			}
		}
	}
}

// The same where a union is repaired late, by a node without members, with a room that is a socket's id, and beside members that are left out.
func TestOrderInARoomBehindALateUnion(t *testing.T) {
	for _, own := range []bool{false, true} {
		for _, client := range []bool{false, true} {
			kit.Bubble(t, fmt.Sprintf("the room of a socket %v, from a client %v", own, client), func(t *testing.T) {
				hubs, sieves := sifted(t, 2)
				from := hubs[1]
				if client {
					from = openWith(t, HubConfig{Adapter: &wire{Memory: sieves[0].Memory}, Client: true})
				}
				id, x := add(t, hubs[0], "r")
				_, out := add(t, hubs[0], "r", "out")
				_, far := add(t, hubs[1], "r")
				r := "r"
				if own {
					r = id
					if err := hubs[1].Rooms("/", frame).Join(t.Context(), hubs[1].Rooms("/", frame).IDs()[0], id); err != nil {
						t.Fatal(err) // the room of a socket of another node
					}
				}
				for _, s := range sieves {
					s.set(func(m *envelope.Message) bool {
						return m != nil && m.Broadcast != nil && m.Broadcast.Stamp.Sequence == 2
					})
				}
				say(t, from, "0", Broadcast{Rooms: []string{r}})
				say(t, from, "1", Broadcast{Rooms: union(6, 4, r), Except: []string{"out"}})
				say(t, from, "2", Broadcast{Rooms: []string{r}})
				say(t, from, "3", Broadcast{Rooms: union(5, 0, r), Except: []string{"out"}})
				say(t, from, "to all", Broadcast{})
				time.Sleep(5 * time.Second)
				got(t, "the member before the repair", x, "0")
				for _, s := range sieves {
					s.set(nil)
				}
				time.Sleep(3 * time.Second)
				got(t, "the member", x, "1", "2", "3", "to all")
				if client || own {
					got(t, "the member of the other node", far, map[bool][]string{true: {"0", "1", "2", "3", "to all"}, false: {"to all"}}[client || own]...)
				}
				if !own {
					got(t, "the member that is left out", out, "0", "2", "to all")
				}
			})
		}
	}
}

// Requests to many rooms have their places among what is said to each.
func TestChangesInManyRooms(t *testing.T) {
	for _, n := range []int{2, maxUnionTopics, maxUnionTopics + 1, 8, 100} {
		kit.Bubble(t, fmt.Sprint(n, " rooms"), func(t *testing.T) {
			hubs, sieves := sifted(t, 2)
			_, x := add(t, hubs[0], "r")
			r := hubs[1].Rooms("/", frame)
			s := Selection{Rooms: union(n, n-1, "r")}
			sieves[0].set(func(m *envelope.Message) bool { return broadcasts(m) && m.Broadcast.Stamp.Sequence%2 == 1 })
			var wg sync.WaitGroup
			say(t, hubs[1], "1", Broadcast{Rooms: []string{"r"}, Except: []string{"muted"}})
			wg.Go(func() { change(t, r.SocketsJoin(t.Context(), s, "muted")) })
			synctest.Wait()
			say(t, hubs[1], "3", Broadcast{Rooms: union(6, 1, "r"), Except: []string{"muted"}})
			wg.Go(func() { change(t, r.SocketsLeave(t.Context(), s, "muted")) })
			synctest.Wait()
			say(t, hubs[1], "5", Broadcast{Rooms: union(6, 2, "r"), Except: []string{"muted"}})
			wg.Go(func() { change(t, r.DisconnectSockets(t.Context(), s, false)) })
			wg.Wait()
			got(t, "the member", x, "1", "5", "disconnect false")
			idle(t, hubs...)
		})
	}
}

// A broadcast to all may overtake what is repaired in a room, which is counted.
func TestToAllOvertakesAUnion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, sieves := sifted(t, 2)
		_, x := add(t, hubs[0], "r")
		sieves[0].set(func(m *envelope.Message) bool { return broadcasts(m) && m.Broadcast.Stamp.Sequence == 1 })
		say(t, hubs[1], "r", Broadcast{Rooms: []string{"r"}})
		say(t, hubs[1], "all", Broadcast{})
		time.Sleep(time.Second)
		got(t, "the member", x, "all", "r")
		kit.Equal(t, hubs[0].Stats().Overtaken, 1, "overtaken")
	})
}

// Rooms that are named twice are one.
func TestUnionOfOneRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, wires := cluster(t, 2)
		_, x := add(t, hubs[0], "r")
		for _, n := range []int{2, 5, 16, 17, 1000} {
			rooms := make([]string, n)
			for i := range rooms {
				rooms[i] = "r"
			}
			say(t, hubs[1], fmt.Sprint(n), Broadcast{Rooms: rooms})
			got(t, "the member", x, fmt.Sprint(n))
		}
		for _, topic := range wires[0].received() {
			kit.Equal(t, topic, roomTopic("/", "r"), "travelled on the room's topic alone")
		}
	})
}

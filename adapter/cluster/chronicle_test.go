package cluster

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/belfry-io/belfry/test/kit"
)

// chronicle keeps what a listener is told, with names for the ids.
type chronicle struct {
	mu    sync.Mutex
	names *strings.Replacer
	got   []string
}

// listenTo returns the chronicle of r from now on. names are those of ids, in pairs.
func listenTo(r *Rooms, names ...string) *chronicle {
	c := &chronicle{names: strings.NewReplacer(names...)}
	r.Listen(c.listen)
	return c
}

func (c *chronicle) listen(e RoomEvent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := e.Kind.String() + " " + e.Room
	if e.Kind == JoinRoom || e.Kind == LeaveRoom {
		text += ", " + e.ID
	}
	c.got = append(c.got, c.names.Replace(text))
}

// want checks what was told since the last look.
func (c *chronicle) want(t *testing.T, what string, want ...string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	kit.EqualSlices(t, c.got, want, what, "told of")
	c.got = nil
}

// ledger knows from events who is where, and complains of those that cannot be.
type ledger struct {
	t       *testing.T
	telling atomic.Bool // a call is running
	rooms   map[string]map[string]bool
	told    int
}

func keepLedger(t *testing.T, r *Rooms) *ledger {
	l := &ledger{t: t, rooms: make(map[string]map[string]bool)}
	r.Listen(l.listen)
	return l
}

func (l *ledger) listen(e RoomEvent) {
	if !l.telling.CompareAndSwap(false, true) {
		l.t.Errorf("told of %v while something else is told", e)
		return
	}
	defer l.telling.Store(false)
	l.told++
	room, there := l.rooms[e.Room]
	ok := there
	switch e.Kind {
	case CreateRoom:
		ok = !there
		l.rooms[e.Room] = make(map[string]bool)
	case JoinRoom:
		if ok = there && !room[e.ID]; ok {
			room[e.ID] = true
		}
	case LeaveRoom:
		ok = room[e.ID]
		delete(room, e.ID)
	case DeleteRoom:
		ok = there && len(room) == 0
		delete(l.rooms, e.Room)
	}
	if !ok {
		l.t.Errorf("told of %s %q, %s, when %v were in it", e.Kind, e.Room, e.ID, slices.Collect(maps.Keys(room)))
	}
}

// want checks that the ledger knows what is. Nobody may change r meanwhile.
func (l *ledger) want(r *Rooms) {
	l.t.Helper()
	if got := slices.Sorted(maps.Keys(l.rooms)); !slices.Equal(got, slices.Sorted(slices.Values(r.all()))) {
		l.t.Errorf("the rooms are %q, by their events %q", r.all(), got)
	}
	for name, members := range l.rooms {
		if got := slices.Sorted(maps.Keys(members)); !slices.Equal(got, slices.Sorted(slices.Values(r.Members(name)))) {
			l.t.Errorf("in %q are %q, by the events %q", name, r.Members(name), got)
		}
	}
}

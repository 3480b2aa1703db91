package cluster

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

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

// Told waits until the listeners know what has changed, whoever tells them.
func TestTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, nil)
		r := h.Rooms("/", frame)
		a, _ := add(t, h)
		r.Told(t.Context()) // nobody is telling
		hold := make(map[string]chan struct{})
		for _, room := range []string{"first", "second", "third"} {
			hold[room] = make(chan struct{})
		}
		r.Listen(func(e RoomEvent) {
			if c := hold[e.Room]; e.Kind == JoinRoom && c != nil {
				<-c
			}
		})
		var told atomic.Int32
		go func() { _ = r.Join(t.Context(), a, "first") }()
		for _, room := range []string{"second", "third"} {
			synctest.Wait()
			_ = r.Join(t.Context(), a, room)
			go func() {
				r.Told(t.Context())
				told.Add(1)
			}()
		}
		for i, room := range []string{"first", "second", "third"} {
			synctest.Wait()
			if n := told.Load(); int(n) != max(0, i-1) {
				t.Errorf("while %s is being told, %d calls of Told have returned", room, n)
			}
			close(hold[room])
		}
		synctest.Wait()
		if n := told.Load(); n != 2 || len(r.events.waiting) != 0 {
			t.Errorf("in the end %d calls have returned, %d wait", n, len(r.events.waiting))
		}
		// Who has no time does not wait.
		hold["fourth"] = make(chan struct{})
		go func() { _ = r.Join(t.Context(), a, "fourth") }()
		synctest.Wait()
		ctx := kit.Within(t, time.Second)
		start := time.Now()
		if r.Told(ctx); time.Since(start) != time.Second {
			t.Errorf("Told took %v, want 1s", time.Since(start))
		}
		close(hold["fourth"])
	})
}

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

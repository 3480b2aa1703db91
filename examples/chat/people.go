package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/wsserver"
)

const (
	maxPeople    = 200             // that a list of names holds
	fetchTimeout = 3 * time.Second // for the people of a room
	retryAfter   = time.Second     // to fetch a list again that misses nodes
)

// roomChanged is the event by which nodes tell each other that a list of people has changed.
const roomChanged = "room changed"

// people keeps the members of this node's rooms informed of who is in them, on all nodes. It
// fetches a list anew whenever it may have changed: by that it is right in the end, whatever was
// lost on the way.
type people struct {
	io  *wsserver.Server
	ns  *wsserver.Namespace
	log *slog.Logger

	mu    sync.Mutex      // guards what follows
	stale map[string]bool // rooms whose list is to be fetched
	wake  chan struct{}   // has room for one
}

// roomPeople is what "people" carries: who is in a room.
type roomPeople struct {
	Room    string   `json:"room"`
	Total   int      `json:"total"`
	People  []person `json:"people"`  // the first maxPeople, by name
	Missing []string `json:"missing"` // nodes that have not said who is there
}

type person struct {
	ID   string `json:"id"` // the socket's
	Name string `json:"name"`
	Node string `json:"node"` // its name
}

func newPeople(io *wsserver.Server, log *slog.Logger) *people {
	p := &people{
		io: io, ns: io.Of("/"), log: log,
		stale: make(map[string]bool), wake: make(chan struct{}, 1),
	}
	wsserver.OnServerSide(p.ns, roomChanged, func(_ context.Context, room string) error {
		p.refresh(room)
		return nil
	})
	return p
}

// changed tells all nodes that a room's list has changed.
func (p *people) changed(room string) {
	if err := p.ns.ServerSideEmit(context.Background(), roomChanged, room); err != nil {
		p.log.Warn("chat: other nodes have an old list of a room's people", "error", err)
	}
	p.refresh(room)
}

// refresh has the lists of rooms fetched again.
func (p *people) refresh(rooms ...string) {
	p.mu.Lock()
	for _, room := range rooms {
		p.stale[room] = true
	}
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run fetches lists, one at a time, until ctx ends. What becomes stale meanwhile it fetches once.
func (p *people) run(ctx context.Context) {
	var incomplete []string // rooms whose list misses a node
	for {
		var retry <-chan time.Time
		if len(incomplete) > 0 {
			retry = time.After(retryAfter)
		}
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-retry:
		}
		stale := p.take(incomplete)
		incomplete = nil
		for room := range stale {
			if !p.tell(ctx, room) {
				incomplete = append(incomplete, room)
			}
		}
	}
}

// take returns more, and the rooms that are stale, which then are not.
func (p *people) take(more []string) (rooms map[string]bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	rooms, p.stale = p.stale, make(map[string]bool)
	for _, room := range more {
		rooms[room] = true
	}
	return rooms
}

// tell tells this node's members of a room who is in it, and reports whether all nodes have said.
func (p *people) tell(ctx context.Context, room string) (complete bool) {
	name, ok := strings.CutPrefix(room, roomPrefix)
	if !ok || len(p.ns.SocketsIn(room)) == 0 {
		return true // nobody here wants to know
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	all, err := p.ns.To(room).FetchSockets(ctx)
	list := roomPeople{Room: name, Total: len(all), People: make([]person, 0, len(all))}
	if partial, ok := errors.AsType[*cluster.PartialError](err); ok {
		list.Missing = partial.Names
	} else if err != nil {
		p.log.Warn("chat: the people of a room are not known", "error", err)
		return false
	}
	names := make(map[string]string) // of nodes, by id
	nodes, _ := p.io.Nodes()
	for _, n := range nodes {
		names[n.ID] = n.Name
	}
	for _, s := range all {
		var u user
		if err := s.DecodeData(&u); err != nil {
			p.log.Warn("chat: a socket has no name", "error", err)
		}
		list.People = append(list.People, person{s.ID, u.Name, names[s.Node]})
	}
	slices.SortFunc(list.People, func(a, b person) int {
		names := cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
		return cmp.Or(names, cmp.Compare(a.ID, b.ID))
	})
	list.People = list.People[:min(len(list.People), maxPeople)]
	if err := p.ns.To(room).Local().Emit(ctx, "people", list); err != nil {
		p.log.Warn("chat: a room has not heard who is in it", "error", err)
	}
	return len(list.Missing) == 0
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/wsserver"
)

// What users may say, in characters, and do.
const (
	maxName   = 32
	maxRoom   = 64
	maxText   = 2000
	maxRooms  = 32  // that one socket is in
	maxPeople = 200 // that a list of names holds
)

// roomPrefix stands before the name of every room, so that none can be another socket's own room.
const roomPrefix = "chat:"

// A chat serves the sockets of one node.
type chat struct {
	ns    *wsserver.Namespace
	node  string
	links []link
	log   *slog.Logger

	mu      sync.Mutex        // guards what follows
	names   map[string]string // of those who have said hello, by socket id
	version uint64            // counts the changes of names
}

// A link leads to a node's page.
type link struct {
	ID    string `json:"id"`
	Label string `json:"label"`
	URL   string `json:"url"`
}

// welcome acknowledges "hello".
type welcome struct {
	Name  string `json:"name"`
	Node  string `json:"node"`
	ID    string `json:"id"`
	Nodes []link `json:"nodes"`
}

// message is what "said", "joined" and "left" carry; the latter two have no text.
type message struct {
	Room string `json:"room"`
	ID   string `json:"id"` // the socket's
	From string `json:"from"`
	Node string `json:"node"`
	At   int64  `json:"at"` // Unix time in milliseconds
	Text string `json:"text,omitempty"`
}

// people is the list of names on one node.
type people struct {
	Version uint64   `json:"version"` // of two lists, the one with the higher version is newer
	Total   int      `json:"total"`
	People  []person `json:"people"` // the first maxPeople, by name
}

type person struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// done is the answer to what has no other.
type done struct{}

// refusal tells a user why not.
func refusal(why string) error { return &wsserver.AckError{Message: why} }

// newChat makes io serve the chat. links are all nodes that the page shows.
func newChat(io *wsserver.Server, links []link, log *slog.Logger) *chat {
	c := &chat{ns: io.Of("/"), node: io.Node(), links: links, log: log, names: make(map[string]string)}
	wsserver.OnAck(c.ns, "hello", c.hello)
	wsserver.OnAck(c.ns, "join", c.join)
	wsserver.OnAck(c.ns, "leave", c.leave)
	wsserver.OnAck(c.ns, "say", c.say)
	c.ns.OnDisconnecting(c.disconnecting)
	c.ns.OnDisconnect(c.disconnect)
	return c
}

func (c *chat) hello(ctx context.Context, s *wsserver.Socket, in struct{ Name string }) (welcome, error) {
	name, err := clean("A name", in.Name, maxName, "")
	if err != nil {
		return welcome{}, err
	}
	c.mu.Lock()
	c.names[s.ID()] = name
	c.mu.Unlock()
	return welcome{Name: name, Node: c.node, ID: s.ID(), Nodes: c.links}, c.tellPeople(ctx)
}

func (c *chat) join(ctx context.Context, s *wsserver.Socket, room string) (done, error) {
	name, ok := c.name(s)
	if !ok {
		return done{}, refusal("Say hello first: nobody joins a room without a name.")
	}
	room, err := clean("A room", room, maxRoom, "")
	if err != nil {
		return done{}, err
	}
	rooms := s.Rooms()
	if slices.Contains(rooms, roomPrefix+room) {
		return done{}, nil
	}
	if len(rooms)-1 >= maxRooms { // its own room is one of them
		return done{}, refusal(fmt.Sprintf("You are in %d rooms. Leave one first.", maxRooms))
	}
	err = s.Join(ctx, roomPrefix+room)
	if unfenced, ok := errors.AsType[*cluster.UnfencedError](err); ok {
		c.log.Warn("chat: a node may miss who has just joined", "error", unfenced)
	} else if err != nil {
		return done{}, err
	}
	return done{}, c.cluster(s.To(roomPrefix+room).Emit(ctx, "joined", c.message(s, name, room, "")))
}

func (c *chat) leave(ctx context.Context, s *wsserver.Socket, room string) (done, error) {
	if !slices.Contains(s.Rooms(), roomPrefix+room) {
		return done{}, nil
	}
	s.Leave(roomPrefix + room)
	name, _ := c.name(s)
	return done{}, c.cluster(s.To(roomPrefix+room).Emit(ctx, "left", c.message(s, name, room, "")))
}

func (c *chat) say(ctx context.Context, s *wsserver.Socket, in struct{ Room, Text string }) (done, error) {
	room := roomPrefix + in.Room
	text, err := clean("A message", in.Text, maxText, "\n\t")
	if err != nil {
		return done{}, err
	}
	if !slices.Contains(s.Rooms(), room) {
		return done{}, refusal("You are not in this room. Join it first.")
	}
	name, _ := c.name(s)
	return done{}, c.cluster(c.ns.To(room).Emit(ctx, "said", c.message(s, name, in.Room, text)))
}

// cluster makes a refusal of what an Emit returns that has reached this node alone.
func (c *chat) cluster(err error) error {
	if errors.Is(err, cluster.ErrOverflow) || errors.Is(err, adapter.ErrClosed) {
		c.log.Warn("chat: not sent to the other nodes", "error", err)
		return refusal("The other nodes are out of reach. Only this one has heard of it.")
	}
	return err
}

// disconnecting tells a socket's rooms that it leaves, while it is still in them.
func (c *chat) disconnecting(ctx context.Context, s *wsserver.Socket, _ error) {
	name, ok := c.name(s)
	if !ok {
		return
	}
	for _, r := range s.Rooms() {
		if room, ok := strings.CutPrefix(r, roomPrefix); ok {
			if err := s.To(r).Emit(ctx, "left", c.message(s, name, room, "")); err != nil {
				c.log.Warn("chat: a room has not heard who left", "error", err)
			}
		}
	}
}

func (c *chat) disconnect(ctx context.Context, s *wsserver.Socket, _ error) {
	c.mu.Lock()
	_, ok := c.names[s.ID()]
	delete(c.names, s.ID())
	c.mu.Unlock()
	if !ok {
		return
	}
	if err := c.tellPeople(ctx); err != nil {
		c.log.Warn("chat: the node has not heard who left", "error", err)
	}
}

func (c *chat) name(s *wsserver.Socket) (name string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name, ok = c.names[s.ID()]
	return name, ok
}

func (c *chat) message(s *wsserver.Socket, name, room, text string) message {
	return message{Room: room, ID: s.ID(), From: name, Node: c.node, At: time.Now().UnixMilli(), Text: text}
}

// tellPeople tells this node's sockets who is here, and them alone.
func (c *chat) tellPeople(ctx context.Context) error {
	c.mu.Lock()
	c.version++
	list := people{Version: c.version, Total: len(c.names), People: make([]person, 0, len(c.names))}
	for id, name := range c.names {
		list.People = append(list.People, person{id, name})
	}
	c.mu.Unlock()
	slices.SortFunc(list.People, func(a, b person) int {
		return cmp.Or(cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), cmp.Compare(a.ID, b.ID))
	})
	list.People = list.People[:min(len(list.People), maxPeople)]
	return c.ns.All().Local().Emit(ctx, "people", list)
}

// clean takes the space off the ends of what a user wrote, and refuses what is empty, too long, or has control characters in it other
// than those allowed.
func clean(what, text string, limit int, allowed string) (string, error) {
	text = strings.TrimSpace(text)
	if n := utf8.RuneCountInString(text); n < 1 || n > limit {
		return "", refusal(fmt.Sprintf("%s has 1 to %d characters, this one has %d.", what, limit, n))
	}
	if strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) && !strings.ContainsRune(allowed, r) }) {
		return "", refusal(what + " has no control characters.")
	}
	return text, nil
}

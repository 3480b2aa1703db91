package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/wsserver"
)

// What users may say, in characters, and do.
const (
	maxName  = 32
	maxRoom  = 64
	maxText  = 2000
	maxRooms = 32 // that one socket is in
)

// roomPrefix stands before the name of every room, so that none can be another socket's own room.
const roomPrefix = "chat:"

// A chat serves the sockets of one node.
type chat struct {
	io     *wsserver.Server
	ns     *wsserver.Namespace
	log    *slog.Logger
	people *people
	nodes  *nodes
	kill   func(name string) // nil where users kill nothing
}

// A user is the data of a socket whose client has said hello. Every node can fetch it.
type user struct {
	Name string `json:"name"`
}

// welcome acknowledges "hello".
type welcome struct {
	Name string `json:"name"`
	ID   string `json:"id"` // the socket's
}

// message is what "said", "joined" and "left" carry; the latter two have no text.
type message struct {
	Room string `json:"room"`
	ID   string `json:"id"` // the socket's
	From string `json:"from"`
	Node string `json:"node"` // its name
	At   int64  `json:"at"`   // Unix time in milliseconds
	Text string `json:"text,omitempty"`
}

// done is the answer to what has no other.
type done struct{}

// refusal tells a user why not.
func refusal(why string) error { return &wsserver.AckError{Message: why} }

// newChat makes io serve the chat. peers are the addresses of all nodes, where they are known.
func newChat(
	io *wsserver.Server, peers []string, kill func(name string), log *slog.Logger,
) *chat {
	c := &chat{io: io, ns: io.Of("/"), log: log, kill: kill}
	c.people = newPeople(io, log)
	c.nodes = newNodes(io, c.people, peers, kill != nil, log)
	wsserver.OnAck(c.ns, "hello", c.hello)
	wsserver.OnAck(c.ns, "join", c.join)
	wsserver.OnAck(c.ns, "leave", c.leave)
	wsserver.OnAck(c.ns, "say", c.say)
	wsserver.OnAck(c.ns, "kill", c.killOne)
	c.ns.OnConnect(c.connect)
	c.ns.OnJoinRoom(func(s *wsserver.Socket, room string) {
		if s.Connected() { // who is back takes its rooms before it is
			c.moved("joined", s, room, false)
		}
	})
	c.ns.OnLeaveRoom(func(s *wsserver.Socket, room string) { c.moved("left", s, room, lost(s)) })
	return c
}

// connect lists who is back: nobody could see it in its rooms before.
func (c *chat) connect(_ context.Context, s *wsserver.Socket) error {
	if s.Recovered() {
		c.relist(s)
	}
	return nil
}

// relist has the lists of a socket's rooms fetched again.
func (c *chat) relist(s *wsserver.Socket) {
	for _, room := range s.Rooms() {
		c.people.changed(room)
	}
}

func (c *chat) hello(_ context.Context, s *wsserver.Socket, in struct{ Name string }) (welcome, error) {
	name, err := clean("A name", in.Name, maxName, "")
	if err != nil {
		return welcome{}, err
	}
	s.SetData(user{name})
	c.relist(s)
	return welcome{Name: name, ID: s.ID()}, nil
}

func (c *chat) join(ctx context.Context, s *wsserver.Socket, room string) (done, error) {
	if _, ok := wsserver.DataOf[user](s); !ok {
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
		return done{}, nil
	}
	return done{}, err
}

func (c *chat) leave(_ context.Context, s *wsserver.Socket, room string) (done, error) {
	s.Leave(roomPrefix + room)
	return done{}, nil
}

// lost reports whether a socket has lost its connection, and did not part by itself.
func lost(s *wsserver.Socket) bool {
	reason := context.Cause(s.Context())
	return reason != nil && !errors.Is(reason, wsserver.ErrClientDisconnect)
}

// moved tells a room that a socket of this node has joined or left it. Who was lost changes the list
// of people, in silence.
func (c *chat) moved(event string, s *wsserver.Socket, room string, silent bool) {
	name, ok := strings.CutPrefix(room, roomPrefix)
	if !ok {
		return // the socket's own
	}
	if !silent {
		if err := s.To(room).Emit(context.Background(), event, c.message(s, name, "")); err != nil {
			c.log.Warn("chat: a room has not heard who "+event, "error", err)
		}
	}
	c.people.changed(room)
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
	err = c.ns.To(room).Emit(ctx, "said", c.message(s, in.Room, text))
	if errors.Is(err, cluster.ErrOverflow) || errors.Is(err, adapter.ErrClosed) {
		c.log.Warn("chat: not sent to the other nodes", "error", err)
		return done{}, refusal("The other nodes are out of reach. Only this one has heard of it.")
	}
	return done{}, err
}

func (c *chat) killOne(_ context.Context, _ *wsserver.Socket, name string) (done, error) {
	switch {
	case c.kill == nil:
		return done{}, refusal("Nothing can be killed here, but in the cluster that chat -nodes starts.")
	case name != brokerName && !slices.Contains(c.nodes.peers, name):
		return done{}, refusal("There is no such node.")
	}
	c.kill(name)
	return done{}, nil
}

func (c *chat) message(s *wsserver.Socket, room, text string) message {
	u, _ := wsserver.DataOf[user](s)
	return message{
		Room: room, ID: s.ID(), From: u.Name, Node: c.io.NodeName(),
		At: time.Now().UnixMilli(), Text: text,
	}
}

// clean takes the space off the ends of what a user wrote, and refuses what is empty, too long, or
// has control characters in it other than those allowed.
func clean(what, text string, limit int, allowed string) (string, error) {
	text = strings.TrimSpace(text)
	if n := utf8.RuneCountInString(text); n < 1 || n > limit {
		return "", refusal(fmt.Sprintf("%s has 1 to %d characters, this one has %d.", what, limit, n))
	}
	if strings.ContainsFunc(text, func(r rune) bool {
		return unicode.IsControl(r) && !strings.ContainsRune(allowed, r)
	}) {
		return "", refusal(what + " has no control characters.")
	}
	return text, nil
}

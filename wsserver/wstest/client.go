package wstest

import (
	"encoding/json"
	"slices"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
)

// A Client is a client in one namespace.
type Client struct {
	*session
	namespace string
	auth      any // of Config, or of Of

	// The lock of the session guards what follows.
	state    state
	lost     chan struct{} // closed when the client is in its namespace no more
	id       string
	welcomed bool // the server has let it in, though it may have left since
	refusal  json.RawMessage
	recovery recovery
	events   []Event  // not taken
	unsent   [][]byte // frames of events that wait for an answer to CONNECT
	handlers map[string]func(Event) []any
	lastAck  uint64
	acks     map[uint64]*question
}

// state is where a client is.
type state int

const (
	connecting state = iota // to its namespace
	flushing                // the server has let it in; what was emitted before is on its way
	connected
	away      // its connection has ended, or was left
	parted    // by Disconnect
	dismissed // by the server
	refused   // by the server
)

// A question is an event that the server is to answer.
type question struct {
	event  string
	answer *packet.Args // nil until it has come
}

// take handles a packet of the server, which has come by conn.
func (c *Client) take(conn *wsrig.Conn, p *packet.Packet) error {
	switch p.Type {
	case packet.Connect:
		return c.welcome(conn, p.Data)
	case packet.ConnectError:
		c.update(conn, func() {
			c.refusal = p.Data
			c.leave(refused)
		})
	case packet.Disconnect:
		c.update(conn, func() { c.leave(dismissed) })
	case packet.Ack:
		c.update(conn, func() {
			if q := c.acks[p.ID]; q != nil {
				q.answer = &p.Args
			}
		})
	case packet.Event:
		c.event(conn, p)
	}
	return nil
}

// update changes something under the lock because of what has come by conn, unless the client has
// left that connection.
func (c *Client) update(conn *wsrig.Conn, change func()) {
	c.lock.Update(func() {
		if c.conn == conn && c.state != away {
			change()
		}
	})
}

// leave notes that the client is in its namespace no more. The lock must be held.
func (c *Client) leave(to state) {
	switch {
	case c.state <= connected:
		close(c.lost)
	case to == away || c.state >= parted:
		return // what a client has left it does not lose
	}
	c.state = to
}

// ID returns the socket's id on the server; of a client that is away, the last one.
func (c *Client) ID() (id string) {
	c.lock.Update(func() { id = c.id })
	return id
}

// Emit sends an event. It does not wait for the server. While the client is away, the event waits
// for its return.
func (c *Client) Emit(event string, args ...any) {
	c.t.Helper()
	c.emit(&packet.Packet{}, event, args)
}

func (c *Client) emit(p *packet.Packet, event string, args []any) {
	c.t.Helper()
	var err error
	if p.Args, err = limits.MarshalEvent(event, args...); err != nil {
		c.t.Fatalf("wstest: emit %q: %v", event, err)
	}
	p.Type = packet.Event
	frames := c.encode(p)
	var conn *wsrig.Conn
	c.lock.Update(func() {
		if c.state != connected && c.state <= away {
			c.unsent = append(c.unsent, frames)
		} else {
			conn = c.conn
		}
	})
	if conn != nil {
		conn.Write(frames)
	}
}

// EmitWithAck sends an event and waits for the server's answer.
func (c *Client) EmitWithAck(event string, args ...any) packet.Args {
	c.t.Helper()
	q := &question{event: event}
	var id uint64
	c.lock.Update(func() {
		id = c.lastAck
		c.lastAck++
		c.acks[id] = q
	})
	c.emit(&packet.Packet{ID: id, HasID: true}, event, args)
	c.await("the answer to "+event, func() bool { return q.answer != nil })
	c.lock.Update(func() { delete(c.acks, id) })
	return *q.answer
}

// event takes an event, which has come by conn. Before the server's answer to CONNECT it waits, as
// socket.io-client has it.
func (c *Client) event(conn *wsrig.Conn, p *packet.Packet) {
	e := Event{Name: p.Event(), client: c, packet: p}
	var handle func(Event) []any
	c.update(conn, func() {
		if c.state == connecting {
			c.recovery.early = append(c.recovery.early, p)
			return
		}
		c.recovery.note(p)
		if handle = c.handlers[e.Name]; handle == nil {
			c.events = append(c.events, e)
		}
	})
	if handle == nil {
		return
	}
	if answer := handle(e); p.HasID && answer != nil {
		e.Ack(answer...)
	}
}

// An Event is an event that the server emitted.
type Event struct {
	Name string

	client *Client
	packet *packet.Packet
}

// Decode converts the arguments, without the event's name, as [packet.Args.Decode] does.
func (e Event) Decode(dst ...any) error { return e.packet.Decode(dst...) }

// String returns the event in JSON, its name first, with placeholders for binary arguments.
func (e Event) String() string { return string(e.packet.Args.JSON()) }

// WantsAck reports whether the server waits for an answer.
func (e Event) WantsAck() bool { return e.packet.HasID }

// Ack answers an event whose server waits for that. A second call answers again.
func (e Event) Ack(args ...any) {
	c := e.client
	c.t.Helper()
	values, err := limits.Marshal(args...)
	if err != nil {
		c.t.Fatalf("wstest: ack of %q: %v", e.Name, err)
	}
	c.send(&packet.Packet{Type: packet.Ack, ID: e.packet.ID, HasID: true, Args: values})
}

// On sets a handler for events of a name; Next and Pending then skip them. The client receives
// nothing else while handle runs, so it must not wait. Its result is the answer, if the server
// waits for one; nil means none.
func (c *Client) On(event string, handle func(e Event) (answer []any)) {
	c.lock.Update(func() { c.handlers[event] = handle })
}

// Next waits for an event of this name, and returns the first that has come. Events of other names
// stay. An empty name means any event.
func (c *Client) Next(event string) (e Event) {
	c.t.Helper()
	what := "event " + event
	if event == "" {
		what = "any event"
	}
	c.await(what, func() bool {
		i := slices.IndexFunc(c.events, func(e Event) bool { return event == "" || e.Name == event })
		if i < 0 {
			return false
		}
		e = c.events[i]
		c.events = slices.Delete(c.events, i, i+1)
		return true
	})
	return e
}

// Pending returns the events that have come so far, and removes them. An EmitWithAck before it
// makes sure that they have come: it returns when everything has come that the server had sent
// before its answer.
func (c *Client) Pending() (events []Event) {
	c.lock.Update(func() { events, c.events = c.events, nil })
	return events
}

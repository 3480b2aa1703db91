package wstest

import (
	"encoding/json"
	"slices"

	"github.com/belfry-io/belfry/adapter/packet"
)

// A Client is a client in one namespace.
type Client struct {
	conn      *conn
	namespace string
	lost      chan struct{} // closed when the client is in its namespace no more

	// conn.mu guards what follows.
	id       string
	refusal  json.RawMessage
	left     bool // lost is closed
	events   []Event
	handlers map[string]func(Event) []any
	lastAck  uint64
	acks     map[uint64]*packet.Args // nil until the answer has come
}

// newClient makes the client of a namespace, in place of an earlier one.
func newClient(c *conn, namespace string) *Client {
	client := &Client{
		conn:      c,
		namespace: namespace,
		lost:      make(chan struct{}),
		handlers:  make(map[string]func(Event) []any),
		acks:      make(map[uint64]*packet.Args),
	}
	c.update(func() { c.clients[namespace] = client })
	return client
}

func (c *Client) connectPacket(auth any) []byte {
	c.conn.t.Helper()
	p := &packet.Packet{Type: packet.Connect, Namespace: c.namespace}
	if auth != nil {
		data, err := json.Marshal(auth)
		if err != nil {
			c.conn.t.Fatalf("wstest: auth: %v", err)
		}
		p.Data = data
	}
	return c.conn.encode(p)
}

// answer waits for what the server says of the namespace; nil means that the client is connected.
func (c *Client) answer() (refusal json.RawMessage) {
	c.conn.t.Helper()
	c.conn.wait("the answer of namespace "+c.namespace, func() bool {
		refusal = c.refusal
		return c.id != "" || refusal != nil
	})
	return refusal
}

// take handles a packet of the server.
func (c *Client) take(p *packet.Packet) error {
	switch p.Type {
	case packet.Connect:
		var open struct{ SID string }
		if err := json.Unmarshal(p.Data, &open); err != nil {
			return err
		}
		c.conn.update(func() { c.id = open.SID })
	case packet.ConnectError:
		c.conn.update(func() { c.refusal = p.Data })
	case packet.Disconnect:
		c.conn.update(c.lose)
	case packet.Ack:
		c.conn.update(func() {
			if _, ok := c.acks[p.ID]; ok {
				c.acks[p.ID] = &p.Args
			}
		})
	case packet.Event:
		e := Event{Name: p.Event(), client: c, packet: p}
		c.conn.mu.Lock()
		handle := c.handlers[e.Name]
		c.conn.mu.Unlock()
		if handle == nil {
			c.conn.update(func() { c.events = append(c.events, e) })
			return nil
		}
		if answer := handle(e); p.HasID && answer != nil {
			e.Ack(answer...)
		}
	}
	return nil
}

// lose notes that the client is in its namespace no more. conn.mu must be held.
func (c *Client) lose() {
	if !c.left {
		c.left = true
		close(c.lost)
	}
}

// ID is the socket's id on the server.
func (c *Client) ID() string {
	c.conn.mu.Lock()
	defer c.conn.mu.Unlock()
	return c.id
}

// Emit sends an event. It does not wait for the server.
func (c *Client) Emit(event string, args ...any) {
	c.conn.t.Helper()
	c.emit(&packet.Packet{}, event, args)
}

func (c *Client) emit(p *packet.Packet, event string, args []any) {
	c.conn.t.Helper()
	var err error
	if p.Args, err = limits.MarshalEvent(event, args...); err != nil {
		c.conn.t.Fatalf("wstest: emit %q: %v", event, err)
	}
	p.Type, p.Namespace = packet.Event, c.namespace
	c.conn.write(c.conn.encode(p))
}

// EmitWithAck sends an event and waits for the server's answer.
func (c *Client) EmitWithAck(event string, args ...any) packet.Args {
	c.conn.t.Helper()
	var id uint64
	c.conn.update(func() {
		id = c.lastAck
		c.lastAck++
		c.acks[id] = nil
	})
	c.emit(&packet.Packet{ID: id, HasID: true}, event, args)
	var answer *packet.Args
	c.conn.wait("the answer to "+event, func() bool { answer = c.acks[id]; return answer != nil })
	c.conn.update(func() { delete(c.acks, id) })
	return *answer
}

// An Event is what the server emitted.
type Event struct {
	Name string

	client *Client
	packet *packet.Packet
}

// Decode converts the arguments as [packet.Args.Decode] does, without the name.
func (e Event) Decode(dst ...any) error { return e.packet.Decode(dst...) }

// String is the event in JSON, its name first, with placeholders for what is binary.
func (e Event) String() string { return string(e.packet.Args.JSON()) }

// WantsAck reports whether the server waits for an answer.
func (e Event) WantsAck() bool { return e.packet.HasID }

// Ack answers the event, which must want that. Called again, it answers again.
func (e Event) Ack(args ...any) {
	c := e.client.conn
	c.t.Helper()
	values, err := limits.Marshal(args...)
	if err != nil {
		c.t.Fatalf("wstest: ack of %q: %v", e.Name, err)
	}
	c.write(c.encode(&packet.Packet{Type: packet.Ack, Namespace: e.client.namespace, ID: e.packet.ID, HasID: true, Args: values}))
}

// On sets what is done with events of a name, which Next and Pending do not see then. handle is called while nothing more is received:
// it must not wait. What it returns is the answer, if the server waits for one; nil means none.
func (c *Client) On(event string, handle func(e Event) (answer []any)) {
	c.conn.mu.Lock()
	defer c.conn.mu.Unlock()
	c.handlers[event] = handle
}

// Next waits for an event of this name and takes it, the first of those that have come. Events of other names stay. An empty name stands
// for any.
func (c *Client) Next(event string) Event {
	c.conn.t.Helper()
	var e Event
	c.conn.wait("event "+event, func() bool {
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

// Pending takes the events that have come so far. An EmitWithAck before it makes sure that they have: it returns when everything has come
// that the server had sent before its answer.
func (c *Client) Pending() []Event {
	c.conn.mu.Lock()
	defer c.conn.mu.Unlock()
	events := c.events
	c.events = nil
	return events
}

// Disconnect leaves the namespace. The connection stays.
func (c *Client) Disconnect() {
	c.conn.t.Helper()
	c.conn.write(c.conn.encode(&packet.Packet{Type: packet.Disconnect, Namespace: c.namespace}))
	c.conn.update(c.lose)
}

// Disconnected is closed when the client is in its namespace no more: by Disconnect, because the server said so, or since the connection
// has ended.
func (c *Client) Disconnected() <-chan struct{} { return c.lost }

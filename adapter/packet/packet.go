// Package packet holds the packets of Socket.IO 5, converts Go values into their arguments and
// back, and has the default codec. That writes a packet as one text and a binary message for each
// attachment. Another codec can take its place ([Codec]).
//
// Nothing here does I/O or starts a goroutine. A packet from a peer is checked completely when it
// is decoded, and then kept as text. An argument becomes a Go value only when [Args.Decode] asks
// for it, so a small text cannot claim much memory.
package packet

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
)

// A Type says what a packet is for. Packets with attachments have no types of their own: on the
// wire, the default codec writes an Event with attachments as 5, and an Ack as 6.
type Type uint8

// The types of packets, with their numbers on the wire.
const (
	Connect      Type = iota // asks for a namespace, and grants it
	Disconnect               // leaves a namespace
	Event                    // a name and its arguments
	Ack                      // the answer to an Event that carried an ack id
	ConnectError             // refuses a namespace; only servers send it
)

var typeNames = [...]string{"connect", "disconnect", "event", "ack", "connect error"}

// String returns the type's name, in lower case.
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return fmt.Sprintf("type(%d)", uint8(t))
}

// MaxID is the highest ack id: the highest integer that JavaScript represents exactly, as all below
// it (Number.MAX_SAFE_INTEGER).
const MaxID = 1<<53 - 1

const idDigits = len("9007199254740991")

// A Packet is one packet of Socket.IO. A decoded packet shares no memory with the messages that the
// [Decoder] was given. A Packet has no lock: it must not be used while it is changed.
type Packet struct {
	Type      Type
	Namespace string          // begins with '/'; a caller may leave it empty, for "/"
	ID        uint64          // the ack id, if HasID; at most MaxID
	HasID     bool            // of an Event that wants an answer, and of an Ack
	Args      Args            // of an Event, its name first, and of an Ack
	Data      json.RawMessage // of a Connect, an object or nil; of a ConnectError, an object or a string
}

// Event returns the name of an Event. It is empty for other packets, and for arguments that do not
// begin with a name. A number is written as JavaScript converts it to a string, since there it
// names the same event. Each call makes the string anew.
func (p *Packet) Event() string {
	if p.Type != Event {
		return ""
	}
	return p.Args.name()
}

// Decode is [Args.Decode] for the arguments that a handler sees: those after the name of an Event,
// all those of an Ack.
func (p *Packet) Decode(dst ...any) error {
	if p.Type == Event {
		return p.Args.decode(1, dst)
	}
	return p.Args.decode(0, dst)
}

// Values is [Args.Values] for the arguments that Decode converts.
func (p *Packet) Values() ([]any, error) {
	if p.Type == Event {
		return p.Args.values(1)
	}
	return p.Args.values(0)
}

// Check reports why a peer with the limits l would not decode p, except for the length of its
// namespace and what Args were checked for before. It is for codecs.
func (p *Packet) Check(l *Limits) error {
	if err := checkNamespace(p.Namespace); err != nil {
		return err
	}
	if p.HasID && p.ID > MaxID {
		return fmt.Errorf("%w: %d", ErrID, p.ID)
	}
	switch p.Type {
	case Event, Ack:
		if p.Data != nil {
			return fmt.Errorf("%w: %v with data", ErrPayload, p.Type)
		}
		if p.Type == Event {
			return p.Args.checkName()
		}
		return nil
	case Connect, Disconnect, ConnectError:
		if p.HasID {
			return fmt.Errorf("%w: %v with one", ErrID, p.Type)
		}
		if p.Args.Len() > 0 {
			return fmt.Errorf("%w: %v with arguments", ErrPayload, p.Type)
		}
		return checkData(p.Type, p.Data, l)
	}
	return fmt.Errorf("%w: %d", ErrType, p.Type)
}

// checkData reports whether data may be the payload of a packet without arguments. Its UTF-8 is
// checked too.
func checkData(t Type, data []byte, l *Limits) error {
	if len(data) == 0 {
		if t == ConnectError {
			return fmt.Errorf("%w: %v without one", ErrPayload, t)
		}
		return nil
	}
	object, text := data[0] == '{', data[0] == '"'
	if t == Disconnect || !object && !(text && t == ConnectError) {
		return fmt.Errorf("%w of %v", ErrPayload, t)
	}
	return scanValue(data, l)
}

var reserved = []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}

// Reserved reports whether an event must not have this name, because it has a meaning of its own in
// Socket.IO.
func Reserved(name string) bool { return slices.Contains(reserved, name) }

// numberName is how JavaScript names the property that a number stands for: 1.0 is "1", 1e3 is
// "1000".
func numberName(text []byte) string {
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return string(text)
	}
	if f == 0 {
		return "0" // also for -0
	}
	b, err := json.Marshal(f) // encoding/json writes numbers as ECMAScript does
	if err != nil {
		return string(text)
	}
	return string(b)
}

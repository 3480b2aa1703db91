package msgpack

import (
	"fmt"
	"unicode/utf8"

	"github.com/belfry-io/belfry/adapter/packet"
)

type decoder struct{ limits *packet.Limits }

// Text refuses the message: packets are binary messages only.
func (decoder) Text([]byte) (*packet.Packet, error) { return nil, ErrText }

func (d decoder) Binary(msg []byte) (*packet.Packet, error) {
	m, err := parse(msg, d.limits.InForce())
	if err != nil {
		return nil, err
	}
	p := &packet.Packet{Type: m.kind, Namespace: m.namespace, ID: m.id, HasID: m.hasID}
	switch {
	case p.Type == packet.Event || p.Type == packet.Ack:
		// ParseArgs goes through the text once more: UTF-8, the number of arguments and forged
		// placeholders are checked there.
		if p.Args, err = packet.ParseArgs(m.data, m.attachments, d.limits); err != nil {
			return nil, err
		}
	case len(m.attachments) > 0:
		return nil, fmt.Errorf("%w: %v with binary data", packet.ErrPayload, p.Type)
	default:
		p.Data = m.data
	}
	if err := p.Check(d.limits); err != nil {
		return nil, err
	}
	return p, nil
}

// A message is what a message says, before it is judged as a packet.
type message struct {
	seen        uint8 // of the keys below
	kind        packet.Type
	namespace   string
	id          uint64
	hasID       bool
	data        []byte // JSON; nil if there is none
	attachments [][]byte
}

// The keys of a packet.
const (
	keyType uint8 = 1 << iota
	keyNamespace
	keyData
	keyID
)

func parse(msg []byte, limits packet.Limits) (message, error) {
	r := reader{rest: msg, limits: limits}
	n, err := r.mapHeader()
	if err != nil {
		return message{}, err
	}
	var m message
	for range n {
		if err := m.member(&r); err != nil {
			return message{}, err
		}
	}
	switch {
	case len(r.rest) > 0:
		return message{}, fmt.Errorf("%w: %d bytes follow the packet", ErrMessage, len(r.rest))
	case m.seen&keyType == 0:
		return message{}, packet.ErrType
	case m.seen&keyNamespace == 0:
		return message{}, packet.ErrNamespace
	}
	return m, nil
}

// member reads a key and its value.
func (m *message) member(r *reader) error {
	key, err := r.key()
	if err != nil {
		return err
	}
	switch string(key) {
	case "type":
		if err := m.once(keyType); err != nil {
			return err
		}
		kind, err := r.integer(uint64(packet.ConnectError), packet.ErrType)
		m.kind = packet.Type(kind)
		return err
	case "nsp":
		if err := m.once(keyNamespace); err != nil {
			return err
		}
		m.namespace, err = r.namespace()
		return err
	case "data":
		if err := m.once(keyData); err != nil || r.undefined() {
			return err
		}
		r.text = make([]byte, 0, len(r.rest)+len(r.rest)/4)
		err := r.value(0) // the array of the arguments does not count
		m.data, m.attachments = r.text, r.attachments
		return err
	case "id":
		if err := m.once(keyID); err != nil || r.undefined() {
			return err
		}
		m.hasID = true
		m.id, err = r.integer(packet.MaxID, packet.ErrID)
		return err
	}
	ignored := reader{rest: r.rest, limits: r.limits}
	if err := ignored.value(1); err != nil {
		return err
	}
	if !utf8.Valid(ignored.text) {
		return packet.ErrUTF8
	}
	r.rest = ignored.rest
	return nil
}

// once notes a key.
func (m *message) once(key uint8) error {
	if m.seen&key != 0 {
		return fmt.Errorf("%w: a key of the packet twice", ErrMessage)
	}
	m.seen |= key
	return nil
}

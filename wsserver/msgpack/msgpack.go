// Package msgpack is the codec of socket.io-msgpack-parser: it writes a packet in MessagePack, as
// one binary message. It is for servers that send much binary data, for which the default codec
// needs a message of its own each time.
//
//	srv := wsserver.New(wsserver.Config{Codec: msgpack.Codec{}})
//
// All clients of the server must set the same parser, and all nodes of a cluster the same codec:
//
//	import parser from "socket.io-msgpack-parser"
//	const socket = io(url, { parser })
//
// A handler sees the same arguments with either codec, because messages are converted as
// JSON.stringify would convert them:
//
//   - A Date becomes its text, "2026-01-31T12:00:00.000Z".
//   - An undefined value is left out of an object, and is null elsewhere; so are numbers that are not
//     finite.
//   - A Buffer or an ArrayBuffer becomes an attachment, and counts as one for [packet.Limits].
//   - Integers of 64 bits keep all their digits, where JavaScript itself would round them.
//   - A key of an object that is an integer becomes its digits. All other keys must be strings.
//   - Extensions of MessagePack other than those of notepack.io, on which the parser is built, are an
//     error.
//
// MessagePack needs no placeholders, so a client may send the object {"_placeholder":true,"num":0}
// as plain data. If the packet also has attachments, [packet.Args] could not tell them apart, and
// the packet is refused.
//
// Typed arrays are a trap of notepack.io: from a browser, a Uint8Array comes as an object with the
// keys "0", "1" and so on, and from Node.js as the whole memory that it is a part of. Clients
// should send an ArrayBuffer, or in Node.js a Buffer.
package msgpack

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"

	"github.com/belfry-io/belfry/adapter/packet"
)

// The reasons why a message is not a packet, besides those of package packet. An error repeats
// nothing of a message, except numbers.
var (
	ErrMessage = errors.New("msgpack: malformed message")
	ErrValue   = errors.New("msgpack: value without a counterpart in JSON")
	ErrText    = errors.New("msgpack: text message, which this codec never sends: does the client set the parser?")
)

// Codec is the codec. It writes a packet as a map with the keys type, nsp, data (if there is any)
// and id (if there is one), in this order. It reads them in any order.
type Codec struct{}

var _ packet.Codec = Codec{}

// The beginning of an Event without an id, in parts. An id goes to the end, so that it can be added
// without a look at the data.
const (
	mapOf3  = 0x83
	mapOf4  = 0x84
	typeKey = "\xa4type"
	nspKey  = "\xa3nsp"
	dataKey = "\xa4data"
	idKey   = "\xa2id"
	idSize  = len(idKey) + 9 // at the most, in bytes
)

// Encode implements [packet.Codec]. The text is empty, and the only attachment is the message.
// Numbers are written as notepack.io writes them: integers, 1.0 and 1e3 too, in their shortest
// form; all others, and integers that do not fit into 64 bits, as float64.
func (Codec) Encode(p *packet.Packet) (packet.Encoded, error) {
	deepest := packet.Limits{Depth: math.MaxInt} // the depth is left to the limits of the peer
	if err := p.Check(&deepest); err != nil {
		return packet.Encoded{}, err
	}
	namespace := p.Namespace
	if namespace == "" {
		namespace = "/"
	}
	data, members := []byte(p.Data), uint32(2)
	if p.Type == packet.Event || p.Type == packet.Ack {
		data = p.Args.JSON()
	}
	size := len("\x84") + len(typeKey) + 1 + len(nspKey) + 5 + len(namespace) + len(dataKey) + len(data) + idSize
	for _, a := range p.Args.Attachments() {
		size += len(a)
	}
	if uint64(size) > math.MaxUint32 { // some length inside might be, and MessagePack could not say it
		return packet.Encoded{}, packet.ErrTooLarge
	}
	if len(data) > 0 {
		members++
	}
	if p.HasID {
		members++
	}
	msg := msgp.AppendMapHeader(make([]byte, 0, size), members)
	msg = append(msg, typeKey...)
	msg = append(msg, byte(p.Type))
	msg = append(msg, nspKey...)
	msg = msgp.AppendString(msg, namespace)
	if len(data) > 0 {
		msg = append(msg, dataKey...)
		msg = appendJSON(msg, data, p.Args)
	}
	if p.HasID {
		msg = append(msg, idKey...)
		msg = msgp.AppendUint64(msg, p.ID)
	}
	return packet.Encoded{Attachments: [][]byte{msg}}, nil
}

// WithID implements [packet.Codec].
func (Codec) WithID(e packet.Encoded, id uint64) (packet.Encoded, error) {
	msg, _, err := argumentsOf(e)
	if err != nil {
		return packet.Encoded{}, err
	}
	if id > packet.MaxID {
		return packet.Encoded{}, fmt.Errorf("%w: %d", packet.ErrID, id)
	}
	with := make([]byte, 0, len(msg)+idSize)
	with = append(with, mapOf4)
	with = append(with, msg[1:]...)
	with = append(with, idKey...)
	with = msgp.AppendUint64(with, id)
	return packet.Encoded{Attachments: [][]byte{with}}, nil
}

// WithLast implements [packet.Codec].
func (Codec) WithLast(dst []byte, e packet.Encoded, s []byte) (packet.Encoded, error) {
	msg, at, err := argumentsOf(e)
	if err != nil {
		return packet.Encoded{}, err
	}
	n, rest, err := msgp.ReadArrayHeaderBytes(msg[at:])
	switch {
	case err != nil:
		return packet.Encoded{}, malformed(err)
	case n == 0 || uint64(n) > uint64(len(rest)):
		return packet.Encoded{}, fmt.Errorf("%w: %d arguments in %d bytes", packet.ErrPayload, n, len(rest))
	case !utf8.Valid(s):
		return packet.Encoded{}, packet.ErrUTF8
	case uint64(len(msg))+uint64(len(s)) > math.MaxUint32-headers: // as in Encode
		return packet.Encoded{}, packet.ErrTooLarge
	}
	with := dst[:0]
	if size := len(msg) + headers + len(s); cap(with) < size {
		with = make([]byte, 0, size)
	}
	with = append(with, msg[:at]...)
	with = msgp.AppendArrayHeader(with, n+1)
	with = append(with, rest...)
	with = msgp.AppendStringFromBytes(with, s)
	return packet.Encoded{Attachments: [][]byte{with}}, nil
}

// headers is how many bytes the header of a longer array, and that of a string, take at the most.
const headers = 4 + 5

// EndsInString implements [packet.Codec]. What comes last is found by a walk over all that is
// before it, since nothing at the end of a message tells where its last value begins.
func (Codec) EndsInString(e packet.Encoded) bool {
	msg, at, err := argumentsOf(e)
	if err != nil {
		return false
	}
	n, rest, err := msgp.ReadArrayHeaderBytes(msg[at:])
	for ; err == nil && n > 1; n-- {
		rest, err = msgp.Skip(rest)
	}
	return err == nil && n == 1 && msgp.NextType(rest) == msgp.StrType
}

// argumentsOf returns the message of an Event that Encode wrote without an id, and where the array of
// its arguments begins.
func argumentsOf(e packet.Encoded) (msg []byte, at int, err error) {
	if len(e.Text) > 0 {
		return nil, 0, ErrText
	}
	if len(e.Attachments) != 1 {
		return nil, 0, fmt.Errorf("%w: %d messages", ErrMessage, len(e.Attachments))
	}
	msg = e.Attachments[0]
	if len(msg) == 0 || msg[0] < mapOf3-1 || msg[0] > mapOf4 {
		return nil, 0, ErrMessage
	}
	rest, ok := bytes.CutPrefix(msg[1:], []byte(typeKey))
	if !ok || len(rest) == 0 {
		return nil, 0, ErrMessage
	}
	if kind := packet.Type(rest[0]); kind != packet.Event {
		return nil, 0, fmt.Errorf("%w: %v", packet.ErrType, kind)
	}
	if msg[0] != mapOf3 {
		return nil, 0, fmt.Errorf("%w: an id already, or no data", packet.ErrPayload)
	}
	if rest, ok = bytes.CutPrefix(rest[1:], []byte(nspKey)); !ok {
		return nil, 0, ErrMessage
	}
	r := reader{rest: rest}
	if _, err := r.string(); err != nil {
		return nil, 0, err
	}
	if rest, ok = bytes.CutPrefix(r.rest, []byte(dataKey)); !ok || msgp.NextType(rest) != msgp.ArrayType {
		return nil, 0, packet.ErrPayload
	}
	return msg, len(msg) - len(rest), nil
}

// NewDecoder implements [packet.Codec]. Each packet is one message, so its decoder never waits for
// attachments.
//
// It is as strict as the decoder of [packet.JSON]. It also refuses a packet that has one of its
// keys twice, and a message that goes on after its packet. As in the official parser, an id or a
// type may be a float without a fraction, and unknown keys are ignored.
func (Codec) NewDecoder(l *packet.Limits) packet.Decoder { return decoder{l} }

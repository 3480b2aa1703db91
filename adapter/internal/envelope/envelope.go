// Package envelope is what nodes say to each other: a versioned binary codec, pure.
//
// A message is a version byte, a kind byte, the sender's id, and the fields of its kind. Numbers are unsigned varints as in
// encoding/binary, strings are a length and their bytes, durations are microseconds. A reader ignores what follows the fields that it
// knows, so that a later version may append; it refuses a version or a kind that it does not know.
package envelope

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/belfry-io/belfry/adapter/internal/mesh"
)

// Version is the first byte of every message.
const Version = 1

// Why a message is refused.
var (
	ErrVersion   = errors.New("envelope: unknown version")
	ErrKind      = errors.New("envelope: unknown kind")
	ErrMalformed = errors.New("envelope: malformed message")
)

// The kinds. Their numbers are part of the wire format.
const (
	kindBroadcast = 1
	kindFence     = 2
	kindAck       = 3
	kindBeat      = 4
	kindResync    = 5
	kindBye       = 6
)

// A Route says which topics a broadcast was published on; they follow from its names.
type Route uint8

// The routes. Their numbers are part of the wire format.
const (
	ByNamespace Route = 1 // the topic of the namespace
	ByRoom      Route = 2 // the topic of each room, in their order
	ByCluster   Route = 3 // the topic of all nodes alone, for a Request; it has its place on the topics of its names, too
	ByNode      Route = 4 // the topic of one node, for a Request
)

// Flags of a broadcast. Their numbers are part of the wire format.
const (
	Volatile = 1 // a member that is not writable is passed over
	InRooms  = 2 // ByCluster: the topics of its names are those of its rooms, not that of the namespace
)

// A Broadcast is a packet for the members of rooms.
type Broadcast struct {
	From  string // the sender; not encoded here
	Stamp mesh.Stamp
	Body
}

// A Body is a broadcast without its place among those of its origin.
type Body struct {
	Route     Route
	Flags     uint64
	Namespace string
	Rooms     []string // none: all members of the namespace
	Except    []string
	Payload   []byte // opaque
	Request          // of the routes ByCluster and ByNode
}

// AppendBody appends b to dst, for AppendBroadcast.
func AppendBody(dst []byte, b *Body) []byte {
	dst = append(dst, byte(b.Route))
	dst = binary.AppendUvarint(dst, b.Flags)
	dst = appendString(dst, b.Namespace)
	dst = appendStrings(dst, b.Rooms)
	dst = appendStrings(dst, b.Except)
	dst = binary.AppendUvarint(dst, uint64(len(b.Payload)))
	dst = append(dst, b.Payload...)
	if b.Route == ByCluster || b.Route == ByNode {
		dst = b.Request.append(dst)
	}
	return dst
}

// AppendBroadcast appends a broadcast of the node sender to dst: its stamp, and its body as AppendBody wrote it.
func AppendBroadcast(dst []byte, sender string, stamp mesh.Stamp, body []byte) []byte {
	dst = appendHeader(dst, kindBroadcast, sender)
	dst = binary.AppendUvarint(dst, stamp.G)
	dst = binary.AppendUvarint(dst, uint64(len(stamp.Prev)))
	for _, prev := range stamp.Prev {
		dst = binary.AppendUvarint(dst, stamp.G-prev)
	}
	return append(dst, body...)
}

// AppendMessage appends any other message of the node sender to dst.
func AppendMessage(dst []byte, sender string, message mesh.Message) []byte {
	switch m := message.(type) {
	case *mesh.Fence:
		dst = appendHeader(dst, kindFence, sender)
		dst = binary.AppendUvarint(dst, m.F)
		dst = binary.AppendUvarint(dst, m.Sent)
		dst = appendAge(dst, m.Age)
		return append(dst, flag(m.Hello))
	case *mesh.Ack:
		dst = appendHeader(dst, kindAck, sender)
		dst = appendString(dst, m.To)
		dst = binary.AppendUvarint(dst, m.F)
		dst = binary.AppendUvarint(dst, m.Sent)
		dst = appendAge(dst, m.Age)
		return appendStrings(dst, m.Members)
	case *mesh.Beat:
		dst = appendHeader(dst, kindBeat, sender)
		for _, n := range [...]uint64{m.A, m.B, m.S} {
			dst = binary.AppendUvarint(dst, n)
		}
		dst = appendAge(dst, m.Age)
		for _, n := range [...]int{m.Part, m.Parts, len(m.Tails)} {
			dst = binary.AppendUvarint(dst, uint64(n))
		}
		for _, t := range m.Tails {
			dst = binary.BigEndian.AppendUint64(dst, t.Hash)
			dst = binary.AppendUvarint(dst, m.B-t.G)
		}
		return dst
	case *mesh.Resync:
		dst = appendHeader(dst, kindResync, sender)
		dst = binary.AppendUvarint(dst, m.A)
		return appendAge(dst, m.Age)
	case *mesh.Bye:
		return appendHeader(dst, kindBye, sender)
	}
	panic(fmt.Sprintf("envelope: no wire form for %T", message)) // a kind was added to mesh and not here
}

// Decode reads a message. One of broadcast and message is not nil unless err is. Payload and Arg are parts of msg; everything else is copied.
func Decode(msg []byte) (sender string, broadcast *Broadcast, message mesh.Message, err error) {
	if len(msg) < 2 {
		return "", nil, nil, ErrMalformed
	}
	if msg[0] != Version {
		return "", nil, nil, fmt.Errorf("%w %d", ErrVersion, msg[0])
	}
	r := reader{rest: msg[2:]}
	sender = r.string()
	switch kind := msg[1]; kind {
	case kindBroadcast:
		broadcast = r.broadcast()
	case kindFence:
		message = &mesh.Fence{F: r.number(), Sent: r.number(), Age: r.age(), Hello: r.flag()}
	case kindAck:
		message = &mesh.Ack{To: r.string(), F: r.number(), Sent: r.number(), Age: r.age(), Members: r.strings()}
	case kindBeat:
		message = r.beat()
	case kindResync:
		message = &mesh.Resync{A: r.number(), Age: r.age()}
	case kindBye:
		message = &mesh.Bye{}
	default:
		return "", nil, nil, fmt.Errorf("%w %d", ErrKind, kind)
	}
	if r.bad || sender == "" {
		return "", nil, nil, ErrMalformed
	}
	return sender, broadcast, message, nil
}

func appendHeader(dst []byte, kind byte, sender string) []byte {
	return appendString(append(dst, Version, kind), sender)
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendStrings(dst []byte, list []string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for _, s := range list {
		dst = appendString(dst, s)
	}
	return dst
}

func appendAge(dst []byte, age time.Duration) []byte {
	return binary.AppendUvarint(dst, uint64(max(0, age)/time.Microsecond))
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

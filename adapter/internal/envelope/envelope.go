// Package envelope is what nodes say to each other: a versioned binary codec, pure.
//
// A message is a version byte, a kind byte, the sender's id, and the fields of its kind; all kinds but broadcasts and chunks begin with the
// id of the node that they are for, empty for all. Numbers are unsigned varints as in encoding/binary, strings are a length and their
// bytes, durations are microseconds. A reader ignores what follows the fields that it knows, so that a later version may append; it
// refuses a version or a kind that it does not know.
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
	kindNack      = 7
	kindGone      = 8
	kindSettled   = 9
	kindRepair    = 10
	kindChunk     = 11
	kindNobody    = 12
)

// A Route says which topics a broadcast was published on; they follow from its names.
type Route uint8

// The routes. Their numbers are part of the wire format.
const (
	ByNamespace Route = 1 // the topic of the namespace alone; with InRooms it has its place on those of its rooms, too
	ByRoom      Route = 2 // the topic of each room, in their order
	ByCluster   Route = 3 // the topic of all nodes alone, for a Request; it has its place on the topics of its names, too
	ByNode      Route = 4 // the topic of one node, for a Request
)

// Flags of a broadcast. Their numbers are part of the wire format.
const (
	Volatile = 1 // a member that is not writable is passed over
	InRooms  = 2 // ByNamespace, ByCluster: it has its place on the topic of each of its rooms; ByCluster without it, on that of the namespace
)

// A Message is one that was decoded. One of Broadcast, Mesh and Chunk is not nil.
type Message struct {
	From      string
	To        string // empty: for all who receive it
	Broadcast *Broadcast
	Mesh      mesh.Message
	Chunk     *Chunk
}

// A Broadcast is a packet for the members of rooms.
type Broadcast struct {
	From     string // the sender; not encoded here
	Repaired bool   // it was sent again; not encoded here
	Stamp    mesh.Stamp
	Body
}

// Changes reports whether a node that carries b out may receive other topics afterwards.
func (b *Broadcast) Changes() bool {
	return b.Route == ByCluster && (b.Kind == KindSocketsJoin || b.Kind == KindSocketsLeave || b.Kind == KindDisconnectSockets)
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
	Trace     []byte // opaque: the context of a trace, of at most MaxTrace bytes; a longer one is left out
}

// AmongRooms reports whether b has its place on the topic of each of its rooms, behind another one that it travels on if that is not by them.
func (b *Body) AmongRooms() bool {
	return b.Route == ByRoom || b.Flags&InRooms != 0 && (b.Route == ByNamespace || b.Route == ByCluster)
}

// places is on how many topics b has its place.
func (b *Body) places() int {
	switch {
	case b.Route == ByRoom:
		return len(b.Rooms)
	case b.AmongRooms():
		return 1 + len(b.Rooms)
	case b.Route == ByCluster:
		return 2
	}
	return 1
}

// AppendBody appends b to dst, for AppendBroadcast.
func AppendBody(dst []byte, b *Body) []byte {
	dst = append(dst, byte(b.Route))
	flags := b.flags()
	dst = binary.AppendUvarint(dst, flags)
	dst = appendString(dst, b.Namespace)
	dst = appendStrings(dst, b.Rooms)
	dst = appendStrings(dst, b.Except)
	dst = binary.AppendUvarint(dst, uint64(len(b.Payload)))
	dst = append(dst, b.Payload...)
	if b.Route == ByCluster || b.Route == ByNode {
		dst = b.Request.append(dst)
	}
	if flags&traced != 0 {
		dst = binary.AppendUvarint(dst, uint64(len(b.Trace)))
		dst = append(dst, b.Trace...)
	}
	return dst
}

// AppendBroadcast appends a broadcast of the node sender to dst: its stamp, and its body as AppendBody wrote it.
func AppendBroadcast(dst []byte, sender string, stamp mesh.Stamp, body []byte) []byte {
	return appendStamped(appendHeader(dst, kindBroadcast, sender), stamp, body)
}

// AppendRepair appends a broadcast that is sent again, to one node.
func AppendRepair(dst []byte, sender, to string, stamp mesh.Stamp, body []byte) []byte {
	return appendStamped(appendString(appendHeader(dst, kindRepair, sender), to), stamp, body)
}

func appendStamped(dst []byte, stamp mesh.Stamp, body []byte) []byte {
	dst = binary.AppendUvarint(dst, stamp.Sequence)
	dst = binary.AppendUvarint(dst, uint64(len(stamp.Prev)))
	for _, prev := range stamp.Prev {
		dst = binary.AppendUvarint(dst, stamp.Sequence-prev)
	}
	return append(dst, body...)
}

// AppendMessage appends any other message of the node sender to dst. to is empty for all.
func AppendMessage(dst []byte, sender, to string, message mesh.Message) []byte {
	header := func(kind byte) { dst = appendString(appendHeader(dst, kind, sender), to) }
	number := func(list ...uint64) {
		for _, n := range list {
			dst = binary.AppendUvarint(dst, n)
		}
	}
	switch m := message.(type) {
	case *mesh.Fence:
		header(kindFence)
		dst = appendAbout(dst, m.About, nil, m.Name)
		number(m.Number, m.Sent)
		return appendName(appendAge(append(dst, flag(m.Hello)), m.RoundTrip), m.Name)
	case *mesh.Ack:
		header(kindAck)
		dst = appendAbout(dst, m.About, m.Gossip, m.Name)
		number(m.Fence, m.Sent)
		dst = appendHeard(appendStrings(dst, m.Members), m.Gossip)
		dst = appendAge(appendAge(appendAge(dst, m.Echo), m.RoundTrip), m.Patience)
		return appendName(dst, m.Name)
	case *mesh.Heartbeat:
		header(kindBeat)
		dst = appendAbout(dst, m.About, m.Gossip, "")
		number(m.After, m.Upto, m.Horizon, uint64(m.Part), uint64(m.Parts), uint64(len(m.Tails)))
		for _, t := range m.Tails {
			dst = binary.BigEndian.AppendUint64(dst, t.Hash)
			number(m.Upto - t.Sequence)
		}
		return appendHeard(dst, m.Gossip)
	case *mesh.Resync:
		header(kindResync)
		dst = appendAbout(dst, m.About, nil, "")
		number(m.After)
		return dst
	case *mesh.Nack:
		header(kindNack)
		number(uint64(len(m.Ranges)))
		for _, r := range m.Ranges {
			dst = binary.BigEndian.AppendUint64(dst, r.Hash)
			number(r.Upto, r.Upto-r.After)
		}
		return dst
	case *mesh.Gone:
		header(kindGone)
		number(m.Horizon, uint64(len(m.Stubs)))
		for _, n := range m.Stubs {
			number(n.Sequence, uint64(len(n.Links)))
			for _, l := range n.Links {
				dst = binary.BigEndian.AppendUint64(dst, l.Hash)
				number(n.Sequence - l.Prev)
			}
		}
		return dst
	case *mesh.Bye:
		header(kindBye)
		dst = appendAbout(dst, m.About, nil, "")
		number(m.Last)
		return dst
	case *mesh.Confirm:
		header(kindSettled)
		return dst
	case *mesh.Unreachable:
		header(kindNobody)
		return dst
	}
	panic(fmt.Sprintf("envelope: no wire form for %T", message)) // a kind was added to mesh and not here
}

// Decode reads a message. Payload and Arg of a broadcast and the bytes of a chunk are parts of msg; everything else is copied.
func Decode(msg []byte) (*Message, error) {
	if len(msg) < 2 {
		return nil, ErrMalformed
	}
	if msg[0] != Version {
		return nil, fmt.Errorf("%w %d", ErrVersion, msg[0])
	}
	r := reader{rest: msg[2:]}
	m := &Message{From: r.string()}
	kind := msg[1]
	if kind != kindBroadcast && kind != kindChunk {
		m.To = r.string()
	}
	switch kind {
	case kindBroadcast:
		m.Broadcast = r.broadcast()
	case kindRepair:
		m.Broadcast = r.broadcast()
		m.Broadcast.Repaired = true
	case kindChunk:
		m.Chunk = r.chunk()
	case kindFence:
		m.Mesh = r.fence()
	case kindAck:
		m.Mesh = r.ack()
	case kindBeat:
		m.Mesh = r.beat(m.To != "")
	case kindResync:
		m.Mesh = &mesh.Resync{About: r.about(), After: r.number()}
	case kindNack:
		m.Mesh = r.nack()
	case kindGone:
		m.Mesh = r.gone()
	case kindBye:
		m.Mesh = &mesh.Bye{About: r.about(), Last: r.number()}
	case kindSettled:
		m.Mesh = &mesh.Confirm{}
	case kindNobody:
		m.Mesh = &mesh.Unreachable{}
	default:
		return nil, fmt.Errorf("%w %d", ErrKind, kind)
	}
	if r.bad || m.From == "" {
		return nil, ErrMalformed
	}
	if m.Broadcast != nil {
		m.Broadcast.From = m.From
	}
	return m, nil
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

// What a node says of itself begins with flags.
const (
	aboutClient = 1
	aboutFresh  = 2
	aboutHeard  = 4 // an Ack or a heartbeat has what it has heard of others
	aboutNamed  = 8 // a Fence or an Ack ends with the node's name
)

func appendAbout(dst []byte, a mesh.About, heard []mesh.Gossip, name string) []byte {
	var flags uint64
	if a.Client {
		flags |= aboutClient
	}
	if a.Fresh {
		flags |= aboutFresh
	}
	if len(heard) > 0 {
		flags |= aboutHeard
	}
	if name != "" {
		flags |= aboutNamed
	}
	return appendAge(binary.AppendUvarint(dst, flags), a.Age)
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

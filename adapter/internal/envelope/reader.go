package envelope

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/belfry-io/belfry/adapter/internal/mesh"
)

// reader takes fields from the front of rest. After the first field that is not there, bad is set and all fields are zero.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) fail() {
	r.rest, r.bad = nil, true
}

func (r *reader) number() uint64 {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

// count reads how many items follow that take size bytes each at the least.
func (r *reader) count(size int) int {
	n := r.number()
	if n > uint64(len(r.rest)/size) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *reader) bytes() []byte {
	n := r.count(1)
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) string() string { return string(r.bytes()) }

func (r *reader) strings() []string {
	n := r.count(1)
	if n == 0 {
		return nil
	}
	list := make([]string, n)
	for i := range list {
		list[i] = r.string()
	}
	return list
}

func (r *reader) byte() byte {
	if len(r.rest) == 0 {
		r.fail()
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

func (r *reader) flag() bool { return r.byte() != 0 }

func (r *reader) hash() uint64 {
	if len(r.rest) < 8 {
		r.fail()
		return 0
	}
	h := binary.BigEndian.Uint64(r.rest)
	r.rest = r.rest[8:]
	return h
}

func (r *reader) about() mesh.About {
	about, _ := r.aboutFlags()
	return about
}

// aboutFlags reads what a node says of itself, and the flags, which announce what else there is in the message.
func (r *reader) aboutFlags() (about mesh.About, flags uint64) {
	flags = r.number()
	return mesh.About{Client: flags&aboutClient != 0, Fresh: flags&aboutFresh != 0, Age: r.age()}, flags
}

func (r *reader) age() time.Duration {
	us := r.number()
	if us > math.MaxInt64/uint64(time.Microsecond) {
		r.fail()
		return 0
	}
	return time.Duration(us) * time.Microsecond
}

// later reads a duration at the end of a message that the first ones of its kind did not have.
func (r *reader) later() time.Duration {
	if len(r.rest) == 0 {
		return 0
	}
	return r.age()
}

// below reads a number given as its distance from n.
func (r *reader) below(n uint64) uint64 {
	d := r.number()
	if d > n {
		r.fail()
		return 0
	}
	return n - d
}

func (r *reader) small() int {
	n := r.number()
	if n > math.MaxInt32 {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *reader) broadcast() *Broadcast {
	b := &Broadcast{}
	b.Stamp.Sequence = r.number()
	b.Stamp.Prev = make([]uint64, r.count(1))
	for i := range b.Stamp.Prev {
		b.Stamp.Prev[i] = r.below(b.Stamp.Sequence)
		if b.Stamp.Prev[i] == b.Stamp.Sequence {
			r.fail()
		}
	}
	b.Route = Route(r.byte())
	b.Flags = r.number()
	b.Namespace = r.string()
	b.Rooms = r.strings()
	b.Except = r.strings()
	b.Payload = r.bytes()
	switch b.Route {
	case ByNamespace, ByRoom:
	case ByCluster, ByNode:
		b.Request = r.request()
		r.bad = r.bad || b.Route == ByNode && b.To == ""
	default:
		r.bad = true
	}
	b.Trace, b.Flags = r.trace(b.Flags), b.Flags&^traced
	r.bad = r.bad || b.AmongRooms() && len(b.Rooms) == 0 || len(b.Stamp.Prev) != b.places()
	return b
}

func (r *reader) beat(asked bool) *mesh.Heartbeat {
	about, flags := r.aboutFlags()
	b := &mesh.Heartbeat{About: about, After: r.number(), Upto: r.number(), Horizon: r.number(), Part: r.small(), Parts: r.small(), Asked: asked}
	b.Tails = make([]mesh.Tail, r.count(9))
	for i := range b.Tails {
		b.Tails[i] = mesh.Tail{Hash: r.hash(), Sequence: r.below(b.Upto)}
	}
	if b.After > b.Upto || b.Horizon > b.Upto || b.Part >= b.Parts {
		r.fail()
	}
	if flags&aboutHeard != 0 {
		b.Gossip = r.heard()
	}
	return b
}

func (r *reader) fence() *mesh.Fence {
	about, flags := r.aboutFlags()
	return &mesh.Fence{About: about, Number: r.number(), Sent: r.number(), Hello: r.flag(), RoundTrip: r.later(), Name: r.name(flags)}
}

func (r *reader) nack() *mesh.Nack {
	n := &mesh.Nack{Ranges: make([]mesh.Range, r.count(10))}
	for i := range n.Ranges {
		hash, upto := r.hash(), r.number()
		n.Ranges[i] = mesh.Range{Hash: hash, After: r.below(upto), Upto: upto}
	}
	return n
}

func (r *reader) gone() *mesh.Gone {
	g := &mesh.Gone{Horizon: r.number(), Stubs: make([]mesh.Stub, r.count(2))}
	last := uint64(0)
	for i := range g.Stubs {
		n := &g.Stubs[i]
		n.Sequence = r.number()
		n.Links = make([]mesh.Link, r.count(9))
		for j := range n.Links {
			n.Links[j] = mesh.Link{Hash: r.hash(), Prev: r.below(n.Sequence)}
		}
		if n.Sequence <= last { // in ascending order, from 1
			r.fail()
			break
		}
		last = n.Sequence
	}
	return g
}

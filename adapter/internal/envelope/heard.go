package envelope

import (
	"encoding/binary"

	"github.com/belfry-io/belfry/adapter/internal/mesh"
)

// What a node has heard of another begins with flags, of which the upper ones are a number: its absence.
const (
	heardClient  = 1
	heardAbsence = 1 // the shift
)

// appendHeard appends what a node has heard of others, which aboutHeard announces: nothing where that is not set.
func appendHeard(dst []byte, list []mesh.Gossip) []byte {
	if len(list) == 0 {
		return dst
	}
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for _, h := range list {
		flags := uint64(h.Absence) << heardAbsence
		if h.Client {
			flags |= heardClient
		}
		dst = binary.AppendUvarint(appendString(dst, h.Node), flags)
		dst = appendAge(appendAge(dst, h.Age), h.Ago)
		dst = binary.AppendUvarint(dst, h.Upto)
		dst = binary.AppendUvarint(dst, uint64(len(h.Tails)))
		for _, t := range h.Tails {
			dst = binary.AppendUvarint(binary.BigEndian.AppendUint64(dst, t.Hash), t.Sequence)
		}
	}
	return dst
}

// heard reads what a node has heard of others. An absence that is not known is one that may end.
func (r *reader) heard() []mesh.Gossip {
	list := make([]mesh.Gossip, r.count(6))
	for i := range list {
		h := &list[i]
		h.Node = r.string()
		flags := r.number()
		h.Client = flags&heardClient != 0
		if absence := flags >> heardAbsence; absence <= uint64(mesh.Left) {
			h.Absence = mesh.Absence(absence)
		}
		h.Age, h.Ago, h.Upto = r.age(), r.age(), r.number()
		if n := r.count(9); n > 0 {
			h.Tails = make([]mesh.Tail, n)
		}
		for j := range h.Tails {
			h.Tails[j] = mesh.Tail{Hash: r.hash(), Sequence: r.number()}
		}
	}
	if len(list) == 0 {
		r.fail() // it was announced
	}
	return list
}

func (r *reader) ack() *mesh.Ack {
	about, flags := r.aboutFlags()
	a := &mesh.Ack{About: about, Fence: r.number(), Sent: r.number(), Members: r.strings()}
	if flags&aboutHeard != 0 {
		a.Gossip = r.heard()
	}
	a.Echo, a.RoundTrip, a.Patience, a.Name = r.later(), r.later(), r.later(), r.name(flags)
	return a
}

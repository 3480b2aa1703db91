package envelope

import (
	"encoding/binary"
	"time"
)

// A Kind says what a Request asks for. A node answers one that it does not know with Unknown.
type Kind uint8

// The kinds of requests. Their numbers are part of the wire format.
const (
	KindAnswer            Kind = 1  // a page of an answer; Arg is an Answer, its content is the Payload
	KindCancel            Kind = 2  // the sender does not wait for the answers to its request ID any more
	KindFetchSockets      Kind = 3  // the members: pages of Members
	KindCount             Kind = 4  // how many there are: a Number
	KindAllRooms          Kind = 5  // the rooms' names: pages of Strings
	KindSocketsJoin       Kind = 6  // into the rooms of Arg, as Strings; the answer is the nodes that have not confirmed it, as Strings
	KindSocketsLeave      Kind = 7  // out of the rooms of Arg, as Strings
	KindDisconnectSockets Kind = 8  // Arg is a byte: 1 to end the connections, too
	KindEmitWithAck       Kind = 9  // Payload is a broadcast to be answered; the first page is a Number of members, the next ones Replies
	KindServerSideEmit    Kind = 10 // Payload is a server event; with an answer unless ID is 0
	KindCall              Kind = 11 // Arg is the name of what is called, with Payload
	KindEmitCounted       Kind = 12 // Payload is a broadcast; the answer is a Number of the members that have taken it
	KindNote              Kind = 13 // Payload is what the sender has to say about its request ID, which the node holds
)

// A Request is what a node asks of others, or an answer.
type Request struct {
	Kind Kind
	ID   uint64        // the asker's number for it, which the answers carry; 0: no answer is wanted
	To   string        // ByNode: the node
	Left time.Duration // how long the asker waits
	Arg  []byte        // what the kind says
}

func (q *Request) append(dst []byte) []byte {
	dst = append(dst, byte(q.Kind))
	dst = binary.AppendUvarint(dst, q.ID)
	dst = appendString(dst, q.To)
	dst = appendAge(dst, q.Left)
	dst = binary.AppendUvarint(dst, uint64(len(q.Arg)))
	return append(dst, q.Arg...)
}

func (r *reader) request() Request {
	return Request{Kind: Kind(r.byte()), ID: r.number(), To: r.string(), Left: r.age(), Arg: r.bytes()}
}

// A Status says how a node has dealt with a request.
type Status uint8

// The states of an answer. Their numbers are part of the wire format.
const (
	Done    Status = 0
	Unknown Status = 1 // the node does not know the kind, or has nothing that handles it
	Busy    Status = 2 // it has too much to do
	Failed  Status = 3 // what Text says
)

// An AnswerHeader is what a page of an answer carries besides its content.
type AnswerHeader struct {
	Page   uint64 // its number, from 0
	More   bool   // pages follow
	Status Status
	Text   string
}

// Append appends a to dst, for DecodeAnswer.
func (a *AnswerHeader) Append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, a.Page)
	dst = append(dst, flag(a.More), byte(a.Status))
	return appendString(dst, a.Text)
}

// DecodeAnswerHeader reads what Append wrote.
func DecodeAnswerHeader(arg []byte) (AnswerHeader, error) {
	r := reader{rest: arg}
	a := AnswerHeader{Page: r.number(), More: r.flag(), Status: Status(r.byte()), Text: r.string()}
	if r.bad {
		return AnswerHeader{}, ErrMalformed
	}
	return a, nil
}

// A MemberInfo is what a page of KindFetchSockets says of each.
type MemberInfo struct {
	ID    string
	Rooms []string
	Data  []byte // a part of the page when it was decoded
}

// Append appends m to a page.
func (m *MemberInfo) Append(page []byte) []byte {
	page = appendString(page, m.ID)
	page = appendStrings(page, m.Rooms)
	page = binary.AppendUvarint(page, uint64(len(m.Data)))
	return append(page, m.Data...)
}

// MemberInfos reads a page of them.
func MemberInfos(page []byte) ([]MemberInfo, error) {
	return list(page, func(r *reader) MemberInfo { return MemberInfo{ID: r.string(), Rooms: r.strings(), Data: r.bytes()} })
}

// A MemberAck is what a page of KindEmitWithAck says of each.
type MemberAck struct {
	Member  string
	Payload []byte // a part of the page when it was decoded
}

// Append appends a to a page.
func (a *MemberAck) Append(page []byte) []byte {
	page = appendString(page, a.Member)
	page = binary.AppendUvarint(page, uint64(len(a.Payload)))
	return append(page, a.Payload...)
}

// MemberAcks reads a page of them.
func MemberAcks(page []byte) ([]MemberAck, error) {
	return list(page, func(r *reader) MemberAck { return MemberAck{Member: r.string(), Payload: r.bytes()} })
}

// AppendString appends s to a page.
func AppendString(page []byte, s string) []byte { return appendString(page, s) }

// Strings reads a page of them.
func Strings(page []byte) ([]string, error) { return list(page, (*reader).string) }

// AppendNumber appends n to a page.
func AppendNumber(page []byte, n uint64) []byte { return binary.AppendUvarint(page, n) }

// Number reads a page of one number.
func Number(page []byte) (uint64, error) {
	r := reader{rest: page}
	n := r.number()
	if r.bad {
		return 0, ErrMalformed
	}
	return n, nil
}

// list reads items until the end of a page.
func list[T any](page []byte, item func(*reader) T) ([]T, error) {
	var items []T
	for r := (&reader{rest: page}); len(r.rest) > 0; {
		i := item(r)
		if r.bad {
			return nil, ErrMalformed
		}
		items = append(items, i)
	}
	return items, nil
}

package envelope

import (
	"encoding/binary"
	"time"
)

// A Kind says what a Request asks for. A node answers one that it does not know with Unknown.
type Kind uint8

// The kinds of requests. Their numbers are part of the wire format.
const (
	KindAnswer     Kind = 1  // a page of an answer; Arg is an Answer, its content is the Payload
	KindForget     Kind = 2  // the sender does not wait for the answers to its request ID any more
	KindFetch      Kind = 3  // the members: pages of Members
	KindCount      Kind = 4  // how many there are: a Number
	KindRooms      Kind = 5  // the rooms' names: pages of Strings
	KindJoin       Kind = 6  // into the rooms of Arg, as Strings; the answer is the nodes that have not confirmed it, as Strings
	KindLeave      Kind = 7  // out of the rooms of Arg, as Strings
	KindDisconnect Kind = 8  // Arg is a byte: 1 to end the connections, too
	KindAsk        Kind = 9  // Payload is a broadcast to be answered; the first page is a Number of members, the next ones Replies
	KindEvent      Kind = 10 // Payload is a server event; with an answer unless ID is 0
	KindCall       Kind = 11 // Arg is the name of what is called, with Payload
	KindTell       Kind = 12 // Payload is a broadcast; the answer is a Number of the members that have taken it
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

// An Answer is what a page of an answer carries besides its content.
type Answer struct {
	Page   uint64 // its number, from 0
	More   bool   // pages follow
	Status Status
	Text   string
}

// Append appends a to dst, for DecodeAnswer.
func (a *Answer) Append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, a.Page)
	dst = append(dst, flag(a.More), byte(a.Status))
	return appendString(dst, a.Text)
}

// DecodeAnswer reads what Append wrote.
func DecodeAnswer(arg []byte) (Answer, error) {
	r := reader{rest: arg}
	a := Answer{Page: r.number(), More: r.flag(), Status: Status(r.byte()), Text: r.string()}
	if r.bad {
		return Answer{}, ErrMalformed
	}
	return a, nil
}

// A Member is what a page of KindFetch says of each.
type Member struct {
	ID    string
	Rooms []string
	Data  []byte // a part of the page when it was decoded
}

// Append appends m to a page.
func (m *Member) Append(page []byte) []byte {
	page = appendString(page, m.ID)
	page = appendStrings(page, m.Rooms)
	page = binary.AppendUvarint(page, uint64(len(m.Data)))
	return append(page, m.Data...)
}

// Members reads a page of them.
func Members(page []byte) ([]Member, error) {
	return list(page, func(r *reader) Member { return Member{ID: r.string(), Rooms: r.strings(), Data: r.bytes()} })
}

// A Reply is what a page of KindAsk says of each.
type Reply struct {
	Member  string
	Payload []byte // a part of the page when it was decoded
}

// Append appends a to a page.
func (a *Reply) Append(page []byte) []byte {
	page = appendString(page, a.Member)
	page = binary.AppendUvarint(page, uint64(len(a.Payload)))
	return append(page, a.Payload...)
}

// Replies reads a page of them.
func Replies(page []byte) ([]Reply, error) {
	return list(page, func(r *reader) Reply { return Reply{Member: r.string(), Payload: r.bytes()} })
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

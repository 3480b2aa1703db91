package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/belfry-io/belfry/adapter/internal/ask"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
)

// An Ack is a member's answer to a broadcast.
type Ack struct {
	Member  string // its id
	Node    string // where it is
	Payload []byte // what it has passed to the answer function of DeliverWithAck; it is the caller's
}

// Acks are the answers to a broadcast.
type Acks struct {
	Answers []Ack // in the order of their coming
	Members int   // to how many the broadcast went, on the nodes that have said so
}

// EmitWithAck is Emit to members that are asked for an answer: see [Member]. It waits
// until all have answered, on all nodes; without members it returns at once. With an error come the
// answers so far: see [PartialError], whose Clients is the number of members that have not
// answered. A member that leaves without an answer is one of them, and not waited for.
//
// It keeps the order of Emit, and this node's members get it whatever the error.
func (r *Rooms) EmitWithAck(ctx context.Context, b Broadcast) (Acks, error) {
	return r.emitWithAck(ctx, b, false)
}

// EmitWithFirstAck is EmitWithAck to one member, named by its id as the only room, and ends with
// the first answer. Answers without a payload are skipped. [ErrMember] means that no node has the
// member. With an answer, the error is nil.
func (r *Rooms) EmitWithFirstAck(ctx context.Context, b Broadcast) (Ack, error) {
	acks, err := r.emitWithAck(ctx, b, true)
	if i := slices.IndexFunc(acks.Answers, Ack.some); i >= 0 {
		return acks.Answers[i], nil
	}
	if err == nil {
		err = ErrMember
	}
	return Ack{}, err
}

// some reports whether a is more than a word of nobody.
func (a Ack) some() bool { return len(a.Payload) > 0 }

func (r *Rooms) emitWithAck(ctx context.Context, b Broadcast, first bool) (Acks, error) {
	ctx, cancel, left := patience(ctx)
	defer cancel()
	h := r.hub
	body := r.request(envelope.KindEmitWithAck, b, left)
	q, err := r.deliverWithAck(h.node, body, 0)
	if err != nil {
		return Acks{}, err
	}
	acks := Acks{Members: len(q.ids)}
	var c *ask.Call
	add := func(from string, replies []envelope.MemberAck) {
		for _, reply := range replies {
			acks.Answers = append(acks.Answers, Ack{Member: reply.Member, Node: from, Payload: reply.Payload})
		}
		if first && slices.ContainsFunc(acks.Answers, Ack.some) {
			c.End()
		}
	}
	c = h.ask.New(func(p ask.Page) error {
		if p.Number == 0 {
			members, err := envelope.Number(p.Content)
			acks.Members += int(members)
			return err
		}
		replies, err := envelope.MemberAcks(p.Content)
		add(p.From, replies)
		return err
	})
	c.Parts, c.Local = true, b.Local
	if len(q.ids) > 0 { // they are waited for like another node
		h.ask.WaitHere(c, q.some, func() bool {
			replies, left, _ := q.take()
			add(h.node, replies)
			return left == 0
		})
	}
	h.ask.Ask(ctx, c, body, true)
	h.ask.Wait(ctx, c, body)
	q.cancel()
	return acks, r.hub.incomplete(c, acks.Members-len(acks.Answers))
}

// The answers to a broadcast of another node are sent together: at the latest after ackDelay, or
// when they have ackBytes.
const (
	ackDelay = 20 * time.Millisecond
	ackBytes = 32 << 10
	ackBound = 4 << 20 // of answers that wait for room in the queue
)

// A localAcks is a broadcast that members of this node are asked to answer.
type localAcks struct {
	frame   any
	ids     []string
	members []Member
	bound   int // of bytes; further answers are given up; 0 for none

	mu       sync.Mutex // guards what follows
	over     bool       // no more answers are taken
	answered []bool     // by member; so is one that will not answer
	left     int        // how many have not
	replies  []envelope.MemberAck
	dropped  bool          // an answer had no room
	bytes    int           // of replies
	some     chan struct{} // has room for one: an answer has come since the last take, or the last is not to come
	full     chan struct{} // has room for one: there are ackBytes, or none is left
}

// deliverWithAck hands a broadcast of a node to the members on this node and asks for their answers.
// Not more than bound bytes of them wait to be taken, if it is not zero.
func (r *Rooms) deliverWithAck(from string, b *envelope.Body, bound int) (*localAcks, error) {
	q := &localAcks{bound: bound, some: make(chan struct{}, 1), full: make(chan struct{}, 1)}
	locked := r.lock(false)
	q.ids = locked.index.SelectIDs(nil, b.Rooms, b.Except)
	q.members = make([]Member, len(q.ids))
	for i, id := range q.ids {
		q.members[i], _ = locked.index.Get(id)
	}
	frame := locked.frame
	locked.mu.Unlock()
	q.left, q.answered = len(q.ids), make([]bool, len(q.ids))
	if q.left == 0 {
		return q, nil
	}
	begun := begun(b)
	var err error
	if q.frame, err = frame(b.Payload, b.Flags&envelope.Volatile != 0); err != nil {
		r.hub.delivered(r.namespace, from, b, begun, 0, err)
		return nil, unencoded(err)
	}
	for i, m := range q.members {
		m.DeliverWithAck(q.frame, func(payload []byte, ok bool) { q.answer(i, payload, ok) })
	}
	r.finish(passage{begun: begun, frame: q.frame, asked: len(q.ids), taken: len(q.members)}, from, b)
	return q, nil
}

// unencoded is the error of a payload of which no frame can be made.
func unencoded(err error) error {
	return fmt.Errorf("cluster: the broadcast cannot be encoded: %w", err)
}

// answer takes what a member says.
func (q *localAcks) answer(i int, payload []byte, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.over || q.answered[i] {
		return
	}
	q.answered[i] = true
	q.left--
	switch {
	case !ok:
	case q.bound > 0 && q.bytes > 0 && q.bytes+len(payload) > q.bound:
		q.dropped = true
	default:
		q.replies = append(q.replies, envelope.MemberAck{Member: q.ids[i], Payload: payload})
		q.bytes += len(q.ids[i]) + len(payload)
	}
	signal(q.some)
	if q.left == 0 || q.bytes >= ackBytes {
		signal(q.full)
	}
}

// signal puts a value into c, which has room for one, unless there is one already.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func unsignal(c chan struct{}) {
	select {
	case <-c:
	default:
	}
}

// take returns the answers that have come since the last take, how many members have not answered,
// and whether an answer was dropped.
func (q *localAcks) take() (replies []envelope.MemberAck, left int, dropped bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	replies = q.replies
	q.replies, q.bytes = nil, 0
	unsignal(q.some)
	unsignal(q.full)
	return replies, q.left, q.dropped
}

// cancel ends the wait: the members that have not answered need not.
func (q *localAcks) cancel() {
	q.mu.Lock()
	q.over = true
	q.mu.Unlock()
	for i, m := range q.members {
		if !q.answered[i] { // it changes no more
			m.CancelAck(q.frame)
		}
	}
}

// serveEmitWithAck asks the members of this node for another one, and sends their answers.
func (h *Hub) serveEmitWithAck(b *envelope.Broadcast) {
	r := h.lookup(b.Namespace)
	if r == nil {
		h.ask.AnswerNumber(b, 0)
		return
	}
	q, err := r.deliverWithAck(b.From, &b.Body, ackBound)
	switch {
	case err != nil:
		h.ask.Refuse(b, envelope.Failed, err.Error())
	case len(q.ids) == 0:
		h.ask.AnswerNumber(b, 0)
	case !h.ask.Answer(b, ask.Collecting, func(a *ask.Answer) { q.send(a) }):
		q.cancel()
	}
}

// send sends the number of those that were asked, and their answers until all have answered, or
// nobody waits for them any more.
func (q *localAcks) send(a *ask.Answer) {
	defer q.cancel()
	if a.Add(envelope.AppendNumber(nil, uint64(len(q.ids)))) != nil {
		return
	}
	for {
		if a.Flush(true) != nil {
			return
		}
		select {
		case <-q.some:
		case <-a.Context().Done():
			return
		}
		select {
		case <-q.full:
		case <-time.After(ackDelay):
		case <-a.Context().Done():
			return
		}
		replies, left, dropped := q.take()
		for _, reply := range replies {
			if a.Add(reply.Append(nil)) != nil {
				return
			}
		}
		if left == 0 {
			if err := a.Flush(dropped); err == nil && dropped {
				a.Busy()
			}
			return
		}
	}
}

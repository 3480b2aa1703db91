package wsserver

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/belfry-io/belfry/adapter/cluster"
)

// How a session moves from the node that has it, its holder, to the one that its client has come to.
//
//  1. claim: the holder ends what is left of the socket, and says in which rooms the session is. The
//     newest claim counts.
//  2. The new node puts the session into these rooms (Expect). From then on, whatever any node emits
//     to them is in its log, too.
//  3. take: the holder waits until it has everything that was emitted before (Settle), and gives what
//     the client has missed; and how far it has come with each node (Watermarks).
//  4. done: the holder forgets the session. It is the new node's alone.
//
// Each event has a name, its origin and a key. What the holder gives, and behind it what the new node
// has besides, is what the client has missed. Nothing comes twice: up to its watermark the holder had
// whatever was due, and beyond it the names tell; receipts keep off what comes later. The events
// of one node are in their order, since all that the holder has of it was emitted before all that the
// new node alone has.

// The calls between nodes.
const (
	callClaim = "recovery.claim"
	callTake  = "recovery.take"
	callDone  = "recovery.done"
)

const (
	busyPause   = 20 * time.Millisecond // at the least, before a busy node is asked again
	moveTimeout = 8 * time.Second       // for a whole move
	movedFor    = 30 * time.Second      // so long a holder says where a session has gone
	maxTakes    = 3                     // of a session whose rooms change meanwhile
)

// A moveRequest is the payload of all calls.
type moveRequest struct {
	Namespace, ID string
	Offset        string // of the last event that the client has; empty for none
	Claim         uint64 // but of the claim itself
}

// A moveAnswer answers them.
type moveAnswer struct {
	Refused refused         `json:",omitempty"` // why not; empty if it is so
	Moved   string          `json:",omitempty"` // the node that has the session now
	Claim   uint64          `json:",omitempty"`
	Rooms   []string        `json:",omitempty"` // in which the session is
	Data    json.RawMessage `json:",omitempty"`
	Events  []movedEvent    `json:",omitempty"` // that the client has missed
	Numbers []uint64        `json:",omitempty"` // that they have at the holder
	After   uint64          `json:",omitempty"` // the number there behind which the client has missed them

	Marks map[string]uint64          `json:",omitempty"` // the holder's [cluster.Hub.Watermarks]
	Had   map[string]map[uint64]bool `json:",omitempty"` // of its receipts of the session
}

// A movedEvent is an event that is given to another node.
type movedEvent struct {
	Origin      string
	Key         uint64
	Text        []byte
	Attachments [][]byte `json:",omitempty"`
	Plain       bool     `json:",omitempty"`
}

// A movedSession says where a session has gone.
type movedSession struct {
	to    string
	claim uint64 // by which it went; 0 if it was given
	until time.Time
}

// serveMoves has the server answer the calls.
func (rec *recovery) serveMoves() {
	for kind, serve := range map[string]func(context.Context, string, moveRequest) moveAnswer{
		callClaim: rec.serveClaim, callTake: rec.serveTake, callDone: rec.serveDone,
	} {
		rec.srv.hub.Handle(kind, func(ctx context.Context, from string, payload []byte) ([]byte, error) {
			var q moveRequest
			if err := json.Unmarshal(payload, &q); err != nil {
				return nil, err
			}
			return json.Marshal(serve(ctx, from, q))
		})
	}
}

// call makes one of the calls. It tries again while the node is busy, as when all clients of a node
// come back at once, until ctx ends.
func (rec *recovery) call(ctx context.Context, node, kind string, q moveRequest) (a moveAnswer, err error) {
	payload, err := json.Marshal(q)
	if err != nil {
		return a, err
	}
	for {
		answer, err := rec.srv.hub.Call(ctx, node, kind, payload)
		if err == nil {
			return a, json.Unmarshal(answer, &a)
		}
		if !errors.Is(err, cluster.ErrBusy) {
			return a, err
		}
		pause := time.NewTimer(busyPause + rand.N(busyPause))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return a, err
		}
	}
}

// insist is call of a node that may have done what it was asked for although its answer did not come, as of one that
// was suspect for a moment: it is asked again, for decideTimeout at the most.
func (rec *recovery) insist(ctx context.Context, node, kind string, q moveRequest) (a moveAnswer, err error) {
	var decided <-chan time.Time
	for {
		a, err = rec.call(ctx, node, kind, q)
		var failed *cluster.NodeError
		if !errors.As(err, &failed) || errors.Is(err, cluster.ErrUnknown) || !rec.isListed(node) {
			return a, err
		}
		if decided == nil {
			decided = time.After(decideTimeout)
		}
		select {
		case <-time.After(busyPause):
		case <-decided:
			return a, err
		case <-ctx.Done():
			return a, err
		}
	}
}

// isListed reports whether a server has neither left nor been given up.
func (rec *recovery) isListed(node string) bool {
	nodes, _ := rec.srv.hub.Nodes()
	return slices.ContainsFunc(nodes, func(n cluster.Node) bool { return n.ID == node })
}

func (rec *recovery) serveClaim(ctx context.Context, _ string, q moveRequest) (a moveAnswer) {
	ns, ok := rec.srv.Lookup(q.Namespace)
	if !ok {
		return moveAnswer{Refused: refusedUnknown}
	}
	back := &comeback{offset: q.Offset}
	if why := rec.claimHere(ctx, back, ns, q.ID, nil); why != "" {
		return moveAnswer{Refused: why, Moved: rec.movedTo(ns, q.ID)}
	}
	_, a.Rooms, _ = ns.rooms.Session(q.ID)
	a.Claim, a.Data = back.claim, rec.dataOf(back.session)
	return a
}

// dataOf is the data of a session, as another node gets it.
func (rec *recovery) dataOf(k *session) json.RawMessage {
	if k.data == nil {
		return k.json
	}
	b, err := marshalData(k.data)
	if err != nil {
		rec.srv.cfg.Logger.Error("belfry: a session moves without its data, which cannot become JSON", "socket", k.seat.id, "error", err)
		return nil
	}
	return b
}

// claimed returns a session that waits, if this is its newest claim.
func (rec *recovery) claimed(q moveRequest) (k *session, why refused) {
	ns, ok := rec.srv.Lookup(q.Namespace)
	if !ok {
		return nil, refusedUnknown
	}
	a, _, ok := ns.rooms.Session(q.ID)
	if !ok {
		return nil, refusedUnknown
	}
	k = a.(*session)
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if k.at == nil || k.claim != q.Claim {
		return nil, refusedBusy
	}
	return k, ""
}

func (rec *recovery) serveTake(ctx context.Context, _ string, q moveRequest) (a moveAnswer) {
	rec.settle(ctx)
	k, why := rec.claimed(q)
	if k == nil {
		return moveAnswer{Refused: why}
	}
	back := &comeback{session: k}
	if why := rec.place(back, q.Offset); why != "" {
		return moveAnswer{Refused: why}
	}
	a.Marks, a.Had = rec.marks(k)
	a.After = back.after
	k.seat.ns.rooms.InOrder(func(rooms *cluster.Rooms, _ uint64) {
		missed, ok := rooms.Missed(q.ID, back.after)
		if !ok {
			a.Refused = refusedLogGone
		}
		for _, m := range missed {
			a.Events = append(a.Events, sentEvent(m.Payload).moved(m.Origin, m.Key))
			a.Numbers = append(a.Numbers, m.Number)
		}
		_, a.Rooms, _ = rooms.Session(q.ID)
	})
	return a
}

func (rec *recovery) serveDone(_ context.Context, from string, q moveRequest) moveAnswer {
	if rec.wentBy(q) {
		return moveAnswer{} // it was told so, and asks again
	}
	k, why := rec.claimed(q)
	if k == nil {
		return moveAnswer{Refused: why}
	}
	if !rec.takeClaimed(k, q.Claim) {
		return moveAnswer{Refused: refusedBusy}
	}
	rec.gave(k, from, q.Claim)
	return moveAnswer{}
}

// gave says that another node has a session, which waits no longer here.
func (rec *recovery) gave(k *session, to string, claim uint64) {
	rec.mu.Lock()
	rec.moved[k.seat] = movedSession{to, claim, time.Now().Add(movedFor)}
	rec.mu.Unlock()
	k.leave()
	rec.srv.exit(k.seat.ns)
}

// movedTo is the node that a session of this one has gone to; empty if it is not known.
func (rec *recovery) movedTo(ns *Namespace, id string) string {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return rec.moved[seat{ns, id}].to
}

// wentBy reports whether a session has gone to another node by this very claim. It may have come back since, and gone on.
func (rec *recovery) wentBy(q moveRequest) bool {
	ns, ok := rec.srv.Lookup(q.Namespace)
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return ok && q.Claim != 0 && rec.moved[seat{ns, q.ID}].claim == q.Claim
}

// move goes on with a session of another node: see goOn.
func (s *Socket) move(back *comeback) (why refused, over bool) {
	rec, k, rooms := s.conn.server.recovery, back.session, s.seat.ns.rooms
	defer rec.free(k)
	ctx, cancel := context.WithTimeout(&s.life.ctx, moveTimeout)
	defer cancel()
	var since uint64
	rooms.InOrder(func(_ *cluster.Rooms, last uint64) { since = last })
	given, why := rec.fetch(ctx, rooms, back)
	if why != "" {
		k.leave()
		if why != refusedLogGone && why != refusedTooMuch {
			s.CloseTransport() // its client is elsewhere by now, or finds out when it tries again
			return why, true
		}
		return why, false
	}
	rec.srv.stay(k.seat.ns)
	defer rec.srv.exit(k.seat.ns)
	if !s.retake(k) { // it was disconnected meanwhile
		return refusedUnknown, false
	}
	greeted := false
	rooms.InOrder(func(rooms *cluster.Rooms, last uint64) {
		own, ok := rooms.Missed(k.seat.id, since)
		if !ok {
			why = refusedLogGone
			return
		}
		s.from, k.from = last, last
		due, numbers := rec.adopt(rooms, k, given.Events, own, receiptsOf(given.Marks, given.Had, given.Events))
		// The client may have been back at the holder, after this claim was on its way.
		k.inherited = &inheritance{tag: back.holder[:tagChars], floor: given.After, whole: true}
		k.inherited.note(given.Numbers, numbers)
		rec.noteInherited(s, k.inherited)
		greeted = s.tellConnected(connectData(k.seat.id, back.pid), due)
	})
	return s.resumed(k, greeted, why, func(c *RecoveryStats) *uint64 { return &c.Elsewhere })
}

// fetch does the steps of a move between nodes, and returns what the holder has given.
func (rec *recovery) fetch(ctx context.Context, rooms *cluster.Rooms, back *comeback) (a moveAnswer, why refused) {
	k, names := back.session, back.rooms
	q := moveRequest{Namespace: k.seat.ns.name, ID: k.seat.id, Offset: back.offset, Claim: back.claim}
	for range maxTakes {
		err := rooms.Expect(ctx, k.seat.id, names, k)
		if errors.Is(err, cluster.ErrMemberID) && rec.withdraw(k.seat) { // offered since; who has the claim is not given it
			err = rooms.Expect(ctx, k.seat.id, names, k)
		}
		if !fenced(err) {
			return a, refusedBusy
		}
		if a, err = rec.insist(ctx, back.holder, callTake, q); err != nil {
			return a, refusedOwner
		}
		if a.Refused != "" {
			return a, a.Refused
		}
		if slices.ContainsFunc(a.Rooms, func(name string) bool { return !slices.Contains(names, name) }) {
			names = append(slices.Clone(names), a.Rooms...) // it has joined rooms meanwhile
			continue
		}
		rec.leaveOthers(rooms, k, names, a.Rooms)
		return a, rec.done(ctx, back.holder, q)
	}
	return a, refusedBusy
}

// done has the holder forget a session. The client may go meanwhile: the session is here then.
func (rec *recovery) done(ctx context.Context, holder string, q moveRequest) refused {
	if ctx.Err() != nil {
		return refusedBusy
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), moveTimeout)
	defer cancel()
	a, err := rec.insist(ctx, holder, callDone, q)
	if err != nil {
		return refusedOwner
	}
	return a.Refused
}

// leaveOthers has an expected session leave those of rooms that it has left at its holder.
func (rec *recovery) leaveOthers(rooms *cluster.Rooms, k *session, expected, has []string) {
	left := slices.DeleteFunc(slices.Clone(expected), func(name string) bool { return slices.Contains(has, name) })
	rooms.Unexpect(k.seat.id, left)
}

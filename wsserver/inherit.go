package wsserver

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/packet"
)

// How a node takes the sessions that another one hands over: see give.go.

// An inheritance is what a session was given with, by a node whose numbers its client may know.
type inheritance struct {
	tag   string        // of the node's offsets
	given []givenNumber // ascending
	floor uint64        // what is above it, on that node, was given
	whole bool          // the client has not missed anything else
	own   bool          // the node is this one
}

// givenNumber is the number that an event had, and the one that it has on this node.
type givenNumber struct{ there, here uint64 }

// note notes the numbers of what was given, and those that it has here.
func (in *inheritance) note(there, here []uint64) {
	for i, n := range there {
		in.given = append(in.given, givenNumber{n, here[i]})
	}
}

// after is the number on this node behind which a client has missed what its node has given: as its
// offset says, if it has one of that node, and from the beginning otherwise. ok is false if something
// is missing in between.
func (in *inheritance) after(offset string, from uint64) (n uint64, ok bool) {
	if in == nil {
		return from, true
	}
	tag, there, ok := parseOffset(offset)
	if !ok || tag != in.tag || there < in.floor {
		return from, in.whole
	}
	for _, g := range in.given {
		if g.there > there {
			break
		}
		from = g.here
	}
	return from, true
}

// noNumber is that of events of which the client knows none.
const noNumber = math.MaxUint64

// known is the number by which the client may know what has this number here.
func (in *inheritance) known(here uint64) uint64 {
	if in.own {
		return here
	}
	i, ok := slices.BinarySearchFunc(in.given, here, func(g givenNumber, here uint64) int { return cmp.Compare(g.here, here) })
	if !ok {
		return noNumber
	}
	return in.given[i].there
}

// upTo is the lowest number by which the client may know everything that has a number up to this one
// here.
func (in *inheritance) upTo(here uint64) uint64 {
	if in.own {
		return here
	}
	floor := in.floor
	for _, g := range in.given {
		if g.here > here {
			return floor
		}
		floor = max(floor, g.there)
	}
	if len(in.given) > 0 && in.given[len(in.given)-1].here == here {
		return floor
	}
	return noNumber
}

// serveGifts has the server answer the calls.
func (rec *recovery) serveGifts() {
	for kind, serve := range map[string]func(context.Context, string, gift) giftAnswer{callOffer: rec.serveOffer, callGive: rec.serveGive} {
		rec.srv.hub.Handle(kind, func(ctx context.Context, from string, payload []byte) ([]byte, error) {
			var g gift
			if err := json.Unmarshal(payload, &g); err != nil {
				return nil, err
			}
			return json.Marshal(serve(ctx, from, g))
		})
	}
}

func (rec *recovery) serveOffer(ctx context.Context, from string, g gift) giftAnswer {
	taken := make([]bool, len(g.Sessions))
	if rec.srv.drain.Load() != nil {
		return giftAnswer{} // it leaves itself, and takes none
	}
	if err := rec.srv.keys.learn(g.Keys); err != nil {
		rec.srv.cfg.Logger.Error("belfry: the keys of a node that leaves cannot be read", "other", from, "error", err)
	}
	var expects sync.WaitGroup
	for i, o := range g.Sessions {
		ns, _ := rec.srv.enter(o.Namespace, nil)
		if ns == nil {
			continue
		}
		rec.withdraw(seat{ns, o.ID})
		k := &session{seat: seat{ns, o.ID}, json: o.Data, expires: time.Now().Add(o.Left), owner: rec, held: make(chan struct{})}
		ns.rooms.InOrder(func(_ *cluster.Rooms, last uint64) { k.from = last })
		rec.mu.Lock()
		rec.offered[k.seat] = offer{session: k, rooms: o.Rooms, until: time.Now().Add(2 * giveTimeout)}
		rec.mu.Unlock()
		expects.Go(func() {
			if !fenced(ns.rooms.Expect(ctx, o.ID, o.Rooms, k)) {
				rec.withdraw(k.seat)
			}
			rec.mu.Lock()
			taken[i] = rec.offered[k.seat].session == k
			rec.mu.Unlock()
			if !taken[i] { // its client has come here meanwhile, and has it move
				k.leave()
			}
		})
	}
	expects.Wait()
	return giftAnswer{taken}
}

// An offer is a session that was offered to this node.
type offer struct {
	session *session
	rooms   []string // in which it was then
	taken   bool     // it is this node's
	until   time.Time
}

func (rec *recovery) serveGive(_ context.Context, _ string, g gift) giftAnswer {
	taken := make([]bool, len(g.Sessions))
	for i, o := range g.Sessions {
		if ns, ok := rec.srv.Lookup(o.Namespace); ok {
			taken[i] = rec.inherit(ns, &o)
		}
	}
	return giftAnswer{taken}
}

// inherit takes a session that was offered. It reports false if it cannot be had whole.
func (rec *recovery) inherit(ns *Namespace, o *offeredSession) (taken bool) {
	rec.mu.Lock()
	offered := rec.offered[seat{ns, o.ID}]
	delete(rec.offered, seat{ns, o.ID})
	rec.mu.Unlock()
	k := offered.session
	if k == nil {
		return false
	}
	if offered.taken { // its answer was lost
		rec.noteTaken(offered)
		return true
	}
	joined := func(name string) bool { return !slices.Contains(offered.rooms, name) } // meanwhile
	if a, _, ok := ns.rooms.Session(o.ID); ok && a == cluster.Away(k) && !slices.ContainsFunc(o.Rooms, joined) {
		rec.leaveOthers(ns.rooms, k, offered.rooms, o.Rooms)
		ns.rooms.InOrder(func(rooms *cluster.Rooms, last uint64) {
			own, ok := rooms.Missed(o.ID, k.from)
			if !ok {
				return
			}
			in := &inheritance{tag: o.Tag, floor: o.Floor, whole: o.Whole}
			_, numbers := rec.adopt(rooms, k, o.Events, own, receiptsOf(o.Marks, o.Had, o.Events))
			in.note(o.Numbers, numbers)
			k.inherited, k.from = in, last
			rec.mu.Lock()
			defer rec.mu.Unlock()
			if taken = !rec.closed; taken {
				rec.wait(k)
			}
		})
	}
	rec.free(k)
	if taken {
		rec.noteTaken(offered)
		rec.evict()
	} else {
		rec.drop(k)
	}
	return taken
}

// noteTaken remembers that a session was taken, should it be given again.
func (rec *recovery) noteTaken(o offer) {
	o.taken, o.until = true, time.Now().Add(2*giveTimeout)
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.offered[o.session.seat] = o
}

// free ends the wait of those who ask for an offered session.
func (rec *recovery) free(k *session) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	close(k.held)
	k.held = nil
}

// withdraw drops a session that was offered before, and not given. It reports whether there was one.
func (rec *recovery) withdraw(st seat) bool {
	rec.mu.Lock()
	before, ok := rec.offered[st]
	if ok = ok && !before.taken; ok {
		delete(rec.offered, st)
	}
	rec.mu.Unlock()
	if ok {
		rec.free(before.session)
		rec.drop(before.session)
	}
	return ok
}

// expireOffers drops sessions that were offered and not given.
func (rec *recovery) expireOffers(now time.Time) {
	rec.mu.Lock()
	var over []*session
	maps.DeleteFunc(rec.offered, func(_ seat, o offer) bool {
		if now.Before(o.until) {
			return false
		}
		if !o.taken {
			over = append(over, o.session)
		}
		return true
	})
	rec.mu.Unlock()
	for _, k := range over {
		rec.free(k)
		rec.drop(k)
	}
}

// adopt enters into this node's log, for a session alone, what its holder has given and what this
// node has besides, and has it not get again what it had there. It returns both, ready to be sent,
// and the numbers that they have here. It is for a step of InOrder.
func (rec *recovery) adopt(
	rooms *cluster.Rooms, k *session, given []movedEvent, own []cluster.Missed, receipts *cluster.Receipts,
) (due []*delivery, numbers []uint64) {
	add := func(origin string, key uint64, e sentEvent) {
		rooms.Note(k.seat.id, origin, key, e, func(number uint64) error {
			d, err := e.again(k.seat.ns, number)
			if err == nil {
				due, numbers = append(due, d), append(numbers, number)
			}
			return err
		})
	}
	for _, e := range given {
		add(e.Origin, e.Key, newSentEvent(packet.Encoded{Text: e.Text, Attachments: e.Attachments}, e.Plain))
	}
	for _, m := range own {
		if !receipts.Has(m.Origin, m.Key) {
			add(m.Origin, m.Key, m.Payload)
		}
	}
	rooms.SetReceipts(k.seat.id, receipts)
	return due, numbers
}

// receiptsOf are those of a session that was given.
func receiptsOf(marks map[string]uint64, had map[string]map[uint64]bool, given []movedEvent) *cluster.Receipts {
	g := &cluster.Receipts{Marks: marks, Had: had}
	if g.Had == nil {
		g.Had = make(map[string]map[uint64]bool)
	}
	for _, e := range given {
		if e.Key > marks[e.Origin] {
			if g.Had[e.Origin] == nil {
				g.Had[e.Origin] = make(map[uint64]bool)
			}
			g.Had[e.Origin][e.Key] = true
		}
	}
	return g
}

// marks are this node's watermarks for a session that goes to another, and what it had besides.
func (rec *recovery) marks(k *session) (marks map[string]uint64, had map[string]map[uint64]bool) {
	marks = rec.srv.hub.Watermarks()
	if g := k.seat.ns.rooms.ReceiptsOf(k.seat.id); g != nil { // it has come here a moment ago
		for origin, mark := range g.Marks {
			marks[origin] = max(marks[origin], mark)
		}
		had = g.Had
	}
	return marks, had
}

// fenced reports whether a session is in its rooms, if not for certain on all nodes.
func fenced(err error) bool {
	var unfenced *cluster.UnfencedError
	return err == nil || errors.As(err, &unfenced)
}

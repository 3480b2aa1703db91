package wsserver

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/belfry-io/belfry/adapter/cluster"
)

// How a node that leaves hands its sessions over: to the heir of each, a node that stays, in batches.
//
//  1. offer: the heir puts the sessions into their rooms (Expect). From then on, whatever
//     any node emits to them is in its log, too.
//  2. The leaving node settles, and has the sessions wait for nobody else.
//  3. give: the heir gets what each client may have missed, as in a move, and has the sessions.
//
// The client says later, by its offset, which of that it has; so the events are given with the numbers
// that they have on the leaving node. They are all since the session began there, or, if the client
// has shown, at the end of its connection, that it had everything by then, all since.

const (
	callOffer = "recovery.offer"
	callGive  = "recovery.give"
)

const (
	giveStep    = 50 * time.Millisecond // between batches
	giveBatch   = 250                   // sessions
	giveBytes   = 4 << 20               // of events in a call, and those of one session more
	givePause   = 250 * time.Millisecond
	giveTimeout = 5 * time.Second // for an offer, and for a gift
	partingFor  = time.Second     // so long a client may take to show that it had everything
	maxGives    = 3               // times that a session is given, until one is taken
)

// errShortAnswer is an answer that is not about all sessions, as of a node that takes none.
var errShortAnswer = errors.New("wsserver: the answer is not about all sessions")

// An offeredSession is a session in the calls.
type offeredSession struct {
	Namespace, ID string
	Rooms         []string
	Data          json.RawMessage `json:",omitempty"`
	Left          time.Duration   // until it expires

	// Of give alone. Numbers are those that the client may know: of the leaving node, or, if the client
	// has not come there, of the node that had the session before.
	Events  []movedEvent `json:",omitempty"`
	Tag     string       `json:",omitempty"` // of the offsets with these numbers
	Numbers []uint64     `json:",omitempty"` // of Events
	Floor   uint64       `json:",omitempty"` // everything above it is among Events
	Whole   bool         `json:",omitempty"` // the client has not missed anything else

	Marks map[string]uint64          `json:",omitempty"` // as in moveAnswer
	Had   map[string]map[uint64]bool `json:",omitempty"`
}

// A gift is the payload of the calls.
type gift struct {
	Sessions []offeredSession
	Keys     []byte `json:",omitempty"` // of the nodes on which they began
}

// A giftAnswer answers them.
type giftAnswer struct{ Taken []bool } // by session

// handOver begins to hand sessions over. finish returns when none is left that waits, or ctx ends.
func (rec *recovery) handOver(ctx context.Context) (finish func()) {
	if rec == nil {
		return func() {}
	}
	done := make(chan struct{})
	var gives sync.WaitGroup
	gives.Go(func() { rec.giveAway(ctx, done) })
	return func() {
		close(done)
		gives.Wait()
	}
}

// giveAway hands all sessions over that wait, and those that come to wait, until done is closed and
// none is left, or ctx ends.
func (rec *recovery) giveAway(ctx context.Context, done <-chan struct{}) {
	var unable sync.Map // nodes that take none, until when; zero is for good
	var last time.Time  // when done was closed
	tick := time.NewTicker(giveStep)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			rec.giveUp()
			return
		}
		select {
		case <-done:
			if last.IsZero() {
				last = time.Now()
			}
		default:
		}
		batch, more := rec.ripe()
		if len(batch) == 0 && !more && !last.IsZero() {
			return
		}
		byHeir := make(map[string][]*session)
		alive, suspects, _ := rec.others()
		hope := suspects > 0
		alive = slices.DeleteFunc(alive, func(node string) bool {
			until, no := unable.Load(node)
			hope = hope || no && !until.(time.Time).IsZero()
			return no && (until.(time.Time).IsZero() || time.Now().Before(until.(time.Time)))
		})
		for _, k := range batch {
			to := heir(k.seat.id, alive)
			byHeir[to] = append(byHeir[to], k)
		}
		var gives sync.WaitGroup
		for node, sessions := range byHeir {
			if node == "" { // there is nobody
				if !hope || !last.IsZero() && time.Since(last) > maxGives*giveTimeout {
					rec.notGiven(sessions)
				}
				continue
			}
			gives.Go(func() {
				switch err := rec.giveTo(ctx, node, sessions); {
				case errors.Is(err, errShortAnswer) || errors.Is(err, cluster.ErrUnknown):
					unable.Store(node, time.Time{})
				case err != nil:
					unable.Store(node, time.Now().Add(giveTimeout))
				}
			})
		}
		gives.Wait()
	}
}

// ripe returns sessions that can be handed over; more says that others will be.
func (rec *recovery) ripe() (batch []*session, more bool) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	for _, p := range rec.departures {
		more = more || time.Since(p.at) < giveTimeout
	}
	for e := rec.waiting.Front(); e != nil; e = e.Next() {
		k := e.Value.(*session)
		if k.tries >= maxGives {
			continue
		}
		more = true
		if k.moving() {
			continue
		}
		if k.departure != nil {
			if _, ok := k.departure.heard(); !ok {
				continue
			}
		}
		if batch = append(batch, k); len(batch) == giveBatch {
			break
		}
	}
	return batch, more
}

// notGiven has sessions stay, which nobody takes. Those that wait no longer have gone another way.
func (rec *recovery) notGiven(sessions []*session) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	for _, k := range sessions {
		if k.at != nil && k.tries < maxGives {
			k.tries = maxGives
			rec.srv.counts.notHandedOver.Add(1)
		}
	}
}

// giveUp is notGiven for all sessions that wait.
func (rec *recovery) giveUp() {
	rec.mu.Lock()
	var all []*session
	for e := rec.waiting.Front(); e != nil; e = e.Next() {
		all = append(all, e.Value.(*session))
	}
	rec.mu.Unlock()
	rec.notGiven(all)
}

// giveTo hands sessions over to a node. After an error those that it has not taken wait on.
func (rec *recovery) giveTo(ctx context.Context, node string, sessions []*session) error {
	var offer gift
	if _, told := rec.toldKeys.LoadOrStore(node, true); !told {
		offer.Keys = rec.srv.keys.export()
	}
	for _, k := range sessions {
		_, rooms, _ := k.seat.ns.rooms.Session(k.seat.id)
		o := offeredSession{Namespace: k.seat.ns.name, ID: k.seat.id, Rooms: rooms, Data: rec.dataOf(k), Left: time.Until(k.expires)}
		offer.Sessions = append(offer.Sessions, o)
	}
	offering, cancel := context.WithTimeout(ctx, giveTimeout)
	defer cancel()
	taken, err := rec.callGift(offering, node, callOffer, offer)
	if err != nil {
		rec.toldKeys.Delete(node)
		return err
	}
	rec.settle(offering)
	var part gift
	var given []*session // of part
	bytes := 0
	for i, k := range sessions {
		switch {
		case !taken[i]:
			if !rec.isMoving(k) { // else it may be on its way there
				rec.notGiven(sessions[i : i+1])
			}
		case rec.hold(k): // else its client is back, or it is over
			o := offer.Sessions[i]
			o.Data, o.Rooms = nil, nil
			bytes += rec.collect(k, &o)
			part.Sessions, given = append(part.Sessions, o), append(given, k)
		}
		if bytes > giveBytes || i == len(sessions)-1 {
			if err := rec.give(ctx, node, part, given); err != nil {
				return err
			}
			part, given, bytes = gift{}, nil, 0
		}
	}
	return nil
}

// give gives sessions that are held to a node. If that does not answer, it may have them all the same,
// so they are given again to it, and to no other one, unless it has left, or was given up.
func (rec *recovery) give(ctx context.Context, node string, g gift, sessions []*session) error {
	ctx, cancel := context.WithTimeout(ctx, giveTimeout) // shorter than who asks for one of them waits
	defer cancel()
	var taken []bool
	var err error
	for {
		taken, err = rec.callGift(ctx, node, callGive, g)
		nodes, _ := rec.srv.hub.Nodes()
		gone := !slices.ContainsFunc(nodes, func(n cluster.Node) bool { return n.ID == node })
		if err == nil || gone {
			break
		}
		pause := time.NewTimer(givePause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
		if ctx.Err() != nil || errors.Is(err, cluster.ErrTooLarge) {
			defer rec.notGiven(sessions)
			break
		}
	}
	for i, k := range sessions {
		ok := err == nil && taken[i]
		if ok {
			rec.srv.counts.handedOver.Add(1)
			rec.gave(k, node, 0)
		}
		rec.release(k, ok)
	}
	return err
}

// collect finds what a session's client may have missed, and returns about how many bytes that is.
func (rec *recovery) collect(k *session, o *offeredSession) (bytes int) {
	o.Marks, o.Had = rec.marks(k)
	after := k.from
	if k.departure != nil {
		if heard, _ := k.departure.heard(); heard {
			after = k.departure.queued
		}
	}
	in := k.inherited
	if in == nil {
		in = &inheritance{tag: rec.srv.hub.Node()[:tagChars], floor: after, whole: true, own: true}
	}
	o.Tag, o.Floor, o.Whole = in.tag, in.floor, in.whole
	k.seat.ns.rooms.InOrder(func(rooms *cluster.Rooms, _ uint64) {
		_, o.Rooms, _ = rooms.Session(k.seat.id)
		missed, ok := rooms.Missed(k.seat.id, after)
		if !ok {
			horizon := rooms.Horizon()
			o.Whole, o.Floor = false, in.upTo(horizon)
			missed, _ = rooms.Missed(k.seat.id, horizon)
		}
		for i, m := range slices.Backward(missed) {
			if bytes += sentEvent(m.Payload).size(); bytes > rec.srv.cfg.Limits.QueueBytes {
				o.Whole, o.Floor = false, in.upTo(m.Number)
				missed = missed[i+1:]
				break
			}
		}
		for _, m := range missed {
			o.Events = append(o.Events, sentEvent(m.Payload).moved(m.Origin, m.Key))
			o.Numbers = append(o.Numbers, in.known(m.Number))
		}
	})
	return bytes
}

// moving reports whether a session is about to move by itself. recovery.mu must be held.
func (k *session) moving() bool { return time.Since(k.claimed) < moveTimeout/2 }

func (rec *recovery) isMoving(k *session) bool {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return k.moving()
}

// hold has a session wait for nobody, while it is handed over: whoever asks for it waits. It reports
// false if it does not wait.
func (rec *recovery) hold(k *session) bool {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if k.at == nil || k.held != nil || k.moving() {
		return false
	}
	rec.waiting.Remove(k.at)
	k.at, k.held = nil, make(chan struct{})
	return true
}

// release ends hold. A session that was not given waits on, unless it was disconnected meanwhile.
func (rec *recovery) release(k *session, given bool) {
	rec.mu.Lock()
	close(k.held)
	k.held = nil
	_, _, seated := k.seat.ns.rooms.Session(k.seat.id)
	if !given && seated && !rec.closed {
		rec.wait(k)
		if k.tries++; k.tries == maxGives {
			rec.srv.counts.notHandedOver.Add(1)
		}
	}
	rec.mu.Unlock()
	if !given && !seated {
		rec.srv.exit(k.seat.ns)
	}
}

// awaitHeld waits while a session is handed over, and reports whether it was.
func (rec *recovery) awaitHeld(ctx context.Context, k *session) bool {
	rec.mu.Lock()
	held := k.held
	rec.mu.Unlock()
	if held != nil {
		select {
		case <-held:
		case <-ctx.Done():
		}
	}
	return held != nil
}

func (rec *recovery) callGift(ctx context.Context, node, kind string, g gift) ([]bool, error) {
	if len(g.Sessions) == 0 {
		return nil, nil
	}
	payload, err := json.Marshal(g)
	if err == nil {
		payload, err = rec.srv.hub.Call(ctx, node, kind, payload)
	}
	var a giftAnswer
	if err == nil {
		err = json.Unmarshal(payload, &a)
	}
	if err == nil && len(a.Taken) != len(g.Sessions) {
		err = errShortAnswer
	}
	return a.Taken, err
}

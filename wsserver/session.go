package wsserver

import (
	linked "container/list"
	"context"
	"encoding/json"
	"time"
)

// A session is what stays of a socket while its client is away. It has the socket's seat.
type session struct {
	seat    seat
	data    any
	json    json.RawMessage // data that has come from another node; nil for none
	from    uint64          // as the socket's
	sure    uint64          // up to this number its client has surely got what it was sent
	expires time.Time
	owner   *recovery

	departure *departure   // of a socket that a drain has ended; else nil
	inherited *inheritance // of one that another node has given; else nil
	earlier   *inheritance // of one whose socket has come with it from another node; else nil

	// recovery.mu guards what follows.
	former   *Socket         // that has left it, while its handlers run; nil after that
	at       *linked.Element // among those that wait; nil while it does not
	held     chan struct{}   // closed when it is given, to another node or to this one; nil if it is not under way
	claimed  time.Time       // when it was claimed last
	claim    uint64          // the newest; 0 for none
	claimant *Socket         // of this node, that has made it; nil for none
	tries    int             // how often it was given in vain
}

// park leaves a session on the socket's seat, if the socket may have one. It reports whether it has.
func (s *Socket) park() bool {
	rec := s.conn.server.recovery
	if rec == nil || !recoverable(s.life.reason()) || !s.life.wasGreeted() {
		return false
	}
	k := &session{seat: s.seat, data: s.Data(), from: s.from, owner: rec, former: s}
	rec.mu.Lock()
	if p, ok := rec.departures[s]; ok {
		k.departure = &p
	}
	k.earlier, k.sure = rec.inherited[s], rec.sure[s]
	rec.mu.Unlock()
	kept := rec.keep(k, s.life.park)
	rec.mu.Lock()
	defer rec.mu.Unlock()
	delete(rec.departures, s)
	delete(rec.inherited, s)
	delete(rec.sure, s)
	return kept
}

// keep has a session wait for its client, if place finds that it can take its seat.
func (rec *recovery) keep(k *session, place func(func() bool) bool) bool {
	if k.expires.IsZero() {
		k.expires = time.Now().Add(rec.cfg.MaxAway)
	}
	rec.srv.stay(k.seat.ns) // before somebody may end it
	kept := place(func() bool {
		rec.mu.Lock()
		defer rec.mu.Unlock()
		if rec.closed || !k.seat.ns.rooms.Park(k.seat.id, k) {
			return false
		}
		rec.wait(k)
		return true
	})
	if !kept {
		rec.srv.exit(k.seat.ns)
	}
	rec.evict()
	return kept
}

// evict ends the session that waits longest while there are too many.
func (rec *recovery) evict() {
	rec.mu.Lock()
	var oldest *session
	if rec.waiting.Len() > rec.cfg.MaxSessions {
		oldest = rec.waiting.Front().Value.(*session)
		rec.counts.Evicted++
	}
	rec.mu.Unlock()
	if oldest != nil {
		rec.end(oldest)
	}
}

// wait has a session wait for its client. rec.mu must be held.
func (rec *recovery) wait(k *session) {
	before := rec.waiting.Back()
	for before != nil && before.Value.(*session).expires.After(k.expires) {
		before = before.Prev()
	}
	if before == nil {
		k.at = rec.waiting.PushFront(k)
	} else {
		k.at = rec.waiting.InsertAfter(k, before)
	}
}

// take has a session wait no longer. It reports false if it does not wait.
func (rec *recovery) take(k *session) bool {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if k.at == nil {
		return false
	}
	rec.waiting.Remove(k.at)
	k.at = nil
	return true
}

// takeClaimed is take for whoever has the claim. It reports false, too, if there is a newer one.
func (rec *recovery) takeClaimed(k *session, claim uint64) bool {
	rec.mu.Lock()
	newest := k.claim == claim
	rec.mu.Unlock()
	return newest && rec.take(k)
}

// end ends a session whose client is not expected any more.
func (rec *recovery) end(k *session) {
	if rec.take(k) {
		rec.drop(k)
	}
}

// leave gives up the seat, if the session has it.
func (k *session) leave() bool { return k.seat.ns.rooms.Drop(k.seat.id, k) }

// Disconnect implements [cluster.Away]. A session that is on its way is missed by whoever is to have
// it. It means who sits there by now, too.
func (k *session) Disconnect(close bool) {
	left := k.leave() // first: see release
	if k.owner.end(k); left {
		return
	}
	if m, ok := k.seat.ns.rooms.Get(k.seat.id); ok {
		m.Disconnect(close)
	}
}

// endSession ends what the socket has left on its seat.
func (s *Socket) endSession() {
	if s.conn.server.recovery == nil || s.seat.ns == nil || s.life.bar() {
		return
	}
	if k, _, ok := s.seat.ns.rooms.Session(s.seat.id); ok {
		k.Disconnect(false)
	}
}

// gone says that the handlers of a socket have ended.
func (rec *recovery) gone(s *Socket) {
	if rec == nil {
		return
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	delete(rec.departures, s)
	delete(rec.inherited, s)
	delete(rec.sure, s)
	if k, ok := rec.leftBehind(s); ok {
		k.former = nil
	}
	if ended := rec.ends[s]; ended != nil {
		close(ended)
		delete(rec.ends, s)
	}
}

// leftBehind is the session that a socket has left on its seat. rec.mu must be held.
func (rec *recovery) leftBehind(s *Socket) (k *session, ok bool) {
	a, _, ok := s.seat.ns.rooms.Session(s.seat.id)
	if ok {
		k = a.(*session)
		ok = k.former == s
	}
	return k, ok
}

// former is the socket that has left a session, while its handlers run.
func (rec *recovery) former(k *session) *Socket {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return k.former
}

// noteSure remembers up to which number the client of a socket that ends now has surely got what it
// was sent: it has answered a ping that was sent behind that.
func (rec *recovery) noteSure(s *Socket) {
	if rec == nil {
		return
	}
	n := s.seat.ns.rooms.At(rec.srv.cfg.PingInterval + 2*rec.srv.cfg.PingTimeout)
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.sure[s] = n
}

// noteInherited remembers what a socket has come with, for the session that it may leave.
func (rec *recovery) noteInherited(s *Socket, in *inheritance) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.inherited[s] = in
}

// awaitGone waits until the handlers of a socket have ended, and reports whether they have in time.
func (rec *recovery) awaitGone(ctx context.Context, s *Socket) bool {
	ctx, cancel := context.WithTimeout(ctx, zombieTimeout)
	defer cancel()
	rec.mu.Lock()
	if stage(s.life.stage.Load()) == gone { // else rec.gone is yet to come, or waits for rec.mu
		if k, ok := rec.leftBehind(s); ok {
			k.former = nil
		}
		rec.mu.Unlock()
		return true
	}
	ended := rec.ends[s]
	if ended == nil {
		ended = make(chan struct{})
		rec.ends[s] = ended
	}
	rec.mu.Unlock()
	select {
	case <-ended:
		return true
	case <-ctx.Done():
		return false
	}
}

// drop ends a session that does not wait.
func (rec *recovery) drop(k *session) {
	k.leave()
	rec.srv.exit(k.seat.ns)
}

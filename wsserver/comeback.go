package wsserver

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/belfry-io/belfry/adapter/cluster"
)

// How a client comes back: its CONNECT packet names its session by the secret that it was given
// (pid), and the last event that it has by its offset (Socket.IO 5, "Connection state recovery").

// zombieTimeout is how long a client that is back waits for the end of its earlier socket.
const zombieTimeout = 5 * time.Second

// claimPause is how long a session that waits no longer has, to be somewhere else, before it is looked for again.
const claimPause = 5 * time.Millisecond

// recoverable reports whether a client that went for a reason may come back.
func recoverable(reason error) bool {
	for _, final := range [...]error{ErrClientDisconnect, ErrServerDisconnect, ErrServerClose, ErrParse} {
		if errors.Is(reason, final) {
			return false
		}
	}
	return reason != nil
}

// A comeback is a session that a socket is to go on with.
type comeback struct {
	session *session
	pid     string
	offset  string // of the last event that the client has
	after   uint64 // what is above this number in this node's log is missed
	claim   uint64

	// Of a session of another node.
	holder string
	rooms  []string
}

// comeBack finds the session that the client names, and claims it for the socket; nil if there is
// none, or the client names none.
func (s *Socket) comeBack() *comeback {
	rec := s.conn.server.recovery
	if rec == nil || s.auth == nil {
		return nil
	}
	var auth struct{ PID, Offset string }
	if json.Unmarshal([]byte(*s.auth), &auth) != nil || auth.PID == "" {
		return nil
	}
	back, why := rec.find(s, auth.PID, auth.Offset)
	if back == nil {
		if !s.life.over() {
			rec.refuse(s, why)
		}
		return nil
	}
	s.seat.id, s.recovered = back.session.seat.id, true
	s.life.park(func() bool { return true }) // until it takes the seat
	if data := rec.data(s, back.session); data != nil {
		s.SetData(data)
	}
	return back
}

// find finds a session by its client's secret, here or on another node, and claims it.
func (rec *recovery) find(s *Socket, pid, offset string) (*comeback, refused) {
	ctx, cancel := context.WithTimeout(&s.life.ctx, moveTimeout)
	defer cancel()
	id, _, err := rec.srv.keys.check(s.name, pid)
	var unknown errKeyUnknown
	if errors.As(err, &unknown) && rec.srv.keys.awaitKey(ctx, unknown.node) {
		id, _, err = rec.srv.keys.check(s.name, pid)
	}
	if err != nil {
		return nil, refusedForged
	}
	back, why := rec.findHere(ctx, s, id, pid, offset)
	if back != nil || why != refusedUnknown || rec.srv.cfg.Adapter == nil {
		return back, why
	}
	holder, a, why := rec.seek(ctx, moveRequest{Namespace: s.name, ID: id, Offset: offset})
	if holder != "" {
		k := &session{seat: seat{s.seat.ns, id}, json: a.Data, owner: rec, held: make(chan struct{})}
		return &comeback{session: k, pid: pid, offset: offset, claim: a.Claim, holder: holder, rooms: a.Rooms}, ""
	}
	if back, _ = rec.findHere(ctx, s, id, pid, offset); back != nil { // it has come here meanwhile
		why = ""
	}
	return back, why
}

// findHere finds a session on this node, and claims it.
func (rec *recovery) findHere(ctx context.Context, s *Socket, id, pid, offset string) (*comeback, refused) {
	back := &comeback{pid: pid, offset: offset}
	if why := rec.claimHere(ctx, back, s.seat.ns, id, s); why != "" {
		return nil, why
	}
	return back, ""
}

// claimHere claims a session of this node for a socket, or, without one, for another node.
func (rec *recovery) claimHere(ctx context.Context, back *comeback, ns *Namespace, id string, s *Socket) (why refused) {
	for {
		if back.session, why = rec.session(ctx, ns, id); why != "" {
			return why
		}
		if why = rec.place(back, back.offset); why != "" {
			return why
		}
		var ok bool
		if back.claim, ok = rec.claim(back.session, s); ok {
			return ""
		}
		select {
		case <-time.After(claimPause):
		case <-ctx.Done():
			return refusedBusy
		}
	}
}

// session returns a session of this node. If its socket still counts as connected, since the client
// has noticed first, that ends before.
func (rec *recovery) session(ctx context.Context, ns *Namespace, id string) (*session, refused) {
	for ctx.Err() == nil {
		if m, ok := ns.rooms.Get(id); ok {
			zombie := m.(*member).socket()
			zombie.conn.session.Close(ErrTransportClose)
			if !rec.awaitGone(ctx, zombie) {
				return nil, refusedBusy
			}
		}
		a, _, ok := ns.rooms.Session(id)
		if !ok {
			if _, ok := ns.rooms.Get(id); ok {
				continue // it has come back a moment ago
			}
			return nil, refusedUnknown
		}
		k := a.(*session)
		if former := rec.former(k); former != nil { // its handlers of the end may run yet
			if !rec.awaitGone(ctx, former) {
				return nil, refusedBusy
			}
		} else if !rec.awaitHeld(ctx, k) {
			return k, ""
		}
	}
	return nil, refusedBusy
}

// claim has a session wait for a socket of this node, or for another node: whoever has claimed it
// before does not get it. It returns the number of the claim; ok is false if the session waits no
// longer: it is being given, or taken, or has ended a moment ago.
func (rec *recovery) claim(k *session, s *Socket) (claim uint64, ok bool) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if k.at == nil {
		return 0, false
	}
	rec.claims++
	before := k.claimant
	k.claim, k.claimant, k.claimed = rec.claims, s, time.Now()
	if before != nil && (s == nil || before.conn != s.conn) {
		go before.CloseTransport()
	}
	return k.claim, true
}

// place finds how far the client of a session has come, and ends the session if it cannot be told
// what it has missed since.
func (rec *recovery) place(back *comeback, offset string) refused {
	k := back.session
	after, ok := cmp.Or(k.inherited, k.earlier).after(offset, k.from)
	if !ok {
		rec.end(k)
		return refusedLogGone
	}
	back.after = after
	k.seat.ns.rooms.InOrder(func(_ *cluster.Rooms, last uint64) {
		if n, ok := rec.offset(offset); ok && n > back.after && n <= last {
			back.after = n
		}
	})
	_, why := back.missed()
	if why == refusedLogGone && k.sure > back.after {
		back.after = k.sure // a client that was told little has an old offset, and may have missed little
		_, why = back.missed()
	}
	if why != "" {
		rec.end(k)
	}
	return why
}

// offset is the number of an offset of this node.
func (rec *recovery) offset(text string) (n uint64, ok bool) {
	tag, n, ok := parseOffset(text)
	return n, ok && strings.HasPrefix(rec.srv.hub.Node(), tag)
}

// missed is what the client has missed by now, or why it cannot have it.
func (b *comeback) missed() (due []*delivery, why refused) {
	k := b.session
	k.seat.ns.rooms.InOrder(func(rooms *cluster.Rooms, _ uint64) { due, why = b.missedIn(rooms) })
	return due, why
}

func (b *comeback) missedIn(rooms *cluster.Rooms) (due []*delivery, why refused) {
	k := b.session
	missed, ok := rooms.Missed(k.seat.id, b.after)
	if !ok {
		return nil, refusedLogGone
	}
	bytes := 0
	for _, m := range missed {
		e := sentEvent(m.Payload)
		bytes += e.size()
		d, err := e.again(k.seat.ns, m.Number)
		if err != nil || bytes > k.owner.srv.cfg.Limits.QueueBytes {
			return nil, refusedTooMuch
		}
		due = append(due, d)
	}
	return due, ""
}

// admits runs the middlewares, unless the socket is recovered without them.
func (s *Socket) admits(back *comeback) bool {
	return back != nil && s.conn.server.recovery.cfg.SkipMiddlewares || s.admit()
}

// sit has the socket take a seat and tells the client that it is connected: the seat of its session,
// or a new one. It reports false if the socket is over.
func (s *Socket) sit(back *comeback) bool {
	if back != nil {
		why, over := s.goOn(back)
		if why == "" || over {
			return !over
		}
		s.conn.server.recovery.refuse(s, why)
		s.life.unpark(func() bool {
			s.seat.id, s.recovered = s.conn.server.hub.NewID(), false
			return true
		})
		s.SetData(nil)
		if !s.admit() { // those that ran were told of a socket that is recovered
			return false
		}
	}
	return s.join() && s.greet()
}

// retake has the socket take the seat of a session. It reports false if that is gone.
func (s *Socket) retake(k *session) bool {
	taken := s.life.unpark(func() bool { return k.seat.ns.rooms.Return(k.seat.id, (*member)(s)) == nil })
	if taken {
		s.seat.ns.rooms.Told(&s.life.ctx)
	}
	return taken
}

// goOn goes on with a session: the socket takes its seat, and the client gets what it has missed,
// behind its CONNECT packet and before everything later. Otherwise it returns why not; over says that
// the client has gone, or is elsewhere by now.
func (s *Socket) goOn(back *comeback) (why refused, over bool) {
	if back.holder != "" {
		return s.move(back)
	}
	rec, k := s.conn.server.recovery, back.session
	if !rec.takeClaimed(k, back.claim) {
		s.CloseTransport()
		return refusedBusy, true
	}
	defer rec.srv.exit(k.seat.ns) // the session's use of it; the socket has its own
	if !s.retake(k) {             // it was disconnected meanwhile
		return refusedUnknown, false
	}
	greeted := false
	s.seat.ns.rooms.InOrder(func(rooms *cluster.Rooms, last uint64) {
		var due []*delivery
		if due, why = back.missedIn(rooms); why == "" {
			s.from = back.after
			greeted = s.tellConnected(connectData(k.seat.id, back.pid), due)
		}
	})
	return s.resumed(k, greeted, why, func(c *RecoveryStats) *uint64 { return &c.Here })
}

// resumed ends goOn for a socket that has taken the seat of k.
func (s *Socket) resumed(k *session, greeted bool, why refused, counter func(*RecoveryStats) *uint64) (refused, bool) {
	switch {
	case greeted:
		k.owner.count(func(c *RecoveryStats) { *counter(c)++ })
		return "", false
	case why == "": // the client has gone again
		if !recoverable(s.life.reason()) || !k.owner.keep(k, s.life.park) {
			s.seat.leave()
		}
		return "", true
	}
	s.seat.leave()
	return why, false
}

// connectData is what a CONNECT packet tells the client of a session.
func connectData(id, pid string) []byte { return fmt.Appendf(nil, `{"sid":%q,"pid":%q}`, id, pid) }

// data is the data of a session; as the program declares it, if it has come from another node.
func (rec *recovery) data(s *Socket, k *session) any {
	if len(k.json) == 0 {
		return k.data
	}
	v := reflect.New(reflect.TypeFor[any]())
	if rec.cfg.Data != nil {
		v = reflect.New(reflect.TypeOf(rec.cfg.Data))
	}
	if err := unmarshalData(k.json, v.Interface()); err != nil {
		rec.srv.report(s, "", fmt.Errorf("wsserver: the data of a recovered socket is no %v: %w", v.Type().Elem(), err))
		return nil
	}
	return v.Elem().Interface()
}

// unmarshalData is json.Unmarshal; a panic of the program's UnmarshalJSON is an error.
func unmarshalData(b []byte, v any) (err error) {
	defer onPanic(func(panicked error) { err = panicked })
	return json.Unmarshal(b, v)
}

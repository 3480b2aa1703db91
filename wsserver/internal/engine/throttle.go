package engine

import (
	"time"

	"golang.org/x/time/rate"

	"github.com/belfry-io/belfry/wsserver/internal/engineio"
)

// Rates say how much a client may send. A rate of zero is no bound.
type Rates struct {
	Events, EventBurst int // a second, of what the owner counts; and at once
	Bytes, ByteBurst   int // likewise
	For                time.Duration
}

// SetRates changes what clients may send, those that are there, too.
func (srv *Server) SetRates(r Rates) {
	if r.Events == 0 && r.Bytes == 0 {
		srv.rates.Store(nil)
	} else {
		srv.rates.Store(&r)
	}
}

// A throttle holds back a client that sends more than its rates: what has come has come, and then its session is paused until the
// client has made up for it. Its session's mu guards it.
type throttle struct {
	session *Session
	rates   *Rates // that what follows is for
	events  *rate.Limiter
	bytes   *rate.Limiter
	since   time.Time         // when the client was held back first, with no half of a burst to spare since; zero if it is not
	look    engineio.Deadline // armed while it is held back
	holds   bool
}

// Until a throttle looks again: the longest that is not too long.
var throttleLooks = [...]time.Duration{time.Second, 100 * time.Millisecond, 10 * time.Millisecond}

// CountEvent counts one of what Rates.Events is for. It is called within Owner.Message.
func (s *Session) CountEvent() { s.counted++ }

// spend charges the client for what has come. receiving and mu must be held.
func (s *Session) spend(bytes int) {
	events := int(s.counted)
	s.counted = 0
	rates := s.server.rates.Load()
	if rates == nil && s.throttle == nil {
		return
	}
	if s.throttle == nil {
		s.throttle = &throttle{session: s}
	}
	t := s.throttle
	now := time.Now()
	t.follow(rates, now)
	if rates == nil {
		return // the next look ends what it holds
	}
	if spare(t.events, now) && spare(t.bytes, now) {
		t.since = time.Time{}
	}
	charge(t.events, events, rates.For, now)
	charge(t.bytes, bytes, rates.For, now)
	if wait := t.wait(now); wait > 0 && !t.holds {
		if t.since.IsZero() {
			t.since = now
		}
		t.holds = true
		s.server.heldBack.Add(1)
		t.arm(wait)
		s.pause()
	}
}

// follow has the throttle follow rates, which may have changed.
func (t *throttle) follow(rates *Rates, now time.Time) {
	if t.rates == rates {
		return
	}
	t.rates = rates
	if rates == nil {
		t.events, t.bytes = nil, nil
		return
	}
	t.events = follow(t.events, rates.Events, rates.EventBurst, now)
	t.bytes = follow(t.bytes, rates.Bytes, rates.ByteBurst, now)
}

// follow returns l with another rate, a new one if there is none, or nil for no bound.
func follow(l *rate.Limiter, perSecond, burst int, now time.Time) *rate.Limiter {
	switch {
	case perSecond == 0:
		return nil
	case l == nil:
		return rate.NewLimiter(rate.Limit(perSecond), burst)
	}
	l.SetLimitAt(now, rate.Limit(perSecond))
	l.SetBurstAt(now, burst)
	return l
}

// spare reports whether half of a burst could come.
func spare(l *rate.Limiter, now time.Time) bool {
	return l == nil || l.TokensAt(now) >= float64(l.Burst())/2
}

// charge takes n from l, which may come to owe it: as much as it makes up for in the time most, and no more.
func charge(l *rate.Limiter, n int, most time.Duration, now time.Time) {
	if l == nil {
		return
	}
	n = min(n, l.Burst()+int(float64(l.Limit())*most.Seconds()))
	for burst := l.Burst(); n > 0; n -= burst {
		l.ReserveN(now, min(n, burst)) // more than a burst at a time is refused
	}
}

// wait is how long the client is to be held back.
func (t *throttle) wait(now time.Time) time.Duration {
	return max(debt(t.events, now), debt(t.bytes, now))
}

// debt is how long l takes to make up for what it owes.
func debt(l *rate.Limiter, now time.Time) time.Duration {
	if l == nil {
		return 0
	}
	return max(0, time.Duration(-l.TokensAt(now)/float64(l.Limit())*float64(time.Second)))
}

// arm has the throttle look again, at the end of wait or before.
func (t *throttle) arm(wait time.Duration) {
	srv := t.session.server
	delay := srv.throttleDelays[len(throttleLooks)-1]
	for i, d := range throttleLooks {
		if wait >= d {
			delay = srv.throttleDelays[i]
			break
		}
	}
	delay.Arm(&t.look, t)
}

// Expired implements [engineio.Expirer].
func (t *throttle) Expired(d *engineio.Deadline) {
	s := t.session
	s.mu.Lock()
	if !s.server.deadlines.Confirm(d) || s.ended {
		s.mu.Unlock()
		return
	}
	now := time.Now()
	t.follow(s.server.rates.Load(), now)
	wait := t.wait(now)
	tooFast := wait > 0 && now.Sub(t.since) >= t.rates.For
	switch {
	case tooFast:
	case wait > 0:
		t.arm(wait)
	default:
		t.holds = false
		s.resume()
	}
	s.mu.Unlock()
	if tooFast {
		s.end(errTooFast, endOrderly)
	}
}

package engine

import (
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
)

// TestNoThrottle: a session has none while there are no rates, and while its client has sent nothing.
func TestNoThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		sid := r.openPolling()
		r.post(sid, "4a\x1e4b")
		if r.srv.session(sid).throttle != nil {
			t.Error("a throttle without rates")
		}
		r.srv.SetRates(Rates{Events: 1, EventBurst: 1, For: time.Minute})
		idle := r.openPolling()
		if r.srv.session(idle).throttle != nil {
			t.Error("a throttle of a client that has sent nothing")
		}
		r.post(sid, "4a")
		if r.srv.session(sid).throttle == nil {
			t.Error("no throttle")
		}
	})
}

// TestCharge: a limiter comes to owe what is charged, and no more than it makes up for in the time; and that is how long it takes.
func TestCharge(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		rate, burst, n int
		most           time.Duration
		want           time.Duration
	}{
		{10, 10, 10, time.Hour, 0},
		{10, 10, 11, time.Hour, 100 * time.Millisecond},
		{10, 1, 11, time.Hour, time.Second},
		{10, 3, 100, time.Hour, 9700 * time.Millisecond},
		{10, 10, 1_000_000_000, 30 * time.Second, 30 * time.Second},
		{1, 1, 1_000_000, 30 * time.Second, 30 * time.Second},
		{1 << 20, 1 << 20, 3 << 20, time.Minute, 2 * time.Second},
	} {
		l := rate.NewLimiter(rate.Limit(test.rate), test.burst)
		l.TokensAt(now)
		charge(l, test.n, test.most, now)
		if got := debt(l, now); got.Round(time.Millisecond) != test.want {
			t.Errorf("%d of a rate of %d and a burst of %d: got %v, want %v", test.n, test.rate, test.burst, got, test.want)
		}
	}
}

// TestHeldEnd: the end of a session that is held back leaves nothing behind, and nothing wakes it.
func TestHeldEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.srv.SetRates(Rates{Events: 1, EventBurst: 1, For: time.Hour})
		sid := r.openPolling()
		o := r.owner(sid)
		o.react = func(string) (bool, error) { o.session.CountEvent(); return false, nil }
		r.post(sid, "4a\x1e4b\x1e4c\x1e4d")
		post := r.start("POST", sid, "4e")
		synctest.Wait()
		post.waits()
		s := r.srv.session(sid)
		s.Close(errTest)
		post.want(200, "ok")
		r.wantPoll(sid, "1")
		r.gone(sid)
		if left := r.srv.deadlines.Left(&s.throttle.look); left != 0 {
			t.Errorf("it is to be looked at in %v", left)
		}
	})
}

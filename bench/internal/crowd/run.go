package crowd

import (
	"context"
	"errors"
	"math"
	"runtime"
	"slices"
	"time"
)

// A run is a flow under way. The crowd's mu guards it.
type run struct {
	crowd  *Crowd
	flow   Flow
	routes []*route
	slow   []*client
	err    error // that it ended with

	// Since the warm-up, or its beginning.
	warming    bool
	begun      time.Duration
	seen       time.Duration // last delivery
	sent       int
	inFlight   int
	turn       int // of routes
	deliveries int
	late       int
	silence    time.Duration // of any receiver
	lost       int
	why        reasons
	waited     time.Duration // of the loop before
	busy       time.Duration // CPU of the process before
	each, last histogram
	second     *histogram // of deliveries since the last Progress; nil if nobody wants it
	over       bool
	span, took time.Duration // until the end, and until the last delivery
	stalled    bool
	ended      chan struct{}
}

// do does one part of a run, its warm-up or the rest.
func (r *run) do(ctx context.Context, f Flow, warming bool) error {
	c := r.crowd
	c.mu.Lock()
	*r = run{crowd: c, flow: f, routes: r.routes, slow: r.slow, warming: warming,
		begun: c.now(), waited: c.waited, busy: cpuTime(), why: reasons{}, ended: make(chan struct{})}
	r.seen = r.begun
	if f.Every != nil {
		r.second = new(histogram)
	}
	c.run = r
	c.mu.Unlock()
	c.poll.wake()

	if f.Every != nil {
		stop := r.report(f.Every)
		defer stop()
	}
	select {
	case <-r.ended:
		return nil
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r.end()
	return context.Cause(ctx)
}

// report calls every once a second until stop is called, which waits for it.
func (r *run) report(every func(Progress)) (stop func()) {
	quit, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		t := time.NewTicker(time.Second)
		defer t.Stop()
		var sent, deliveries int
		for {
			select {
			case <-quit:
				return
			case <-t.C:
			}
			r.crowd.mu.Lock()
			p := Progress{
				Elapsed: r.crowd.now() - r.begun, Alive: r.crowd.alive, WarmingUp: r.warming,
				Publishes: r.sent - sent, Deliveries: r.deliveries - deliveries,
				P99: r.second.quantile(0.99),
			}
			sent, deliveries, *r.second = r.sent, r.deliveries, histogram{}
			r.crowd.mu.Unlock()
			every(p)
		}
	}()
	return func() { close(quit); <-gone }
}

// end ends the run. c.mu must be held, as in all that follow.
func (r *run) end() {
	if r.over {
		return
	}
	c := r.crowd
	r.over, r.span = true, c.now()-r.begun
	r.took = r.span
	if r.flow.Kind != Quiet && r.deliveries > 0 {
		r.took = r.seen - r.begun
	}
	r.waited = c.waited - r.waited
	r.busy = cpuTime() - r.busy
	for _, rt := range r.routes {
		for _, cl := range rt.receivers() {
			if cl.heeds(rt) && r.flow.Duration > 0 {
				r.hear(cl, max(cl.heard, min(c.now(), r.begun+r.flow.Duration)))
			}
		}
	}
	for _, rt := range r.routes { // what comes now is checked, but no part of the run
		rt.flights, rt.base, rt.head = nil, rt.next, 0
	}
	if c.run == r {
		c.run = nil
	}
	close(r.ended)
}

// goesOn reports whether one more publish belongs to the run.
func (r *run) goesOn(when time.Duration) bool {
	if len(r.routes) == 0 {
		return false
	}
	if r.flow.Publishes > 0 {
		return r.sent < r.flow.Publishes
	}
	return when < r.begun+r.flow.Duration
}

// turnOf is when the next publish is due.
func (r *run) turnOf() time.Duration {
	return r.begun + time.Duration(float64(r.sent)/r.flow.Rate*float64(time.Second))
}

// due is when the run has something to do, if nothing happens before.
func (r *run) due() time.Duration {
	if r.flow.Rate > 0 && r.goesOn(r.turnOf()) {
		return r.turnOf()
	}
	if r.flow.Kind == Quiet {
		return r.begun + r.flow.Duration
	}
	return math.MaxInt64
}

// quietTime is how long nothing comes after the last publish until all has come, if nobody knows how much.
const quietTime = 500 * time.Millisecond

// step publishes what is due, or what there is room for, and ends the run when nothing is left to do.
func (r *run) step() {
	now := r.crowd.now()
	if r.flow.Rate > 0 {
		for due := r.turnOf(); due <= now && r.goesOn(due); due = r.turnOf() {
			if now-due > lateness {
				r.late++
			}
			r.publish(due)
		}
	} else {
		for r.inFlight < r.flow.InFlight && r.goesOn(now) {
			r.publish(now)
		}
	}
	done := r.inFlight == 0
	switch {
	case r.flow.Kind == Quiet:
		if now >= r.begun+r.flow.Duration {
			r.end()
		}
	case len(r.routes) == 0:
		r.err = errors.New("all senders have lost their connections")
		r.end()
	case r.flow.Rate > 0 && r.goesOn(r.turnOf()) || r.goesOn(now) && r.flow.Rate == 0:
		r.watch(now)
	case done && (r.routes[0].known >= 0 || now-r.seen > quietTime):
		r.end()
	default:
		r.watch(now)
	}
}

// watch gives the run up if nothing has come for too long.
func (r *run) watch(now time.Duration) {
	if r.inFlight == 0 || now-r.seen <= r.flow.Stall {
		return
	}
	if since := max(r.seen, r.oldest()); now-since > r.flow.Stall {
		r.stalled = true
		r.end()
	}
}

// oldest is when the oldest publish on its way began.
func (r *run) oldest() time.Duration {
	since := time.Duration(math.MaxInt64)
	for _, rt := range r.routes {
		for i := rt.head; i < len(rt.flights); i++ {
			if rt.flights[i].left != 0 {
				since = min(since, rt.flights[i].since)
				break
			}
		}
	}
	return since
}

// publish sends the next publish of the next sender.
func (r *run) publish(since time.Duration) {
	c := r.crowd
	r.turn %= len(r.routes)
	rt := r.routes[r.turn]
	r.turn++
	number := rt.next
	rt.next++
	r.sent++
	rt.flights = append(rt.flights, flight{since: since, left: rt.left})
	if rt.left > 0 {
		r.inFlight++
	}
	c.sendPublish(rt, number)
	if len(rt.sender.out) > maxQueue {
		c.drop(rt.sender, errQueue)
	}
}

// deliver takes a payload that a client has received.
func (c *Crowd) deliver(cl *client, id, number int, after []byte, now time.Duration) {
	if id < cl.from || cl.slow {
		return
	}
	if id < c.before { // Check has counted it, as received or as missing
		c.checked.Doubled++
		return
	}
	if id-c.before >= len(c.routes) {
		c.badly++
		return
	}
	rt := c.routes[id-c.before]
	if number >= rt.next || !intact(after, rt.filler) {
		c.badly++
		return
	}
	first, ok := rt.receive(cl, number)
	if !ok {
		c.badly++
		return
	}
	if rt.run.over {
		return
	}
	rt.run.hear(cl, now)
	rt.run.received(rt, number, first, now)
}

// hear notes how long a client had heard nothing, until now.
func (r *run) hear(cl *client, now time.Duration) {
	r.silence = max(r.silence, now-max(cl.heard, r.begun))
	cl.heard = now
}

// received notes a delivery.
func (r *run) received(rt *route, number int, first bool, now time.Duration) {
	r.deliveries++
	r.seen = now
	if !first {
		return
	}
	f := rt.flight(number)
	if f == nil {
		return
	}
	took := now - f.since
	r.each.record(took)
	if r.second != nil {
		r.second.record(took)
	}
	r.arrived(rt, f, took)
}

// arrived notes that one receiver less has to get a publish.
func (r *run) arrived(rt *route, f *flight, took time.Duration) {
	if f.left < 0 { // nobody knows how many there are
		return
	}
	if f.left--; f.left == 0 {
		if took >= 0 {
			r.last.record(took)
		}
		r.inFlight--
		rt.trim()
	}
}

// lose goes on without a client. What has not reached it is no more expected; what it had sent may never
// have reached the server, and nobody waits for that.
func (r *run) lose(cl *client, err error) {
	if !cl.slow {
		r.lost++
		r.why.add(err)
	}
	r.routes = slices.DeleteFunc(r.routes, func(rt *route) bool {
		if rt.sender != cl {
			r.loseReceiver(rt, cl)
			return rt.left == 0 && r.flow.InFlight > 0
		}
		for i := rt.head; i < len(rt.flights); i++ {
			if rt.flights[i].left > 0 {
				r.inFlight--
			}
			rt.flights[i].left = 0
		}
		return true
	})
}

func (r *run) loseReceiver(rt *route, cl *client) {
	s := rt.streamOf(cl)
	if s == nil || cl.slow {
		return
	}
	rt.left = rt.expected()
	for number := rt.base; number < rt.next; number++ {
		if f := rt.flight(number); f != nil && !s.has(number) {
			r.arrived(rt, f, -1)
		}
	}
}

// result is what became of the run.
func (r *run) result() Result {
	res := Result{
		Publishes: r.sent, Deliveries: r.deliveries, Elapsed: r.took,
		P50: r.each.quantile(0.5), P90: r.each.quantile(0.9), P99: r.each.quantile(0.99),
		P999: r.each.quantile(0.999), Max: r.each.max,
		Last50: r.last.quantile(0.5), Last99: r.last.quantile(0.99),
		Late: r.late, Stalled: r.stalled, Lost: r.lost, Why: r.why,
	}
	if r.flow.Rate > 0 {
		res.Silence = r.silence
	}
	if r.span > 0 {
		if raw(r.crowd.cfg, r.crowd.targets[0]) {
			res.Busy = 1 - float64(r.waited)/float64(r.span)
		} else {
			res.Busy = float64(r.busy) / float64(r.span) / float64(runtime.GOMAXPROCS(0))
		}
		res.Busy = min(max(res.Busy, 0), 1)
	}
	return res
}

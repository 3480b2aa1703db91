package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// fences is how long a join may take to be live everywhere that was answered with an UnfencedError.
const fences = 15 * time.Second

// settle puts a new session into its first room.
func (c *client) settle(s *session) {
	c.changing.Lock()
	defer c.changing.Unlock()
	c.change(s, room(c.number%c.plan.Rooms), true, nil)
}

// alter changes the membership of a session in one room: it is in one or two, or now and then in none
// or three.
func (c *client) alter(rng *rand.Rand) {
	if !c.changing.TryLock() {
		return
	}
	defer c.changing.Unlock()
	c.mu.Lock()
	s := c.session
	if s == nil {
		c.mu.Unlock()
		return
	}
	var in []room
	for r, m := range s.rooms {
		if m.last() {
			in = append(in, r)
		}
	}
	c.mu.Unlock()
	slices.Sort(in)
	var by *node // half of the time, a node that need not be the client's changes it
	if rng.IntN(2) == 0 {
		by = c.nodes.any(rng)
	}
	if rng.IntN(8) < [...]int{0, 1, 7, 8}[len(in)] {
		c.change(s, in[rng.IntN(len(in))], false, by)
	} else if r := room(rng.IntN(c.plan.Rooms)); !slices.Contains(in, r) {
		c.change(s, r, true, by)
	}
}

// change has the client ask for a change, or has another node make it, until it is answered or the
// session is over.
func (c *client) change(s *session, r room, joins bool, by *node) {
	for {
		c.mu.Lock()
		if c.session != s {
			c.mu.Unlock()
			return
		}
		who := -1
		if by != nil {
			who = by.origin
		}
		s.ask(r, joins, who, c.plan.now())
		c.mu.Unlock()
		wait, ok := time.Duration(0), false
		if by != nil {
			ok = c.order(s, r, joins, by)
		} else {
			wait, ok = c.request(s, r, joins)
		}
		if ok {
			c.mu.Lock()
			s.answer(r, c.plan.now()+wait)
			c.mu.Unlock()
			return
		}
		select {
		case <-c.over:
			return
		case <-time.After(100 * time.Millisecond):
		}
		if by != nil && by.isLeaving() {
			by = c.nodes.any(rand.New(rand.NewPCG(c.plan.Seed, uint64(c.plan.now()))))
		}
	}
}

// order has a node make a change.
func (c *client) order(s *session, r room, joins bool, by *node) bool {
	args := url.Values{"id": {s.id}, "room": {r.name()}}
	if joins {
		args.Set("joins", "yes")
	}
	var silent []string
	err := c.nodes.tell(by, "/change", args, nil, &silent)
	if !c.nodes.dead(silent) { // which had no sessions, or have none any more
		err = fmt.Errorf("nodes %v are silent", silent)
	}
	c.tally.changed(err)
	return err == nil
}

// request has the client ask for a change. It takes the wait on top to be live everywhere.
func (c *client) request(s *session, r room, joins bool) (wait time.Duration, ok bool) {
	c.mu.Lock()
	c.attempts++
	m := mark{own, c.attempts}
	s.privately[m] = private{}
	c.mu.Unlock()
	what := "leave"
	if joins {
		what = "join"
	}
	answer, err := c.ask(s, what, r.name(), strconv.Itoa(int(m.number)))
	if err != errAway {
		c.tally.changed(err)
	}
	if err != nil {
		return 0, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.privately[m] = private{done: c.plan.now()}
	if answer == "unfenced" {
		wait = fences
		c.tally.unfenced.Add(1)
	}
	return wait, true
}

// alterations has clients change their rooms, each once in a while on average, until ctx ends.
func (w *crowd) alterations(ctx context.Context, once time.Duration) {
	rng := rand.New(rand.NewPCG(w.plan.Seed, 1<<40))
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(once / time.Duration(len(w.clients))):
		}
		c := w.clients[rng.IntN(len(w.clients))]
		seed := rng.Uint64()
		w.working.Go(func() { c.alter(rand.New(rand.NewPCG(seed, 0))) })
	}
}

// whispers has every node emit events for one session each, until ctx ends.
func (w *crowd) whispers(ctx context.Context, rate int) {
	rng := rand.New(rand.NewPCG(w.plan.Seed, 1<<41))
	const pause = 50 * time.Millisecond
	for share := 0.0; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		for _, n := range w.nodes.all() {
			share += float64(rate) * pause.Seconds() / float64(w.nodes.count)
			w.whisper(n, rng, int(share))
			share -= float64(int(share))
		}
	}
}

// whisper has a node emit events for one session each.
func (w *crowd) whisper(n *node, rng *rand.Rand, many int) {
	var all []whisper
	var to []*client
	var sessions []*session
	for range many {
		c := w.clients[rng.IntN(len(w.clients))]
		n.mu.Lock()
		n.whispers++
		m := mark{uint16(n.origin), n.whispers}
		n.mu.Unlock()
		c.mu.Lock()
		if s := c.session; s != nil {
			asks := rng.IntN(10) == 0
			if !asks {
				s.privately[m] = private{emitted: w.plan.now()}
			}
			all = append(all, whisper{ID: s.id, Number: m.number, Ask: asks})
			to, sessions = append(to, c), append(sessions, s)
		}
		c.mu.Unlock()
	}
	if len(all) == 0 {
		return
	}
	var failed []uint32
	err := w.nodes.tell(n, "/whisper", nil, all, &failed)
	for i, said := range all {
		if said.Ask {
			continue
		}
		m := mark{uint16(n.origin), said.Number}
		to[i].mu.Lock()
		p := sessions[i].privately[m]
		p.done, p.failed = w.plan.now(), err != nil || slices.Contains(failed, said.Number)
		sessions[i].privately[m] = p
		to[i].mu.Unlock()
	}
}

package main

import (
	"context"
	"math/rand/v2"
	"strconv"
	"time"
)

// burst is how many events a client sends one after the other.
const burst = 4

// words has clients send events, so many a second, until ctx ends.
func (w *crowd) words(ctx context.Context, rate int) {
	if rate == 0 {
		return
	}
	rng := rand.New(rand.NewPCG(w.plan.Seed, 1<<43))
	tick := time.NewTicker(burst * time.Second / time.Duration(rate))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		c := w.clients[rng.IntN(len(w.clients))]
		w.working.Go(c.say)
	}
}

// say has the client send a burst, each event by a request or message of its own, without waiting for what
// is answered. The last is acknowledged: then all have come, and in their order, if the answers have.
func (c *client) say() {
	if !c.changing.TryLock() {
		return
	}
	defer c.changing.Unlock()
	c.mu.Lock()
	s, conn := c.session, c.carrier
	if s == nil || conn == nil || !c.state.connected {
		c.mu.Unlock()
		return
	}
	first := c.attempts + 1
	c.attempts += burst
	for i := range uint32(burst) {
		s.privately[mark{own, first + i}] = private{}
	}
	c.mu.Unlock()
	for i := range uint32(burst - 1) {
		if conn.send(`42["say","`+strconv.Itoa(int(first+i))+`"]`) != nil {
			return
		}
	}
	if _, err := c.ask(s, "say", strconv.Itoa(int(first+burst-1))); err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.carrier != conn {
		return // what was sent first may have been lost with the connection
	}
	for i := range uint32(burst) {
		s.privately[mark{own, first + i}] = private{done: c.plan.now()}
	}
}

package crowd

import (
	"time"
)

// linger is how long deliveries that are too many may take to come.
const linger = 200 * time.Millisecond

// Check is what is wrong with the deliveries of all runs so far. It waits a moment for those that are too
// many. What comes after it, of runs before it, is doubled.
func (c *Crowd) Check() Faults {
	time.Sleep(linger)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fold()
	f := c.checked
	f.Malformed += c.badly
	return f
}

// fold counts what is wrong with the routes, and forgets them. c.mu must be held.
func (c *Crowd) fold() {
	if c.run != nil {
		return
	}
	for _, rt := range c.routes {
		c.checked.add(rt.check())
	}
	c.before += len(c.routes)
	c.routes = nil
}

package protocol

import "time"

// A clock of the server and one of ours may differ by a little, and timers of a busy machine are late, never early.
const slack = 30 * time.Millisecond

var heartbeatRules = []rule{
	{name: "Engine.IO 4/Heartbeat/the server pings after pingInterval, over WebSocket", check: func(c *check) {
		started := time.Now()
		w := c.socket()
		w.quiet = true
		w.want("2")
		c.after("the first ping", started, pingInterval)
		ponged := time.Now()
		w.text("3")
		w.want("2")
		c.after("the second ping", ponged, pingInterval)
		w.text("3")
		w.lives()
	}},
	{name: "Engine.IO 4/Heartbeat/the server pings after pingInterval, over HTTP", check: func(c *check) {
		started := time.Now()
		s := c.poll()
		equal(c, "body", s.get().answer().body, "2")
		c.after("the first ping", started, pingInterval)
		ponged := time.Now()
		s.post("3")
		equal(c, "body", s.get().answer().body, "2")
		c.after("the second ping", ponged, pingInterval)
		s.post("3")
		s.lives()
	}},
	{name: "Engine.IO 4/Heartbeat/without a pong the connection is closed, over WebSocket", check: func(c *check) {
		w := c.socket()
		w.quiet = true
		w.want("2")
		pinged := time.Now()
		w.closed()
		c.after("the end", pinged, pingTimeout)
	}},
	{name: "Engine.IO 4/Heartbeat/without a pong the session is closed, over HTTP", check: func(c *check) {
		s := c.poll()
		equal(c, "body", s.get().answer().body, "2")
		pinged := time.Now()
		k := s.get()
		a := k.answer()
		c.after("the end", pinged, pingTimeout)
		// The GET that was pending has nothing to bring but the end.
		if a.status == 200 && a.body != "1" && a.body != "6" {
			c.Fatalf("got %v, want the end", a)
		}
		s.ends()
	}},
	{name: "Engine.IO 4/Heartbeat/without a GET the session is closed as well", check: func(c *check) {
		started := time.Now()
		s := c.poll()
		s.ends()
		c.after("the end", started, pingInterval+pingTimeout)
	}},
	{name: "Engine.IO 4/Heartbeat/a POST that hangs neither keeps a session nor outlives it", check: func(c *check) {
		started := time.Now()
		s := c.poll()
		k := s.begun("4x")
		s.ends()
		c.after("the end", started, pingInterval+pingTimeout)
		if a, err := k.read(); timeout(err) || a.status == 200 {
			c.Fatalf("POST: got %v, %v, want the end", a, err)
		}
	}},
	{name: "Engine.IO 4/Heartbeat/any packet extends the time for the pong, once", check: func(c *check) {
		w := c.socket()
		w.quiet = true
		w.want("2")
		pinged := time.Now()
		<-time.After(pingTimeout / 2)
		w.text("4x")
		w.want("4x")
		<-time.After(pingTimeout / 4)
		w.text("4y")
		w.want("4y")
		w.closed()
		took := time.Since(pinged)
		if took < pingTimeout*5/4 {
			c.Fatalf("closed after %v, want %v and more", took, pingTimeout*3/2)
		}
	}},
	{name: "Engine.IO 4/Heartbeat/packets without a pong do not keep a connection", check: func(c *check) {
		w := c.socket()
		w.quiet = true
		w.want("2")
		pinged := time.Now()
		for time.Since(pinged) < patience/2 {
			w.text("4x")
			if f, err := w.read(); err != nil || f.head == fin|closing {
				c.after("the end", pinged, pingTimeout)
				return
			}
			<-time.After(pingTimeout / 8)
		}
		c.Fatalf("the connection is still open")
	}},
	{name: "Engine.IO 4/Heartbeat/a pong that nobody awaits changes nothing", check: func(c *check) {
		w := c.socket()
		for range 10_000 {
			w.text("3")
		}
		w.lives()
	}},
	{name: "Engine.IO 4/Heartbeat/it goes on after an upgrade", check: func(c *check) {
		s := c.poll()
		w := s.upgraded()
		w.quiet = true
		w.want("2")
		ponged := time.Now()
		w.text("3")
		w.want("2")
		c.after("the second ping", ponged, pingInterval)
		pinged := time.Now()
		w.closed()
		c.after("the end", pinged, pingTimeout)
	}},
	{name: "Engine.IO 4/Heartbeat/a session lives for many intervals", check: func(c *check) {
		w := c.socket()
		w.quiet = true
		for range 5 {
			w.want("2")
			w.text("3")
		}
		w.quiet = false
		w.lives()
	}},
}

// after fails the case unless wait has passed since started, and not much more.
func (c *check) after(what string, started time.Time, wait time.Duration) {
	if took := time.Since(started); took < wait-slack || took > wait+patience {
		c.Fatalf("%s came after %v, want %v", what, took, wait)
	}
}

package protocol

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// upgraded upgrades a session to WebSocket.
func (s *session) upgraded() *socket {
	w := s.probe("2probe")
	w.want("3probe")
	w.text("5")
	if slices.Contains(s.waiting, "2") {
		w.text("3")
	}
	return w
}

var upgradeRules = []rule{
	{name: "Engine.IO 4/Upgrade/a probe is answered with its pong", check: func(c *check) {
		c.poll().probe("2probe").want("3probe")
	}},
	{name: "Engine.IO 4/Upgrade/a pending GET is answered with noop", check: func(c *check) {
		s := c.poll()
		k := s.pending()
		s.probe("2probe").want("3probe")
		equal(c, "body", s.arrived(k), "6")
	}},
	{name: "Engine.IO 4/Upgrade/a GET that comes during the probe is answered with noop, too", check: func(c *check) {
		s := c.poll()
		w := s.probe("2probe")
		w.want("3probe")
		equal(c, "body", s.arrived(s.get()), "6")
		w.text("5", "4hello")
		w.want("4hello")
	}},
	{name: "Engine.IO 4/Upgrade/upgrade switches to the WebSocket", check: func(c *check) {
		w := c.poll().upgraded()
		w.text("4hello")
		w.binary("\x01\x02\x03\x04")
		w.want("4hello")
		w.wantBinary("\x01\x02\x03\x04")
		w.lives()
	}},
	{name: "Engine.IO 4/Upgrade/upgrade and messages may come in one segment", check: func(c *check) {
		w := c.poll().probe("2probe")
		w.want("3probe")
		w.send(textFrame("5") + textFrame("4a") + masked(fin|binaryData, "b") + textFrame("4c"))
		w.want("4a")
		w.wantBinary("b")
		w.want("4c")
	}},
	{name: "Engine.IO 4/Upgrade/buffered packets go to the WebSocket in their order", check: func(c *check) {
		s := c.poll()
		s.post("4a", "bAQID")
		w := s.probe("2probe")
		w.want("3probe")
		s.post("4b")
		w.text("5", "4c")
		w.want("4a")
		w.wantBinary("\x01\x02\x03")
		w.want("4b", "4c")
	}},
	{name: "Engine.IO 4/Upgrade/no packet is lost and none overtakes", check: func(c *check) {
		s := c.poll()
		n := 0
		send := func() {
			s.post(fmt.Sprint("4", n), fmt.Sprint("4", n+1))
			n += 2
		}
		var got []string
		send()
		k := s.pending()
		got = append(got, strings.Split(s.arrived(k), "\x1e")...)
		k = s.pending()
		w := s.probe("2probe")
		send()
		w.want("3probe")
		got = append(got, strings.Split(s.arrived(k), "\x1e")...)
		send()
		got = append(got, strings.Split(s.arrived(s.get()), "\x1e")...)
		send()
		w.text("5")
		for range 10 {
			w.text(fmt.Sprint("4", n))
			n++
		}
		last := fmt.Sprint("4", n-1)
		for len(got) == 0 || got[len(got)-1] != last {
			got = append(got, w.next().payload)
		}
		var messages []string
		for _, packet := range got {
			if packet != "6" && packet != "2" {
				messages = append(messages, packet)
			}
		}
		for i, m := range messages {
			if m != fmt.Sprint("4", i) || len(messages) != n {
				c.Fatalf("got %q, want 40 to %s", messages, last)
			}
		}
	}},
	{name: "Engine.IO 4/Upgrade/during the probe polling is in charge both ways", check: func(c *check) {
		s := c.poll()
		w := s.probe("2probe")
		w.want("3probe")
		s.post("4a")
		for {
			if packet := s.next(); packet == "4a" {
				break
			} else if packet != "6" {
				c.Fatalf("got %q, want 4a", packet)
			}
		}
		w.text("5", "4b")
		w.want("4b")
	}},
	{name: "Engine.IO 4/Upgrade/a GET that is pending when it is done is answered", check: func(c *check) {
		s := c.poll()
		w := s.probe("2probe")
		w.want("3probe")
		k := s.pending()
		w.text("5")
		if a := k.answer(); a.status != 200 || a.body != "6" && a.body != "1" && a.body != "2" {
			c.Fatalf("GET: got %v, want 200 with 6 or 1", a)
		}
		w.lives()
	}},
	{name: "Engine.IO 4/Upgrade/polling is over afterwards", check: func(c *check) {
		s := c.poll()
		w := s.upgraded()
		w.lives()
		c.refused("GET", c.do("GET", s.query, ""), 3)
		c.refused("POST", c.do("POST", s.query, "4x"), 3)
		w.lives()
	}},
	{name: "Engine.IO 4/Upgrade/the session ends with the WebSocket", check: func(c *check) {
		s := c.poll()
		w := s.upgraded()
		w.lives()
		w.send(masked(fin|closing, "\x03\xe8"))
		w.closed(1000)
		s.ends()
	}},
	{name: "Engine.IO 4/Upgrade/anything but a probe closes that WebSocket alone", check: func(c *check) {
		for _, first := range []string{"2", "2x", "2probe2", "2Probe", "3probe", "4hello", "1", "6", "0", "x", ""} {
			s := c.poll()
			s.probe(first).closed()
			s.lives()
			w := s.upgraded()
			w.lives()
		}
	}},
	{name: "Engine.IO 4/Upgrade/a binary frame for a probe closes that WebSocket alone", check: func(c *check) {
		s := c.poll()
		w := c.dialSocket(websocket+"&sid="+s.sid, "")
		w.binary("2probe")
		w.closed()
		s.lives()
		s.upgraded().lives()
	}},
	{name: "Engine.IO 4/Upgrade/a broken frame for a probe closes that WebSocket alone", check: func(c *check) {
		s := c.poll()
		w := c.dialSocket(websocket+"&sid="+s.sid, "")
		w.send(masked(fin|rsv1|text, "2probe"))
		w.closed(1002)
		s.lives()
		s.upgraded().lives()
	}},
	{name: "Engine.IO 4/Upgrade/a message after the probe closes that WebSocket alone", check: func(c *check) {
		s := c.poll()
		w := s.probe("2probe")
		w.want("3probe")
		w.text("4hello")
		w.closed()
		s.lives()
		s.upgraded().lives()
	}},
	{name: "Engine.IO 4/Upgrade/upgrade without a probe closes that WebSocket alone", deviates: "it takes it", check: func(c *check) {
		s := c.poll()
		s.probe("5").closed()
		s.lives()
		s.upgraded().lives()
	}},
	{name: "Engine.IO 4/Upgrade/a probe may be sent again", check: func(c *check) {
		w := c.poll().probe("2probe")
		w.want("3probe")
		w.text("2probe")
		w.want("3probe")
		w.text("5")
		w.lives()
	}},
	{name: "Engine.IO 4/Upgrade/one that is aborted leaves polling as it was", check: func(c *check) {
		for _, abort := range []func(*socket){
			func(w *socket) { w.Close() },
			func(w *socket) { w.reset() },
			func(w *socket) { w.send(masked(fin|closing, "\x03\xe8")); w.closed() },
			func(w *socket) { w.halfClose(); w.closed() },
		} {
			s := c.poll()
			w := s.probe("2probe")
			w.want("3probe")
			abort(w)
			s.lives()
			c.eventuallyUpgraded(s).lives()
		}
	}},
	{name: "Engine.IO 4/Upgrade/a second WebSocket during the first is closed", check: func(c *check) {
		s := c.poll()
		first := s.probe("2probe")
		first.want("3probe")
		s.probe("2probe").closed()
		first.text("5")
		first.lives()
	}},
	{name: "Engine.IO 4/Upgrade/a second WebSocket after the first is closed", check: func(c *check) {
		s := c.poll()
		first := s.upgraded()
		first.lives()
		s.probe("2probe").closed()
		first.lives()
	}},
	{name: "Engine.IO 4/WebSocket/a second WebSocket of a session without polling is closed", deviates: "it takes it for an upgrade", check: func(c *check) {
		w := c.dialSocket(websocket, "")
		sid := c.opened(w.next().payload).SID
		second := c.dialSocket(websocket+"&sid="+sid, "")
		second.text("2probe")
		second.closed()
		w.lives()
	}},
	{name: "Engine.IO 4/Upgrade/the end of the session closes the probing WebSocket", check: func(c *check) {
		s := c.poll()
		w := s.probe("2probe")
		w.want("3probe")
		s.post("1")
		w.closed()
		s.gone()
	}},
	{name: "Engine.IO 4/Upgrade/a ping time-out closes the probing WebSocket", check: func(c *check) {
		w := c.poll().probe("2probe")
		w.quiet = true
		w.want("3probe")
		w.closed()
	}},
	{name: "Engine.IO 4/Upgrade/one that is not finished in time closes that WebSocket alone", check: func(c *check) {
		s := c.poll()
		started := time.Now()
		w := s.probe("2probe")
		w.want("3probe")
		w.SetDeadline(started.Add(upgradeTimeout + patience))
		done := make(chan failure, 1)
		go func() {
			done <- try(func() {
				w.closed()
				c.after("the end of the probe", started, upgradeTimeout)
			})
		}()
		for len(done) == 0 {
			if a := s.get().answer(); strings.Contains(a.body, "2") {
				s.post("3")
			}
		}
		if err := <-done; err != "" {
			panic(err)
		}
		s.lives()
		c.eventuallyUpgraded(s).lives()
	}},
	{name: "Engine.IO 4/Upgrade/of an unknown session is refused", check: func(c *check) {
		for _, query := range []string{websocket + "&sid=none", websocket + "&sid=__proto__", "EIO=4&transport=websocket&sid=" + strings.Repeat("x", 10_000)} {
			c.notSwitched(query)
		}
	}},
	{name: "Engine.IO 4/Upgrade/of an ended session is refused", check: func(c *check) {
		s := c.poll()
		s.post("1")
		c.notSwitched(websocket + "&sid=" + s.sid)
	}},
	{name: "Engine.IO 4/Upgrade/with another EIO is refused", check: func(c *check) {
		s := c.poll()
		c.notSwitched("EIO=3&transport=websocket&sid=" + s.sid)
		c.notSwitched("transport=websocket&sid=" + s.sid)
		s.lives()
		s.upgraded().lives()
	}},
	{name: "Engine.IO 4/Upgrade/the probe may come with the request", unasked: true, deviates: "it loses the first frame", check: func(c *check) {
		s := c.poll()
		w := c.dialSocket(websocket+"&sid="+s.sid, textFrame("2probe"))
		w.want("3probe")
		w.text("5")
		w.lives()
	}},
	{name: "Engine.IO 4/Upgrade/a byte at a time", check: func(c *check) {
		s := c.poll()
		k := c.dial()
		k.drip(c.upgrade(websocket + "&sid=" + s.sid))
		k.switched()
		w := &socket{conn: k}
		w.drip(textFrame("2probe"))
		w.want("3probe")
		w.drip(textFrame("5") + textFrame("4hello"))
		w.want("4hello")
	}},
}

// eventuallyUpgraded upgrades a session once the server has noticed the end of an earlier attempt.
func (c *check) eventuallyUpgraded(s *session) *socket {
	for range 100 {
		w := s.probe("2probe")
		if f, err := w.read(); err == nil && f.payload == "3probe" {
			w.text("5")
			return w
		}
		s.lives()
	}
	c.Fatalf("the session cannot be upgraded any more")
	return nil
}

// notSwitched fails the case unless a WebSocket is refused with a plain answer.
func (c *check) notSwitched(query string) {
	k := c.dial().send(c.upgrade(query))
	c.status("WebSocket at "+brief(query), k.answer(), 400)
}

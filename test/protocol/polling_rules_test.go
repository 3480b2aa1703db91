package protocol

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

var pollingRules = []rule{
	{name: "Engine.IO 4/Headers/octet-stream is no payload, as binary data is base64 here", check: func(c *check) {
		s := c.poll()
		c.status("POST", c.do("POST", s.query, "\x01\x02", "Content-Type: application/octet-stream"), 400)
		s.gone()
	}},
	{name: "Engine.IO 4/Headers/octet-stream is answered though its body never ends", check: func(c *check) {
		s := c.poll()
		k := c.dial().send(strings.Replace(c.request("POST", s.query, "\x01", "Content-Type: application/octet-stream"), "Content-Length: 1", "Content-Length: 1000", 1))
		c.status("POST", k.answer(), 400)
		s.gone()
	}},
	{name: "Engine.IO 4/Headers/without a Content-Type the data is plain text", check: func(c *check) {
		s := c.poll()
		s.post("4hello")
		s.want("4hello")
	}},
	{name: "Engine.IO 4/Headers/other content types are plain text, too", check: func(c *check) {
		s := c.poll()
		for _, typ := range []string{"text/plain;charset=UTF-8", "text/plain", "application/json", "text/html; x=\"y\""} {
			c.status(typ, c.do("POST", s.query, "4hello", "Content-Type: "+typ), 200)
			s.want("4hello")
		}
	}},
	{name: "Engine.IO 4/Sending data/success is 200 with ok", check: func(c *check) {
		a := c.do("POST", c.poll().query, "4hello")
		if a.status != 200 || a.body != "ok" {
			c.Fatalf("got %v, want 200 ok", a)
		}
	}},
	{name: "Engine.IO 4/Sending data/a POST to an unknown session is answered with 400", check: func(c *check) {
		c.refused("POST", c.do("POST", polling+"&sid=none", "4hello"), 1)
	}},
	{name: "Engine.IO 4/Sending data/a second POST is answered with 400 and ends the session", check: func(c *check) {
		s := c.poll()
		first := s.begun("4one")
		c.status("second POST", c.do("POST", s.query, "4two"), 400)
		s.gone()
		// The first has nothing left to be said to; it may be answered or cut.
		first.send("4one")
		if a, err := first.read(); err == nil && a.status == 200 {
			c.Fatalf("first POST: got %v, want no success", a)
		}
	}},
	{name: "Engine.IO 4/Sending data/POSTs one after the other keep their order", check: func(c *check) {
		s := c.poll()
		k := c.dial()
		for i := range 20 {
			c.status("POST", k.send(c.request("POST", s.query, fmt.Sprint("4", i))).answer(), 200)
		}
		for i := range 20 {
			s.want(fmt.Sprint("4", i))
		}
	}},
	{name: "Engine.IO 4/Sending data/a body may come in chunks", check: func(c *check) {
		s := c.poll()
		k := c.dial().send(strings.Replace(c.request("POST", s.query, ""), "Content-Length: 0", "Transfer-Encoding: chunked", 1))
		k.send("1\r\n4\r\n").send("5;x=y\r\nhello\r\n").send("0\r\n\r\n")
		c.status("POST", k.answer(), 200)
		s.want("4hello")
	}},
	{name: "Engine.IO 4/Sending data/a body may come a byte at a time", check: func(c *check) {
		s := c.poll()
		k := c.dial()
		k.drip(c.request("POST", s.query, "4hel\xe2\x82\xaclo\x1ebAQIDBA=="))
		c.status("POST", k.answer(), 200)
		s.want("4hel€lo", "bAQIDBA==")
	}},
	{name: "Engine.IO 4/Sending data/a POST that is cut off ends the session", check: func(c *check) {
		s := c.poll()
		s.begun("4hello").Close()
		// The server may notice it only while the GET is pending.
		if a := s.get().answer(); a.status != 400 && a.body != "1" {
			c.Fatalf("GET: got %v, want the end", a)
		}
		s.gone()
	}},
	{name: "Engine.IO 4/Sending data/a body of maxPayload bytes is taken", check: func(c *check) {
		s := c.poll()
		packet := "4" + strings.Repeat("x", maxPayload-1)
		s.post(packet)
		s.want(packet)
	}},
	{name: "Engine.IO 4/Sending data/a longer body is answered with 413, and the session stays", check: func(c *check) {
		s := c.poll()
		a := c.do("POST", s.query, "4"+strings.Repeat("x", maxPayload))
		c.status("POST", a, 413)
		equal(c, "body", a.body, "")
		s.lives()
	}},
	{name: "Engine.IO 4/Sending data/maxPayload counts bytes, not characters", check: func(c *check) {
		s := c.poll()
		c.status("POST", c.do("POST", s.query, "4"+strings.Repeat("€", maxPayload/3+1)), 413)
		s.lives()
	}},
	{name: "Engine.IO 4/Sending data/a longer body in chunks is answered with 413, too", check: func(c *check) {
		s := c.poll()
		k := c.dial().send(strings.Replace(c.request("POST", s.query, ""), "Content-Length: 0", "Transfer-Encoding: chunked", 1))
		chunk := strings.Repeat("x", 100_000)
		for range 11 {
			k.send(fmt.Sprintf("%x\r\n%s\r\n", len(chunk), chunk))
		}
		c.status("POST", k.answer(), 413)
		s.lives()
	}},
	{name: "Engine.IO 4/Sending data/an announced gigabyte is refused before it comes", deviates: "it reads up to the limit first", check: func(c *check) {
		s := c.poll()
		k := c.dial().send(strings.Replace(c.request("POST", s.query, "4"), "Content-Length: 1", "Content-Length: 1000000000", 1))
		c.status("POST", k.answer(), 413)
		s.lives()
	}},
	{name: "Engine.IO 4/Receiving data/a GET of an unknown session is answered with 400", check: func(c *check) {
		c.refused("GET", c.do("GET", polling+"&sid=none", ""), 1)
	}},
	{name: "Engine.IO 4/Receiving data/a GET waits for a packet", check: func(c *check) {
		s := c.poll()
		k := s.pending()
		s.post("4hello")
		equal(c, "body", s.arrived(k), "4hello")
	}},
	{name: "Engine.IO 4/Receiving data/buffered packets come in one payload", check: func(c *check) {
		s := c.poll()
		s.post("4a")
		s.post("4b", "bAQID")
		equal(c, "body", s.arrived(s.get()), "4a\x1e4b\x1ebAQID")
	}},
	{name: "Engine.IO 4/Receiving data/a second GET is answered with 400 and ends the session", check: func(c *check) {
		s := c.poll()
		first := s.pending()
		c.status("second GET", s.get().answer(), 400)
		a := first.answer()
		if a.status != 200 || a.body != "1" {
			c.Fatalf("first GET: got %v, want 200 with 1", a)
		}
		s.gone()
	}},
	{name: "Engine.IO 4/Receiving data/a GET that is cut off ends the session", check: func(c *check) {
		s := c.poll()
		s.pending().Close()
		// It is refused with the session unknown, or beside the one whose end was not noticed yet; or it brings the end.
		if a := s.get().answer(); a.status != 400 && a.body != "1" {
			c.Fatalf("next GET: got %v, want the end", a)
		}
		s.gone()
	}},
	{name: "Engine.IO 4/Receiving data/GETs may share a connection with POSTs", check: func(c *check) {
		s := c.poll()
		k := c.dial()
		for i := range 10 {
			packet := fmt.Sprint("4", i)
			c.status("POST", k.send(c.request("POST", s.query, packet)).answer(), 200)
			equal(c, "body", s.arrived(k.send(c.request("GET", s.query, ""))), packet)
		}
	}},
	{name: "Engine.IO 4/Receiving data/a request a byte at a time", check: func(c *check) {
		k := c.dial()
		k.drip(c.request("GET", polling, ""))
		c.status("handshake", k.answer(), 200)
	}},
	{name: "Engine.IO 4/Receiving data/sessions do not mix", check: func(c *check) {
		a, b := c.poll(), c.poll()
		a.post("4a")
		b.post("4b")
		a.want("4a")
		b.want("4b")
	}},
	{name: "Engine.IO 4/Protocol/close ends the session, and a pending GET gets noop", check: func(c *check) {
		s := c.poll()
		k := s.pending()
		s.post("1")
		a := k.answer()
		if a.status != 200 || a.body != "6" {
			c.Fatalf("GET: got %v, want 200 with 6", a)
		}
		s.gone()
	}},
	{name: "Engine.IO 4/Protocol/close ends the session without a GET, too", check: func(c *check) {
		s := c.poll()
		s.post("1")
		s.gone()
	}},
	{name: "Engine.IO 4/Protocol/open is the server's", deviates: "it ignores it", check: func(c *check) {
		s := c.poll()
		c.do("POST", s.query, `0{"sid":"x"}`)
		s.gone()
	}},
	{name: "Engine.IO 4/Protocol/ping is the server's", check: func(c *check) {
		for _, packet := range []string{"2", "2probe"} {
			s := c.poll()
			c.do("POST", s.query, packet)
			s.gone()
		}
	}},
	{name: "Engine.IO 4/Protocol/a pong that nobody awaits, noop and upgrade change nothing", check: func(c *check) {
		s := c.poll()
		s.post("3", "3probe", "6", "5", "4x")
		s.want("4x")
		s.lives()
	}},
	{name: "Engine.IO 4/Protocol/other types end the session", check: func(c *check) {
		c.each([]string{"7", "9", "x", "é", "\x00", " 4x", "-1", "B", "\xff"}, func(c *check, payload string) {
			s := c.poll()
			c.do("POST", s.query, payload)
			s.gone()
		})
	}},
	{name: "Engine.IO 4/Protocol/other types are answered with 400", deviates: "it answers ok", check: func(c *check) {
		c.each([]string{"7", "x", "", "4x\x1e7", "4x\x1e", "\x1e", "2"}, func(c *check, payload string) {
			c.status("POST", c.do("POST", c.poll().query, payload), 400)
		})
	}},
	{name: "Engine.IO 4/Message/text comes back as it is", check: func(c *check) {
		s := c.poll()
		for _, m := range []string{"", "hello", "€ 😀 日本", "b", "bAQID", "\x00\x01\x1f", "\r\n", `{"a":"\u2028<>&"}`, "\u2028\u2029", "\ufeffbom"} {
			s.post("4" + m)
			s.want("4" + m)
		}
	}},
	{name: "Engine.IO 4/Packet encoding/HTTP long-polling/packets are separated by 0x1e", check: func(c *check) {
		s := c.poll()
		s.post("4hello\x1e3\x1e4world")
		s.want("4hello", "4world")
	}},
	{name: "Engine.IO 4/Packet encoding/HTTP long-polling/binary is b and base64", check: func(c *check) {
		s := c.poll()
		s.post("4hello\x1ebAQIDBA==")
		s.want("4hello", "bAQIDBA==")
		for _, b := range []string{"b", "bAA==", "b+/8=", "bAQID", "b" + strings.Repeat("////", 1000)} {
			s.post(b)
			s.want(b)
		}
	}},
	{name: "Engine.IO 4/Packet encoding/HTTP long-polling/base64 that is none ends the session", deviates: "it decodes what it can", check: func(c *check) {
		c.each([]string{"b!!!", "bA", "bAQID!", "bA===", "b\x00\x00\x00\x00"}, func(c *check, b string) {
			s := c.poll()
			c.status("POST", c.do("POST", s.query, b), 400)
			s.gone()
		})
	}},
	{name: "Engine.IO 4/Packet encoding/HTTP long-polling/text is UTF-8", deviates: "it replaces what is not UTF-8", check: func(c *check) {
		c.each([]string{"4\xff", "4\xc0\x80", "4\xed\xa0\x80", "4\xe2\x82", "4ok\x1e4\xf5\x80\x80\x80"}, func(c *check, m string) {
			s := c.poll()
			c.status("POST", c.do("POST", s.query, m), 400)
			s.gone()
		})
	}},
	{name: "Engine.IO 4/Packet encoding/HTTP long-polling/an empty packet ends the session", check: func(c *check) {
		c.each([]string{"", "\x1e", "4a\x1e", "\x1e4a", "4a\x1e\x1e4b"}, func(c *check, payload string) {
			s := c.poll()
			c.do("POST", s.query, payload)
			s.gone()
		})
	}},
	{name: "Engine.IO 4/Packet encoding/HTTP long-polling/a thousand packets keep their order", alone: true, check: func(c *check) {
		s := c.poll()
		packets := make([]string, 1000)
		for i := range packets {
			packets[i] = fmt.Sprint("4", i)
		}
		s.post(packets...)
		s.want(packets...)
	}},
	{name: "Engine.IO 4/Packet encoding/HTTP long-polling/half a million packets cost no more than their bytes", alone: true, check: func(c *check) {
		s := c.poll()
		started := time.Now()
		// Pongs: what is asked is the parser, not what an echo does with its answers.
		s.post(strings.TrimSuffix(strings.Repeat("3\x1e", maxPayload/2), "\x1e"))
		if took := time.Since(started); took > 10*time.Second {
			c.Fatalf("it took %v", took)
		}
	}},
	{name: "Engine.IO 4/Packet encoding/HTTP long-polling/half a million empty packets end the session only", alone: true, check: func(c *check) {
		s := c.poll()
		c.do("POST", s.query, strings.Repeat("\x1e", maxPayload))
		s.gone()
	}},
	{name: "Engine.IO 4/Packet encoding/HTTP long-polling/packets that wait are not lost when many come", alone: true, check: func(c *check) {
		s := c.poll()
		packets := slices.Repeat([]string{"4x"}, 20_000)
		s.post(packets...)
		s.want(packets...)
	}},
}

// begun sends the head of a POST and returns once the server wants its body: it has the request in hand.
func (s *session) begun(body string) *conn {
	request := s.c.request("POST", s.query, body, "Expect: 100-continue")
	k := s.c.dial().send(strings.TrimSuffix(request, body))
	if head := k.head(); !strings.HasPrefix(head, "HTTP/1.1 100 ") {
		s.c.Fatalf("got %q, want 100 Continue", head)
	}
	return k
}

package protocol

import (
	"strings"
	"time"
)

const invalidNamespace = `,{"message":"Invalid namespace"}`

var namespaceRules = []rule{
	{name: "Socket.IO 5/Connection to a namespace/CONNECT is answered with the socket's id", check: func(c *check) {
		w := c.dialSocket(websocket, "")
		session := c.opened(w.next().payload).SID
		w.text("40")
		if sid := w.granted("40"); sid == session {
			c.Fatalf("the socket's id is the session's secret: %q", sid)
		}
	}},
	{name: "Socket.IO 5/Connection to a namespace/CONNECT to a custom namespace", check: func(c *check) {
		w := c.socket()
		w.text("40/custom,")
		w.granted("40/custom,")
		w.want(`42/custom,["auth",{}]`)
	}},
	{name: "Socket.IO 5/Connection to a namespace/the payload of CONNECT is the handshake's auth", check: func(c *check) {
		w := c.socket()
		w.text(`40{"token":"123"}`)
		w.granted("40")
		w.want(`42["auth",{"token":"123"}]`)
		w.text(`40/custom,{"a":[1,{"b":null}],"c":"€"}`)
		w.granted("40/custom,")
		w.want(`42/custom,["auth",{"a":[1,{"b":null}],"c":"€"}]`)
	}},
	{name: "Socket.IO 5/Connection to a namespace/an empty payload is one", check: func(c *check) {
		w := c.socket()
		w.text("40{}")
		w.granted("40")
		w.want(`42["auth",{}]`)
	}},
	{name: "Socket.IO 5/Connection to a namespace/one that is refused is answered with CONNECT_ERROR", check: func(c *check) {
		w := c.socket()
		for _, name := range []string{"/random", "/custom/", "/customs", "/Custom", "//", "/..", "/*", "/__proto__", "/constructor", "/ns€", "/custom?x=1", "/a b", "/-1", "/1"} {
			w.text("40" + name + ",")
			w.want("44" + name + invalidNamespace)
			w.text("40" + name + `,{"token":"123"}`)
			w.want("44" + name + invalidNamespace)
		}
		w.text("40")
		w.granted("40")
	}},
	{name: "Socket.IO 5/Connection to a namespace/the connection is closed unless CONNECT comes first", check: func(c *check) {
		for _, packet := range []string{`42["message"]`, `421["message-with-ack"]`, `42/custom,["x"]`, "41", "41/custom,", "431[]", `44{"message":"x"}`, `451-["x",{"_placeholder":true,"num":0}]`, "4hello", "4"} {
			w := c.on(packet).socket()
			w.text(packet)
			if strings.HasPrefix(packet, "45") {
				w.binary("x")
			}
			w.closed()
		}
	}},
	{name: "Socket.IO 5/Connection to a namespace/binary before CONNECT closes the connection", check: func(c *check) {
		w := c.socket()
		w.binary("x")
		w.closed()
	}},
	{name: "Socket.IO 5/Connection to a namespace/an event after a refusal closes the connection", check: func(c *check) {
		w := c.socket()
		w.text("40/random,")
		w.want("44/random" + invalidNamespace)
		w.text(`42/random,["message"]`)
		w.closed()
	}},
	{name: "Socket.IO 5/Connection to a namespace/several at the same time", check: func(c *check) {
		w := c.connected()
		w.text("40/custom,")
		w.granted("40/custom,")
		w.want(`42/custom,["auth",{}]`)
		w.answers()
	}},
	{name: "Socket.IO 5/Connection to a namespace/each has an id of its own", check: func(c *check) {
		w := c.socket()
		w.text("40")
		main := w.granted("40")
		w.want(`42["auth",{}]`)
		w.text("40/custom,")
		if custom := w.granted("40/custom,"); main == custom {
			c.Fatalf("both have the id %q", main)
		}
	}},
	{name: "Socket.IO 5/Connection to a namespace/a custom one needs no main one", check: func(c *check) {
		w := c.socket()
		w.text("40/custom,")
		w.granted("40/custom,")
		w.want(`42/custom,["auth",{}]`)
		w.text(`42["message"]`)
		w.closed()
	}},
	// A program that calls connect() once too often loses nothing. The document is silent about it; the reference closes the connection, and with
	// it the sockets of all other namespaces.
	{name: "Socket.IO 5/Connection to a namespace/a second CONNECT is ignored", check: func(c *check) {
		w := c.connected()
		w.text("40/custom,")
		w.granted("40/custom,")
		w.want(`42/custom,["auth",{}]`)
		w.text("40", `40{"token":"123"}`, "40/custom,", `421["message-with-ack",1]`)
		w.want("431[1]")
		w.text(`42/custom,["message"]`)
		w.answers()
	}, deviates: "it closes the connection, and with it the sockets of other namespaces"},
	{name: "Socket.IO 5/Connection to a namespace/CONNECT_ERROR is the server's", check: func(c *check) {
		w := c.connected()
		w.text(`44{"message":"x"}`)
		w.closed()
	}},
	{name: "Socket.IO 5/Connection to a namespace/an event to one that was not joined closes the connection", check: func(c *check) {
		for _, packet := range []string{`42/custom,["message"]`, `42/random,["message"]`, "41/custom,", "43/custom,1[]"} {
			w := c.connected()
			w.text(packet)
			w.closed()
		}
	}},
	{name: "Socket.IO 5/Connection to a namespace/without CONNECT the connection is closed in time", check: func(c *check) {
		started := time.Now()
		w := c.dialSocket(websocket, "")
		c.opened(w.next().payload)
		w.untilClosed()
		c.after("the end", started, connectTimeout)
	}},
	{name: "Socket.IO 5/Connection to a namespace/without CONNECT a session over HTTP is closed in time", check: func(c *check) {
		started := time.Now()
		s := c.poll()
		for {
			a := s.get().answer()
			if a.status == 200 && a.body == "2" {
				s.post("3")
				continue
			}
			if a.body != "1" && a.body != refusals[1] {
				c.Fatalf("got %v, want the end", a)
			}
			break
		}
		c.after("the end", started, connectTimeout)
		s.ends()
	}},
	{name: "Socket.IO 5/Connection to a namespace/what was sent before the end waits for a GET", check: func(c *check) {
		s := c.poll()
		s.post("40/random,")
		for started := time.Now(); time.Since(started) < connectTimeout+pingInterval/2; <-time.After(pingInterval / 3) {
			c.do("POST", s.query, "3") // pongs for pings that wait for a GET as well
		}
		equal(c, "what was left", strings.Join(s.finished(), " "), "44/random"+invalidNamespace)
	}},
	{name: "Socket.IO 5/Connection to a namespace/one that is refused does not count", check: func(c *check) {
		started := time.Now()
		w := c.socket()
		w.text("40/random,")
		w.want("44/random" + invalidNamespace)
		w.untilClosed()
		c.after("the end", started, connectTimeout)
	}},
	{name: "Socket.IO 5/Connection to a namespace/a connected client is not closed", check: func(c *check) {
		w := c.connected()
		w.quiet = true
		for started := time.Now(); time.Since(started) < connectTimeout+pingInterval; {
			w.want("2")
			w.text("3")
		}
		w.quiet = false
		w.answers()
	}},
	{name: "Socket.IO 5/Disconnection from a namespace/is not answered", check: func(c *check) {
		w := c.connected()
		w.text("40/custom,")
		w.granted("40/custom,")
		w.want(`42/custom,["auth",{}]`)
		w.text("41/custom,", `42["message","next"]`)
		w.want(`42["message-back","next"]`)
	}},
	{name: "Socket.IO 5/Disconnection from a namespace/the others stay", check: func(c *check) {
		w := c.connected()
		w.text("40/custom,")
		w.granted("40/custom,")
		w.want(`42/custom,["auth",{}]`)
		w.text("41")
		w.text("40")
		w.granted("40")
		w.want(`42["auth",{}]`)
		w.answers()
	}, unasked: true, deviates: "a CONNECT that comes before its next tick finds the old socket"},
	{name: "Socket.IO 5/Disconnection from a namespace/an event afterwards closes the connection", check: func(c *check) {
		w := c.connected()
		w.text("41")
		// Through the answer to this one it is certain that the first has been dealt with.
		w.text("40/random,")
		w.want("44/random" + invalidNamespace)
		w.text(`42["message"]`)
		w.closed()
	}},
	{name: "Socket.IO 5/Disconnection from a namespace/a client may connect again", check: func(c *check) {
		w := c.connected()
		w.text("41")
		w.text("40/random,")
		w.want("44/random" + invalidNamespace)
		w.text(`40{"again":true}`)
		w.granted("40")
		w.want(`42["auth",{"again":true}]`)
		w.answers()
	}},
	{name: "Socket.IO 5/Disconnection from a namespace/CONNECT may follow in the same segment", check: func(c *check) {
		for range 10 {
			w := c.connected()
			w.send(textFrame("41") + textFrame("40"))
			w.granted("40")
			w.want(`42["auth",{}]`)
			w.answers()
		}
	}, unasked: true, deviates: "a CONNECT that comes before its next tick finds the old socket"},
	{name: "Socket.IO 5/Disconnection from a namespace/a payload closes the connection", check: func(c *check) {
		for _, packet := range []string{"41{}", `41"x"`, "41[]", "41null"} {
			w := c.connected()
			w.text(packet)
			w.closed()
		}
	}},
	{name: "Socket.IO 5/Format/a namespace may come without its comma when nothing follows", check: func(c *check) {
		w := c.socket()
		w.text("40/custom")
		w.granted("40/custom,")
		w.want(`42/custom,["auth",{}]`)
		w.text("41/custom")
		w.text("40/random")
		w.want("44/random" + invalidNamespace)
	}},
	{name: "Socket.IO 5/Format/the main namespace may be named", check: func(c *check) {
		w := c.socket()
		w.text("40/,")
		w.granted("40")
		w.want(`42["auth",{}]`)
		w.text(`42/,["message",1]`)
		w.want(`42["message-back",1]`)
	}},
	{name: "Socket.IO 5/Format/a namespace ends at its first comma", check: func(c *check) {
		w := c.socket()
		w.text(`40/custom,{"a":",/b,"}`)
		w.granted("40/custom,")
		w.want(`42/custom,["auth",{"a":",/b,"}]`)
	}},
	{name: "Socket.IO 5/Format/a namespace of a megabyte harms nobody", alone: true, check: func(c *check) {
		w := c.socket()
		w.text("40/" + strings.Repeat("x", maxPayload-10))
		// It is refused either way.
		if f := w.next(); f.head != fin|closing && !strings.HasPrefix(f.payload, "44/x") {
			c.Fatalf("got %v, want a refusal", f)
		}
		c.connected().answers()
	}},
	{name: "Socket.IO 5/Format/without its comma a namespace takes all that follows", check: func(c *check) {
		w := c.socket()
		w.text(`40/custom{"a":1}`)
		w.want(`44/custom{"a":1}` + invalidNamespace)
	}},
	{name: "Socket.IO 5/Format/the payload of CONNECT is an object", check: func(c *check) {
		c.each([]string{"[]", `"x"`, "null", "true", "{", "{}x", `{"a":}`, "{'a':1}", "/custom,[]"}, func(c *check, payload string) {
			w := c.socket()
			w.text("40" + payload)
			w.closed()
		})
	}},
}

// untilClosed answers pings until the server closes.
func (s *socket) untilClosed() {
	for {
		switch f, err := s.read(); {
		case err != nil && timeout(err):
			s.c.Fatalf("the connection is still open")
		case err != nil || f.head == fin|closing:
			return
		case f == frame{fin | text, "2"}:
			s.text("3")
		default:
			s.c.Fatalf("got %v, want the end", f)
		}
	}
}

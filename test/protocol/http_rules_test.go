package protocol

import (
	"fmt"
	"io"
	"strings"
	"time"
)

var httpRules = []rule{
	{name: "HTTP/headers beyond any need are refused", check: func(c *check) {
		k := c.dial().send(c.request("GET", polling, "", "X-Long: "+strings.Repeat("x", 1<<20)))
		if a, err := k.read(); err == nil && (a.status < 400 || a.status >= 500) {
			c.Fatalf("got %v, want a refusal", a)
		}
	}},
	{name: "HTTP/headers of an upgrade beyond any need are refused", check: func(c *check) {
		for _, name := range []string{"X-Long", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"} {
			k := c.dial().send(c.upgrade(websocket, name+": "+strings.Repeat("x,", 1<<19)))
			if a, err := k.read(); err == nil && (a.status < 400 || a.status >= 500) {
				c.Fatalf("%s: got %v, want a refusal", name, a)
			}
		}
	}},
	{name: "HTTP/headers without number are no harm", check: func(c *check) {
		header := make([]string, 3000)
		for i := range header {
			header[i] = fmt.Sprintf("x%d: y", i)
		}
		for _, request := range []string{c.request("GET", polling, "", header...), c.upgrade(websocket, header...)} {
			c.dial().send(request).head()
		}
		c.socket().lives()
	}},
	{name: "HTTP/a header that never ends is not waited for", unasked: true, deviates: "Node looks after such connections every 30 seconds only", check: func(c *check) {
		k := c.dial().send("GET " + c.path + "?" + polling + " HTTP/1.1\r\nHost: x\r\nX-")
		k.SetDeadline(time.Now().Add(12 * time.Second))
		k.ended()
	}},
	{name: "HTTP/two lengths are refused", check: func(c *check) {
		s := c.poll()
		a := c.do("POST", s.query, "4x", "Content-Length: 3")
		c.status("POST", a, 400)
		s.lives()
	}},
	{name: "HTTP/a blank before the colon is refused", check: func(c *check) {
		c.status("POST", c.do("POST", c.poll().query, "4x", "Transfer-Encoding : chunked"), 400)
	}},
	{name: "HTTP/a length beside chunks smuggles nothing", check: func(c *check) {
		s := c.poll()
		k := c.dial().send(strings.Replace(c.request("POST", s.query, "0\r\n\r\n"+c.request("POST", s.query, "4smuggled")), "\r\n", "\r\nTransfer-Encoding: chunked\r\n", 1))
		// Either it is refused, or the chunks count, which are none, and the connection ends.
		k.answer()
		if a, err := k.read(); err == nil && a.status == 200 {
			c.Fatalf("the request inside got %v", a)
		}
	}},
	{name: "HTTP/an unknown transfer coding is refused", check: func(c *check) {
		s := c.poll()
		a := c.do("POST", s.query, "4x", "Transfer-Encoding: xchunked")
		if a.status != 400 && a.status != 501 {
			c.Fatalf("got %v, want 400 or 501", a)
		}
	}},
	{name: "HTTP/chunks that are none end the request", check: func(c *check) {
		for _, body := range []string{"zz\r\n4x\r\n0\r\n\r\n", "-2\r\n4x\r\n0\r\n\r\n", "ffffffffffffffffff\r\n4x", "2\n4x\n0\n\n"} {
			s := c.poll()
			k := c.dial().send(strings.Replace(c.request("POST", s.query, ""), "Content-Length: 0", "Transfer-Encoding: chunked", 1) + body)
			if a, err := k.read(); err == nil && a.status == 200 {
				c.Fatalf("%q: got %v, want a refusal", body, a)
			}
		}
	}},
	{name: "HTTP/an upgrade with a body is refused", deviates: "it does not look at it", check: func(c *check) {
		k := c.dial().send(c.upgrade(websocket, "Content-Length: 5") + "hello")
		c.status("upgrade", k.answer(), 400)
	}},
	{name: "HTTP/no Host is refused", check: func(c *check) {
		k := c.dial().send("GET " + c.path + "?" + polling + " HTTP/1.1\r\n\r\n")
		c.status("GET", k.answer(), 400)
	}},
	{name: "HTTP/HTTP 1.0 is served", check: func(c *check) {
		k := c.dial().send("GET " + c.path + "?" + polling + " HTTP/1.0\r\n\r\n")
		a := k.answer()
		c.status("GET", a, 200)
		c.opened(a.body)
		k.ended()
	}},
	{name: "HTTP/garbage is no harm", check: func(c *check) {
		for _, garbage := range []string{"\x00\x01\x02\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET\r\n\r\n", strings.Repeat("A", 100_000)} {
			k := c.dial().send(garbage)
			k.halfClose()
			if a, err := k.read(); err == nil && (a.status < 400 || a.status > 505) {
				c.Fatalf("%s: got %v, want a refusal", brief(garbage), a)
			}
		}
		c.socket().lives()
	}},
	{name: "HTTP/requests in one segment are answered in their order", check: func(c *check) {
		k := c.dial().send(c.request("GET", polling, "") + c.request("GET", polling+"&sid=none", "") + c.request("GET", polling, ""))
		c.status("first", k.answer(), 200)
		c.status("second", k.answer(), 400)
		c.status("third", k.answer(), 200)
	}},
	{name: "HTTP/a body that nobody wants is not waited for", check: func(c *check) {
		s := c.poll()
		for _, request := range []string{
			c.request("POST", polling+"&sid=none", "never"), c.request("POST", polling, "never"), c.request("PUT", s.query, "", "Content-Length: 5"),
			c.request("POST", "", "never"), c.request("GET", polling, "", "Content-Length: 5"), c.request("GET", polling+"&sid=none", "", "Transfer-Encoding: chunked"),
			c.request("OPTIONS", polling, "", "Content-Length: 5", "Origin: "+allowedOrigin, "Access-Control-Request-Method: POST"),
		} {
			k := c.dial().send(strings.TrimSuffix(request, "never"))
			k.SetDeadline(time.Now().Add(patience))
			k.answer()
		}
		s.lives()
	}},
	{name: "HTTP/a body that nobody wants does not keep a connection", deviates: "it looks after such connections every 30 seconds only", unasked: true, check: func(c *check) {
		for _, request := range []string{
			c.request("POST", polling+"&sid=none", "never"), c.request("GET", polling, "", "Content-Length: 5"), c.upgrade(websocket, "Content-Length: 5"),
			c.request("POST", c.poll().query, "never", "Content-Type: application/octet-stream"),
		} {
			c.dial().send(strings.TrimSuffix(request, "never")).ended()
		}
	}},
	{name: "HTTP/a client that sends all of a long body before it reads gets its answer", alone: true, check: func(c *check) {
		body := "4" + strings.Repeat("x", 10*maxPayload)
		post := func(query string, status int) {
			k := c.dial()
			if _, err := io.WriteString(k, c.request("POST", query, body)); err != nil {
				c.Fatalf("%s: %v", query, err)
			}
			c.status(query, k.answer(), status)
		}
		post(polling+"&sid=none", 400)
		post(c.poll().query, 413) // the session lasts as long as it may without a pong
	}},
	{name: "HTTP/HEAD opens no session", check: func(c *check) {
		k := c.dial().send(c.request("HEAD", polling, ""))
		if head := k.head(); !strings.HasPrefix(head, "HTTP/1.1 400 ") {
			c.Fatalf("got %q, want 400", head)
		}
	}},
}

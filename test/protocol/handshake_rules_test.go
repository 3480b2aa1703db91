package protocol

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// What the document leaves open is as the reference has it: the bodies of refusals, and the order of the checks.
var handshakeRules = []rule{
	{name: "Engine.IO 4/Request path/the path is the configured one", check: func(c *check) {
		c.status("handshake", c.do("GET", polling, ""), 200)
		for _, path := range []string{"/", "/other/", "/x" + c.path, strings.ToUpper(c.path)} {
			o := *c
			o.path = path
			c.status(path, o.do("GET", polling, ""), 404)
		}
	}},
	{name: "Engine.IO 4/Request path/without its slash it is not the engine's", check: func(c *check) {
		c.path = strings.TrimSuffix(c.path, "/")
		c.status(c.path, c.do("GET", polling, ""), 404)
	}},
	{name: "Engine.IO 4/Request path/what is below it is the engine's, too", check: func(c *check) {
		c.path += "below"
		c.status(c.path, c.do("GET", polling, ""), 200)
	}},
	{name: "Engine.IO 4/Request path/no WebSocket elsewhere", check: func(c *check) {
		c.path = "/other/"
		if a, err := c.dial().send(c.upgrade(websocket)).read(); err == nil && a.status == 101 {
			c.Fatalf("got %v, want no 101", a)
		}
	}},
	{name: "Engine.IO 4/Query parameters/EIO is mandatory", check: func(c *check) {
		c.refused("no EIO", c.do("GET", "transport=polling", ""), 5)
	}},
	{name: "Engine.IO 4/Query parameters/EIO is 4", check: func(c *check) {
		for _, v := range []string{"", "3", "5", "x", "04", "4.0", "%204", "44", "-4", "3&EIO=5"} {
			c.refused("EIO="+v, c.do("GET", "transport=polling&EIO="+v, ""), 5)
		}
	}},
	{name: "Engine.IO 4/Query parameters/transport is mandatory", check: func(c *check) {
		c.refused("no transport", c.do("GET", "EIO=4", ""), 0)
		c.refused("no query", c.do("GET", "", ""), 0)
	}},
	{name: "Engine.IO 4/Query parameters/transport is one that there is", check: func(c *check) {
		for _, v := range []string{"", "xyz", "webtransport", "Polling", "polling,websocket", "__proto__", "constructor", "toString", strings.Repeat("x", 10_000)} {
			c.refused("transport="+v, c.do("GET", "EIO=4&transport="+v, ""), 0)
		}
	}},
	{name: "Engine.IO 4/Query parameters/sid is that of a session", check: func(c *check) {
		for _, v := range []string{"none", "__proto__", "hasOwnProperty", "%00", "%ff", "..%2f", "*", "a,b", strings.Repeat("x", 10_000)} {
			c.refused("GET with sid="+v, c.do("GET", polling+"&sid="+v, ""), 1)
			c.refused("POST with sid="+v, c.do("POST", polling+"&sid="+v, "4x"), 1)
			c.refused("array sid="+v, c.do("GET", polling+"&sid[]=x&sid="+v, ""), 1)
		}
	}},
	{name: "Engine.IO 4/Query parameters/sid in another case is another one", check: func(c *check) {
		s := c.poll()
		other := strings.Map(func(r rune) rune {
			switch {
			case 'a' <= r && r <= 'z':
				return r - 'a' + 'A'
			case 'A' <= r && r <= 'Z':
				return r - 'A' + 'a'
			}
			return r
		}, s.sid)
		c.refused("sid in another case", c.do("GET", polling+"&sid="+other, ""), 1)
		c.refused("half a sid", c.do("GET", polling+"&sid="+s.sid[:len(s.sid)/2], ""), 1)
		c.refused("a longer sid", c.do("GET", polling+"&sid="+s.sid+"A", ""), 1)
		s.lives()
	}},
	{name: "Engine.IO 4/Query parameters/all are mandatory in a session, too", check: func(c *check) {
		s := c.poll()
		c.refused("no EIO", c.do("GET", "transport=polling&sid="+s.sid, ""), 3)
		c.refused("another EIO", c.do("POST", "EIO=3&transport=polling&sid="+s.sid, "4x"), 3)
		c.refused("no transport", c.do("GET", "EIO=4&sid="+s.sid, ""), 0)
		c.refused("no sid", c.do("POST", polling, "4x"), 2)
		s.lives()
	}},
	{name: "Engine.IO 4/Query parameters/one that comes twice has no value", deviates: "it takes the last", check: func(c *check) {
		for _, query := range []string{"transport=xyz&transport=polling", "transport=polling&transport=xyz", "transport=polling&transport=polling"} {
			c.refused(query, c.do("GET", "EIO=4&"+query, ""), 0)
		}
		c.refused("EIO twice", c.do("GET", polling+"&EIO=4", ""), 5)
		s := c.poll()
		c.refused("sid twice", c.do("GET", s.query+"&sid=none", ""), 1)
		c.refused("sid twice", c.do("GET", polling+"&sid=none&sid="+s.sid, ""), 1)
		s.lives()
	}},
	{name: "Engine.IO 4/Query parameters/others are ignored", check: func(c *check) {
		c.status("b64, t", c.do("GET", polling+"&b64=1&t=N8hyd6w&x=y&EIOx=3&%00=%ff", ""), 200)
	}},
	{name: "Engine.IO 4/Query parameters/a broken query is no harm", check: func(c *check) {
		for _, q := range []string{"%", "%zz", "&&&=&=", "EIO=4;transport=polling", "?", strings.Repeat("&", 5000)} {
			c.status(q, c.do("GET", q, ""), 400)
		}
	}},
	{name: "Engine.IO 4/Query parameters/there is no JSONP", deviates: "it still speaks JSONP, which version 4 of the protocol has not", check: func(c *check) {
		c.refused("j=0", c.do("GET", polling+"&j=0", ""), 3)
	}},
	{name: "Engine.IO 4/Query parameters/the first that is wrong names the error", check: func(c *check) {
		c.refused("transport before sid", c.do("GET", "transport=xyz&sid=none", ""), 0)
		c.refused("sid before the method", c.do("PUT", polling+"&sid=none", ""), 1)
		c.refused("sid before EIO", c.do("GET", "EIO=3&transport=polling&sid=none", ""), 1)
		c.refused("the method before EIO", c.do("POST", "EIO=3&transport=polling", "4x"), 2)
		c.refused("the method before the upgrade", c.do("POST", websocket, "4x"), 2)
		c.refused("the upgrade before EIO", c.do("GET", "EIO=3&transport=websocket", ""), 3)
	}},
	{name: "Engine.IO 4/Handshake/is a GET", check: func(c *check) {
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "BREW"} {
			a, err := c.dial().send(c.request(method, polling, "")).read()
			if method == "BREW" && (err != nil || a.status == 400) {
				continue // to Node it is no HTTP
			}
			c.refused(method, a, 2)
		}
	}},
	{name: "Engine.IO 4/Handshake/a WebSocket is an upgrade", check: func(c *check) {
		c.refused("without an upgrade", c.do("GET", websocket, ""), 3)
	}},
	{name: "Engine.IO 4/Handshake/a polling request to a session over WebSocket is refused", check: func(c *check) {
		w := c.dialSocket(websocket, "")
		sid := c.opened(w.next().payload).SID
		c.refused("GET", c.do("GET", polling+"&sid="+sid, ""), 3)
		c.refused("POST", c.do("POST", polling+"&sid="+sid, "4x"), 3)
		w.lives()
	}},
	{name: "Engine.IO 4/Handshake/a request for WebSocket without upgrade is refused in a session, too", check: func(c *check) {
		s := c.poll()
		c.refused("GET", c.do("GET", websocket+"&sid="+s.sid, ""), 3)
		s.lives()
	}},
	{name: "Engine.IO 4/Handshake/the open packet over HTTP", check: func(c *check) {
		a := c.do("GET", polling, "")
		c.open(a.body, []string{"websocket"})
	}},
	{name: "Engine.IO 4/Handshake/the open packet over WebSocket", check: func(c *check) {
		c.open(c.dialSocket(websocket, "").next().payload, []string{})
	}},
	{name: "Engine.IO 4/Handshake/sids are unguessable and fit into a query", check: func(c *check) {
		seen := map[string]bool{}
		columns := make([]map[byte]bool, 0)
		const n = 40
		for range n {
			sid := c.poll().sid
			if seen[sid] || !regexp.MustCompile(`^[A-Za-z0-9_.~-]{20,64}$`).MatchString(sid) {
				c.Fatalf("got sid %q, want 20 characters or more of a query, and another one each time", sid)
			}
			seen[sid] = true
			for i := range len(sid) {
				if i == len(columns) {
					columns = append(columns, map[byte]bool{})
				}
				columns[i][sid[i]] = true
			}
		}
		// A character that is random takes many values in forty; a counter or a clock takes few.
		random := 0
		for _, column := range columns {
			if len(column) > n/3 {
				random++
			}
		}
		if random < 12 {
			c.Fatalf("%d characters of the sids are random, want 12 at the least: %s", random, brief(seen))
		}
	}},
	{name: "Engine.IO 4/Handshake/the headers of the answers", check: func(c *check) {
		a := c.do("GET", polling, "")
		equal(c, "Content-Type", a.header.Get("Content-Type"), "text/plain; charset=UTF-8")
		equal(c, "Cache-Control", a.header.Get("Cache-Control"), "no-store")
		equal(c, "Set-Cookie", a.header.Get("Set-Cookie"), "")
		s := c.poll()
		a = c.do("POST", s.query, "4x")
		equal(c, "body", a.body, "ok")
		equal(c, "Content-Type", a.header.Get("Content-Type"), "text/html")
		equal(c, "Cache-Control", a.header.Get("Cache-Control"), "no-store")
		a = s.get().answer()
		equal(c, "body", a.body, "4x")
		equal(c, "Content-Type", a.header.Get("Content-Type"), "text/plain; charset=UTF-8")
		equal(c, "Cache-Control", a.header.Get("Cache-Control"), "no-store")
	}},
	{name: "Engine.IO 4/Handshake/CORS on every answer", check: func(c *check) {
		origin := "Origin: " + allowedOrigin
		s := c.poll()
		for _, a := range []answer{
			c.do("GET", polling, "", origin), c.do("POST", s.query, "4x", origin), c.do("GET", s.query, "", origin),
			c.do("GET", polling+"&sid=none", "", origin), c.do("GET", "EIO=4", "", origin),
		} {
			equal(c, fmt.Sprint("Access-Control-Allow-Origin of ", a), a.header.Get("Access-Control-Allow-Origin"), allowedOrigin)
			equal(c, fmt.Sprint("Vary of ", a), strings.Contains(strings.Join(a.header.Values("Vary"), ","), "Origin"), true)
		}
	}},
	{name: "Engine.IO 4/Handshake/the preflight of CORS", check: func(c *check) {
		for _, query := range []string{polling, polling + "&sid=none"} {
			a := c.do("OPTIONS", query, "", "Origin: "+allowedOrigin, "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type")
			c.status("OPTIONS", a, 204)
			equal(c, "Access-Control-Allow-Origin", a.header.Get("Access-Control-Allow-Origin"), allowedOrigin)
			equal(c, "allows POST", strings.Contains(a.header.Get("Access-Control-Allow-Methods"), "POST"), true)
			equal(c, "allows Content-Type", strings.Contains(strings.ToLower(a.header.Get("Access-Control-Allow-Headers")), "content-type"), true)
		}
	}},
	{name: "Engine.IO 4/Handshake/OPTIONS is answered though it names no method", check: func(c *check) {
		a := c.do("OPTIONS", polling, "", "Origin: "+allowedOrigin)
		c.status("OPTIONS", a, 204)
		equal(c, "Access-Control-Allow-Origin", a.header.Get("Access-Control-Allow-Origin"), allowedOrigin)
		c.status("OPTIONS without an origin", c.do("OPTIONS", polling, ""), 204)
	}},
	{name: "Engine.IO 4/Handshake/CORS names no foreign origin", check: func(c *check) {
		for _, origin := range []string{"http://evil.example", "http://pages.example.evil.example", "http://evilpages.example", "https://pages.example", "http://pages.example:8080", "null"} {
			a := c.do("GET", polling, "", "Origin: "+origin)
			if got := a.header.Get("Access-Control-Allow-Origin"); got == origin || got == "*" {
				c.Fatalf("Origin %s: got Access-Control-Allow-Origin %q", origin, got)
			}
		}
	}},
	{name: "Engine.IO 4/Handshake/an unknown method leaves the session", deviates: "it answers 500", check: func(c *check) {
		s := c.poll()
		for _, method := range []string{"PUT", "DELETE", "PATCH"} {
			c.status(method, c.do(method, s.query, ""), 405)
		}
		s.lives()
	}},
}

// open fails the case unless the packet is an open packet with everything that belongs into it, and nothing else.
func (c *check) open(packet string, upgrades []string) {
	o := c.opened(packet)
	var keys map[string]any
	json.Unmarshal([]byte(packet[1:]), &keys)
	equal(c, "keys of "+packet, len(keys), 5)
	if o.Upgrades == nil || !slices.Equal(o.Upgrades, upgrades) {
		c.Fatalf("upgrades: got %s, want %q", packet, upgrades)
	}
	equal(c, "pingInterval", o.PingInterval, int(pingInterval.Milliseconds()))
	equal(c, "pingTimeout", o.PingTimeout, int(pingTimeout.Milliseconds()))
	equal(c, "maxPayload", o.MaxPayload, maxPayload)
}

package protocol

import (
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"time"
)

// reset ends a connection with RST.
func (k *conn) reset() {
	k.Conn.(*net.TCPConn).SetLinger(0)
	k.Close()
}

// halfClose ends our half of a connection with FIN.
func (k *conn) halfClose() { k.Conn.(*net.TCPConn).CloseWrite() }

func closeFrame(code int, reason string) string {
	return masked(fin|closing, string(binary.BigEndian.AppendUint16(nil, uint16(code)))+reason)
}

// broken are the frames that RFC 6455 forbids, with the code of the answer.
var broken = []struct {
	name, frames string
	codes        []int
}{
	{"5.1/an unmasked frame", "\x81\x024x", []int{1002}},
	{"5.1/an unmasked close", "\x88\x02\x03\xe8", []int{1002}},
	{"5.2/RSV1 without an extension", masked(fin|rsv1|text, "4x"), []int{1002}},
	{"5.2/RSV2", masked(fin|0x20|text, "4x"), []int{1002}},
	{"5.2/RSV3", masked(fin|0x10|text, "4x"), []int{1002}},
	{"5.2/all RSV on a ping", masked(fin|0x70|ping, ""), []int{1002}},
	{"5.2/opcode 3", masked(fin|0x3, "4x"), []int{1002}},
	{"5.2/opcode 7", masked(fin|0x7, "4x"), []int{1002}},
	{"5.2/opcode 11", masked(fin|0xB, ""), []int{1002}},
	{"5.2/opcode 15", masked(fin|0xF, ""), []int{1002}},
	{"5.2/a length with its highest bit", "\x81\xff\x80\x00\x00\x00\x00\x00\x00\x01\x01\x02\x03\x04", []int{1002, 1009}},
	{"5.2/a length of 2^62", "\x82\xff\x40\x00\x00\x00\x00\x00\x00\x00\x01\x02\x03\x04", []int{1009}},
	{"5.2/a length of a gigabyte", "\x82\xff\x00\x00\x00\x00\x40\x00\x00\x00\x01\x02\x03\x04", []int{1009}},
	{"5.4/a continuation of nothing", masked(fin|continuation, "4x"), []int{1002}},
	{"5.4/a continuation of nothing, unfinished", masked(continuation, "4x"), []int{1002}},
	{"5.4/a continuation after a whole message", textFrame("3") + masked(fin|continuation, "4x"), []int{1002}},
	{"5.4/text inside a fragmented message", masked(text, "4x") + textFrame("4y"), []int{1002}},
	{"5.4/binary inside a fragmented message", masked(binaryData, "x") + masked(fin|binaryData, "y"), []int{1002}},
	{"5.5/a fragmented ping", masked(ping, "x"), []int{1002}},
	{"5.5/a fragmented close", masked(closing, "\x03\xe8"), []int{1002}},
	{"5.5/a ping of 126 bytes", masked(fin|ping, strings.Repeat("x", 126)), []int{1002}},
	{"5.5/a pong of 126 bytes", masked(fin|pong, strings.Repeat("x", 126)), []int{1002}},
	{"5.5/a close of 126 bytes", closeFrame(1000, strings.Repeat("x", 124)), []int{1002}},
	{"5.5.1/a close of 1 byte", masked(fin|closing, "\x03"), []int{1002}},
	{"5.5.1/a close whose reason is no UTF-8", closeFrame(1000, "\xff"), []int{1007, 1002}},
	{"7.4/close code 0", closeFrame(0, ""), []int{1002}},
	{"7.4/close code 999", closeFrame(999, ""), []int{1002}},
	{"7.4/close code 1004", closeFrame(1004, ""), []int{1002}},
	{"7.4/close code 1005", closeFrame(1005, ""), []int{1002}},
	{"7.4/close code 1006", closeFrame(1006, ""), []int{1002}},
	{"7.4/close code 1015", closeFrame(1015, ""), []int{1002}},
	{"7.4/close code 1016", closeFrame(1016, ""), []int{1002}},
	{"7.4/close code 2999", closeFrame(2999, ""), []int{1002}},
	{"7.4/close code 5000", closeFrame(5000, ""), []int{1002}},
	{"7.4/close code 65535", closeFrame(65535, ""), []int{1002}},
	{"8.1/text that is no UTF-8", textFrame("4\xff"), []int{1007}},
	{"8.1/an overlong character", textFrame("4\xc0\xaf"), []int{1007}},
	{"8.1/a surrogate", textFrame("4\xed\xa0\x80"), []int{1007}},
	{"8.1/a character beyond Unicode", textFrame("4\xf4\x90\x80\x80"), []int{1007}},
	{"8.1/half a character at the end", textFrame("4\xe2\x82"), []int{1007}},
	{"8.1/half a character at the end of the last fragment", masked(text, "4\xe2") + masked(fin|continuation, "\x82"), []int{1007}},
	{"8.1/a character that breaks between fragments", masked(text, "4\xe2\x82") + masked(fin|continuation, "x"), []int{1007}},
}

func brokenRules() (rules []rule) {
	for _, b := range broken {
		rules = append(rules, rule{name: "RFC 6455/" + b.name + " is closed with " + strings.Trim(fmt.Sprint(b.codes), "[]"), check: func(c *check) {
			w := c.socket()
			w.send(b.frames)
			w.closed(b.codes...)
		}})
	}
	return rules
}

var websocketRules = []rule{
	{name: "Engine.IO 4/WebSocket/EIO is mandatory", deviates: "it refuses after the 101", check: func(c *check) {
		c.each([]string{"transport=websocket", "EIO=3&transport=websocket", "EIO=5&transport=websocket", "EIO=&transport=websocket"}, (*check).notSwitched)
	}},
	{name: "Engine.IO 4/WebSocket/transport is mandatory", check: func(c *check) {
		c.notSwitched("EIO=4")
		c.notSwitched("EIO=4&transport=xyz")
		c.notSwitched("")
	}},
	{name: "Engine.IO 4/WebSocket/sid is optional", check: func(c *check) {
		c.socket().lives()
	}},
	{name: "Engine.IO 4/WebSocket/an upgrade to polling is no handshake", check: func(c *check) {
		k := c.dial().send(c.upgrade(polling))
		if head := k.head(); strings.HasPrefix(head, "HTTP/1.1 101 ") {
			w := &socket{conn: k}
			w.closed()
		}
	}},
	{name: "Engine.IO 4/WebSocket/each packet is a frame of its own", check: func(c *check) {
		w := c.socket()
		w.text("4a", "4b")
		w.binary("c")
		w.want("4a", "4b")
		w.wantBinary("c")
		w.text("4a\x1e4b") // here it is text like any other
		w.want("4a\x1e4b")
	}},
	{name: "Engine.IO 4/Protocol/close ends a session over WebSocket", deviates: "it ignores it", check: func(c *check) {
		w := c.socket()
		w.quiet = true
		w.text("1")
		if f, err := w.read(); err == nil && f.head != fin|closing {
			c.Fatalf("got %v, want the end at once", f)
		}
	}},
	{name: "Engine.IO 4/Protocol/ping is the server's, over WebSocket", check: func(c *check) {
		for _, packet := range []string{"2", "2probe"} {
			w := c.socket()
			w.text(packet)
			w.closed()
		}
	}},
	{name: "Engine.IO 4/Protocol/open is the server's, over WebSocket", deviates: "it ignores it", check: func(c *check) {
		w := c.socket()
		w.text("0", "4x")
		w.closed()
	}},
	{name: "Engine.IO 4/Protocol/a pong that nobody awaits, noop and upgrade change nothing, over WebSocket", check: func(c *check) {
		w := c.socket()
		w.text("3", "3probe", "6", "5")
		w.lives()
	}},
	{name: "Engine.IO 4/Protocol/other types end a session over WebSocket", check: func(c *check) {
		c.each([]string{"7", "9", "x", "", "é", "\x00", " 4x", "-1"}, func(c *check, packet string) {
			w := c.socket()
			w.text(packet)
			w.closed()
		})
	}},
	{name: "Engine.IO 4/Message/text and binary come back as they are, over WebSocket", check: func(c *check) {
		w := c.socket()
		for _, m := range []string{"", "hello", "€ 😀 日本", "b", "bAQID", "\x00\x1e\x1f", "\u2028<>&", "\ufeffbom", strings.Repeat("x", 125), strings.Repeat("y", 126), strings.Repeat("z", 65536), strings.Repeat("€", 300_000)} {
			w.text("4" + m)
			w.want("4" + m)
			w.binary(m)
			w.wantBinary(m)
		}
	}},
	{name: "Engine.IO 4/Packet encoding/WebSocket/binary goes as it is", check: func(c *check) {
		w := c.socket()
		w.binary("\x00\xff4\x1e")
		w.wantBinary("\x00\xff4\x1e")
	}},
	{name: "Engine.IO 4/Packet encoding/WebSocket/base64 has no place here", deviates: "its parser is that of polling", check: func(c *check) {
		w := c.socket()
		w.text("bAQID")
		w.closed()
	}},
	{name: "Engine.IO 4/Handshake/maxPayload bounds a message over WebSocket", check: func(c *check) {
		w := c.socket()
		m := "4" + strings.Repeat("x", maxPayload-1)
		w.text(m)
		w.want(m)
		w.text(m + "x")
		w.closed(1009)
	}},
	{name: "Engine.IO 4/Handshake/maxPayload bounds all fragments together", check: func(c *check) {
		w := c.socket()
		w.send(masked(binaryData, strings.Repeat("x", maxPayload/2)) + masked(continuation, strings.Repeat("x", maxPayload/2)) + masked(continuation, "x"))
		w.closed(1009)
	}},
	{name: "Engine.IO 4/Handshake/maxPayload is judged by the head of a frame", check: func(c *check) {
		w := c.socket()
		w.send("\x82\xff\x00\x00\x00\x00\x00\x0f\x42\x41\x01\x02\x03\x04") // 1,000,001 bytes that do not come
		w.closed(1009)
	}},
	{name: "RFC 6455/4.1/the first frame may come with the request", unasked: true, deviates: "it loses the first frame", check: func(c *check) {
		w := c.dialSocket(websocket, textFrame("4early")+masked(fin|binaryData, "later"))
		c.opened(w.next().payload)
		w.want("4early")
		w.wantBinary("later")
	}},
	{name: "RFC 6455/4.1/a request, and frames, a byte at a time", check: func(c *check) {
		k := c.dial()
		k.drip(c.upgrade(websocket))
		k.switched()
		w := &socket{conn: k}
		c.opened(w.next().payload)
		w.drip(textFrame("4slow") + masked(fin|ping, "p"))
		w.want("4slow")
		equal(c, "frame", w.next(), frame{fin | pong, "p"})
	}},
	{name: "RFC 6455/4.2.1/headers are case-insensitive and may be lists", check: func(c *check) {
		k := c.dial().send(c.request("GET", websocket, "", "connection: keep-alive, UPGRADE", "UPGRADE: WebSocket", "sec-websocket-version: 13", "SEC-WEBSOCKET-KEY: "+key))
		k.switched()
	}},
	{name: "RFC 6455/4.2.1/a key of 16 bytes is mandatory", check: func(c *check) {
		for _, header := range []string{"Sec-WebSocket-Key: short", "X-None: x", "Sec-WebSocket-Key: " + strings.Repeat("A", 5000)} {
			k := c.dial().send(c.request("GET", websocket, "", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", header))
			if a := k.answer(); a.status < 400 || a.status >= 500 {
				c.Fatalf("%s: got %v, want a refusal", brief(header), a)
			}
		}
	}},
	{name: "RFC 6455/4.4/another version is refused with ours", check: func(c *check) {
		for _, version := range []string{"12", "0", "14", "x"} {
			k := c.dial().send(c.request("GET", websocket, "", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: "+version, "Sec-WebSocket-Key: "+key))
			a := k.answer()
			if a.status != 400 && a.status != 426 {
				c.Fatalf("version %s: got %v, want 400 or 426", version, a)
			}
			equal(c, "names 13", strings.Contains(a.header.Get("Sec-WebSocket-Version"), "13"), true)
		}
	}},
	{name: "RFC 6455/4.2.1/an upgrade to something else is none", check: func(c *check) {
		a := c.do("GET", websocket, "", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")
		c.status("h2c", a, 400)
	}},
	{name: "RFC 6455/4.2.1/an upgrade is a GET", check: func(c *check) {
		for _, method := range []string{"POST", "PUT", "DELETE"} {
			k := c.dial().send(strings.Replace(c.upgrade(websocket), "GET ", method+" ", 1))
			if a := k.answer(); a.status < 400 || a.status >= 500 {
				c.Fatalf("%s: got %v, want a refusal", method, a)
			}
		}
	}},
	{name: "RFC 6455/4.2.2/extensions that are offered and not meant are left out", check: func(c *check) {
		for _, offer := range []string{"x-unknown", "__proto__", "constructor; toString=1", "permessage-foo; a=\"b\"", ", ,"} {
			k := c.dial().send(c.upgrade(websocket, "Sec-WebSocket-Extensions: "+offer))
			if head := k.head(); strings.Contains(strings.ToLower(head), "sec-websocket-extensions") {
				c.Fatalf("%s: got %q", offer, head)
			}
		}
	}},
	{name: "RFC 6455/4.2.2/the first of the subprotocols that are offered is taken, without which browsers fail the connection", check: func(c *check) {
		for _, offer := range []string{"chat", "chat, superchat", "chat,superchat"} {
			head := c.dial().send(c.upgrade(websocket, "Sec-WebSocket-Protocol: "+offer)).head()
			equal(c, offer+" in "+head, strings.Contains(head, "\r\nSec-WebSocket-Protocol: chat\r\n"), true)
		}
		head := c.dial().send(c.upgrade(websocket)).head()
		equal(c, "a subprotocol in "+head, strings.Contains(head, "Sec-WebSocket-Protocol"), false)
	}},
	{name: "RFC 6455/4.2.2/a list of protocols with a long blank is read in time", check: func(c *check) {
		k := c.dial().send(c.upgrade(websocket, "Sec-WebSocket-Protocol: a"+strings.Repeat(" ", 12_000)+"b"))
		k.answerOrSwitch()
	}},
	{name: "RFC 6455/5.4/a message may come in fragments", check: func(c *check) {
		w := c.socket()
		w.send(masked(text, "4hel") + masked(continuation, "") + masked(continuation, "l\xe2") + masked(fin|continuation, "\x82\xac"))
		w.want("4hell€")
		w.send(masked(binaryData, "") + masked(fin|continuation, "x"))
		w.wantBinary("x")
		w.send(masked(text, "") + masked(fin|continuation, "4"))
		w.want("4")
	}},
	{name: "RFC 6455/5.4/control frames may come between fragments", check: func(c *check) {
		w := c.socket()
		w.send(masked(text, "4a") + masked(fin|ping, "between") + masked(fin|pong, "") + masked(fin|continuation, "b"))
		equal(c, "frame", w.next(), frame{fin | pong, "between"})
		w.want("4ab")
	}},
	{name: "RFC 6455/5.4/many fragments are a message all the same", check: func(c *check) {
		w := c.socket()
		w.send(masked(text, "4") + strings.Repeat(masked(continuation, "x"), 5000) + masked(fin|continuation, "."))
		w.want("4" + strings.Repeat("x", 5000) + ".")
	}},
	{name: "RFC 6455/5.4/empty fragments without an end are not read for ever", check: func(c *check) {
		w := c.socket()
		w.send(masked(text, "4") + strings.Repeat(masked(continuation, ""), 20_000))
		w.closed(1008)
	}},
	{name: "RFC 6455/5.5.1/a close is answered, and the connection ends", check: func(c *check) {
		for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
			w := c.socket()
			w.send(closeFrame(code, "€"))
			w.closed(code)
		}
	}},
	{name: "RFC 6455/5.5.1/a close without a code is answered", check: func(c *check) {
		w := c.socket()
		w.send(masked(fin|closing, ""))
		w.closed(1005, 1000)
	}},
	{name: "RFC 6455/5.5.1/what comes after a close is not read", check: func(c *check) {
		w := c.socket()
		w.send(closeFrame(1000, "") + textFrame("4x") + masked(fin|ping, "x"))
		w.closed(1000)
	}},
	{name: "RFC 6455/5.5.1/messages before a close are answered", check: func(c *check) {
		w := c.socket()
		w.send(textFrame("4x") + closeFrame(1000, ""))
		// The echo may have lost the race against the end, but nothing else may come.
		if f, err := w.read(); err == nil && f != (frame{fin | text, "4x"}) && f.head != fin|closing {
			c.Fatalf("got %v", f)
		}
	}},
	{name: "RFC 6455/5.5.2/a ping is answered with its payload", check: func(c *check) {
		w := c.socket()
		for _, payload := range []string{"", "x", strings.Repeat("\xff", 125)} {
			w.send(masked(fin|ping, payload))
			equal(c, "frame", w.next(), frame{fin | pong, payload})
		}
	}},
	{name: "RFC 6455/5.5.2/a flood of pings harms nobody", alone: true, check: func(c *check) {
		w := c.socket()
		flood := strings.Repeat(masked(fin|ping, strings.Repeat("x", 100)), 1000)
		for range 20 {
			w.send(flood)
		}
		c.socket().lives()
	}},
	{name: "Engine.IO 4/WebSocket/a client that does not read harms nobody", alone: true, check: func(c *check) {
		w := c.socket()
		w.SetWriteDeadline(time.Now().Add(pingInterval)) // the server may stop reading, too
		m := masked(fin|binaryData, strings.Repeat("x", maxPayload))
		for range 20 {
			w.send(m)
		}
		c.socket().lives()
	}},
	{name: "RFC 6455/5.5.3/a pong that nobody awaits is ignored", check: func(c *check) {
		w := c.socket()
		w.send(masked(fin|pong, "x"))
		w.lives()
	}},
	{name: "RFC 6455/7.1.1/a client that ends its half is closed", check: func(c *check) {
		w := c.socket()
		w.halfClose()
		w.closed()
	}},
	{name: "RFC 6455/7.1.1/a client that ends its half inside a frame is closed", check: func(c *check) {
		w := c.socket()
		w.send(textFrame("4hello")[:5])
		w.halfClose()
		w.closed()
	}},
	{name: "RFC 6455/7.2.1/a reset right after the upgrade harms nobody", check: func(c *check) {
		for _, query := range []string{websocket, "EIO=3&transport=websocket", websocket + "&sid=none", "EIO=4&transport=xyz"} {
			for range 10 {
				c.dial().send(c.upgrade(query)).reset()
				c.dial().send(c.upgrade(query) + masked(fin|0x70|text, "4x")).reset()
			}
		}
		c.socket().lives()
	}},
	{name: "RFC 6455/8.1/a character may be split over fragments", check: func(c *check) {
		w := c.socket()
		w.send(masked(text, "4\xf0") + masked(continuation, "\x9f\x98") + masked(fin|ping, "") + masked(fin|continuation, "\x80"))
		equal(c, "frame", w.next(), frame{fin | pong, ""})
		w.want("4😀")
	}},
	{name: "RFC 6455/8.1/binary need not be UTF-8", check: func(c *check) {
		w := c.socket()
		w.binary("\xff\xfe\xc0")
		w.wantBinary("\xff\xfe\xc0")
	}},
}

// answerOrSwitch waits for an answer of either kind.
func (k *conn) answerOrSwitch() { k.head() }

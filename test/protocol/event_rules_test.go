package protocol

import (
	"fmt"
	"strings"
)

const placeholder = `{"_placeholder":true,"num":0}`

var eventRules = []rule{
	{name: "Socket.IO 5/Sending and receiving data/an event", check: func(c *check) {
		w := c.connected()
		w.text(`42["message",1,"2",{"3":[true]},null,-0.5,"€<>&"]`)
		w.want(`42["message-back",1,"2",{"3":[true]},null,-0.5,"€<>&"]`)
	}},
	{name: "Socket.IO 5/Sending and receiving data/an event without arguments", check: func(c *check) {
		w := c.connected()
		w.text(`42["message"]`)
		w.want(`42["message-back"]`)
	}},
	{name: "Socket.IO 5/Sending and receiving data/events keep their order", check: func(c *check) {
		w := c.connected()
		var b strings.Builder
		for i := range 200 {
			b.WriteString(textFrame(fmt.Sprintf(`42["message",%d]`, i)))
		}
		w.send(b.String())
		for i := range 200 {
			w.want(fmt.Sprintf(`42["message-back",%d]`, i))
		}
	}},
	{name: "Socket.IO 5/Sending and receiving data/JSON may have blanks", check: func(c *check) {
		w := c.connected()
		w.text("42[ \"message\" ,\n 1 ]")
		w.want(`42["message-back",1]`)
	}},
	{name: "Socket.IO 5/Sending and receiving data/the name may be escaped", check: func(c *check) {
		w := c.connected()
		w.text(`42["\u006dessage",1]`)
		w.want(`42["message-back",1]`)
	}},
	{name: "Socket.IO 5/Sending and receiving data/an event that nobody handles is ignored", check: func(c *check) {
		w := c.connected()
		for _, packet := range []string{`42["nobody"]`, `42[""]`, `42["__proto__"]`, `42["constructor",1]`, `42["error"]`, `42["error","x"]`, `42["connection"]`, `42["Connect"]`, `42["message "]`} {
			w.text(packet)
		}
		w.answers()
	}},
	{name: "Socket.IO 5/Sending and receiving data/the first item may be a number", check: func(c *check) {
		w := c.connected()
		w.text(`42[1,"x"]`)
		w.answers()
	}},
	{name: "Socket.IO 5/Sending and receiving data/the payload is a non-empty array", check: closes(`42[]`, `42{}`, `42"message"`, `42null`, `42true`, `42/,[]`)},
	{name: "Socket.IO 5/Sending and receiving data/the payload is mandatory", deviates: "it takes a packet without one, and ignores it", check: closes(`42`, `421`, `42/,`)},
	{name: "Socket.IO 5/Sending and receiving data/the name is a string or a number", check: closes(`42[null]`, `42[{}]`, `42[{"toString":"x"}]`, `42[["message"]]`, `42[true]`)},
	{name: "Socket.IO 5/Sending and receiving data/the names of the library's own events are reserved",
		check: closes(`42["connect"]`, `42["connect_error"]`, `42["disconnect"]`, `42["disconnecting"]`, `42["newListener"]`, `42["removeListener"]`, `42["\u0063onnect"]`, `421["disconnect","x"]`)},
	{name: "Socket.IO 5/Sending and receiving data/those names are reserved in binary events, too",
		check: closesAfter("x", `451-["connect",`+placeholder+`]`, `451-["disconnecting",`+placeholder+`]`)},
	{name: "Socket.IO 5/Sending and receiving data/binary data", check: func(c *check) {
		w := c.connected()
		w.text(`451-["message",` + placeholder + `]`)
		w.binary("\x01\x02\x03\x04")
		w.want(`451-["message-back",` + placeholder + `]`)
		w.wantBinary("\x01\x02\x03\x04")
	}},
	{name: "Socket.IO 5/Sending and receiving data/several attachments, nested", check: func(c *check) {
		w := c.connected()
		w.text(`453-["message",` + placeholder + `,[{"a":{"_placeholder":true,"num":1}},"x"],{"_placeholder":true,"num":2}]`)
		w.binary("one")
		w.binary("")
		w.binary(strings.Repeat("3", 70_000))
		w.want(`453-["message-back",` + placeholder + `,[{"a":{"_placeholder":true,"num":1}},"x"],{"_placeholder":true,"num":2}]`)
		w.wantBinary("one", "", strings.Repeat("3", 70_000))
	}},
	{name: "Socket.IO 5/Sending and receiving data/ten attachments", check: func(c *check) {
		w := c.connected()
		packet, back := `4510-["message"`, `4510-["message-back"`
		for i := range 10 {
			item := fmt.Sprintf(`,{"_placeholder":true,"num":%d}`, i)
			packet, back = packet+item, back+item
		}
		w.text(packet + "]")
		for i := range 10 {
			w.binary(fmt.Sprint(i))
		}
		w.want(back + "]")
		for i := range 10 {
			w.wantBinary(fmt.Sprint(i))
		}
	}},
	{name: "Socket.IO 5/Sending and receiving data/attachments belong to the places that name them", check: func(c *check) {
		w := c.connected()
		w.text(`452-["message",{"_placeholder":true,"num":1},{"num":0,"_placeholder":true}]`)
		w.binary("zero")
		w.binary("one")
		w.want(`452-["message-back",` + placeholder + `,{"_placeholder":true,"num":1}]`)
		w.wantBinary("one", "zero")
	}},
	{name: "Socket.IO 5/Sending and receiving data/a placeholder in a text event is an object like any other", check: func(c *check) {
		w := c.connected()
		w.text(`42["message",` + placeholder + `]`)
		w.want(`42["message-back",` + placeholder + `]`)
	}},
	{name: "Socket.IO 5/Sending and receiving data/what looks like a placeholder but says no is none", check: func(c *check) {
		w := c.connected()
		w.text(`451-["message",{"_placeholder":false,"num":0},` + placeholder + `,"_placeholder"]`)
		w.binary("x")
		w.want(`451-["message-back",{"_placeholder":false,"num":0},` + placeholder + `,"_placeholder"]`)
		w.wantBinary("x")
	}},
	{name: "Socket.IO 5/Sending and receiving data/over HTTP", check: func(c *check) {
		s := c.polled()
		s.post(`42["message",1]`, `451-["message",`+placeholder+`]`, "bAQIDBA==", `42["message","€"]`)
		s.want(`42["message-back",1]`, `451-["message-back",`+placeholder+`]`, "bAQIDBA==", `42["message-back","€"]`)
	}},
	{name: "Socket.IO 5/Sending and receiving data/attachments may come with a later request", check: func(c *check) {
		s := c.polled()
		s.post(`452-["message",` + placeholder + `,{"_placeholder":true,"num":1}]`)
		s.post("bAQID")
		s.post("b")
		s.want(`452-["message-back",`+placeholder+`,{"_placeholder":true,"num":1}]`, "bAQID", "b")
	}},
	{name: "Socket.IO 5/Acknowledgement/ACK has the id of the event", check: func(c *check) {
		w := c.connected()
		for _, id := range []string{"0", "1", "12", "999999999999999", "9007199254740991"} {
			w.text(`42` + id + `["message-with-ack","foo",{"a":1}]`)
			w.want(`43` + id + `["foo",{"a":1}]`)
		}
	}},
	{name: "Socket.IO 5/Acknowledgement/the payload may be empty", check: func(c *check) {
		w := c.connected()
		w.text(`4212["message-with-ack"]`)
		w.want(`4312[]`)
	}},
	{name: "Socket.IO 5/Acknowledgement/an id may come again", check: func(c *check) {
		w := c.connected()
		w.text(`421["message-with-ack",1]`, `421["message-with-ack",2]`)
		w.want(`431[1]`, `431[2]`)
	}},
	{name: "Socket.IO 5/Acknowledgement/binary data in the answer makes a BINARY_ACK", check: func(c *check) {
		w := c.connected()
		w.text(`452-15["message-with-ack","bar",` + placeholder + `,{"_placeholder":true,"num":1}]`)
		w.binary("\x01\x02")
		w.binary("\x03")
		w.want(`462-15["bar",` + placeholder + `,{"_placeholder":true,"num":1}]`)
		w.wantBinary("\x01\x02", "\x03")
	}},
	{name: "Socket.IO 5/Acknowledgement/an event without an id is not acknowledged", check: func(c *check) {
		w := c.connected()
		w.text(`42["message-with-ack",1]`)
		w.answers()
	}},
	{name: "Socket.IO 5/Acknowledgement/one with an unknown id is ignored", check: func(c *check) {
		w := c.connected()
		w.text("40/custom,")
		w.granted("40/custom,")
		w.want(`42/custom,["auth",{}]`)
		w.text(`430[]`, `4399["x"]`, `43/custom,13["bar"]`, `461-99[`+placeholder+`]`)
		w.binary("x")
		w.answers()
	}},
	{name: "Socket.IO 5/Acknowledgement/one without an id is ignored", check: func(c *check) {
		w := c.connected()
		w.text(`43["x"]`, `43[]`, `461-[`+placeholder+`]`)
		w.binary("x")
		w.answers()
	}},
	{name: "Socket.IO 5/Acknowledgement/the payload is an array", check: closes(`431{}`, `431"x"`, `431null`, `431true`)},
	{name: "Socket.IO 5/Acknowledgement/over HTTP", check: func(c *check) {
		s := c.polled()
		s.post(`421["message-with-ack"]`, `451-2["message-with-ack",`+placeholder+`]`, "bAQID")
		s.want(`431[]`, `461-2[`+placeholder+`]`, "bAQID")
	}},
	{name: "Socket.IO 5/Acknowledgement/an id that is more than a number closes the connection",
		check: closes(`42-1["message-with-ack"]`, `421e3["message-with-ack"]`, `421.5["message-with-ack"]`, `421x["message-with-ack"]`, `421,["message-with-ack"]`)},
	{name: "Socket.IO 5/Acknowledgement/an id that a number cannot hold closes the connection", deviates: "it rounds it",
		check: closes(`429007199254740992["message-with-ack"]`, `4218446744073709551616["message-with-ack"]`, `42`+strings.Repeat("9", 400)+`["message-with-ack"]`)},
	{name: "Socket.IO 5/Acknowledgement/an id of a megabyte harms nobody", alone: true, check: func(c *check) {
		w := c.connected()
		w.text("42" + strings.Repeat("1", maxPayload-20) + `["x"]`)
		c.connected().answers()
	}},
	{name: "Socket.IO 5/Format/unknown types close the connection", check: closes(`47`, `49["x"]`, `4x`, `4-1`, `4[]`, `4{}`, `4é`, "4\x00")},
	{name: "Socket.IO 5/Format/a packet has a type", check: func(c *check) {
		w := c.connected()
		w.text("4") // Node takes it for a CONNECT, which would be the second
		w.closed()
	}},
	{name: "Socket.IO 5/Format/broken JSON closes the connection",
		check: closes(`42[`, `42["message"`, `42["message",]`, `42["message"]]`, `42["message"]x`, `42['message']`, `42["message",01]`, `42["message",NaN]`, `42["mess`+"\n"+`age"]`, `42["message","\x"]`, `42["message","\ud800"`, `421["message-with-ack"`)},
	{name: "Socket.IO 5/Format/the number of attachments is an integer from 1 to 10",
		check: closes(`45-["message"]`, `450-["message"]`, `4511-["message"]`, `451.5-["message"]`, `45-1-["message"]`, `451`, `451["message"]`, `45999999999-["message"]`, `4599999999999999999999-["message"]`, `45x-["message"]`, `46-[]`, `460-1[]`, `4611-1[]`)},
	{name: "Socket.IO 5/Format/attachments have no leading blanks or signs", deviates: "it takes what JavaScript takes for a number", check: closes(`45 1-["message"]`, `45+1-["message"]`, `450x1-["message"]`, `451e0-["message"]`)},
	{name: "Socket.IO 5/Format/text between attachments closes the connection", check: func(c *check) {
		w := c.connected()
		w.text(`452-["message",` + placeholder + `,{"_placeholder":true,"num":1}]`)
		w.binary("x")
		w.text(`42["message"]`)
		w.closed()
	}},
	{name: "Socket.IO 5/Format/text instead of attachments closes the connection", check: func(c *check) {
		for _, packet := range []string{`42["message"]`, "41", "40/custom,", `451-["message",` + placeholder + `]`} {
			w := c.on(packet).connected()
			w.text(`451-["message",`+placeholder+`]`, packet)
			w.closed()
		}
	}},
	{name: "Socket.IO 5/Format/binary that no packet awaits closes the connection", check: func(c *check) {
		w := c.connected()
		w.binary("x")
		w.closed()
	}},
	{name: "Socket.IO 5/Format/one attachment too many closes the connection", check: func(c *check) {
		w := c.connected()
		w.text(`451-["nobody",` + placeholder + `]`)
		w.binary("x")
		w.binary("y")
		w.closed()
	}},
	{name: "Socket.IO 5/Format/an event of no attachments awaits none", check: func(c *check) {
		w := c.connected()
		w.text(`450-["message"]`)
		for range 100 {
			w.binary("x")
		}
		w.closed()
	}},
	{name: "Socket.IO 5/Format/a placeholder names one of the attachments", check: closesAfter("x",
		`451-["message",{"_placeholder":true,"num":-1}]`,
		`451-["message",{"_placeholder":true,"num":1}]`,
		`451-["message",{"_placeholder":true,"num":99}]`,
		`451-["message",{"_placeholder":true,"num":"0"}]`,
		`451-["message",{"_placeholder":true,"num":"splice"}]`,
		`451-["message",{"_placeholder":true,"num":null}]`,
		`451-["message",{"_placeholder":true,"num":true}]`,
		`451-["message",{"_placeholder":true}]`,
		`451-["message",[{"a":{"_placeholder":true,"num":7}}]]`,
		`461-1[{"_placeholder":true,"num":2}]`,
	)},
	{name: "Socket.IO 5/Format/a placeholder's number is an integer", deviates: "it looks up whatever is between 0 and the number of attachments", check: closesAfter("x", `451-["message",{"_placeholder":true,"num":0.5}]`)},
	{name: "Socket.IO 5/Format/each attachment has one place", deviates: "it does not count them", check: closesAfter("x", `451-["message"]`, `451-["message",`+placeholder+`,`+placeholder+`]`)},
	{name: "Socket.IO 5/Format/a broken packet is no success over HTTP either", check: func(c *check) {
		payloads := []string{
			`42["connect"]`, `42{}`, "47", `44{"message":"x"}`, "bAQID",
			`451-["message",` + placeholder + "]\x1e" + `42["message"]`, `451-["message",{"_placeholder":true,"num":1}]` + "\x1ebAQID",
		}
		c.each(payloads, func(c *check, payload string) {
			s := c.polled()
			s.post(payload) // for Engine.IO it is in order
			s.finished()
		})
	}},
	{name: "Socket.IO 5/Format/half a million broken packets end the session only", alone: true, check: func(c *check) {
		s := c.polled()
		s.post(strings.TrimSuffix(strings.Repeat("4\x1e", maxPayload/2), "\x1e"))
		s.finished()
	}},
	{name: "Socket.IO 5/Format/deep nesting harms nobody", alone: true, check: func(c *check) {
		w := c.connected()
		w.text(`42["nobody",` + strings.Repeat("[", 400_000) + strings.Repeat("]", 400_000) + `]`)
		w.text(`42["nobody",` + strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000) + `]`)
		c.connected().answers()
	}},
	{name: "Socket.IO 5/Format/a thousand arrays or objects in one argument are accepted", check: func(c *check) {
		w := c.connected()
		for _, argument := range []string{
			strings.Repeat("[", 1000) + strings.Repeat("]", 1000),
			strings.Repeat(`{"a":`, 1000) + "1" + strings.Repeat("}", 1000),
			"[" + strings.Repeat("[],", 1000) + "[]]",
		} {
			w.text(`42["message",` + argument + `]`)
			w.want(`42["message-back",` + argument + `]`)
		}
	}},
	{name: "Socket.IO 5/Format/numbers beyond any size harm nobody", alone: true, check: func(c *check) {
		w := c.connected()
		w.text(`42["nobody",1e999,-1e999,` + strings.Repeat("9", 100_000) + `]`)
		c.connected().answers()
	}},
	{name: "Socket.IO 5/Format/many small values harm nobody", alone: true, check: func(c *check) {
		w := c.connected()
		w.text(`42["nobody",[0` + strings.Repeat(`,{"a":0}`, 100_000) + `]]`)
		c.connected().answers()
	}},
	{name: "Socket.IO 5/Format/many arguments harm nobody", unasked: true, deviates: "its process dies", alone: true, check: func(c *check) {
		w := c.connected()
		w.text(`42["nobody"` + strings.Repeat(`,{"a":0}`, 100_000) + `]`)
		c.connected().answers()
	}},
	{name: "Socket.IO 5/Format/the names of JavaScript's objects are data", check: func(c *check) {
		w := c.connected()
		w.text(`42["message",{"constructor":1,"hasOwnProperty":2,"toString":3}]`)
		w.want(`42["message-back",{"constructor":1,"hasOwnProperty":2,"toString":3}]`)
	}},
	{name: "Socket.IO 5/Sample session", check: func(c *check) {
		s := c.poll()
		s.post("40")
		c.granted("40", s.next())
		s.want(`42["auth",{}]`)
		s.post(`42["message","hello"]`, `42["message","world"]`)
		s.want(`42["message-back","hello"]`, `42["message-back","world"]`)
		w := s.upgraded()
		w.text(`42["message","hello"]`, `42["message","world"]`)
		w.want(`42["message-back","hello"]`, `42["message-back","world"]`)
		w.text("40/custom,")
		w.granted("40/custom,")
		w.want(`42/custom,["auth",{}]`)
		w.text(`451-1["message-with-ack",` + placeholder + `]`)
		w.binary("x")
		w.want(`461-1[` + placeholder + `]`)
		w.wantBinary("x")
		w.quiet = true
		w.want("2")
		w.text("3", `42["message"]`)
		w.want(`42["message-back"]`)
	}},
	{name: "Socket.IO 5/Sample session/an upgrade between a packet and its attachments", check: func(c *check) {
		s := c.polled()
		s.post(`452-["message",` + placeholder + `,{"_placeholder":true,"num":1}]`)
		s.post("bAQID")
		w := s.upgraded()
		w.binary("\x04")
		w.want(`452-["message-back",` + placeholder + `,{"_placeholder":true,"num":1}]`)
		w.wantBinary("\x01\x02\x03", "\x04")
	}},
	{name: "Socket.IO 5/Sample session/close ends it over HTTP", check: func(c *check) {
		s := c.polled()
		s.post("1")
		s.gone()
	}},
}

// closes is a case of packets for the main namespace, each of which must make the server close.
func closes(packets ...string) func(*check) {
	return func(c *check) {
		c.each(packets, func(c *check, packet string) {
			w := c.connected()
			w.text(packet)
			w.closed()
		})
	}
}

// closesAfter is the like of binary packets, with their only attachment.
func closesAfter(attachment string, packets ...string) func(*check) {
	return func(c *check) {
		c.each(packets, func(c *check, packet string) {
			w := c.connected()
			w.text(packet)
			w.binary(attachment)
			w.closed()
		})
	}
}

package wsserver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestWire: what a client sends, and what it is answered, as the texts of Socket.IO 5. The connection lives on.
func TestWire(t *testing.T) {
	const sid = `{"sid":"SID"}` // whatever it is
	for _, test := range []struct {
		rule string // Socket.IO 5, or a file of the reference
		send []string
		want []string
	}{
		{"Connection to a namespace: /", []string{`40`}, []string{`40` + sid}},
		{"Connection to a namespace: / written out", []string{`40/,`}, []string{`40` + sid}},
		{"Connection to a namespace: another", []string{`40/admin,`}, []string{`40/admin,` + sid}},
		{"Connection to a namespace: with a payload", []string{`40/admin,{"token":"123"}`}, []string{`40/admin,` + sid}},
		{"Format: a name without a comma, with nothing behind it", []string{`40/admin`, `41/admin`, `40/admin`}, []string{`40/admin,` + sid, `40/admin,` + sid}},
		{"Connection to a namespace: several", []string{`40`, `40/admin,`}, []string{`40` + sid, `40/admin,` + sid}},
		{"Connection to a namespace: refused", []string{`40/locked,`}, []string{`44/locked,{"message":"Not authorized","data":{"code":7}}`}},
		{"Connection to a namespace: unknown", []string{`40/unknown,{"a":1}`}, []string{`44/unknown,{"message":"Invalid namespace"}`}},
		{"client.ts _parseNamespace: a query is part of the name", []string{`40/admin?token=1234,`}, []string{`44/admin?token=1234,{"message":"Invalid namespace"}`}},
		{"Connection to a namespace: two slashes are another name", []string{`40//admin,`}, []string{`44//admin,{"message":"Invalid namespace"}`}},
		{"Connection to a namespace: dots mean nothing", []string{`40/admin/..,`}, []string{`44/admin/..,{"message":"Invalid namespace"}`}},
		{"Connection to a namespace: a star means nothing", []string{`40/*,`}, []string{`44/*,{"message":"Invalid namespace"}`}},
		{"Connection to a namespace: a zero byte", []string{"40/\x00,"}, []string{"44/\x00,{\"message\":\"Invalid namespace\"}"}},

		{"Sending and receiving data", []string{`40`, `42["ask","a"]`}, []string{`40` + sid, `42["told","a"]`}},
		{"Sending and receiving data: in a namespace", []string{`40/admin,`, `42/admin,["ask",{"b":[null]}]`}, []string{`40/admin,` + sid, `42/admin,["told",{"b":[null]}]`}},
		{"Sending and receiving data: binary", []string{`40`, `451-["ask",{"_placeholder":true,"num":0}]`, "b\x01\x02"}, []string{`40` + sid, `451-["told",{"_placeholder":true,"num":0}]`, "b\x01\x02"}},
		{"Sending and receiving data: binary in a namespace, in another order, inside", []string{`40/admin,`, `452-/admin,["ask",{"x":[{"_placeholder":true,"num":1}],"y":{"num":0,"_placeholder":true}}]`, "b1", "b2"},
			[]string{`40/admin,` + sid, `452-/admin,["told",{"x":[{"_placeholder":true,"num":0}],"y":{"_placeholder":true,"num":1}}]`, "b2", "b1"}},
		{"index.ts isPayloadValid: a number is a name", []string{`40`, `42[7,"a"]`, `421["echo"]`}, []string{`40` + sid, `431[]`}},
		{"binary.ts: a placeholder is data where nothing is attached", []string{`40`, `42["ask",{"_placeholder":true,"num":0}]`}, []string{`40` + sid, `42["told",{"_placeholder":true,"num":0}]`}},
		{"socket.ts constructor: error is an event", []string{`40`, `42["error",1]`, `421["echo"]`}, []string{`40` + sid, `431[]`}},

		{"Acknowledgement: empty", []string{`40`, `4212["echo"]`}, []string{`40` + sid, `4312[]`}},
		{"Acknowledgement: in a namespace", []string{`40/admin,`, `42/admin,13["echo","bar"]`}, []string{`40/admin,` + sid, `43/admin,13["bar"]`}},
		{"Acknowledgement: binary", []string{`40`, `451-14["echo",{"_placeholder":true,"num":0}]`, "bx"}, []string{`40` + sid, `461-14[{"_placeholder":true,"num":0}]`, "bx"}},
		{"Acknowledgement: id 0", []string{`40`, `420["echo"]`}, []string{`40` + sid, `430[]`}},
		{"Acknowledgement: the highest id", []string{`40`, `42999999999999999["echo"]`}, []string{`40` + sid, `43999999999999999[]`}},
		{"socket.ts onack: unknown ids are ignored", []string{`40`, `43999[]`, `461-1["x",{"_placeholder":true,"num":0}]`, "bx", `421["echo"]`}, []string{`40` + sid, `431[]`}},

		{"Disconnection from a namespace", []string{`40`, `40/admin,`, `41/admin,`, `421["echo"]`, `40/admin,`}, []string{`40` + sid, `40/admin,` + sid, `431[]`, `40/admin,` + sid}},
		{"Disconnection from a namespace: by the server", []string{`40`, `40/admin,`, `42/admin,["drop me"]`, `42/admin,["late"]`, `421["echo"]`}, []string{`40` + sid, `40/admin,` + sid, `41/admin,`, `431[]`}},
	} {
		kit.Bubble(t, test.rule, func(t *testing.T) {
			srv := newServer(t, wsserver.Config{})
			for _, name := range []string{"/", "/admin"} {
				ns := srv.Of(name)
				if name != "/" {
					ns.On("echo", echo)
				}
				ns.On("ask", func(ctx context.Context, e *wsserver.Event) error {
					var arg any
					if err := e.Decode(&arg); err != nil {
						return err
					}
					return e.Socket().Emit(ctx, "told", arg)
				})
				ns.On("drop me", func(ctx context.Context, e *wsserver.Event) error { e.Socket().Disconnect(); return nil })
			}
			srv.Of("/locked").Use(func(context.Context, *wsserver.Socket) error {
				return &wsserver.ConnectError{Message: "Not authorized", Data: map[string]int{"code": 7}}
			})
			c := wsrig.Dial(t, srv, wsrig.Config{})
			c.Read()
			for _, m := range test.send {
				if data, ok := strings.CutPrefix(m, "b"); ok {
					c.SendBinary([]byte(data))
				} else {
					c.Send(m)
				}
				synctest.Wait()
			}
			var got []string
			for range test.want {
				m := c.Read()
				if i := strings.Index(m, `{"sid":"`); i >= 0 && strings.HasPrefix(m, "40") {
					var open struct{ SID string }
					if err := json.Unmarshal([]byte(m[i:]), &open); err != nil || len(open.SID) < 20 {
						t.Errorf("got %s, %v, want a session id", m, err)
					}
					m = m[:i] + sid
				}
				got = append(got, m)
			}
			kit.Check(t, slices.Equal(got, test.want), "%q: got %q, want %q", test.send, got, test.want)
			c.Send(`40/still there`) // and nothing more was answered
			kit.Want(t, c.Read(), `44/still there,{"message":"Invalid namespace"}`, "in the end")
		})
	}
}

// TestParseErrors: what ends the whole connection, by the sections of Socket.IO 5 and by bad input, 3.3. TestBadInput has more.
func TestParseErrors(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	const one = `{"_placeholder":true,"num":0}`
	for _, test := range []struct {
		rule string
		send []string // "b..." is binary
	}{
		{"Connection to a namespace: an event to none", []string{`42/admin,["x"]`}},
		{"Connection to a namespace: an ack to none", []string{`43/admin,1[]`}},
		{"Connection to a namespace: CONNECT_ERROR is the server's", []string{`44`}},
		{"Connection to a namespace: CONNECT_ERROR with an object", []string{`44{"message":"x"}`}},
		{"Connection to a namespace: CONNECT with an id", []string{`40/admin,1{}`}},
		{"Connection to a namespace: auth an array", []string{`40/admin,["x"]`}},
		{"Connection to a namespace: auth a string", []string{`40/admin,"x"`}},
		{"Connection to a namespace: auth null", []string{`40/admin,null`}},
		{"Connection to a namespace: auth too deep", []string{`40/admin,{"a":` + deep(1000) + `}`}},
		{"Connection to a namespace: auth no JSON", []string{`40/admin,{`}},
		{"Connection to a namespace: a name too long", []string{`40/` + strings.Repeat("x", 512) + `,`}},
		{"Connection to a namespace: a megabyte of a name", []string{`40/` + strings.Repeat("x", 900_000)}},
		{"Connection to a namespace: the name ends at the comma", []string{`40/a,b`}},

		{"Sending and receiving data: no payload", []string{`42`}},
		{"Sending and receiving data: no payload in a namespace", []string{`42/,`}},
		{"Sending and receiving data: an empty array", []string{`42[]`}},
		{"Sending and receiving data: a string", []string{`42"x"`}},
		{"Sending and receiving data: null", []string{`42null`}},
		{"Sending and receiving data: the name is null", []string{`42[null]`}},
		{"Sending and receiving data: the name is true", []string{`42[true]`}},
		{"Sending and receiving data: the name is an array", []string{`42[["x"]]`}},
		{"Sending and receiving data: the name is an attachment", []string{`451-[` + one + `]`, "bx"}},
		{"Sending and receiving data: something behind the payload", []string{`42["x"]x`}},
		{"Sending and receiving data: two payloads", []string{`42["x"]["y"]`}},
		{"Sending and receiving data: too deep", []string{`42["x",` + deep(1001) + `]`}},
		{"Sending and receiving data: too many arguments", []string{`42["x"` + strings.Repeat(`,0`, 1000) + `]`}},
		{"Sending and receiving data: a number that is none in JavaScript", []string{`42["x",1e999]`}},
		{"Sending and receiving data: a megabyte of digits", []string{`42["x",` + strings.Repeat("9", 900_000) + `]`}},
		{"Sending and receiving data: a key without quotes", []string{`42["x",{a:1}]`}},

		{"Acknowledgement: no payload", []string{`431`}},
		{"Acknowledgement: an object", []string{`431{}`}},
		{"Acknowledgement: id above 15 digits", []string{`4218446744073709551616["x"]`}},
		{"Acknowledgement: id with an exponent", []string{`421e3["x"]`}},
		{"Acknowledgement: id below zero", []string{`42-1["x"]`}},
		{"Acknowledgement: id with a fraction", []string{`421.5["x"]`}},
		{"Acknowledgement: id with leading zeros", []string{`4201["x"]`}},
		{"Acknowledgement: a megabyte of an id", []string{`42` + strings.Repeat("9", 900_000) + `["x"]`}},
		{"Acknowledgement: id without a payload", []string{`421`}},

		{"Disconnection from a namespace: with a payload", []string{`41{}`}},
		{"Disconnection from a namespace: of one not joined", []string{`41/admin,`}},
		{"Disconnection from a namespace: twice", []string{`41`, `41`}},

		{"Format: no type", []string{`4`}},
		{"Format: unknown type", []string{`47["x"]`}},
		{"Format: a letter for a type", []string{`4x`}},
		{"Format: a sign for a type", []string{`4-1`}},

		{"Format: attachments: none, then binary without end (CVE-2026-69185)", []string{`450-["x"]`, "bx", "bx", "bx"}},
		{"Format: attachments: no number", []string{`45-["x",` + one + `]`, "bx"}},
		{"Format: attachments: a fraction", []string{`451.5-["x",` + one + `]`, "bx"}},
		{"Format: attachments: below zero", []string{`45-1-["x",` + one + `]`, "bx"}},
		{"Format: attachments: no dash", []string{`451["x",` + one + `]`, "bx"}},
		{"Format: attachments: a leading zero", []string{`4501-["x",` + one + `]`, "bx"}},
		{"Format: attachments: a huge number (CVE-2026-33151)", []string{`45999999999-["x",` + one + `]`, "bx"}},
		{"Format: attachments: more than 10", []string{`4511-["x",` + one + `]`, "bx"}},
		{"Format: attachments: 19 digits", []string{`459223372036854775807-["x",` + one + `]`, "bx"}},
		{"Format: placeholders: none", []string{`451-["x"]`, "bx"}},
		{"Format: placeholders: number below zero", []string{`451-["x",{"_placeholder":true,"num":-1}]`, "bx"}},
		{"Format: placeholders: number a fraction", []string{`451-["x",{"_placeholder":true,"num":0.5}]`, "bx"}},
		{"Format: placeholders: number a string (CVE-2022-2421)", []string{`451-["x",{"_placeholder":true,"num":"splice"}]`, "bx"}},
		{"Format: placeholders: number out of range", []string{`451-["x",{"_placeholder":true,"num":99}]`, "bx"}},
		{"Format: placeholders: no number", []string{`451-["x",{"_placeholder":true}]`, "bx"}},
		{"Format: placeholders: one twice", []string{`452-["x",` + one + `,` + one + `]`, "bx", "bx"}},
		{"Format: placeholders: in a key", []string{`451-["x",{"{\"_placeholder\":true,\"num\":0}":1}]`, "bx"}},
		{"Format: binary that nothing announced", []string{"bx"}},
		{"Format: one binary too many", []string{`451-["x",` + one + `]`, "bx", "by"}},
		{"Format: text between attachments", []string{`452-["x",` + one + `,{"_placeholder":true,"num":1}]`, "bx", `42["y"]`, "bx"}},
	} {
		t.Run(test.rule, func(t *testing.T) { wantParseError(t, test.send) })
	}
	for _, name := range []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"} {
		t.Run("Sending and receiving data: reserved name "+name, func(t *testing.T) {
			wantParseError(t, []string{fmt.Sprintf(`42[%q]`, name)})
			synctest.Test(t, func(t *testing.T) { // and the server does not send them either
				srv := newServer(t, wsserver.Config{})
				c := wstest.Dial(t, srv, wstest.Config{})
				s := socketOf(t, srv, c)
				for what, err := range map[string]error{
					"Emit": s.Emit(t.Context(), name), "Volatile": s.Volatile().Emit(t.Context(), name), "Broadcast": srv.Emit(t.Context(), name),
				} {
					kit.Check(t, err != nil, "%s: got no error", what)
				}
				if _, err := s.EmitWithAck(t.Context(), name); err == nil || errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("EmitWithAck: got %v, want an error at once", err)
				}
				wantEvents(t, "the client", c)
			})
		})
	}
}

// wantParseError sends messages of a client that is connected to "/", after which its connection has to be closed, and no other.
func wantParseError(t *testing.T, send []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		srv.Of("/admin")
		gone := farewells(srv.Of("/"))
		other := wstest.Dial(t, srv, wstest.Config{})
		c := wsrig.Dial(t, srv, wsrig.Config{})
		c.Send("40")
		c.Read()
		c.Read()
		for _, m := range send {
			if data, ok := strings.CutPrefix(m, "b"); ok {
				c.SendBinary([]byte(data))
			} else {
				c.Send(m)
			}
		}
		time.Sleep(time.Second)
		select {
		case <-c.Done():
		default:
			t.Fatal("the connection is open")
		}
		want := wsserver.ErrParse
		if send[0] == "41" {
			want = wsserver.ErrClientDisconnect
		}
		kit.WantErr(t, next(t, gone).reason, want, "reason")
		other.EmitWithAck("echo")
		kit.Want(t, srv.Stats().Connections, 1, "connections (the other one)")
	})
}

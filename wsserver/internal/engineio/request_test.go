package engineio

import (
	"errors"
	"fmt"
	"github.com/belfry-io/belfry/test/kit"
	"net/url"
	"slices"
	"testing"
)

func query(t *testing.T, raw string) url.Values {
	t.Helper()
	q := kit.Must(url.ParseQuery(raw))(t)
	return q
}

// sessions knows a session on each transport, whose ids are the transports' names.
func sessions(sid string) (Transport, bool) { return parseTransport(sid) }

// request is a request that may be served, without or with an id.
func request(t *testing.T, method string, transport Transport, sid string) Request {
	r := Request{
		Method: method, Query: query(t, "EIO=4"), Origin: []string{"https://example.com"}, Upgrade: transport == TransportWebSocket,
		Session: sessions,
		Allow:   func() error { return nil },
	}
	r.Query.Set("transport", transport.String())
	if sid != "" {
		r.Query.Set("sid", sid)
	}
	return r
}

func poll(t *testing.T) Request    { return request(t, "GET", TransportPolling, "polling") }
func send(t *testing.T) Request    { return request(t, "POST", TransportPolling, "polling") }
func upgrade(t *testing.T) Request { return request(t, "GET", TransportWebSocket, "polling") }

func openPolling(t *testing.T) Request   { return request(t, "GET", TransportPolling, "") }
func openWebSocket(t *testing.T) Request { return request(t, "GET", TransportWebSocket, "") }

func refuseAll() error { return errors.New("no") }

func TestVerify(t *testing.T) {
	const accepted = Code(-1)
	type base = func(t *testing.T) Request
	all := []base{openPolling, openWebSocket, poll, send, upgrade}
	opens := []base{openPolling, openWebSocket}
	joins := []base{poll, send, upgrade}
	polls := []base{openPolling, poll, send}
	sockets := []base{openWebSocket, upgrade}
	actions := func(r Request) Action { // what the request asks for, before it is edited
		switch {
		case r.Query.Get("sid") == "":
			return ActionOpen
		case r.Upgrade:
			return ActionUpgrade
		case r.Method == "POST":
			return ActionSend
		}
		return ActionPoll
	}
	set := func(key string, values ...string) func(r *Request) {
		return func(r *Request) { r.Query[key] = values }
	}
	method := func(m string) func(r *Request) { return func(r *Request) { r.Method = m } }
	for _, test := range []struct {
		section string // of Engine.IO 4, or where else the rule is from
		rule    string
		bases   []base
		edit    func(r *Request)
		code    Code
	}{
		{"Query parameters", "good", all, func(r *Request) {}, accepted},
		{"Query parameters", "keys that this version ignores", all, func(r *Request) { r.Query.Set("b64", "1"); r.Query.Set("t", "abc") }, accepted},
		{"Query parameters", "empty sid", opens, set("sid", ""), accepted},
		{"Query parameters", "transport missing", all, func(r *Request) { r.Query.Del("transport") }, CodeUnknownTransport},
		{"Query parameters", "transport twice", all, func(r *Request) { r.Query.Add("transport", r.Query.Get("transport")) }, CodeUnknownTransport},
		{"Query parameters", "both transports", all, set("transport", "polling", "websocket"), CodeUnknownTransport},
		{"Query parameters", "EIO missing", opens, func(r *Request) { r.Query.Del("EIO") }, CodeUnsupportedProtocol},
		{"Query parameters", "EIO 3", opens, set("EIO", "3"), CodeUnsupportedProtocol},
		{"Query parameters", "EIO 5", opens, set("EIO", "5"), CodeUnsupportedProtocol},
		{"Query parameters", "EIO 04", opens, set("EIO", "04"), CodeUnsupportedProtocol},
		{"Query parameters", "EIO twice", opens, set("EIO", "4", "4"), CodeUnsupportedProtocol},
		{"Query parameters", "EIO missing, known sid", joins, func(r *Request) { r.Query.Del("EIO") }, CodeBadRequest},
		{"Query parameters", "EIO 3, known sid", joins, set("EIO", "3"), CodeBadRequest},
		{"Query parameters", "EIO twice, known sid", joins, set("EIO", "4", "4"), CodeBadRequest},

		{"Transports", "webtransport", all, set("transport", "webtransport"), CodeUnknownTransport},
		{"Transports", "constructor", all, set("transport", "constructor"), CodeUnknownTransport},
		{"Transports", "capitals", all, set("transport", "Polling"), CodeUnknownTransport},
		{"Transports", "both enabled by name", all, func(r *Request) { r.Transports = TransportPolling | TransportWebSocket }, accepted},
		{"Transports", "polling alone enabled", polls, func(r *Request) { r.Transports = TransportPolling }, accepted},
		{"Transports", "polling alone enabled", sockets, func(r *Request) { r.Transports = TransportPolling }, CodeUnknownTransport},
		{"Transports", "WebSocket alone enabled", sockets, func(r *Request) { r.Transports = TransportWebSocket }, accepted},
		{"Transports", "WebSocket alone enabled", polls, func(r *Request) { r.Transports = TransportWebSocket }, CodeUnknownTransport},

		{"From v3 to v4", "JSONP", polls, set("j", "0"), CodeBadRequest},
		{"From v3 to v4", "JSONP, empty", polls, set("j", ""), CodeBadRequest},
		{"From v3 to v4", "JSONP, twice", polls, set("j", "0", "1"), CodeBadRequest},
		{"From v3 to v4", "j on a WebSocket", sockets, set("j", "0"), accepted},

		{"RFC 9110 section 5.5", "no Origin", all, func(r *Request) { r.Origin = nil }, accepted},
		{"RFC 9110 section 5.5", "control character", all, func(r *Request) { r.Origin = []string{"https://a\x01b"} }, CodeBadRequest},
		{"RFC 9110 section 5.5", "DEL", all, func(r *Request) { r.Origin = []string{"https://a\x7fb"} }, CodeBadRequest},
		{"RFC 9110 section 5.3", "two Origins", all, func(r *Request) { r.Origin = []string{"https://a", "https://b"} }, CodeBadRequest},

		{"Sending and receiving data", "unknown sid", all, set("sid", "nobody"), CodeUnknownSID},
		{"Sending and receiving data", "sid __proto__", all, set("sid", "__proto__"), CodeUnknownSID},
		{"Sending and receiving data", "sid twice", all, set("sid", "polling", "polling"), CodeUnknownSID},
		{"Sending and receiving data", "empty sid twice", all, set("sid", "", ""), CodeUnknownSID},
		{"Sending and receiving data", "no Session, sid", joins, func(r *Request) { r.Session = nil }, CodeUnknownSID},
		{"Sending and receiving data", "no Session, no sid", opens, func(r *Request) { r.Session = nil }, accepted},
		{"Sending and receiving data", "the session has moved to a WebSocket", []base{poll, send}, set("sid", "websocket"), CodeBadRequest},
		{"Sending and receiving data", "PUT", []base{poll, send}, method("PUT"), CodeBadRequest},

		{"Handshake", "POST", opens, method("POST"), CodeBadHandshakeMethod},
		{"Handshake", "OPTIONS", opens, method("OPTIONS"), CodeBadHandshakeMethod},
		{"Handshake", "HEAD", opens, method("HEAD"), CodeBadHandshakeMethod},
		{"Handshake", "WebSocket without an upgrade", []base{openWebSocket}, func(r *Request) { r.Upgrade = false }, CodeBadRequest},
		{"Handshake", "polling with an upgrade", []base{openPolling}, func(r *Request) { r.Upgrade = true }, CodeBadRequest},

		{"Upgrade", "WebSocket without an upgrade", []base{upgrade}, func(r *Request) { r.Upgrade = false }, CodeBadRequest},
		{"Upgrade", "the same, session on a WebSocket", []base{upgrade}, func(r *Request) { r.Upgrade = false; r.Query.Set("sid", "websocket") }, CodeBadRequest},
		{"Upgrade", "polling with an upgrade", []base{poll, send}, func(r *Request) { r.Upgrade = true }, CodeBadRequest},
		{"Upgrade", "the session has moved to a WebSocket", []base{upgrade}, set("sid", "websocket"), accepted},
		{"RFC 6455 section 4.1", "POST", []base{upgrade}, method("POST"), CodeBadHandshakeMethod},

		{"verify in engine.io/lib/server.ts", "Allow nil", all, func(r *Request) { r.Allow = nil }, accepted},
		{"verify in engine.io/lib/server.ts", "not allowed", []base{openPolling, openWebSocket, upgrade}, func(r *Request) { r.Allow = refuseAll }, CodeForbidden},
		{"verify in engine.io/lib/server.ts", "a session that polls is asked for once", []base{poll, send}, func(r *Request) { r.Allow = refuseAll }, accepted},
	} {
		for _, base := range test.bases {
			r := base(t)
			want := actions(r)
			if test.code != accepted {
				want = 0
			}
			test.edit(&r)
			action, refusal := r.Verify()
			code := accepted
			if refusal != nil {
				code = refusal.Code
			}
			if action != want || code != test.code {
				t.Errorf("%s: %s: %s %v: got action %d, %v, want action %d, code %d", test.section, test.rule, r.Method, r.Query, action, refusal, want, test.code)
			}
		}
	}
}

// TestVerifyMethods: what is neither GET nor POST leaves a session alone (Engine.IO 4, "HTTP long-polling").
func TestVerifyMethods(t *testing.T) {
	for _, method := range []string{"PUT", "DELETE", "OPTIONS", "HEAD", "get", ""} {
		r := poll(t)
		r.Method = method
		action, err := r.Verify()
		if action != 0 || err == nil || err.Status() != 405 || !slices.Equal(err.Allow, []string{"GET", "POST"}) {
			t.Errorf("%q: got action %d, %v, want status 405", method, action, err)
		}
	}
}

// TestVerifyOrder gives a request two faults at a time: the answer is that of the check that comes first (verify and handshake in
// engine.io/lib/server.ts).
func TestVerifyOrder(t *testing.T) {
	type fault struct {
		name string
		edit func(r *Request)
		want string
	}
	name := fault{"transport", func(r *Request) { r.Query.Set("transport", "x") }, "0 the transport is unknown or not enabled"}
	disabled := fault{"disabled", func(r *Request) { r.Transports = 1 << 7 }, "0 the transport is unknown or not enabled"}
	jsonp := fault{"j", func(r *Request) { r.Query.Set("j", "0") }, "3 JSONP is not supported"}
	origin := fault{"Origin", func(r *Request) { r.Origin = []string{"\n"} }, "3 the Origin header is malformed"}
	sid := fault{"sid", func(r *Request) { r.Query.Set("sid", "x") }, "1 no session has this id"}
	moved := fault{"moved", func(r *Request) { r.Query.Set("sid", "websocket") }, "3 the session has another transport"}
	method := fault{"method", func(r *Request) { r.Method = "PUT" }, "2 the method is not GET"}
	otherMethod := fault{"method", method.edit, "3 the method is neither GET nor POST"}
	upgradeMethod := fault{"method", method.edit, "2 the method of the upgrade is not GET"}
	plain := fault{"plain", func(r *Request) { r.Upgrade = false }, "3 the transport is websocket, but no upgrade is asked for"}
	upgraded := fault{"upgraded", func(r *Request) { r.Upgrade = true }, "3 the transport is polling, but an upgrade is asked for"}
	forbidden := fault{"allow", func(r *Request) { r.Allow = refuseAll }, "4 not allowed"}
	protocol := fault{"EIO", func(r *Request) { r.Query.Set("EIO", "3") }, "5 EIO is not 4"}
	mismatch := fault{"EIO", protocol.edit, "3 EIO is not that of the session"}
	for _, test := range []struct {
		base   func(t *testing.T) Request
		faults []fault
	}{
		{openPolling, []fault{name, disabled, jsonp, origin, sid, method, upgraded, forbidden, protocol}},
		{openWebSocket, []fault{name, disabled, origin, sid, method, plain, forbidden, protocol}},
		{poll, []fault{name, disabled, jsonp, origin, sid, moved, mismatch, otherMethod}},
		{poll, []fault{name, jsonp, origin, sid, mismatch, upgraded}},
		{upgrade, []fault{name, disabled, origin, sid, mismatch, upgradeMethod, forbidden}},
	} {
		for i, first := range test.faults {
			for _, second := range test.faults[i:] {
				r := test.base(t)
				second.edit(&r)
				first.edit(&r)
				_, err := r.Verify()
				kit.Check(t, err != nil && fmt.Sprintf("%d %s", err.Code, err.Detail) == first.want,
					"%s and %s: got %v, want %s", first.name, second.name, err, first.want)
			}
		}
	}
}

// TestVerifyAsksLast checks that the application is not asked about a request that is refused anyway, but for its EIO.
func TestVerifyAsksLast(t *testing.T) {
	for _, edit := range []func(r *Request){
		func(r *Request) { r.Method = "PUT" },
		func(r *Request) { r.Upgrade = !r.Upgrade },
		func(r *Request) { r.Query.Set("sid", "nobody") },
	} {
		for _, base := range []func(t *testing.T) Request{openPolling, openWebSocket, upgrade} {
			r := base(t)
			edit(&r)
			r.Allow = func() error { t.Errorf("Allow was called for %s %v", r.Method, r.Query); return nil }
			if action, err := r.Verify(); err == nil {
				t.Errorf("%s %v: got action %d, want a refusal", r.Method, r.Query, action)
			}
		}
	}
}

// TestVerifyAsksOnce checks that a caller may keep what it finds when it is asked for a session.
func TestVerifyAsksOnce(t *testing.T) {
	for _, base := range []func(t *testing.T) Request{poll, send, upgrade} {
		r := base(t)
		asked := 0
		r.Session = func(sid string) (Transport, bool) { asked++; return sessions(sid) }
		if action, err := r.Verify(); err != nil || asked != 1 {
			t.Errorf("%s %v: got action %d, %v after %d questions, want one", r.Method, r.Query, action, err, asked)
		}
	}
}

func TestErrorAnswer(t *testing.T) {
	for _, test := range []struct {
		base   func(t *testing.T) Request
		edit   func(r *Request)
		status int
		json   string
	}{
		{openWebSocket, func(r *Request) { r.Query.Del("transport") }, 400, `{"code":0,"message":"Transport unknown"}`},
		{openWebSocket, func(r *Request) { r.Query.Set("sid", "x") }, 400, `{"code":1,"message":"Session ID unknown"}`},
		{openWebSocket, func(r *Request) { r.Method = "POST" }, 400, `{"code":2,"message":"Bad handshake method"}`},
		{openWebSocket, func(r *Request) { r.Upgrade = false }, 400, `{"code":3,"message":"Bad request"}`},
		{openPolling, func(r *Request) { r.Allow = func() error { return errors.New(`"no"`) } }, 403, `{"code":4,"message":"\"no\""}`},
		{upgrade, func(r *Request) { r.Allow = func() error { return errors.New("") } }, 403, `{"code":4,"message":"Forbidden"}`},
		{openPolling, func(r *Request) { r.Query.Del("EIO") }, 400, `{"code":5,"message":"Unsupported protocol version"}`},
		{poll, func(r *Request) { r.Query.Del("EIO") }, 400, `{"code":3,"message":"Bad request"}`},
		{poll, func(r *Request) { r.Method = "PUT" }, 405, `{"code":3,"message":"Bad request"}`},
	} {
		r := test.base(t)
		test.edit(&r)
		_, err := r.Verify()
		kit.Check(t, err != nil && err.Status() == test.status && string(err.JSON()) == test.json,
			"got %v, want %d %s", err, test.status, test.json)
	}
}

func TestTransportString(t *testing.T) {
	for transport, want := range map[Transport]string{
		TransportPolling: "polling", TransportWebSocket: "websocket", 0: "Transport(0)", TransportPolling | TransportWebSocket: "Transport(3)",
	} {
		kit.Want(t, transport.String(), want)
		if parsed, ok := parseTransport(want); ok && parsed != transport {
			t.Errorf("%s: parsed as %s", want, parsed)
		}
	}
}

// FuzzVerify checks that a request is served exactly if it is one of the four that the protocol has.
func FuzzVerify(f *testing.F) {
	f.Add("GET", "EIO=4&transport=websocket", "https://a", true, uint8(0), false)
	f.Add("GET", "EIO=4&transport=polling", "https://a", false, uint8(0), false)
	f.Add("GET", "EIO=4&transport=polling&sid=polling", "", false, uint8(1), true)
	f.Add("POST", "EIO=4&transport=polling&sid=polling&t=x", "", false, uint8(3), false)
	f.Add("GET", "EIO=4&transport=websocket&sid=polling", "", true, uint8(2), false)
	f.Add("GET", "EIO=4&transport=websocket&sid=websocket", "", true, uint8(0), true)
	f.Add("OPTIONS", "EIO=4&transport=polling&sid=polling", "", false, uint8(0), false)
	f.Add("POST", "EIO=3&transport=polling&sid=x&sid=y", "\x00", false, uint8(0), false)
	f.Fuzz(func(t *testing.T, method, raw, origin string, upgrade bool, enabled uint8, forbid bool) {
		q, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		r := Request{Method: method, Query: q, Origin: []string{origin}, Upgrade: upgrade, Transports: Transport(enabled), Session: sessions}
		if forbid {
			r.Allow = refuseAll
		}
		action, refusal := r.Verify()

		is := func(key, value string) bool { return len(q[key]) == 1 && q[key][0] == value }
		none := len(q["sid"]) == 0 || is("sid", "")
		polling := is("transport", "polling") && (enabled == 0 || enabled&1 != 0) && !upgrade && !q.Has("j")
		webSocket := is("transport", "websocket") && (enabled == 0 || enabled&2 != 0) && upgrade && method == "GET"
		known := polling && is("sid", "polling")
		var want Action
		switch sound := is("EIO", "4") && validHeaderValue(origin); {
		case sound && none && (polling && method == "GET" || webSocket) && !forbid:
			want = ActionOpen
		case sound && known && method == "GET":
			want = ActionPoll
		case sound && known && method == "POST":
			want = ActionSend
		case sound && webSocket && (is("sid", "polling") || is("sid", "websocket")) && !forbid:
			want = ActionUpgrade
		}
		kit.Check(t, action == want && (refusal == nil) == (want != 0),
			"%s %q: got action %d, %v, want action %d", method, raw, action, refusal, want)
		if refusal != nil && (refusal.Status() == 405) != (known && is("EIO", "4") && validHeaderValue(origin)) {
			t.Errorf("%s %q: got %d for %v", method, raw, refusal.Status(), refusal)
		}
	})
}

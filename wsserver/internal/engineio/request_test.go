package engineio

import (
	"errors"
	"fmt"
	"net/url"
	"testing"
)

func query(t *testing.T, raw string) url.Values {
	t.Helper()
	q, err := url.ParseQuery(raw)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func goodRequest(t *testing.T) Request {
	return Request{
		Method: "GET", Query: query(t, "EIO=4&transport=websocket"), Origin: []string{"https://example.com"}, Upgrade: true,
		Known: func(sid string) bool { return sid == "known" },
		Allow: func() error { return nil },
	}
}

func TestVerify(t *testing.T) {
	tests := []struct {
		name string
		edit func(r *Request)
		code Code // -1: accepted
	}{
		{"good", func(r *Request) {}, -1},
		{"no Origin", func(r *Request) { r.Origin = nil }, -1},
		{"no Allow, no Known", func(r *Request) { r.Allow, r.Known = nil, nil }, -1},
		{"empty sid", func(r *Request) { r.Query.Set("sid", "") }, -1},
		{"keys that v4 ignores", func(r *Request) { r.Query.Set("b64", "1"); r.Query.Set("t", "abc"); r.Query.Set("j", "0") }, -1},

		{"transport missing", func(r *Request) { r.Query.Del("transport") }, CodeUnknownTransport},
		{"transport polling", func(r *Request) { r.Query.Set("transport", "polling") }, CodeUnknownTransport},
		{"transport webtransport", func(r *Request) { r.Query.Set("transport", "webtransport") }, CodeUnknownTransport},
		{"transport constructor", func(r *Request) { r.Query.Set("transport", "constructor") }, CodeUnknownTransport},
		{"transport in capitals", func(r *Request) { r.Query.Set("transport", "WebSocket") }, CodeUnknownTransport},
		{"transport twice", func(r *Request) { r.Query.Add("transport", "websocket") }, CodeUnknownTransport},
		{"Origin with a control character", func(r *Request) { r.Origin = []string{"https://a\x01b"} }, CodeBadRequest},
		{"Origin with DEL", func(r *Request) { r.Origin = []string{"https://a\x7fb"} }, CodeBadRequest},
		{"two Origins", func(r *Request) { r.Origin = []string{"https://a", "https://b"} }, CodeBadRequest},
		{"unknown sid", func(r *Request) { r.Query.Set("sid", "nobody") }, CodeUnknownSID},
		{"sid __proto__", func(r *Request) { r.Query.Set("sid", "__proto__") }, CodeUnknownSID},
		{"unknown sid, no Known", func(r *Request) { r.Known = nil; r.Query.Set("sid", "nobody") }, CodeUnknownSID},
		{"sid twice", func(r *Request) { r.Query["sid"] = []string{"known", "known"} }, CodeUnknownSID},
		{"sid of a session", func(r *Request) { r.Query.Set("sid", "known") }, CodeBadRequest},
		{"POST", func(r *Request) { r.Method = "POST" }, CodeBadHandshakeMethod},
		{"OPTIONS", func(r *Request) { r.Method = "OPTIONS" }, CodeBadHandshakeMethod},
		{"no upgrade", func(r *Request) { r.Upgrade = false }, CodeBadRequest},
		{"not allowed", func(r *Request) { r.Allow = func() error { return errors.New("no") } }, CodeForbidden},
		{"EIO missing", func(r *Request) { r.Query.Del("EIO") }, CodeUnsupportedProtocol},
		{"EIO 3", func(r *Request) { r.Query.Set("EIO", "3") }, CodeUnsupportedProtocol},
		{"EIO 5", func(r *Request) { r.Query.Set("EIO", "5") }, CodeUnsupportedProtocol},
		{"EIO 04", func(r *Request) { r.Query.Set("EIO", "04") }, CodeUnsupportedProtocol},
		{"EIO twice", func(r *Request) { r.Query.Add("EIO", "4") }, CodeUnsupportedProtocol},
	}
	for _, test := range tests {
		r := goodRequest(t)
		test.edit(&r)
		got := Code(-1)
		if err := r.Verify(); err != nil {
			got = err.Code
		}
		if got != test.code {
			t.Errorf("%s: got code %d, want %d", test.name, got, test.code)
		}
	}
}

// TestVerifyOrder gives a request two faults at a time: the answer is that of the check that comes first in the reference.
func TestVerifyOrder(t *testing.T) {
	faults := []struct {
		name string
		edit func(r *Request)
		want string
	}{
		{"transport", func(r *Request) { r.Query.Set("transport", "x") }, "0 the transport is not websocket"},
		{"Origin", func(r *Request) { r.Origin = []string{"\n"} }, "3 the Origin header is malformed"},
		{"sid", func(r *Request) { r.Query.Set("sid", "x") }, "1 no session has this id"},
		{"method", func(r *Request) { r.Method = "PUT" }, "2 the method is not GET"},
		{"upgrade", func(r *Request) { r.Upgrade = false }, "3 the transport is websocket, but no upgrade is asked for"},
		{"allow", func(r *Request) { r.Allow = func() error { return errors.New("no") } }, "4 not allowed"},
		{"EIO", func(r *Request) { r.Query.Set("EIO", "3") }, "5 EIO is not 4"},
	}
	for i, first := range faults {
		for _, second := range faults[i:] {
			r := goodRequest(t)
			second.edit(&r)
			first.edit(&r)
			err := r.Verify()
			if err == nil || fmt.Sprintf("%d %s", err.Code, err.Detail) != first.want {
				t.Errorf("%s and %s: got %v, want %s", first.name, second.name, err, first.want)
			}
		}
	}
}

// TestVerifyAsksLast checks that the application is not asked about a request that is refused anyway.
func TestVerifyAsksLast(t *testing.T) {
	r := goodRequest(t)
	r.Method = "POST"
	r.Allow = func() error { t.Error("Allow was called for a POST"); return nil }
	if err := r.Verify(); err == nil || err.Code != CodeBadHandshakeMethod {
		t.Errorf("got %v, want code 2", err)
	}
}

func TestErrorAnswer(t *testing.T) {
	for _, test := range []struct {
		edit   func(r *Request)
		status int
		json   string
	}{
		{func(r *Request) { r.Query.Del("transport") }, 400, `{"code":0,"message":"Transport unknown"}`},
		{func(r *Request) { r.Query.Set("sid", "x") }, 400, `{"code":1,"message":"Session ID unknown"}`},
		{func(r *Request) { r.Method = "POST" }, 400, `{"code":2,"message":"Bad handshake method"}`},
		{func(r *Request) { r.Upgrade = false }, 400, `{"code":3,"message":"Bad request"}`},
		{func(r *Request) { r.Allow = func() error { return errors.New(`"no"`) } }, 403, `{"code":4,"message":"\"no\""}`},
		{func(r *Request) { r.Allow = func() error { return errors.New("") } }, 403, `{"code":4,"message":"Forbidden"}`},
		{func(r *Request) { r.Query.Del("EIO") }, 400, `{"code":5,"message":"Unsupported protocol version"}`},
	} {
		r := goodRequest(t)
		test.edit(&r)
		err := r.Verify()
		if err == nil || err.Status() != test.status || string(err.JSON()) != test.json {
			t.Errorf("got %v, want %d %s", err, test.status, test.json)
		}
	}
}

func FuzzVerify(f *testing.F) {
	f.Add("GET", "EIO=4&transport=websocket", "https://a", true)
	f.Add("POST", "EIO=3&transport=polling&sid=x&sid=y", "\x00", false)
	f.Fuzz(func(t *testing.T, method, raw, origin string, upgrade bool) {
		q, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		r := Request{Method: method, Query: q, Origin: []string{origin}, Upgrade: upgrade}
		refusal := r.Verify()
		want := method == "GET" && upgrade && validHeaderValue(origin) && q.Get("sid") == "" && len(q["sid"]) < 2 &&
			len(q["EIO"]) == 1 && q.Get("EIO") == "4" && len(q["transport"]) == 1 && q.Get("transport") == "websocket"
		if (refusal == nil) != want {
			t.Errorf("%s %q: got %v, want accepted %v", method, raw, refusal, want)
		}
	})
}

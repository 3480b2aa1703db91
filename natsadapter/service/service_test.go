package service_test

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/emitter"
	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/natsadapter/service"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/msgpack"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestEmit: one request reaches the lobby, and says how many got it.
func TestEmit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{})
	for _, test := range []struct {
		body  string
		names string
		event string
	}{
		{`{"rooms":["x"],"event":"news","args":["hi"]}`, "ab", `["news","hi"]`},
		{`{"event":"news"}`, "abcd", `["news"]`},
		{`{"namespace":"/","rooms":["x","y"],"event":"news","args":[1.50,null,{"a":["<ü>"]},12345678901234567890]}`, "abc",
			`["news",1.50,null,{"a":["<ü>"]},12345678901234567890]`},
		{`{"rooms":["x","y"],"except":["y"],"event":"news","args":[]}`, "a", `["news"]`},
		{`{"except":["x"],"event":"news","volatile":true,"compress":false,"timeout":20000}`, "cd", `["news"]`},
		{`{"rooms":["` + w.Clients["d"].ID() + `"],"event":"you"}`, "d", `["you"]`},
		{`{"rooms":["nobody is there"],"event":"news"}`, "", ""},
		{`{"namespace":"/other","event":"news"}`, "", ""},
	} {
		a := w.request(t, "emit", test.body)
		if !a.OK || a.Count != len(test.names) || a.text != fmt.Sprintf(`{"ok":true,"count":%d}`, a.Count) {
			t.Errorf("%s: got %s, want %d", test.body, a.text, len(test.names))
		}
		w.Want(t, test.body, test.names, test.event)
	}
}

// TestEmitWithoutReply: a request that waits for nothing is carried out, in its order.
func TestEmitWithoutReply(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{})
	for i := range 100 {
		if err := w.nc.Publish(w.service.Subject()+".emit", fmt.Appendf(nil, `{"rooms":["x"],"event":"news","args":[%d]}`, i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		if got := w.Clients["b"].Next("").String(); got != fmt.Sprintf(`["news",%d]`, i) {
			t.Fatalf("got %s, want number %d", got, i)
		}
	}
	kit.OK(t, w.nc.Publish(w.service.Subject()+".emit", []byte(`{"what":1}`)))
	kit.OK(t, w.nc.Publish(w.service.Subject()+".join", []byte(`{"rooms":["x"],"join":["z"]}`)))
	kit.Eventually(t, "a join without a reply", func() bool { return w.request(t, "count", `{"rooms":["z"]}`).Count == 2 })
}

// TestRefusalWithoutReply: what could not be done, and nobody waits for, is in the log.
func TestRefusalWithoutReply(t *testing.T) {
	t.Parallel()
	server := natstest.NewServer(t)
	a := natsadapter.New(natsadapter.Config{URL: server.URL(), Logger: kit.Silent})
	e := newEmitter(t, a)
	lines := make(logLines, 10)
	s := start(t, service.Config{Adapter: a, Emitter: e, Logger: slog.New(slog.NewTextHandler(lines, nil))})
	e.Close(t.Context())
	kit.OK(t, connect(t, server).Publish(s.Subject()+".emit", []byte(`{"event":"news"}`)))
	select {
	case line := <-lines:
		if !strings.Contains(line, "was refused") || !strings.Contains(line, s.Subject()+".emit") || !strings.Contains(line, "closed") {
			t.Errorf("the log says %s", line)
		}
	case <-time.After(kit.Patience):
		t.Fatal("nothing in the log")
	}
}

// logLines takes what is written line by line.
type logLines chan string

func (l logLines) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

func TestJoinLeaveCount(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{})
	kit.Equal(t, w.request(t, "join", `{"rooms":["y"],"join":["new","newer"]}`).text, `{"ok":true}`)
	for body, want := range map[string]int{
		``:                                      4,
		`{}`:                                    4,
		`{"rooms":["new"]}`:                     2,
		`{"rooms":["newer"],"except":["x"]}`:    1,
		`{"rooms":["x","new"]}`:                 3,
		`{"namespace":"other","rooms":["new"]}`: 0,
	} {
		if a := w.request(t, "count", body); !a.OK || a.Count != want {
			t.Errorf("count %s: %s, want %d", body, a.text, want)
		}
	}
	if a := w.request(t, "emit", `{"rooms":["new"],"event":"news"}`); a.Count != 2 {
		t.Errorf("emit: %s", a.text)
	}
	w.Want(t, "emit", "bc", `["news"]`)
	kit.Equal(t, w.request(t, "leave", `{"rooms":["x"],"leave":["new","never joined"]}`).text, `{"ok":true}`)
	if a := w.request(t, "fetch", `{"rooms":["new"]}`); !a.OK || w.who(a) != "c" {
		t.Errorf("fetch: %s", a.text)
	}
}

func TestDisconnect(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{})
	if a := w.request(t, "disconnect", `{}`); a.code != "400" || !strings.Contains(a.Error, `"all": true`) {
		t.Errorf("all by mistake: %s %s", a.code, a.text)
	}
	kit.Equal(t, w.request(t, "disconnect", `{"rooms":["x"],"except":["y"]}`).text, `{"ok":true}`, "a room")
	<-w.Clients["a"].Disconnected()
	select {
	case <-w.Clients["a"].Done():
		t.Error("the connection was closed, too")
	default:
	}
	kit.Equal(t, w.request(t, "disconnect", `{"rooms":["x"],"close":true}`).text, `{"ok":true}`)
	<-w.Clients["b"].Done()
	if a := w.request(t, "count", ``); a.Count != 2 {
		t.Errorf("count: %s, want those who are left", a.text)
	}
	kit.Equal(t, w.request(t, "disconnect", `{"all":true}`).text, `{"ok":true}`)
	<-w.Clients["c"].Disconnected()
	<-w.Clients["d"].Disconnected()
}

func TestFetch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{})
	a := w.request(t, "fetch", `{"rooms":["x","y"],"handshake":true}`)
	if !a.OK || w.who(a) != "abc" || a.More {
		t.Fatalf("fetch: %s", a.text)
	}
	for i, s := range a.Sockets {
		name := w.Who(s.ID)
		node := w.Servers[0].Node()
		if name == "c" || name == "d" {
			node = w.Servers[1].Node()
		}
		if want := fmt.Sprintf(`{"name":%q}`, name); string(s.Data) != want || string(s.Handshake.Auth) != want || s.Node != node || s.Transport != "websocket" || s.Truncated {
			t.Errorf("%s: got data %s, auth %s, node %s, transport %q", name, s.Data, s.Handshake.Auth, s.Node, s.Transport)
		}
		want := map[string][]string{"a": {s.ID, "x"}, "b": {s.ID, "x", "y"}, "c": {s.ID, "y"}}[name]
		kit.EqualSlices(t, s.Rooms, want, name, "rooms")
		if i > 0 && a.Sockets[i-1].ID >= s.ID {
			t.Errorf("the ids are not in order: %s", a.text)
		}
	}
	kit.Equal(t, w.request(t, "fetch", `{"rooms":["nobody is there"]}`).text, `{"ok":true,"sockets":[]}`)
	var all []string
	for after := ""; ; {
		a := w.request(t, "fetch", fmt.Sprintf(`{"limit":3,"after":%q}`, after))
		if strings.Contains(a.text, "handshake") {
			t.Errorf("handshakes that were not asked for: %s", a.text)
		}
		for _, s := range a.Sockets {
			all = append(all, w.Who(s.ID))
			after = s.ID
		}
		if !a.More {
			break
		}
		kit.Equal(t, len(a.Sockets), 3, "sockets on a page")
	}
	if slices.Sort(all); strings.Join(all, "") != "abcd" {
		t.Errorf("page by page: got %q", all)
	}
}

// TestFetchTooMuch: what does not fit into an answer can be fetched all the same.
func TestFetchTooMuch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{})
	for i := range 20 {
		c := wstest.Dial(t, w.Servers[i%2], wstest.Config{})
		s, _ := w.Servers[i%2].Of("/").Socket(c.ID())
		size := 100_000
		if i == 7 {
			size = 2_000_000
		}
		s.SetData(strings.Repeat("x", size))
		c.EmitWithAck("join", []string{"large"})
	}
	got, pages, truncated := make(map[string]bool), 0, 0
	for after := ""; ; pages++ {
		a := w.request(t, "fetch", fmt.Sprintf(`{"rooms":["large"],"after":%q}`, after))
		for _, s := range a.Sockets {
			got[s.ID] = true
			after = s.ID
			if s.Truncated {
				truncated++
			} else if len(s.Data) != 100_002 || len(s.Rooms) != 2 {
				t.Errorf("%s has %d bytes of data, and rooms %q", s.ID, len(s.Data), s.Rooms)
			}
		}
		if !a.OK || len(a.Sockets) == 0 {
			t.Fatalf("a page of %d sockets: %.200s", len(a.Sockets), a.text)
		}
		if !a.More {
			break
		}
	}
	if len(got) != 20 || truncated != 1 || pages < 1 || pages > 5 {
		t.Errorf("%d sockets on %d pages, %d truncated", len(got), pages+1, truncated)
	}
}

// TestWrongRequests: what is wrong is refused, with a word on what is right, and does nothing.
func TestWrongRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{MaxRequestBytes: 2000})
	for _, test := range []struct{ endpoint, body, want string }{
		{"emit", ``, `"event"`},
		{"emit", `null`, `"event"`},
		{"emit", `{"rooms":["x"],"args":["hi"]}`, `"event"`},
		{"emit", `{"room":["x"],"event":"news"}`, `"room"`},
		{"emit", `{"rooms":"x","event":"news"}`, "rooms"},
		{"emit", `{"rooms":["x"],"event":"news"} {}`, "unexpected text after"},
		{"emit", `{"rooms":["x"],"event":"news"`, "unexpected EOF"},
		{"emit", `["news","hi"]`, "array"},
		{"emit", "\x00\xff", "invalid character"},
		{"emit", `{"event":"disconnect"}`, "disconnect"},
		{"emit", `{"event":"x","args":"hi"}`, "args"},
		{"emit", `{"event":"x","namespace":"/a,b"}`, "namespace"},
		{"emit", `{"event":"x","timeout":-1}`, `"timeout"`},
		{"emit", `{"event":"x","timeout":30001}`, `"timeout"`},
		{"emit", `{"event":"x","timeout":"1s"}`, "timeout"},
		{"emit", `{"event":"` + strings.Repeat("x", 2000) + `"}`, "2000"},
		{"emit", `{"event":"x","args":[` + strings.Repeat("[", 400) + strings.Repeat("]", 399) + `]}`, "invalid"},
		{"join", `{"rooms":["x"]}`, `"join"`},
		{"join", `{"rooms":["x"],"join":[]}`, `"join"`},
		{"join", `{"rooms":["x"],"join":["` + strings.Repeat("r", cluster.MaxRoomName+1) + `"]}`, "name of a room"},
		{"leave", `{"rooms":["x"]}`, `"leave"`},
		{"leave", `{"rooms":["x"],"leave":"y"}`, "leave"},
		{"disconnect", `{"rooms":["x"],"all":true}`, `"all"`},
		{"disconnect", `{"close":true}`, `"all": true`},
		{"count", `{"event":"x"}`, `"event"`},
		{"fetch", `{"limit":-1}`, `"limit"`},
	} {
		a := w.request(t, test.endpoint, test.body)
		want := "400"
		if len(test.body) > 2000 {
			want = "413"
		}
		if a.code != want || !strings.Contains(a.Error, test.want) || a.reason != a.Error || a.OK {
			t.Errorf("%s %.100s: got code %q, %s; want %s and %s", test.endpoint, test.body, a.code, a.text, want, test.want)
		}
	}
	w.Want(t, "wrong requests", "", "")
	if a := w.request(t, "count", `{"rooms":["x"]}`); a.Count != 2 {
		t.Errorf("afterwards: %s", a.text)
	}
}

// TestEmptyList: an empty list of rooms selects nobody, and an empty list of exceptions leaves out nobody.
func TestEmptyList(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{})
	for _, rooms := range []string{`[]`, `null`} {
		for endpoint, rest := range map[string]string{
			"emit": `,"event":"news"`, "join": `,"join":["new"]`, "leave": `,"leave":["x"]`, "disconnect": `,"close":true`, "count": ``, "fetch": ``,
		} {
			a := w.request(t, endpoint, `{"rooms":`+rooms+rest+`}`)
			if !a.OK || a.Count != 0 || len(a.Sockets) != 0 || endpoint == "fetch" && !strings.Contains(a.text, `"sockets":[]`) {
				t.Errorf("%s of %s: got code %q, %s", endpoint, rooms, a.code, a.text)
			}
		}
		if a := w.request(t, "disconnect", `{"rooms":`+rooms+`,"all":true}`); a.code != "400" {
			t.Errorf("disconnect all of %s: got code %q, %s", rooms, a.code, a.text)
		}
		if a := w.request(t, "count", `{"except":`+rooms+`}`); a.Count != 4 {
			t.Errorf("except %s: %s", rooms, a.text)
		}
	}
	w.Want(t, "an empty list", "", "")
	for room, want := range map[string]int{"x": 2, "new": 0} {
		if a := w.request(t, "count", fmt.Sprintf(`{"rooms":[%q]}`, room)); a.Count != want {
			t.Errorf("afterwards, in %s: %s", room, a.text)
		}
	}
}

// TestCodec: with an emitter of theirs, servers may have another codec.
func TestCodec(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{})
	a := natsadapter.New(natsadapter.Config{URL: w.nats.URL(), Cluster: "packed", Logger: kit.Silent})
	srv := wsserver.New(wsserver.Config{Adapter: a, Codec: msgpack.Codec{}, Logger: kit.Silent})
	defer srv.Close(t.Context())
	srv.Of("/")
	kit.OK(t, srv.Ready(t.Context()))
	c := wstest.Dial(t, srv, wstest.Config{Codec: msgpack.Codec{}})
	e := emitter.New(emitter.Config{Adapter: a, Codec: msgpack.Codec{}, Logger: kit.Silent})
	defer e.Close(t.Context())
	s := start(t, service.Config{Adapter: a, Emitter: e})
	if a := request(t, w.nc, s.Subject()+".emit", `{"event":"news","args":[[1,"two"]]}`); !a.OK || a.Count != 1 {
		t.Errorf("got %s", a.text)
	}
	kit.Equal(t, c.Next("").String(), `["news",[1,"two"]]`)
}

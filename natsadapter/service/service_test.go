package service_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/adapter/emitter"
	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/natsadapter/service"
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
		{`{"rooms":["` + w.clients["d"].ID() + `"],"event":"you"}`, "d", `["you"]`},
		{`{"rooms":["nobody is there"],"event":"news"}`, "", ""},
		{`{"namespace":"/other","event":"news"}`, "", ""},
	} {
		a := w.request(t, "emit", test.body)
		if !a.OK || a.Count != len(test.names) || a.text != fmt.Sprintf(`{"ok":true,"count":%d}`, a.Count) {
			t.Errorf("%s: got %s, want %d", test.body, a.text, len(test.names))
		}
		w.want(t, test.body, test.names, test.event)
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
		if got := w.clients["b"].Next("").String(); got != fmt.Sprintf(`["news",%d]`, i) {
			t.Fatalf("got %s, want number %d", got, i)
		}
	}
	if err := w.nc.Publish(w.service.Subject()+".emit", []byte(`{"what":1}`)); err != nil {
		t.Fatal(err)
	}
	if err := w.nc.Publish(w.service.Subject()+".join", []byte(`{"rooms":["x"],"join":["z"]}`)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a join without a reply", func() bool { return w.request(t, "count", `{"rooms":["z"]}`).Count == 2 })
}

// TestRefusalWithoutReply: what could not be done, and nobody waits for, is in the log.
func TestRefusalWithoutReply(t *testing.T) {
	t.Parallel()
	server := natstest.NewServer(t)
	a := natsadapter.New(natsadapter.Config{URL: server.URL(), Logger: silent})
	e := newEmitter(t, a)
	lines := make(logLines, 10)
	s := start(t, service.Config{Adapter: a, Emitter: e, Logger: slog.New(slog.NewTextHandler(lines, nil))})
	e.Close(t.Context())
	if err := connect(t, server).Publish(s.Subject()+".emit", []byte(`{"event":"news"}`)); err != nil {
		t.Fatal(err)
	}
	select {
	case line := <-lines:
		if !strings.Contains(line, "was refused") || !strings.Contains(line, s.Subject()+".emit") || !strings.Contains(line, "closed") {
			t.Errorf("the log says %s", line)
		}
	case <-time.After(patience):
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
	if a := w.request(t, "join", `{"rooms":["y"],"join":["new","newer"]}`); a.text != `{"ok":true}` {
		t.Errorf("join: %s", a.text)
	}
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
	w.want(t, "emit", "bc", `["news"]`)
	if a := w.request(t, "leave", `{"rooms":["x"],"leave":["new","never joined"]}`); a.text != `{"ok":true}` {
		t.Errorf("leave: %s", a.text)
	}
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
	if a := w.request(t, "disconnect", `{"rooms":["x"],"except":["y"]}`); a.text != `{"ok":true}` {
		t.Errorf("a room: %s", a.text)
	}
	<-w.clients["a"].Disconnected()
	select {
	case <-w.clients["a"].Done():
		t.Error("the connection was closed, too")
	default:
	}
	if a := w.request(t, "disconnect", `{"rooms":["x"],"close":true}`); a.text != `{"ok":true}` {
		t.Errorf("close: %s", a.text)
	}
	<-w.clients["b"].Done()
	if a := w.request(t, "count", ``); a.Count != 2 {
		t.Errorf("count: %s, want those who are left", a.text)
	}
	if a := w.request(t, "disconnect", `{"all":true}`); a.text != `{"ok":true}` {
		t.Errorf("all: %s", a.text)
	}
	<-w.clients["c"].Disconnected()
	<-w.clients["d"].Disconnected()
}

func TestFetch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{})
	a := w.request(t, "fetch", `{"rooms":["x","y"],"handshake":true}`)
	if !a.OK || w.who(a) != "abc" || a.More {
		t.Fatalf("fetch: %s", a.text)
	}
	for i, s := range a.Sockets {
		name := w.names[s.ID]
		node := w.srvs[0].Node()
		if name == "c" || name == "d" {
			node = w.srvs[1].Node()
		}
		if want := fmt.Sprintf(`{"name":%q}`, name); string(s.Data) != want || string(s.Handshake.Auth) != want || s.Node != node || s.Truncated {
			t.Errorf("%s: got data %s, auth %s, node %s", name, s.Data, s.Handshake.Auth, s.Node)
		}
		want := map[string][]string{"a": {s.ID, "x"}, "b": {s.ID, "x", "y"}, "c": {s.ID, "y"}}[name]
		if !slices.Equal(s.Rooms, want) {
			t.Errorf("%s: got rooms %q, want %q", name, s.Rooms, want)
		}
		if i > 0 && a.Sockets[i-1].ID >= s.ID {
			t.Errorf("the ids are not in order: %s", a.text)
		}
	}
	if a := w.request(t, "fetch", `{"rooms":["nobody is there"]}`); a.text != `{"ok":true,"sockets":[]}` {
		t.Errorf("nobody: %s", a.text)
	}
	var all []string
	for after := ""; ; {
		a := w.request(t, "fetch", fmt.Sprintf(`{"limit":3,"after":%q}`, after))
		if strings.Contains(a.text, "handshake") {
			t.Errorf("handshakes that were not asked for: %s", a.text)
		}
		for _, s := range a.Sockets {
			all = append(all, w.names[s.ID])
			after = s.ID
		}
		if !a.More {
			break
		}
		if len(a.Sockets) != 3 {
			t.Errorf("a page of %d, want 3", len(a.Sockets))
		}
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
		c := wstest.Dial(t, w.srvs[i%2], wstest.Config{})
		s, _ := w.srvs[i%2].Of("/").Socket(c.ID())
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
		{"emit", `{"rooms":["x"],"event":"news"} {}`, "something follows"},
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
	w.want(t, "wrong requests", "", "")
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
	w.want(t, "an empty list", "", "")
	for room, want := range map[string]int{"x": 2, "new": 0} {
		if a := w.request(t, "count", fmt.Sprintf(`{"rooms":[%q]}`, room)); a.Count != want {
			t.Errorf("afterwards, in %s: %s", room, a.text)
		}
	}
}

// TestDeadNode: a server that dies is waited for until that is known, and is named; what the others did counts.
func TestDeadNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{})
	hung := &hangingAdapter{Adapter: natsadapter.New(natsadapter.Config{URL: w.nats.URL(), Cluster: "chat", Logger: silent})}
	third := newServer(t, hung)
	w.dial(t, third, "e", "x")
	if a := w.request(t, "emit", `{"rooms":["x"],"event":"news"}`); !a.OK || a.Count != 3 {
		t.Fatalf("while all are alive: %s", a.text)
	}
	w.want(t, "while all are alive", "abe", `["news"]`)
	hung.hang()
	defer awake(t, w, hung, third)
	start := time.Now()
	for _, test := range []struct {
		endpoint, body string
		count          int
	}{
		{"emit", `{"rooms":["x"],"event":"news"}`, 2},
		{"count", `{"rooms":["x"]}`, 2},
		{"fetch", `{"rooms":["x"]}`, 0},
		{"join", `{"rooms":["x"],"join":["z"],"timeout":9000}`, 0},
		{"leave", `{"rooms":["x"],"leave":["z"]}`, 0},
		{"disconnect", `{"rooms":["x"]}`, 0},
	} {
		a := w.request(t, test.endpoint, test.body)
		if a.OK || a.code != "" || a.Count != test.count || !slices.Equal(a.Missing, []string{third.Node()}) || !strings.Contains(a.Error, third.Node()) {
			t.Errorf("%s: got %s, want the node that hangs to be missing", test.endpoint, a.text)
		}
		if test.endpoint == "fetch" && w.who(a) != "ab" {
			t.Errorf("fetch: %s", a.text)
		}
	}
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("it took %v", d)
	}
}

// awake ends the hang of a third server, and waits until all can say at the end that they have everything: a Join that is live everywhere
// shows that no fence is out which was lost in the hang.
func awake(t *testing.T, w *world, hung *hangingAdapter, third *wsserver.Server) {
	t.Helper()
	hung.wake()
	joins := 0
	for _, srv := range append([]*wsserver.Server{third}, w.srvs...) {
		eventually(t, "the node that hung is back", func() bool {
			joins++
			return len(srv.Nodes()) == len(w.srvs) && srv.In("x", "y").SocketsJoin(t.Context(), fmt.Sprint("back ", joins)) == nil
		})
	}
}

// TestTimeout: a request that says so waits no longer.
func TestTimeout(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{})
	brief := start(t, service.Config{Adapter: natsadapter.New(natsadapter.Config{URL: w.nats.URL(), Cluster: "chat", Prefix: "brief", Logger: silent}),
		Emitter: newEmitter(t, w.adapter), Timeout: 100 * time.Millisecond})
	hung := &hangingAdapter{Adapter: natsadapter.New(natsadapter.Config{URL: w.nats.URL(), Cluster: "chat", Logger: silent})}
	third := newServer(t, hung)
	w.dial(t, third, "e", "x")
	if a := w.request(t, "count", `{"rooms":["x"]}`); a.Count != 3 {
		t.Fatal(a.text)
	}
	hung.hang()
	defer awake(t, w, hung, third)
	for _, f := range []func() answer{
		func() answer { return w.request(t, "emit", `{"rooms":["x"],"event":"news","timeout":100}`) },
		func() answer { return request(t, w.nc, brief.Subject()+".emit", `{"rooms":["x"],"event":"news"}`) },
	} {
		start := time.Now()
		a := f()
		if d := time.Since(start); a.OK || a.Count != 2 || !slices.Equal(a.Missing, []string{third.Node()}) || !strings.Contains(a.Error, "deadline") || d < 100*time.Millisecond || d > patience/2 {
			t.Errorf("%s after %v", a.text, d)
		}
	}
}

// TestOverload: more requests than the service takes are refused at once, and hold up none of the others.
func TestOverload(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{MaxRequests: 4, Timeout: time.Minute})
	hung := &hangingAdapter{Adapter: natsadapter.New(natsadapter.Config{URL: w.nats.URL(), Cluster: "chat", Logger: silent})}
	third := newServer(t, hung)
	w.dial(t, third, "e", "x")
	if a := w.request(t, "count", `{"rooms":["x"]}`); a.Count != 3 {
		t.Fatal(a.text)
	}
	hung.hang()
	defer awake(t, w, hung, third)
	var mu sync.Mutex // guards got
	got := make(map[string]int)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			a := w.request(t, "count", `{"rooms":["x"],"timeout":1000}`)
			mu.Lock()
			defer mu.Unlock()
			got[a.code]++
			if a.code == "" && a.Count != 2 || a.code != "" && !strings.Contains(a.Error, "again in a while") {
				t.Errorf("got %s", a.text)
			}
		})
	}
	wg.Wait()
	if got[""] != 4 || got["429"] != 16 {
		t.Errorf("got answers %v, want 4, and 16 with code 429", got)
	}
	hung.wake()
	if a := w.request(t, "count", `{"rooms":["y"]}`); a.code != "" {
		t.Errorf("afterwards: %s", a.text)
	}
}

// TestInstances: several instances share the requests, and one that is closed leaves its part to the others without losing any.
func TestInstances(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{})
	other := start(t, service.Config{Adapter: w.adapter})
	var wg sync.WaitGroup
	half := make(chan struct{})
	for worker := range 4 {
		wg.Go(func() {
			for i := range 100 {
				if worker == 0 && i == 50 {
					close(half)
				}
				if a := w.request(t, "emit", `{"rooms":["x"],"event":"news"}`); !a.OK || a.Count != 2 {
					t.Errorf("got %s", a.text)
				}
			}
		})
	}
	<-half
	stop(t, other)
	wg.Wait()
	for _, name := range "ab" {
		for range 400 {
			w.clients[string(name)].Next("news")
		}
	}
	w.want(t, "afterwards", "", "")
}

// TestClose: Close waits for what is being carried out, no longer than its ctx, and takes no more; the emitter that was given stays.
func TestClose(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{})
	e := newEmitter(t, w.adapter)
	own := natsadapter.New(natsadapter.Config{URL: w.nats.URL(), Cluster: "elsewhere", Logger: silent})
	s := start(t, service.Config{Adapter: own, Emitter: e, Timeout: time.Minute})
	if s.Subject() != "belfry.service.relsewhere" {
		t.Errorf("the subject is %s", s.Subject())
	}
	hung := &hangingAdapter{Adapter: natsadapter.New(natsadapter.Config{URL: w.nats.URL(), Cluster: "chat", Logger: silent})}
	third := newServer(t, hung)
	w.dial(t, third, "e", "x")
	if a := request(t, w.nc, s.Subject()+".count", ``); a.Count != 5 {
		t.Fatal(a.text)
	}
	hung.hang()
	defer awake(t, w, hung, third)
	answers := make(chan answer, 1)
	go func() { answers <- request(t, w.nc, s.Subject()+".count", ``) }()
	eventually(t, "a request is being carried out", func() bool {
		return slices.ContainsFunc(discover(t, w.nc, "STATS.belfry", 2), func(f found) bool {
			return f.Metadata["cluster"] == "elsewhere" && f.Endpoints[0].Data.Running > 0
		})
	})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	s.Close(ctx)
	if d := time.Since(start); d < 100*time.Millisecond || d > patience/2 {
		t.Errorf("Close took %v", d)
	}
	if a := <-answers; a.OK || a.Count != 4 || !slices.Equal(a.Missing, []string{third.Node()}) {
		t.Errorf("what was being carried out: %s", a.text)
	}
	if _, err := w.nc.Request(s.Subject()+".count", nil, patience); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("afterwards: got %v, want ErrNoResponders", err)
	}
	if n, err := e.To("y").Count(t.Context()); n != 2 {
		t.Errorf("the emitter: %d, %v", n, err)
	}
}

// TestCodec: with an emitter of theirs, servers may have another codec.
func TestCodec(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{})
	a := natsadapter.New(natsadapter.Config{URL: w.nats.URL(), Cluster: "packed", Logger: silent})
	srv := wsserver.New(wsserver.Config{Adapter: a, Codec: msgpack.Codec{}, Logger: silent})
	defer srv.Close(t.Context())
	srv.Of("/")
	if err := srv.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := wstest.Dial(t, srv, wstest.Config{Codec: msgpack.Codec{}})
	e := emitter.New(emitter.Config{Adapter: a, Codec: msgpack.Codec{}, Logger: silent})
	defer e.Close(t.Context())
	s := start(t, service.Config{Adapter: a, Emitter: e})
	if a := request(t, w.nc, s.Subject()+".emit", `{"event":"news","args":[[1,"two"]]}`); !a.OK || a.Count != 1 {
		t.Errorf("got %s", a.text)
	}
	if got := c.Next("").String(); got != `["news",[1,"two"]]` {
		t.Errorf("got %s", got)
	}
}

// TestNoServer: a cluster without a server is not one without sockets.
func TestNoServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{})
	s := start(t, service.Config{Adapter: natsadapter.New(natsadapter.Config{URL: w.nats.URL(), Cluster: "chta", Logger: silent})})
	for endpoint, body := range map[string]string{"emit": `{"event":"news"}`, "count": ``, "fetch": ``, "disconnect": `{"all":true}`} {
		if a := request(t, w.nc, s.Subject()+"."+endpoint, body); a.code != "503" || !strings.Contains(a.Error, `no server of the cluster "chta"`) {
			t.Errorf("%s: got code %q, %s", endpoint, a.code, a.text)
		}
	}
}

// TestOutage: when the NATS server is back, so is the service.
func TestOutage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, service.Config{})
	w.nats.Restart()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		msg, err := w.nc.Request(w.service.Subject()+".count", nil, time.Second)
		var a answer
		if err == nil && json.Unmarshal(msg.Data, &a) == nil && a.OK && a.Count == 4 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no whole answer: %v, %+v", err, a)
		}
	}
	if a := w.request(t, "emit", `{"rooms":["x"],"event":"news"}`); !a.OK || a.Count != 2 {
		t.Errorf("got %s", a.text)
	}
}

// TestStartErrors: what is wrong is said at once.
func TestStartErrors(t *testing.T) {
	t.Parallel()
	for name, a := range map[string]*natsadapter.Adapter{
		"no adapter":      nil,
		"a wrong prefix":  natsadapter.New(natsadapter.Config{Prefix: "a.*", Logger: silent}),
		"nobody is there": natsadapter.New(natsadapter.Config{URL: "nats://127.0.0.1:1", Logger: silent}),
		"a wrong URL":     natsadapter.New(natsadapter.Config{URL: "http://127.0.0.1:1", Logger: silent}),
	} {
		s, err := service.Start(t.Context(), service.Config{Adapter: a, Logger: silent})
		if err == nil || !strings.HasPrefix(err.Error(), "service: start: ") || s != nil {
			t.Errorf("%s: got %v", name, err)
		}
	}
	w := newWorld(t, service.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := service.Start(ctx, service.Config{Adapter: w.adapter, Logger: silent}); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: got %v", err)
	}
}

// TestStartWithoutAnswer: Start gives up a server that accepts connections and says nothing when ctx ends.
func TestStartWithoutAnswer(t *testing.T) {
	t.Parallel()
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	a := natsadapter.New(natsadapter.Config{URL: "nats://" + mute.Addr().String(), Options: []nats.Option{nats.Timeout(time.Hour)}, Logger: silent})
	done := make(chan error, 1)
	go func() {
		_, err := service.Start(ctx, service.Config{Adapter: a, Logger: silent})
		done <- err
	}()
	select {
	case err := <-done:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the deadline", err)
		}
	case <-time.After(patience):
		t.Fatal("Start does not return")
	}
}

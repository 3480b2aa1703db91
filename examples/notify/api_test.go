package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/test/kit"
)

// Each reaches those whom it is for, on both nodes, and the answer counts them.
func TestDelivery(t *testing.T) {
	for name, a := range map[string]adapter.Adapter{
		"memory": new(adapter.Memory),
		"NATS":   natsadapter.New(natsadapter.Config{URL: natstest.NewServer(t).URL(), Logger: kit.Silent}),
	} {
		t.Run(name, func(t *testing.T) {
			one, two := newTestNode(t, a), newTestNode(t, a)
			ann, _ := connect(t, one, "ann", "staff")
			phone, _ := connect(t, two, "ann", "staff")
			bob, _ := connect(t, two, "bob", "staff", "night shift")
			eve, _ := connect(t, one, "eve")
			deliver(t, one, "/notify/user/ann", "1", 2)
			deliver(t, two, "/notify/user/bob", "2", 1)
			deliver(t, one, "/notify/group/staff", "3", 3)
			deliver(t, one, "/notify/group/night%20shift", "4", 1)
			deliver(t, two, "/notify/all", "5", 4)
			deliver(t, one, "/notify/user/nobody", "6", 0)
			deliver(t, one, "/notify/group/ann", "7", 0) // a user is no group
			for _, c := range []struct {
				who  string
				d    device
				want string
			}{{"ann", ann, "1 3 5"}, {"her phone", phone, "1 3 5"}, {"bob", bob, "2 3 4 5"}, {"eve", eve, "5"}} {
				if got := c.d.titles(); got != c.want {
					t.Errorf("%s: got %q, want %q", c.who, got, c.want)
				}
			}
		})
	}
}

// What is read on one device is read on the others, and on those that come later, on any node.
func TestUnread(t *testing.T) {
	a := new(adapter.Memory)
	one, two := newTestNode(t, a), newTestNode(t, a)
	titles := func(w welcome) string {
		var titles []string
		for _, n := range w.Unread {
			titles = append(titles, n.Title)
		}
		slices.Sort(titles) // those of one millisecond come in any order
		return strings.Join(titles, " ")
	}
	first := deliver(t, one, "/notify/user/ann", "first", 0)
	staff := deliver(t, two, "/notify/group/staff", "staff", 0)
	deliver(t, two, "/notify/user/bob", "bob's", 0)
	ann, w := connect(t, one, "ann", "staff")
	if titles(w) != "first staff" || w.User != "ann" || w.Node != one.url {
		t.Errorf("ann's welcome: got %+v", w)
	}
	phone, w := connect(t, two, "ann", "staff")
	if titles(w) != "first staff" || w.Node != two.url {
		t.Errorf("the phone's welcome: got %+v", w)
	}
	bob, _ := connect(t, two, "bob", "staff")

	ann.EmitWithAck("read", []string{first.ID, "unknown"})
	if ids := next[[]string](phone, "read"); len(ids) != 2 || ids[0] != first.ID {
		t.Errorf("read on the phone: got %q, want %s", ids, first.ID)
	}
	// That a third node asks for what was before is a server-side event behind that of the reading.
	three := newTestNode(t, a)
	for _, n := range []*node{one, two, three} {
		kit.Eventually(t, "the node knows what was read", func() bool {
			tablet, w := connect(t, n, "ann", "staff")
			defer tablet.Close()
			return titles(w) == "staff" && len(w.Read) == 1 && w.Read[0] == first.ID
		})
	}
	phone.EmitWithAck("read", []string{staff.ID})
	next[[]string](ann, "read")
	if _, w := connect(t, three, "bob", "staff"); titles(w) != "bob's staff" {
		t.Errorf("bob's welcome: got %+v, want what Ann has read for herself", w)
	}
	for _, e := range bob.Pending() {
		if e.Name == "read" {
			t.Errorf("bob got %v", e)
		}
	}
}

// A user's receipts are for what the user got: others cannot make a node remember more.
func TestReceipts(t *testing.T) {
	b := newInbox()
	b.learn(memory{Kept: []notification{
		{ID: "hers", Room: userRoom("ann")}, {ID: "his", Room: userRoom("bob")}, {ID: "all", Room: everyone},
	}})
	got := b.read(user{ID: "ann"}, []string{"hers", "his", "all", "unknown", ""})
	if want := []receipt{{"ann", "hers"}, {"ann", "all"}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestUnreadIsBounded(t *testing.T) {
	n := newTestNode(t, nil)
	for range maxUnread + 1 {
		deliver(t, n, "/notify/all", "x", 0)
	}
	_, w := connect(t, n, "ann")
	if len(w.Unread) != maxUnread {
		t.Errorf("got %d, want %d", len(w.Unread), maxUnread)
	}
	d, _ := connect(t, n, "ann")
	var answer struct{ Error struct{ Message string } }
	if err := d.EmitWithAck("read", make([]string, maxReadAtATime+1)).Decode(&answer); err != nil || answer.Error.Message == "" {
		t.Errorf("read of too many: got %+v, %v; want a refusal", answer, err)
	}
}

func TestRefusals(t *testing.T) {
	n := newTestNode(t, nil)
	ann, _ := connect(t, n, "ann")
	long := strings.Repeat("é", 2001)
	for _, c := range []struct {
		name, path, body string
		headers          []string
		status           int
		want             string
	}{
		{"no token", "/notify/all", `{"title":"x"}`, []string{"Authorization", ""}, 401, "Bearer"},
		{"wrong token", "/notify/all", `{"title":"x"}`, []string{"Authorization", "Bearer api-tokem"}, 401, "Bearer"},
		{"basic", "/notify/all", `{"title":"x"}`, []string{"Authorization", "Basic api-token"}, 401, "Bearer"},
		{"a token alone", "/notify/all", `{"title":"x"}`, []string{"Authorization", "api-token"}, 401, "Bearer"},
		{"wrong token and body", "/notify/all", `{`, []string{"Authorization", "Bearer x"}, 401, "Bearer"},
		{"no body", "/notify/all", ``, nil, 400, "want JSON such as"},
		{"half", "/notify/all", `{"title":"x"`, nil, 400, "want JSON such as"},
		{"a list", "/notify/all", `[]`, nil, 400, "want JSON such as"},
		{"null", "/notify/all", `null`, nil, 400, "a title has 1 to 200 characters"},
		{"two", "/notify/all", `{"title":"x"}{"title":"y"}`, nil, 400, "nothing behind"},
		{"misspelt", "/notify/all", `{"title":"x","txt":"y"}`, nil, 400, `unknown field \"txt\"`},
		{"a room in the body", "/notify/all", `{"title":"x","room":"user:bob"}`, nil, 400, `unknown field`},
		{"a number", "/notify/all", `{"title":1}`, nil, 400, "want JSON such as"},
		{"no title", "/notify/all", `{"title":"  ","text":"x"}`, nil, 400, "this one has 0"},
		{"long title", "/notify/all", `{"title":"` + long + `"}`, nil, 400, "this one has 2001"},
		{"long text", "/notify/all", `{"title":"x","text":"` + long + `"}`, nil, 400, "a text has at most 2000"},
		{"long body", "/notify/all", `{"title":"` + strings.Repeat("x", maxBody) + `"}`, nil, 413, "at most 16384 bytes"},
		{"long id", "/notify/user/" + strings.Repeat("u", 65), `{"title":"x"}`, nil, 400, "a user's id has 1 to 64"},
		{"odd id", "/notify/user/a%00b", `{"title":"x"}`, nil, 400, "control characters"},
		{"odd group", "/notify/group/%ff", `{"title":"x"}`, nil, 400, "control characters"},
		{"long key", "/notify/all", `{"title":"x"}`, []string{"Idempotency-Key", strings.Repeat("k", 256)}, 400, "Idempotency-Key"},
		{"odd key", "/notify/all", `{"title":"x"}`, []string{"Idempotency-Key", "é"}, 400, "Idempotency-Key"},
		{"no id", "/notify/user/", `{"title":"x"}`, nil, 404, ""},
		{"elsewhere", "/notify/somebody/ann", `{"title":"x"}`, nil, 404, ""},
		{"deeper", "/notify/user/a/b", `{"title":"x"}`, nil, 404, ""},
	} {
		w := post(t, n, c.path, c.body, c.headers...)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: got %d %s, want %d and %q in it", c.name, w.Code, w.Body, c.status, c.want)
		}
	}
	w := httptest.NewRecorder()
	n.web.Handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/notify/all", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("GET: got %d, want %d", w.Code, http.StatusMethodNotAllowed)
	}
	if got := ann.titles(); got != "" {
		t.Errorf("a device has got %q", got)
	}
}

// The same key again delivers nothing again, at the same node and at another, and gets the same
// answer.
func TestIdempotency(t *testing.T) {
	a := new(adapter.Memory)
	one, two := newTestNode(t, a), newTestNode(t, a)
	ann, _ := connect(t, two, "ann")
	first := deliver(t, one, "/notify/user/ann", "a", 1, "Idempotency-Key", "k1")
	tablet, _ := connect(t, one, "ann") // the answer stays that of before
	if again := deliver(t, one, "/notify/user/ann", "a", 1, "Idempotency-Key", "k1"); again.ID != first.ID {
		t.Errorf("again: got %+v, want %+v", again, first)
	}
	kit.Eventually(t, "the other node knows the answer", func() bool {
		two.devices.answers.mu.Lock()
		defer two.devices.answers.mu.Unlock()
		_, ok := two.devices.answers.byKey.get("k1")
		return ok
	})
	w := post(t, two, "/notify/user/ann", `{"title":"a"}`, "Idempotency-Key", "k1")
	if w.Header().Get("Idempotency-Replayed") != "true" || !strings.Contains(w.Body.String(), first.ID) || w.Code != 200 {
		t.Errorf("again at the other node: got %d %s %v", w.Code, w.Body, w.Header())
	}
	for _, c := range []struct{ path, body string }{{"/notify/user/ann", `{"title":"b"}`}, {"/notify/all", `{"title":"a"}`}} {
		for _, n := range []*node{one, two} {
			if w := post(t, n, c.path, c.body, "Idempotency-Key", "k1"); w.Code != http.StatusUnprocessableEntity {
				t.Errorf("the key for another request: got %d %s, want 422", w.Code, w.Body)
			}
		}
	}
	second := deliver(t, two, "/notify/user/ann", "a", 2, "Idempotency-Key", "k2")
	deliver(t, two, "/notify/user/ann", "a", 2)
	if got := ann.titles(); got != "a a a" || first.ID == second.ID {
		t.Errorf("got %q, want three", got)
	}
	if got := tablet.titles(); got != "a a" {
		t.Errorf("the tablet: got %q, want two", got)
	}

	// If the nodes have not told each other yet, the id is the same: devices drop the double.
	stranger := newTestNode(t, nil)
	if other := deliver(t, stranger, "/notify/user/ann", "a", 0, "Idempotency-Key", "k1"); other.ID != first.ID {
		t.Errorf("at a node that does not know of the first: got id %s, want %s", other.ID, first.ID)
	}
}

// What a node does can be seen, and whether it should get clients.
func TestOperations(t *testing.T) {
	n := newTestNode(t, nil)
	connect(t, n, "ann")
	for path, want := range map[string]string{
		"/metrics": `node_name="` + n.url + `"`, "/healthz": `"state":"ready"`, "/readyz": `"state":"ready"`,
	} {
		w := httptest.NewRecorder()
		n.web.Handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
			t.Errorf("GET %s: got %d %.200s, want %q in it", path, w.Code, w.Body, want)
		}
	}
}

// Requests with one key that come together are delivered once, and a failure is tried again.
func TestOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAnswers()
		calls := 0
		began, end := make(chan struct{}), make(chan error)
		do := func() (delivery, error) {
			calls++
			close(began)
			return delivery{ID: "x", Devices: 3}, <-end
		}
		type result struct {
			d     delivery
			again bool
			err   error
		}
		results := make(chan result, 2)
		once := func() {
			d, again, err := a.once(t.Context(), "k", "r", do)
			results <- result{d, again, err}
		}
		go once()
		<-began
		go once()
		synctest.Wait()
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := a.once(gone, "k", "r", do); !errors.Is(err, context.Canceled) {
			t.Errorf("a request whose client has gone: got %v", err)
		}
		end <- nil
		for range 2 {
			if r := <-results; r.err != nil || r.d.Devices != 3 {
				t.Errorf("got %+v, want three devices", r)
			}
		}
		if calls != 1 {
			t.Errorf("delivered %d times", calls)
		}

		broken := errors.New("broken")
		if _, _, err := a.once(t.Context(), "k2", "r", func() (delivery, error) { return delivery{}, broken }); !errors.Is(err, broken) {
			t.Errorf("a failure: got %v", err)
		}
		if _, again, err := a.once(t.Context(), "k2", "r", func() (delivery, error) { return delivery{}, nil }); again || err != nil {
			t.Errorf("after a failure: got %v, %v; want another try", again, err)
		}

		// Keys are forgotten after a while, and when there are too many.
		for i := range maxAnswers {
			a.learn(answered{Key: strconv.Itoa(i)})
		}
		if _, again, _ := a.once(t.Context(), "k", "other", func() (delivery, error) { return delivery{}, nil }); again {
			t.Error("the oldest of too many is known")
		}
	})
}

func TestRecent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecent[string, int](2, keepFor)
		r.put("a", 1)
		r.put("a", 2)
		if v, ok := r.get("a"); v != 1 || !ok {
			t.Errorf("a: got %d, %v; want what was first", v, ok)
		}
		time.Sleep(keepFor / 2)
		r.put("b", 3)
		time.Sleep(keepFor / 2)
		for k, v := range r.all {
			if k != "b" || v != 3 {
				t.Errorf("after its age: got %s %d", k, v)
			}
		}
		if _, ok := r.get("a"); ok || len(r.byKey) != 1 || r.order.Len() != 1 {
			t.Errorf("after its age: got %d", len(r.byKey))
		}
		r.put("c", 4)
		r.put("d", 5)
		if _, ok := r.get("b"); ok || len(r.byKey) != 2 || r.order.Len() != 2 {
			t.Errorf("beyond the limit: got %d", len(r.byKey))
		}
		r.remove("c")
		r.remove("c")
		if len(r.byKey) != 1 || r.order.Len() != 1 {
			t.Errorf("removed: got %d", len(r.byKey))
		}
	})
}

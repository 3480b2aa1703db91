package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func testLog(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

func mustParse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func say(room, text string) map[string]string { return map[string]string{"room": room, "text": text} }

func TestHello(t *testing.T) {
	p := launch(t, "-adapter", "memory:")
	c := dial(t, p.nodes[0])
	var got welcome
	if err := json.Unmarshal(c.request("hello", map[string]string{"name": " Ada\n"}), &got); err != nil {
		t.Fatal(err)
	}
	if got.Name != "Ada" || got.ID != c.id || got.Node == "" {
		t.Errorf("welcome: got %+v, want name Ada, id %s and a node", got, c.id)
	}
	if len(got.Nodes) != 1 || got.Nodes[0].ID != got.Node || got.Nodes[0].URL != p.nodes[0] {
		t.Errorf("nodes: got %+v, want the one at %s", got.Nodes, p.nodes[0])
	}
}

func TestRefusals(t *testing.T) {
	p := launch(t, "-adapter", "memory:")
	c := dial(t, p.nodes[0])
	for _, step := range []struct {
		event string
		arg   any
		want  string // empty: no refusal
	}{
		{"join", "lobby", "Say hello first"},
		{"say", say("lobby", "hi"), "not in this room"},
		{"hello", map[string]string{"name": "  "}, "A name has 1 to 32 characters"},
		{"hello", map[string]string{"name": strings.Repeat("é", 33)}, "this one has 33"},
		{"hello", map[string]string{"name": "a\nb"}, "no control characters"},
		{"hello", map[string]string{"name": strings.Repeat("é", 32)}, ""},
		{"join", "", "A room has 1 to 64 characters"},
		{"join", strings.Repeat("r", 65), "this one has 65"},
		{"join", "a\x00b", "no control characters"},
		{"join", strings.Repeat("😀", 64), ""},
		{"say", say("lobby", "hi"), "not in this room"},
		{"join", "lobby", ""},
		{"join", "lobby", ""}, // again: nothing happens
		{"say", say("lobby", " \n "), "A message has 1 to 2000 characters"},
		{"say", say("lobby", strings.Repeat("x", 2001)), "this one has 2001"},
		{"say", say("lobby", "bell \a"), "no control characters"},
		{"say", say("lobby", strings.Repeat("x", 2000)), ""},
		{"say", say("lobby", "two\nlines"), ""},
		{"leave", "lobby", ""},
		{"leave", "lobby", ""},
		{"say", say("lobby", "hi"), "not in this room"},
		{"say", say(c.id, "psst"), "not in this room"},
	} {
		got := c.refusal(step.event, step.arg)
		if !strings.Contains(got, step.want) || (got == "") != (step.want == "") {
			t.Errorf("%s %.40v: got refusal %q, want %q", step.event, step.arg, got, step.want)
		}
	}
	if m := hear[message](c, "said"); len(m.Text) != 2000 {
		t.Errorf("said: got %d characters, want 2000", len(m.Text))
	}
	if m := hear[message](c, "said"); m.Text != "two\nlines" {
		t.Errorf("said: got %q, want two lines", m.Text)
	}
}

func TestTooManyRooms(t *testing.T) {
	p := launch(t, "-adapter", "memory:")
	c := dial(t, p.nodes[0])
	c.ask("hello", map[string]string{"name": "Ada"})
	for i := range maxRooms {
		c.ask("join", fmt.Sprint("room ", i))
	}
	if got := c.refusal("join", "one more"); !strings.Contains(got, "Leave one first") {
		t.Errorf("join of room %d: got refusal %q, want one", maxRooms+1, got)
	}
	c.ask("join", "room 3")
	c.ask("leave", "room 3")
	c.ask("join", "one more")
}

// A room named like a socket's id is a room like any other, and no way to that socket.
func TestRoomNamedLikeASocket(t *testing.T) {
	p := launch(t, "-adapter", "memory:")
	ada, eve := dial(t, p.nodes[0]), dial(t, p.nodes[0])
	ada.ask("hello", map[string]string{"name": "Ada"})
	eve.ask("hello", map[string]string{"name": "Eve"})
	ada.ask("join", "lobby")
	eve.ask("join", ada.id)
	eve.ask("say", say(ada.id, "psst"))
	ada.ask("say", say("lobby", "quiet here"))
	if m := hear[message](ada, "said"); m.Text != "quiet here" {
		t.Errorf("said: got %+v, want Ada's own words first", m)
	}
}

func TestNotices(t *testing.T) {
	p := launch(t, "-adapter", "memory:")
	ada, bob := dial(t, p.nodes[0]), dial(t, p.nodes[0])
	ada.ask("hello", map[string]string{"name": "Ada"})
	bob.ask("hello", map[string]string{"name": "Bob"})
	ada.ask("join", "lobby")
	for _, leave := range []func(){
		func() { bob.ask("leave", "lobby") },
		func() { bob.conn.Close() },
	} {
		bob.ask("join", "lobby")
		if m := hear[message](ada, "joined"); m.From != "Bob" || m.ID != bob.id || m.Room != "lobby" {
			t.Errorf("joined: got %+v, want Bob in lobby", m)
		}
		leave()
		if m := hear[message](ada, "left"); m.From != "Bob" || m.ID != bob.id || m.Room != "lobby" {
			t.Errorf("left: got %+v, want Bob from lobby", m)
		}
	}
}

// The list of people is that of the node, also where the cluster has others.
func TestPeople(t *testing.T) {
	p := launch(t)
	names := func(c *client) []string {
		t.Helper()
		list := hear[people](c, "people")
		var names []string
		for _, person := range list.People {
			names = append(names, person.Name)
		}
		if list.Total != len(names) {
			t.Errorf("people: got total %d with %d names", list.Total, len(names))
		}
		return names
	}
	check := func(c *client, want ...string) {
		t.Helper()
		if got := names(c); !slices.Equal(got, want) {
			t.Errorf("people: got %q, want %q", got, want)
		}
	}
	bob, zoe, ada := dial(t, p.nodes[0]), dial(t, p.nodes[1]), dial(t, p.nodes[0])
	bob.ask("hello", map[string]string{"name": "Bob"})
	check(bob, "Bob")
	zoe.ask("hello", map[string]string{"name": "Zoe"})
	check(zoe, "Zoe")
	ada.ask("hello", map[string]string{"name": "ada"})
	check(bob, "ada", "Bob")
	ada.ask("hello", map[string]string{"name": "Cleo"})
	check(bob, "Bob", "Cleo")
	ada.conn.Close()
	check(bob, "Bob")
	zoe.ask("join", "lobby")
	if len(zoe.early) != 0 {
		t.Errorf("on the other node: got %v, want no more lists", zoe.early)
	}
}

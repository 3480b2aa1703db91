package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func mustParse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// alone makes one node that is joined to no other.
var alone = []string{"-addr", "127.0.0.1:0"}

func say(room, text string) map[string]string { return map[string]string{"room": room, "text": text} }

func TestHello(t *testing.T) {
	p := launch(t, alone...)
	c := dial(t, p.nodes[0])
	var got welcome
	if err := json.Unmarshal(c.request("hello", map[string]string{"name": " Ada\n"}), &got); err != nil {
		t.Fatal(err)
	}
	if got.Name != "Ada" || got.ID != c.id {
		t.Errorf("welcome: got %+v, want name Ada and id %s", got, c.id)
	}
	hearUntil(c, "cluster", func(s clusterState) bool {
		return len(s.Nodes) == 1 && s.Nodes[0] == nodeState{host(p.nodes[0]), here} &&
			s.Node == host(p.nodes[0]) && s.Broker == "connected" && !s.Kill
	})
}

func TestRefusals(t *testing.T) {
	p := launch(t, alone...)
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
		{"kill", brokerName, "Nothing can be killed here"},
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
	p := launch(t, alone...)
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
	p := launch(t, alone...)
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
	p := launch(t, alone...)
	ada, bob := dial(t, p.nodes[0]), dial(t, p.nodes[0])
	ada.ask("hello", map[string]string{"name": "Ada"})
	bob.ask("hello", map[string]string{"name": "Bob"})
	ada.ask("join", "lobby")
	for _, leave := range []func(){
		func() { bob.ask("leave", "lobby") },
		func() { bob.send("41") },
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

// Who has lost its connection goes from the list, without a word; on another node it is back with its name and rooms, and misses
// nothing.
func TestLost(t *testing.T) {
	p := launch(t, demoArgs...)
	ada, bob := enter(t, p.nodes[0], "Ada"), enter(t, p.nodes[1], "Bob")
	total := func(e event, n int) bool {
		var list roomPeople
		return e.name == "people" && json.Unmarshal(e.arg, &list) == nil && list.Total == n
	}
	hearUntil(ada, "people", func(list roomPeople) bool { return list.Total == 2 })
	// silence goes on until done, for each event that Ada hears, reports true.
	silence := func(done func(event) bool) {
		t.Helper()
		for e := ada.any(); !done(e); e = ada.any() {
			if e.name == "left" || e.name == "joined" {
				t.Errorf("%s: %s", e.name, e.arg)
			}
		}
	}
	bob.conn.Close()
	silence(func(e event) bool { return total(e, 1) })
	ada.ask("say", say("lobby", "one"))
	ada.ask("say", say("lobby", "two"))
	again := dialAs(t, p.nodes[2], bob.auth)
	if again.id != bob.id {
		t.Errorf("the id is %q, and was %q", again.id, bob.id)
	}
	for _, want := range []string{"one", "two"} {
		if m := hear[message](again, "said"); m.Text != want || m.From != "Ada" {
			t.Errorf("missed: got %+v, want %q", m, want)
		}
	}
	again.ask("say", say("lobby", "back"))
	listed, said := false, false
	silence(func(e event) bool {
		listed = listed || total(e, 2)
		said = said || e.name == "said" && strings.Contains(string(e.arg), `"from":"Bob"`)
		return listed && said
	})
}

// The list of people is that of a room, on all nodes.
func TestPeople(t *testing.T) {
	p := launch(t, demoArgs...)
	check := func(c *client, want ...string) {
		t.Helper()
		hearUntil(c, "people", func(list roomPeople) bool {
			var got []string
			for _, person := range list.People {
				got = append(got, person.Name+" "+person.Node)
			}
			return list.Room == "lobby" && list.Total == len(want) && slices.Equal(got, want)
		})
	}
	one, two := " "+host(p.nodes[0]), " "+host(p.nodes[1])
	bob, zoe := enter(t, p.nodes[0], "Bob"), enter(t, p.nodes[1], "Zoe")
	check(bob, "Bob"+one, "Zoe"+two)
	check(zoe, "Bob"+one, "Zoe"+two)
	ada := enter(t, p.nodes[0], "ada")
	check(zoe, "ada"+one, "Bob"+one, "Zoe"+two)
	ada.ask("hello", map[string]string{"name": "Cleo"})
	check(zoe, "Bob"+one, "Cleo"+one, "Zoe"+two)
	ada.conn.Close()
	check(zoe, "Bob"+one, "Zoe"+two)
	bob.ask("leave", "lobby")
	check(zoe, "Zoe"+two)
}

package wstest_test

import (
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver/internal/transport"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// scripted is a server that says what a test tells it to, on any number of connections.
type scripted struct {
	answer func(connect string) []string // to what comes by a new connection
	peers  []*peer                       // in the order of their connections
}

// peer is the server's end of a connection.
type peer struct {
	nc     net.Conn
	server *scripted
	got    []string
	ended  bool
}

func (s *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	nc, early, _, err := transport.Upgrade(w, r, false)
	if err != nil {
		return
	}
	p := &peer{nc: nc, server: s}
	s.peers = append(s.peers, p)
	p.say(`0{"sid":"e"}`)
	reader := transport.Reader{Config: &transport.ReaderConfig{}}
	buf := make([]byte, 4<<10)
	for err = reader.Feed(early, p); err == nil; {
		var n int
		if n, err = nc.Read(buf); err == nil {
			err = reader.Feed(buf[:n], p)
		}
	}
	p.ended = true
	nc.Close()
}

func (p *peer) Control(transport.Opcode, []byte) error { return nil }

func (p *peer) Message(op transport.Opcode, payload []byte) error {
	text := string(payload)
	p.got = append(p.got, text)
	if strings.HasPrefix(text, "40") {
		p.say(p.server.answer(text)...)
	}
	return nil
}

// say sends messages; a "b" begins a binary one.
func (p *peer) say(messages ...string) {
	for _, m := range messages {
		op := transport.OpText
		if m[0] == 'b' {
			op, m = transport.OpBinary, m[1:]
		}
		p.nc.Write(transport.AppendFrame(nil, op, []byte(m)))
	}
}

// newScripted returns a server that gives the namespace / a pid.
func newScripted() *scripted {
	return &scripted{answer: func(string) []string { return []string{`40{"sid":"s","pid":"p"}`} }}
}

// TestOffset: what a client says of its session at its return, as socket.io-client 4.8 does.
func TestOffset(t *testing.T) {
	type messages = []string
	for _, test := range []struct {
		name   string
		answer messages // to the first CONNECT
		then   messages
		want   string // the second CONNECT
	}{
		{"no event", nil, nil, `40{"pid":"p"}`},
		{"a string", nil, messages{`42["a",1,"x1"]`}, `40{"offset":"x1","pid":"p"}`},
		{"the last of two", nil, messages{`42["a","x1"]`, `42["a","é\n\""]`}, `40{"offset":"é\n\"","pid":"p"}`},
		{"an empty string", nil, messages{`42["a","x1"]`, `42["a",""]`}, `40{"offset":"","pid":"p"}`},
		{"no string last", nil, messages{`42["a","x1"]`, `42["a","x2",1]`, `42["a",null]`, `42["a",["x3"]]`}, `40{"offset":"x1","pid":"p"}`},
		{"a name alone", nil, messages{`42["a"]`}, `40{"offset":"a","pid":"p"}`},
		{"a number for a name", nil, messages{`42[7]`}, `40{"pid":"p"}`},
		{"a question", nil, messages{`421["a","x1"]`}, `40{"pid":"p"}`},
		{"binary last", nil, messages{`451-["a","x1",{"_placeholder":true,"num":0}]`, "bx2"}, `40{"pid":"p"}`},
		{"binary, and a string", nil, messages{`451-["a",{"_placeholder":true,"num":0},"x1"]`, "bx2"}, `40{"offset":"x1","pid":"p"}`},
		{"before the answer", messages{`42["a","x1"]`, `40{"sid":"s","pid":"p"}`}, nil, `40{"offset":"x1","pid":"p"}`},
		{"recovery is off", messages{`40{"sid":"s"}`}, messages{`42["a","x1"]`}, `40`},
	} {
		kit.Bubble(t, test.name, func(t *testing.T) {
			srv := newScripted()
			ordinary := srv.answer
			if test.answer != nil {
				srv.answer = func(string) []string { return test.answer }
			}
			c := wstest.Dial(t, srv, wstest.Config{})
			srv.answer = ordinary
			srv.peers[0].say(test.then...)
			synctest.Wait()
			kit.Equal(t, c.Recovered(), false, "recovered at first")
			c.Return(srv)
			kit.Equal(t, srv.peers[1].got[0], test.want, "CONNECT")
			kit.Equal(t, c.Recovered(), test.want != "40", "recovered")
		})
	}
}

// TestSession: a client keeps its offset when its session is a new one, and its own auth wins.
func TestSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newScripted()
		c := wstest.Dial(t, srv, wstest.Config{Auth: map[string]any{"token": 1}})
		srv.peers[0].say(`42["a","x1"]`)
		synctest.Wait()
		srv.answer = func(string) []string { return []string{`40{"sid":"s2","pid":"p2"}`} }
		c.Return(srv)
		kit.Equal(t, srv.peers[1].got[0], `40{"offset":"x1","pid":"p","token":1}`, "CONNECT")
		kit.Check(t, !c.Recovered() && c.ID() == "s2" && c.PID() == "p2", "got %v, %q, %q", c.Recovered(), c.ID(), c.PID())
		srv.answer = func(string) []string { return []string{`44{"message":"no"}`} }
		kit.Equal(t, string(c.TryReturn(srv)), `{"message":"no"}`, "refusal")
		srv.answer = func(string) []string { return []string{`40{"sid":"s2","pid":"p2"}`} }
		kit.Equal(t, string(c.TryReturn(srv)), "", "refusal after that")
		kit.Equal(t, srv.peers[3].got[0], `40{"offset":"x1","pid":"p2","token":1}`, "CONNECT after a refusal")
		kit.Check(t, c.Recovered(), "it is not recovered after a refusal")

		forged := wstest.Dial(t, srv, wstest.Config{Auth: map[string]any{"pid": "own", "offset": nil}})
		forged.Return(srv)
		kit.Equal(t, srv.peers[5].got[0], `40{"offset":null,"pid":"own"}`, "CONNECT with keys of its own")
	})
}

// TestEmitWhileAway: what a client emits while it is away follows its return, after the answer and
// after what came before that.
func TestEmitWhileAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newScripted()
		c := wstest.Dial(t, srv, wstest.Config{})
		c.On("early", func(e wstest.Event) []any { return []any{"seen"} })
		c.Abort()
		<-c.Disconnected()
		c.Emit("one", 1)
		c.Emit("two", []byte("2"))
		srv.answer = func(string) []string {
			go func() {
				time.Sleep(time.Second)
				kit.EqualSlices(t, srv.peers[1].got, []string{`40{"pid":"p"}`}, "before the answer")
				srv.peers[1].say(`427["early"]`, `40{"sid":"s","pid":"p"}`)
			}()
			return nil
		}
		c.Return(srv)
		c.Emit("three", 3)
		synctest.Wait()
		want := []string{
			`40{"pid":"p"}`, `437["seen"]`, `42["one",1]`, `451-["two",{"_placeholder":true,"num":0}]`, "2", `42["three",3]`,
		}
		kit.EqualSlices(t, srv.peers[1].got, want, "sent")
		select {
		case <-c.Disconnected():
			t.Error("it counts as disconnected after its return")
		default:
		}
	})
}

// TestOldConnection: a connection that is left stays open, and nothing of it counts.
func TestOldConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newScripted()
		c := wstest.Dial(t, srv, wstest.Config{})
		c.Return(srv)
		c.Emit("x")
		srv.peers[0].say(`42["old"]`, "2", "41")
		srv.peers[1].say(`42["new",0]`, "2")
		synctest.Wait()
		kit.EqualSlices(t, srv.peers[0].got, []string{"40"}, "what came by the old one")
		kit.EqualSlices(t, srv.peers[1].got, []string{`40{"pid":"p"}`, `42["x"]`, "3"}, "what came by the new one")
		kit.Check(t, !srv.peers[0].ended, "the old one has ended")
		c.Abort()
		synctest.Wait()
		kit.Check(t, !srv.peers[0].ended && srv.peers[1].ended, "Abort is not for the new one")
		c.Return(srv)
		srv.peers[0].nc.Close()
		srv.peers[1].nc.Close()
		synctest.Wait()
		var events []string
		for _, e := range c.Pending() {
			events = append(events, e.String())
		}
		kit.EqualSlices(t, events, []string{`["new",0]`}, "events")
		select {
		case <-c.Disconnected():
			t.Error("it has left with an old connection")
		default:
		}
	})
}

// TestNamespaces: all that a connection had come back together, but for what was left.
func TestNamespaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newScripted()
		srv.answer = func(connect string) []string {
			name, _, _ := strings.Cut(strings.TrimPrefix(connect, "40"), ",")
			if !strings.HasPrefix(name, "/") {
				return []string{`40{"sid":"s","pid":"p"}`}
			}
			return []string{"40" + name + `,{"sid":"s` + name + `","pid":"p` + name + `"}`}
		}
		c := wstest.Dial(t, srv, wstest.Config{})
		a, b, left, out := c.Of("/a", nil), c.Of("/b", map[string]int{}), c.Of("/left", nil), c.Of("/out", nil)
		srv.peers[0].say(`42/a,["x","xa"]`, `42/b,["x",1]`, "41/out")
		left.Disconnect()
		<-out.Disconnected()
		synctest.Wait()
		a.Return(srv)
		got := slices.Sorted(slices.Values(srv.peers[1].got))
		want := []string{`40/a,{"offset":"xa","pid":"p/a"}`, `40/b,{"pid":"p/b"}`, `40{"pid":"p"}`}
		kit.EqualSlices(t, got, want, "CONNECT")
		kit.Check(t, a.Recovered() && b.Recovered() && c.Recovered(), "not all are recovered")
		left.Return(srv) // which it wants now
		got = slices.Sorted(slices.Values(srv.peers[2].got))
		kit.EqualSlices(t, got, append([]string{want[0], want[1], `40/left,{"pid":"p/left"}`}, want[2]), "CONNECT")
	})
}

// TestReturn: a server notices that a client is away when its connection ends, or at a ping.
func TestReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t)
		sockets := func() int { return len(srv.Of("/").Sockets()) }
		c := wstest.Dial(t, srv, wstest.Config{})
		id := c.ID()
		kit.Equal(t, c.PID(), "", "pid without recovery")
		c.Abort()
		synctest.Wait()
		kit.Equal(t, sockets(), 0, "sockets after Abort")
		c.Return(srv)
		kit.Check(t, !c.Recovered() && c.ID() != id, "got %v, id %q after %q", c.Recovered(), c.ID(), id)
		c.Return(srv)
		kit.Equal(t, sockets(), 2, "sockets after a return without Abort")
		time.Sleep(time.Minute)
		kit.Equal(t, sockets(), 1, "sockets after the ping timeout")
		kit.Equal(t, string(c.EmitWithAck("echo", 1).JSON()), "[1]", "echo")
		c.Stall()
		time.Sleep(time.Minute)
		kit.Equal(t, sockets(), 0, "sockets after a stall")
		other := newServer(t)
		c.Return(other)
		kit.Equal(t, len(other.Of("/").Sockets()), 1, "sockets of another server")
		kit.Equal(t, string(c.EmitWithAck("echo", 2).JSON()), "[2]", "echo")
	})
}

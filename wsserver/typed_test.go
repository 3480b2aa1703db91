package wsserver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
	"github.com/belfry-io/belfry/wsserver/msgpack"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestFewerArguments: a handler of one argument runs without one, with the zero value of its type, and answers.
func TestFewerArguments(t *testing.T) {
	type line struct{ Room, Text string }
	for _, codec := range []packet.Codec{packet.JSON{}, msgpack.Codec{}} {
		kit.Bubble(t, fmt.Sprintf("%T", codec), func(t *testing.T) {
			onError, failures := collectErrors()
			srv := newServer(t, wsserver.Config{OnError: onError, Codec: codec})
			var got []string
			note := func(v any) { got = append(got, fmt.Sprintf("%T %v", v, v)) }
			srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
				wsserver.On(s, "struct", func(ctx context.Context, _ *wsserver.Socket, v struct{}) error { note(v); return nil })
				wsserver.On(s, "fields", func(ctx context.Context, _ *wsserver.Socket, v line) error { note(v); return nil })
				wsserver.On(s, "any", func(ctx context.Context, _ *wsserver.Socket, v any) error { note(v); return nil })
				wsserver.On(s, "pointer", func(ctx context.Context, _ *wsserver.Socket, v *line) error { note(v); return nil })
				wsserver.On(s, "bytes", func(ctx context.Context, _ *wsserver.Socket, v []byte) error { note(v); return nil })
				wsserver.OnAck(s, "list struct", func(ctx context.Context, _ *wsserver.Socket, v struct{}) (int, error) { return 1, nil })
				wsserver.OnAck(s, "list any", func(ctx context.Context, _ *wsserver.Socket, v any) (any, error) { return v, nil })
				wsserver.OnAck(s, "list string", func(ctx context.Context, _ *wsserver.Socket, v string) (string, error) { return v + "!", nil })
				return nil
			})
			c := wstest.Dial(t, srv, wstest.Config{Codec: codec})
			for _, event := range []string{"struct", "fields", "any", "pointer", "bytes"} {
				c.Emit(event)
			}
			for event, want := range map[string]string{"list struct": "[1]", "list any": "[null]", "list string": `["!"]`} {
				kit.Want(t, string(c.EmitWithAck(event).JSON()), want, event)
			}
			kit.Want(t, string(c.EmitWithAck("list struct", nil).JSON()), "[1]", "null")
			want := "[struct {} {} wsserver_test.line { } <nil> <nil> *wsserver_test.line <nil> []uint8 []]"
			kit.Check(t, fmt.Sprint(got) == want, "handlers: got %v, want %v", got, want)
			if len(failures) > 0 {
				t.Errorf("OnError got %v", (<-failures).err)
			}
		})
	}
}

// TestTyped: handlers of one to three arguments, of a namespace, of a parent and of a socket, get the socket and what came, and answer.
func TestTyped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		onError, failures := collectErrors()
		srv := newServer(t, wsserver.Config{OnError: onError})
		var got []string
		note := func(s *wsserver.Socket, args ...any) {
			got = append(got, fmt.Sprint(append(args, s.Namespace().Name())...))
		}
		set := func(l wsserver.Listener) {
			wsserver.On(l, "one", func(ctx context.Context, s *wsserver.Socket, a int) error { note(s, a); return nil })
			wsserver.On2(l, "two", func(ctx context.Context, s *wsserver.Socket, a int, b bool) error { note(s, a, b); return nil })
			wsserver.On3(l, "three", func(ctx context.Context, s *wsserver.Socket, a int, b bool, c []int) error {
				note(s, a, b, c)
				return nil
			})
			wsserver.OnAck(l, "ask one", func(ctx context.Context, s *wsserver.Socket, a int) (int, error) { return a, nil })
			wsserver.OnAck2(l, "ask two", func(ctx context.Context, s *wsserver.Socket, a, b int) (int, error) { return a + b, nil })
			wsserver.OnAck3(l, "ask three", func(ctx context.Context, s *wsserver.Socket, a, b, c int) (int, error) { return a + b + c, nil })
		}
		set(srv.Of("/"))
		set(srv.OfFunc(func(name string) bool { return name == "/parent" }))
		srv.Of("/socket").OnConnect(func(ctx context.Context, s *wsserver.Socket) error { set(s); return nil })
		root := wstest.Dial(t, srv, wstest.Config{})
		for _, c := range []*wstest.Client{root, root.Of("/parent", nil), root.Of("/socket", nil)} {
			c.Emit("one", 1)
			c.Emit("two", 2, true)
			c.Emit("three", 3, false, []int{4})
			c.Emit("three", 5, true)
			c.Emit("two")
			for event, want := range map[string]string{"ask one": "[1]", "ask two": "[3]", "ask three": "[6]"} {
				kit.Want(t, string(c.EmitWithAck(event, 1, 2, 3, 4).JSON()), want, event)
			}
			if len(failures) > 0 {
				t.Errorf("OnError got %v", (<-failures).err)
			}
			c.Emit("two", 1, "not a bool")
			if f := <-failures; f.event != "two" || f.err == nil {
				t.Errorf("an argument that does not fit: OnError got %q, %v", f.event, f.err)
			}
		}
		want := ""
		for _, name := range []string{"/", "/parent", "/socket"} {
			want += fmt.Sprintf("1%[1]s 2 true%[1]s 3 false [4]%[1]s 5 true []%[1]s 0 false%[1]s ", name)
		}
		if got := fmt.Sprintln(got); strings.TrimSpace(want) != strings.Trim(got, "[]\n") {
			t.Errorf("handlers: got %s, want %s", got, want)
		}
	})
}

// TestAckError: a client that waits is told of a handler's AckError, whoever returns it, and others' errors are reported still. Where
// nobody is told, the error is reported.
func TestAckError(t *testing.T) {
	for _, codec := range []packet.Codec{packet.JSON{}, msgpack.Codec{}} {
		synctest.Test(t, func(t *testing.T) {
			onError, failures := collectErrors()
			srv := newServer(t, wsserver.Config{OnError: onError, Codec: codec})
			full := &wsserver.AckError{Message: "full", Data: map[string]int{"most": 9}}
			ns := srv.Of("/")
			wsserver.OnAck(ns, "typed", func(context.Context, *wsserver.Socket, any) (int, error) { return 0, fmt.Errorf("room: %w", full) })
			wsserver.On(ns, "answered", func(context.Context, *wsserver.Socket, any) error { return &wsserver.AckError{Message: "no"} })
			ns.On("late", func(ctx context.Context, e *wsserver.Event) error { return errors.Join(e.Ack("done"), full) })
			ns.On("both", func(context.Context, *wsserver.Event) error { return full })
			ns.On("both", func(context.Context, *wsserver.Event) error { return errors.New("of the second") })
			ns.On("unfit", func(context.Context, *wsserver.Event) error {
				return &wsserver.AckError{Message: "x", Data: make(chan int)}
			})
			srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
				s.Use(func(next wsserver.Handler) wsserver.Handler {
					return func(ctx context.Context, e *wsserver.Event) error {
						if e.Name() == "denied" {
							return &wsserver.AckError{Message: "denied"}
						}
						return next(ctx, e)
					}
				})
				return nil
			})
			c := wstest.Dial(t, srv, wstest.Config{Codec: codec})
			for _, test := range []struct{ event, answer, reported string }{
				{"typed", `[{"error":{"data":{"most":9},"message":"full"}}]`, ""},
				{"answered", `[{"error":{"message":"no"}}]`, ""},
				{"denied", `[{"error":{"message":"denied"}}]`, ""},
				{"late", `["done"]`, "full"},
				{"both", `[{"error":{"data":{"most":9},"message":"full"}}]`, "of the second"},
			} {
				var answer any
				got := c.EmitWithAck(test.event).JSON()
				kit.OK(t, json.Unmarshal(got, &answer))
				sorted, _ := json.Marshal(answer)
				kit.Want(t, string(sorted), test.answer, test.event)
				synctest.Wait()
				wantReported(t, test.event, failures, test.reported)
				c.Emit(test.event) // nobody waits for an answer
				synctest.Wait()
				for len(failures) > 0 {
					<-failures
				}
			}
			c.Emit("typed")
			synctest.Wait()
			wantReported(t, "typed, and nobody waits", failures, "full")
			if (codec == packet.JSON{}) {
				wsrig.Under(c).Send(`421["unfit"]`)
				synctest.Wait()
				wantReported(t, "data that cannot be sent", failures, "chan int")
			}
		})
	}
}

// wantReported checks what OnError got: nothing more than an error with this text, or nothing if it is empty.
func wantReported(t *testing.T, what string, failures <-chan failure, text string) {
	t.Helper()
	var got []string
	for len(failures) > 0 {
		got = append(got, (<-failures).err.Error())
	}
	if all := strings.Join(got, "; "); len(got) > 1 || (text == "") != (all == "") || !strings.Contains(all, text) {
		t.Errorf("%s: OnError got %q, want %q", what, all, text)
	}
}

// TestDecodeAuth, and data as a type of the program's own.
func TestDecodeAuth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{})
		type user struct{ Name string }
		srv.Use(func(ctx context.Context, s *wsserver.Socket) error {
			u := user{Name: "nobody"}
			if err := s.DecodeAuth(&u); err != nil {
				return err
			}
			s.SetData(u)
			return nil
		})
		wsserver.OnAck(srv.Of("/"), "who", func(ctx context.Context, s *wsserver.Socket, _ any) (string, error) {
			u, ok := wsserver.DataOf[user](s)
			if _, other := wsserver.DataOf[string](s); !ok || other {
				t.Errorf("DataOf: %v, %v", ok, other)
			}
			return u.Name, nil
		})
		for _, test := range []struct {
			auth any
			want string
		}{{map[string]string{"Name": "Ann"}, `["Ann"]`}, {nil, `["nobody"]`}} {
			c := wstest.Dial(t, srv, wstest.Config{Auth: test.auth})
			kit.Want(t, string(c.EmitWithAck("who").JSON()), test.want, "auth", test.auth)
		}
	})
}

// TestFewerServerSideArguments is the like of server-side events.
func TestFewerServerSideArguments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(adapter.Memory)
		near, far := newServer(t, wsserver.Config{Adapter: mem}), newServer(t, wsserver.Config{Adapter: mem})
		said := make(chan string, 1)
		wsserver.OnServerSide(far, "said", func(ctx context.Context, v string) error { said <- v + "!"; return nil })
		wsserver.OnServerSideAck(far, "list", func(ctx context.Context, v int) (int, error) { return v + 1, nil })
		kit.OK(t, near.Ready(t.Context()))
		kit.OK(t, near.Of("/").ServerSideEmit(t.Context(), "said"))
		kit.Want(t, <-said, "!")
		answers, err := near.Of("/").ServerSideEmitWithAck(t.Context(), "list")
		var n int
		if err == nil && len(answers) == 1 {
			err = answers[0].Decode(&n)
		}
		kit.Check(t, n == 1 && err == nil, "got %v, %v, want 1", answers, err)
	})
}

// TestUnhandled: an event that nothing handles is counted; one that a catch-all or a middleware has taken is not.
func TestUnhandled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := everyNamespace(t, wsserver.Config{})
		srv.Of("/logged").OnAny(func(context.Context, *wsserver.Event) error { return nil })
		srv.Of("/dropped").OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
			s.Use(func(next wsserver.Handler) wsserver.Handler {
				return func(context.Context, *wsserver.Event) error { return nil }
			})
			return nil
		})
		srv.Of("/own").OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
			wsserver.On(s, "known", func(context.Context, *wsserver.Socket, any) error { return nil })
			return nil
		})
		c := wstest.Dial(t, srv, wstest.Config{})
		for _, test := range []struct {
			client *wstest.Client
			event  string
			want   uint64 // so far
		}{
			{c, "misspelt", 1}, {c, "echo", 1}, {c, "", 2},
			{c.Of("/dynamic", nil), "misspelt", 3},
			{c.Of("/logged", nil), "misspelt", 3}, {c.Of("/dropped", nil), "misspelt", 3},
			{c.Of("/own", nil), "known", 3}, {c.Of("/own2", nil), "known", 4},
		} {
			test.client.Emit(test.event)
			synctest.Wait()
			if got := srv.Stats().Unhandled; got != test.want {
				t.Errorf("%q: Stats.Unhandled is %d, want %d", test.event, got, test.want)
			}
		}
	})
}

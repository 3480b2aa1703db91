package wsserver_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/msgpack"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestFewerArguments: a handler of one argument runs without one, with the zero value of its type, and answers.
func TestFewerArguments(t *testing.T) {
	type line struct{ Room, Text string }
	for _, codec := range []packet.Codec{packet.JSON{}, msgpack.Codec{}} {
		t.Run(fmt.Sprintf("%T", codec), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				onError, failures := collectErrors()
				srv := newServer(t, wsserver.Config{OnError: onError, Codec: codec})
				var got []string
				note := func(v any) { got = append(got, fmt.Sprintf("%T %v", v, v)) }
				srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
					wsserver.On(s, "struct", func(ctx context.Context, v struct{}) error { note(v); return nil })
					wsserver.On(s, "fields", func(ctx context.Context, v line) error { note(v); return nil })
					wsserver.On(s, "any", func(ctx context.Context, v any) error { note(v); return nil })
					wsserver.On(s, "pointer", func(ctx context.Context, v *line) error { note(v); return nil })
					wsserver.On(s, "bytes", func(ctx context.Context, v []byte) error { note(v); return nil })
					wsserver.OnAck(s, "list struct", func(ctx context.Context, v struct{}) (int, error) { return 1, nil })
					wsserver.OnAck(s, "list any", func(ctx context.Context, v any) (any, error) { return v, nil })
					wsserver.OnAck(s, "list string", func(ctx context.Context, v string) (string, error) { return v + "!", nil })
					return nil
				})
				c := wstest.Dial(t, srv, wstest.Config{Codec: codec})
				for _, event := range []string{"struct", "fields", "any", "pointer", "bytes"} {
					c.Emit(event)
				}
				for event, want := range map[string]string{"list struct": "[1]", "list any": "[null]", "list string": `["!"]`} {
					if got := string(c.EmitWithAck(event).JSON()); got != want {
						t.Errorf("%s: got %s, want %s", event, got, want)
					}
				}
				if got := string(c.EmitWithAck("list struct", nil).JSON()); got != "[1]" {
					t.Errorf("null: got %s", got)
				}
				want := "[struct {} {} wsserver_test.line { } <nil> <nil> *wsserver_test.line <nil> []uint8 []]"
				if fmt.Sprint(got) != want {
					t.Errorf("handlers: got %v, want %v", got, want)
				}
				if len(failures) > 0 {
					t.Errorf("OnError got %v", (<-failures).err)
				}
			})
		})
	}
}

// TestFewerServerSideArguments is the like of server-side events.
func TestFewerServerSideArguments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(adapter.Memory)
		near, far := newServer(t, wsserver.Config{Adapter: mem}), newServer(t, wsserver.Config{Adapter: mem})
		said := make(chan string, 1)
		wsserver.OnServerSide(far, "said", func(ctx context.Context, v string) error { said <- v + "!"; return nil })
		wsserver.OnServerSideAck(far, "list", func(ctx context.Context, v int) (int, error) { return v + 1, nil })
		if err := near.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := near.Of("/").ServerSideEmit(t.Context(), "said"); err != nil {
			t.Fatal(err)
		}
		if got := <-said; got != "!" {
			t.Errorf("got %q", got)
		}
		answers, err := near.Of("/").ServerSideEmitWithAck(t.Context(), "list")
		var n int
		if err == nil && len(answers) == 1 {
			err = answers[0].Decode(&n)
		}
		if n != 1 || err != nil {
			t.Errorf("got %v, %v, want 1", answers, err)
		}
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
			wsserver.On(s, "known", func(context.Context, any) error { return nil })
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

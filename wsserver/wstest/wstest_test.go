package wstest_test

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

func newServer(t *testing.T) *wsserver.Server {
	srv := wsserver.New(wsserver.Config{})
	t.Cleanup(func() { srv.Close(context.Background()) })
	srv.Of("/").On("echo", func(ctx context.Context, e *wsserver.Event) error {
		var v any
		if err := e.Decode(&v); err != nil {
			return err
		}
		return e.Ack(v)
	})
	return srv
}

// TestEvents: Next takes the first of its name, Pending what is left, and On is beside both.
func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t)
		c := wstest.Dial(t, srv, wstest.Config{})
		var quiet []string
		c.On("quiet", func(e wstest.Event) []any { quiet = append(quiet, e.String()); return nil })
		for i, name := range []string{"a", "b", "quiet", "a", "c"} {
			srv.Emit(t.Context(), name, i)
		}
		got := []string{c.Next("c").String(), c.Next("a").String(), c.Next("").String()}
		for _, e := range c.Pending() {
			got = append(got, e.String())
		}
		want := []string{`["c",4]`, `["a",0]`, `["b",1]`, `["a",3]`}
		kit.Check(t, slices.Equal(got, want) && slices.Equal(quiet, []string{`["quiet",2]`}),
			"got %q and %q, want %q", got, quiet, want)
		kit.Check(t, len(c.Pending()) == 0, "Pending has not taken the events")
	})
}

// TestStall: the network holds 64 KiB for a client that is stalled; nothing is lost when it resumes.
func TestStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t)
		c := wstest.Dial(t, srv, wstest.Config{})
		c.Stall()
		for range 30 {
			srv.Emit(t.Context(), "x", strings.Repeat("x", 10_000))
		}
		synctest.Wait()
		if got := len(c.Pending()); got > 1 {
			t.Errorf("got %d events while stalled, want none", got)
		}
		if got := srv.Stats().Bytes; got > 100<<10 {
			t.Errorf("the server has written %d bytes, want about 64 KiB", got)
		}
		c.Resume()
		synctest.Wait()
		kit.Want(t, len(c.Pending()), 30, "events")
		c.Stall()
		c.Abort() // does not wait for Resume
	})
}

// TestNothingLeft: when a test has ended, so has everything that its clients had.
func TestNothingLeft(t *testing.T) {
	srv := newServer(t)
	count := func() int {
		b := make([]byte, 1<<20)
		stacks := b[:runtime.Stack(b, true)]
		return bytes.Count(stacks, []byte("wsrig.(*Conn).read")) + bytes.Count(stacks, []byte("wsrig.Serve"))
	}
	t.Run("inner", func(t *testing.T) {
		for range 4 {
			wstest.Dial(t, srv, wstest.Config{})
		}
		stalled := wstest.Dial(t, srv, wstest.Config{})
		stalled.Stall()
		wstest.Dial(t, srv, wstest.Config{}).Close()
		if got := count(); got < 5 {
			t.Errorf("the test is wrong: %d goroutines, want some", got)
		}
	})
	// One that has said that it ends may still be seen ending.
	for deadline := time.Now().Add(time.Minute); count() != 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("got %d goroutines, want 0", count())
		}
	}
}

// TestTry: a refusal is told, and the connection can be used further.
func TestTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t)
		srv.Of("/").Use(func(ctx context.Context, s *wsserver.Socket) error {
			if s.Handshake().Auth == nil {
				return errors.New("who are you?")
			}
			return nil
		})
		if client, refusal := wstest.Try(t, srv, wstest.Config{}); client != nil || string(refusal) != `{"message":"who are you?"}` {
			t.Errorf("refused: got %v, %s", client, refusal)
		}
		known := wstest.Config{Auth: map[string]int{"pin": 1}}
		client, refusal := wstest.Try(t, srv, known)
		kit.Require(t, client != nil && refusal == nil, "granted: got %v, %s", client, refusal)
		kit.Want(t, string(client.EmitWithAck("echo", 1).JSON()), "[1]", "echo")
		if other, refusal := client.Try("/unknown", nil); other != nil || string(refusal) != `{"message":"Invalid namespace"}` {
			t.Errorf("an unknown namespace: got %v, %s", other, refusal)
		}
		client.EmitWithAck("echo", 2)
	})
}

package wstest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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

// failing is a testing.TB that notes a failure instead of failing.
type failing struct {
	testing.TB
	message string
}

func (f *failing) Helper() {}

func (f *failing) Fatalf(format string, args ...any) {
	f.message = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// failure returns what f fails with.
func failure(t *testing.T, f func(t testing.TB)) string {
	tb := &failing{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(tb)
	}()
	<-done
	return tb.message
}

// TestFailures: what goes wrong fails the test, and says why.
func TestFailures(t *testing.T) {
	refusing := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Error(w, "go away", http.StatusTeapot) })
	for _, test := range []struct {
		name, want string
		run        func(t testing.TB, srv *wsserver.Server)
	}{
		{"refused request", "418 I'm a teapot: go away", func(t testing.TB, srv *wsserver.Server) {
			wstest.Dial(t, refusing, wstest.Config{})
		}},
		{"wrong path", "404 Not Found", func(t testing.TB, srv *wsserver.Server) {
			wstest.Dial(t, srv, wstest.Config{Path: "/other/"})
		}},
		{"refused namespace", "namespace /unknown: {\"message\":\"Invalid namespace\"}", func(t testing.TB, srv *wsserver.Server) {
			wstest.Dial(t, srv, wstest.Config{Namespace: "/unknown"})
		}},
		{"nothing comes", "waiting for event x: nothing within 5s", func(t testing.TB, srv *wsserver.Server) {
			wstest.Dial(t, srv, wstest.Config{Timeout: 5 * time.Second}).Next("x")
		}},
		{"no answer", "waiting for the answer to nobody: nothing within 5s", func(t testing.TB, srv *wsserver.Server) {
			wstest.Dial(t, srv, wstest.Config{Timeout: 5 * time.Second}).EmitWithAck("nobody")
		}},
		{"the connection ends", "waiting for event x: the connection has ended: code 1005", func(t testing.TB, srv *wsserver.Server) {
			c := wstest.Dial(t, srv, wstest.Config{})
			time.AfterFunc(time.Second, func() { srv.Of("/").Sockets()[0].Close() })
			c.Next("x")
		}},
		{"it does not end", "it is open after 5s", func(t testing.TB, srv *wsserver.Server) {
			wstest.Dial(t, srv, wstest.Config{Timeout: 5 * time.Second}).Wait()
		}},
		{"an event that cannot be", "reserved event name", func(t testing.TB, srv *wsserver.Server) {
			wstest.Dial(t, srv, wstest.Config{}).Emit("connect")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := newServer(t)
				got := failure(t, func(t testing.TB) { test.run(t, srv) })
				if !strings.HasPrefix(got, "wstest: ") || !strings.Contains(got, test.want) {
					t.Errorf("got %q, want %q", got, test.want)
				}
			})
		})
	}
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
		if !slices.Equal(got, want) || !slices.Equal(quiet, []string{`["quiet",2]`}) {
			t.Errorf("got %q and %q, want %q", got, quiet, want)
		}
		if len(c.Pending()) > 0 {
			t.Error("Pending has not taken the events")
		}
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
		if got := len(c.Pending()); got != 30 {
			t.Errorf("got %d events, want 30", got)
		}
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
		return bytes.Count(stacks, []byte("wstest.(*conn).read")) + bytes.Count(stacks, []byte("wstest.Dial"))
	}
	t.Run("inner", func(t *testing.T) {
		for _, cfg := range []wstest.Config{{}, {Early: true}, {Raw: true}, {NoPong: true}} {
			wstest.Dial(t, srv, cfg)
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

// pipeHandler hands out the server's end of a connection in memory.
func pipeEnds(t *testing.T) (client *wstest.Client, server net.Conn) {
	conns := make(chan net.Conn, 1)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		conn.SetDeadline(time.Time{})
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
		conns <- conn
	})
	return wstest.Dial(t, h, wstest.Config{Raw: true}), <-conns
}

// TestPipe: the connection in memory behaves as one of TCP does, deadlines included.
func TestPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, server := pipeEnds(t)
		if got := server.RemoteAddr().String(); got != "192.0.2.1:1234" {
			t.Errorf("RemoteAddr: got %s", got)
		}
		c.Write([]byte("hello"))
		if got := c.Unread(); got != 5 {
			t.Errorf("Unread: got %d, want 5", got)
		}
		buf := make([]byte, 3)
		for _, want := range []string{"hel", "lo"} {
			if n, err := server.Read(buf); string(buf[:n]) != want || err != nil {
				t.Errorf("Read: got %q, %v, want %q", buf[:n], err, want)
			}
		}
		start := time.Now()
		server.SetReadDeadline(start.Add(time.Minute))
		if _, err := server.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("Read: got %v after %v, want a timeout after a minute", err, time.Since(start))
		}
		server.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Second, func() { server.SetReadDeadline(time.Unix(1, 0)) })
		if _, err := server.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read that waits when a deadline is set: got %v, want a timeout", err)
		}
		server.SetReadDeadline(time.Time{})

		c.Stall()
		server.SetWriteDeadline(time.Now().Add(time.Minute))
		n, err := server.Write(make([]byte, 1<<20))
		if !errors.Is(err, os.ErrDeadlineExceeded) || n < 64<<10 || n > 128<<10 {
			t.Errorf("Write to a stalled client: got %d, %v, want about 64 KiB and a timeout", n, err)
		}
		server.SetWriteDeadline(time.Time{})

		c.Write([]byte("x"))
		c.CloseWrite()
		if got, err := io.ReadAll(server); string(got) != "x" || err != nil {
			t.Errorf("after CloseWrite: got %q, %v, want x and EOF", got, err)
		}
		c.Abort()
		if _, err := server.Write([]byte("x")); err == nil {
			t.Error("Write to a client that is gone: got no error")
		}
		server.Close()
		if _, err := server.Read(buf); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read after Close: got %v, want net.ErrClosed", err)
		}
	})
}

// TestTry: a refusal is told, and a client without a namespace can be had.
func TestTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t)
		srv.Of("/").Use(func(ctx context.Context, s *wsserver.Socket) error {
			if s.Handshake().Auth == nil {
				return errors.New("who are you?")
			}
			return nil
		})
		c := wstest.Dial(t, srv, wstest.Config{NoConnect: true})
		synctest.Wait()
		if got := len(srv.Of("/").Sockets()); got != 0 || c.ID() != "" {
			t.Errorf("NoConnect: got %d sockets, id %q, want none", got, c.ID())
		}
		if client, refusal := c.Try("/", nil); client != nil || string(refusal) != `{"message":"who are you?"}` {
			t.Errorf("refused: got %v, %s", client, refusal)
		}
		client, refusal := c.Try("/", map[string]int{"pin": 1})
		if client == nil || refusal != nil {
			t.Fatalf("granted: got %v, %s", client, refusal)
		}
		if got := string(client.EmitWithAck("echo", 1).JSON()); got != "[1]" {
			t.Errorf("echo: got %s", got)
		}
	})
}

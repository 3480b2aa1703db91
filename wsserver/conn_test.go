package wsserver

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/adapter/sockets/payload"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver/internal/engine"
)

// waitsForHandlers checks that srv waits for handlers. It returns what is closed when srv waits no more.
func waitsForHandlers(t *testing.T, srv *Server) <-chan struct{} {
	t.Helper()
	waited := make(chan struct{})
	go func() {
		defer close(waited)
		srv.workers.running.Wait()
	}()
	select {
	case <-waited:
		t.Error("nothing is waited for, and a handler is to come")
	case <-time.After(50 * time.Millisecond):
	}
	return waited
}

// TestClosedDuringEnd: a connection still counts while a goroutine tells its sockets of their end, so that Close waits for their handlers.
func TestClosedDuringEnd(t *testing.T) {
	srv := New(Config{Logger: kit.Silent})
	c := srv.newConn(httptest.NewRequest("GET", "/socket.io/", nil), nil)
	s := newSocket(c, "/", nil)
	s.seat.ns = srv.Of("/")
	s.life.greeted = true
	handled := make(chan struct{})
	s.OnDisconnect(func(context.Context, error) { close(handled) })
	c.sockets = append(c.sockets, s)

	s.life.mu.Lock() // holds up end
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.Ended(engine.ReasonTransport, errors.New("reset"))
	}()
	for closed := false; !closed; time.Sleep(time.Millisecond) {
		c.mu.Lock()
		closed = c.closed
		c.mu.Unlock()
	}
	waited := waitsForHandlers(t, srv)
	s.life.mu.Unlock()
	<-ended
	<-handled
	<-waited
	kit.OK(t, srv.Close(context.Background()), "Close")
}

// TestEventAfterEnd: an event that arrives while its socket ends, after the goroutine of the socket has looked for events the last time,
// neither waits for ever nor keeps the connection from being read.
func TestEventAfterEnd(t *testing.T) {
	srv := New(Config{Limits: Limits{MaxEvents: 1}, Logger: kit.Silent})
	c := srv.newConn(httptest.NewRequest("GET", "/socket.io/", nil), nil) // a Pause of its session would panic
	s := newSocket(c, "/", nil)
	s.seat.ns = srv.Of("/")
	s.end(ErrServerDisconnect, nil)
	srv.workers.running.Done() // that of the connection, which is not one
	srv.workers.running.Wait()
	s.push(&packet.Packet{Type: packet.Event})
	kit.Equal(t, len(s.inbox.events), 0, "events")
	kit.OK(t, srv.Close(context.Background()), "Close")
}

// TestForgottenButRunning: a socket that its connection does not know any more, so that nobody who ends the connection waits for it, counts
// for itself.
func TestForgottenButRunning(t *testing.T) {
	srv := New(Config{Logger: kit.Silent})
	c := srv.newConn(httptest.NewRequest("GET", "/socket.io/", nil), nil)
	s := newSocket(c, "/", nil)
	s.seat.ns = srv.Of("/")

	c.mu.Lock() // holds up the end of s where it is to be forgotten
	go s.end(ErrServerDisconnect, nil)
	stacks := make([]byte, 1<<20)
	kit.Eventually(t, "the end of the socket", func() bool {
		return strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "(*conn).removeSocket(")
	})
	srv.workers.running.Done() // that of the connection, which ends
	waited := waitsForHandlers(t, srv)
	c.mu.Unlock()
	<-waited
	kit.OK(t, srv.Close(context.Background()), "Close")
}

// TestGreetAfterEnd: a client that went away while its socket joined the cluster is not brought back by its greeting.
func TestGreetAfterEnd(t *testing.T) {
	srv := New(Config{Logger: kit.Silent})
	c := srv.newConn(httptest.NewRequest("GET", "/socket.io/", nil), nil) // a greeting of its session would panic
	s := newSocket(c, "/", nil)
	s.seat.ns = srv.Of("/")
	s.inbox.running = true // this goroutine is the socket's
	c.Ended(engine.ReasonClient, errors.New("closed"))
	s.end(ErrTransportClose, nil)
	kit.Check(t, !s.greet() && !s.Connected(), "the socket is connected")
	s.leave()
	if got := srv.Of("/").SocketCount(); got > 0 {
		t.Errorf("%d sockets are left, want none", got)
	}
	kit.OK(t, srv.Close(context.Background()), "Close")
}

// TestConnectAfterEnd: a CONNECT that is routed while its connection ends makes no socket, which nobody would end.
func TestConnectAfterEnd(t *testing.T) {
	srv := New(Config{Logger: kit.Silent})
	c := srv.newConn(httptest.NewRequest("GET", "/socket.io/", nil), nil) // a greeting of its session would panic
	c.Ended(engine.ReasonClient, errors.New("closed"))
	if err := c.route(&packet.Packet{Type: packet.Connect, Namespace: "/"}); err != nil || len(c.sockets) > 0 {
		t.Errorf("got %d sockets, %v, want none", len(c.sockets), err)
	}
	kit.OK(t, srv.Close(context.Background()), "Close")
}

// TestMaxLeft: a connection remembers the namespaces that the server has disconnected last, and not all of them.
func TestMaxLeft(t *testing.T) {
	srv := New(Config{Logger: kit.Silent})
	c := srv.newConn(httptest.NewRequest("GET", "/socket.io/", nil), nil)
	for i := range 10_000 {
		c.removeSocket(newSocket(c, fmt.Sprint("/", i%5000), nil), nil, true)
	}
	if left := *c.left; len(left) != maxLeft || left[maxLeft-1] != "/4999" || left[0] != fmt.Sprint("/", 5000-maxLeft) {
		t.Errorf("got %d, %q, want the last %d", len(left), left, maxLeft)
	}
	srv.workers.running.Done() // that of the connection, which is not one
	kit.OK(t, srv.Close(context.Background()), "Close")
}

// TestExitDiscards: the adapter keeps nothing of a dynamic namespace that has gone, and all of one that has not.
func TestExitDiscards(t *testing.T) {
	srv := New(Config{Logger: kit.Silent})
	defer srv.Close(context.Background())
	srv.OfFunc(func(string) bool { return true })
	first, _ := srv.enter("/a", nil)
	second, _ := srv.enter("/a", nil)
	kit.Require(t, first == second && srv.dynamic == 1, "got two namespaces, %d dynamic", srv.dynamic)
	srv.exit(first)
	if got, _ := srv.enter("/a", nil); got != first || srv.hub.Rooms("/a", nil) != first.rooms {
		t.Error("the namespace has gone before its last socket")
	}
	srv.exit(first)
	srv.exit(first)
	kit.Check(t, srv.dynamic == 0 && len(srv.namespaces.byName) == 1,
		"got %d dynamic namespaces, %d in all, want only /", srv.dynamic, len(srv.namespaces.byName))
	kit.Check(t, srv.hub.Rooms("/a", nil) != first.rooms, "the hub has kept the rooms")
	first, _ = srv.enter("/a", nil)
	kept := srv.Of("/a")
	srv.exit(first)
	kit.Check(t, kept == first && srv.Of("/a") == kept && srv.dynamic == 0,
		"what the program has asked for has gone, or counts: %d", srv.dynamic)
}

// TestForgedAttachments: what claims more attachments than it can have placeholders is refused before memory is taken for them.
func TestForgedAttachments(t *testing.T) {
	forged := packet.Encoded{Text: []byte(`5999999999-["x"]`)}
	if _, err := decode(packet.JSON{}.NewDecoder(payload.Limits), forged); !errors.Is(err, packet.ErrPlaceholder) {
		t.Errorf("got %v, want ErrPlaceholder", err)
	}
	short := packet.Encoded{Text: []byte(`51-["x",{"_placeholder":true,"num":0}]`)}
	if _, err := decode(packet.JSON{}.NewDecoder(payload.Limits), short); err == nil {
		t.Error("a packet without its attachment: got no error")
	}
}

// TestSessionNamesNode: the id of a session begins with its server's node, in the words of the adapter.
func TestSessionNamesNode(t *testing.T) {
	srv := New(Config{Logger: kit.Silent})
	defer srv.Close(t.Context())
	w := httptest.NewRecorder()
	srv.ServeHTTP(w, httptest.NewRequest("GET", "/socket.io/?EIO=4&transport=polling", nil))
	if want := `0{"sid":"` + srv.hub.Node() + "."; !strings.HasPrefix(w.Body.String(), want) {
		t.Errorf("got %s, want %s...", w.Body, want)
	}
}

package transport

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver/internal/outbox"
)

// owner is a Receiver that notes its calls.
type owner struct {
	fail error // what Message returns

	mu      sync.Mutex // guards what follows
	changed chan struct{}
	calls   []string
	reason  error
}

func newOwner() *owner { return &owner{changed: make(chan struct{})} }

func (o *owner) note(call string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls = append(o.calls, call)
	close(o.changed)
	o.changed = make(chan struct{})
}

func (o *owner) Message(binary bool, payload []byte) error {
	op := OpText
	if binary {
		op = OpBinary
	}
	o.note(fmt.Sprintf("message %d %.20s", op, payload))
	return o.fail
}

func (o *owner) HungUp() { o.note("hung up") }
func (o *owner) Large()  {}

func (o *owner) Fed(_ int, partial bool) {
	if partial {
		o.note("partial")
	}
}

func (o *owner) Closing(err error) {
	o.mu.Lock()
	o.reason = err
	o.mu.Unlock()
	o.note("closing")
}

func (o *owner) Closed() { o.note("closed") }

// wait waits until the calls are want.
func (o *owner) wait(t *testing.T, want ...string) {
	t.Helper()
	timeout := time.After(kit.Patience)
	for {
		o.mu.Lock()
		calls, changed := slices.Clone(o.calls), o.changed
		o.mu.Unlock()
		if slices.Equal(calls, want) {
			return
		}
		kit.Require(t, len(calls) < len(want), "got calls %q, want %q", calls, want)
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("got calls %q and no more, want %q", calls, want)
		}
	}
}

// hiddenConn is a connection whose descriptor cannot be had.
type hiddenConn struct{ net.Conn }

func (c hiddenConn) CloseWrite() error { return c.Conn.(*net.TCPConn).CloseWrite() }

// kinds are the two ways in which a connection is carried.
var kinds = []struct {
	name string
	wrap func(net.Conn) net.Conn
}{
	{"bare", func(c net.Conn) net.Conn { return c }},
	{"stream", func(c net.Conn) net.Conn { return hiddenConn{c} }},
}

// pair returns the two ends of a connection.
func pair(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	kit.OK(t, err)
	defer l.Close()
	far0, err := net.Dial("tcp", l.Addr().String())
	kit.OK(t, err)
	near0, err := l.Accept()
	kit.OK(t, err)
	t.Cleanup(func() { far0.Close() })
	far0.SetDeadline(time.Now().Add(kit.Patience))
	return near0.(*net.TCPConn), far0.(*net.TCPConn)
}

func newShared(t *testing.T, cfg Config) *Shared {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	shared := New(cfg)
	t.Cleanup(shared.Close)
	return shared
}

// each runs a test with a WebSocket of each kind, not yet started, and its peer.
func each(t *testing.T, test func(t *testing.T, w *WebSocket, o *owner, peer *net.TCPConn)) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			shared := newShared(t, Config{MaxMessage: 1000})
			near, far := pair(t)
			w, o := new(WebSocket), newOwner()
			shared.Serve(w, kind.wrap(near), false, o)
			test(t, w, o, far)
		})
	}
}

func masked8(op Opcode, payload string) []byte {
	return AppendMaskedFrame(nil, op, [4]byte{1, 2, 3, 4}, []byte(payload))
}

func send(w *WebSocket, text string) error {
	if !w.Send(NewFrame(false, []byte(text))) {
		return net.ErrClosed
	}
	return nil
}

// wantRead checks that the peer reads exactly this, and then the end of the stream.
func wantRead(t *testing.T, peer net.Conn, want string) {
	t.Helper()
	kit.Want(t, string(kit.Must(io.ReadAll(peer))(t)), want, "the peer read")
}

func TestWebSocket(t *testing.T) {
	each(t, func(t *testing.T, w *WebSocket, o *owner, peer *net.TCPConn) {
		kit.OK(t, send(w, "before Start"))
		peer.Write(masked8(OpText, "second"))
		w.Start(masked8(OpText, "first"))
		o.wait(t, "message 1 first", "message 1 second")
		peer.Write(masked8(OpPing, "are you there"))
		peer.Write(masked8(OpBinary, "third"))
		o.wait(t, "message 1 first", "message 1 second", "message 2 third")
		w.Append(&outbox.Frame{Bytes: AppendFrame(nil, OpBinary, []byte("broadcast"))})
		w.CloseWith(CloseGoingAway)
		w.CloseWith(CloseNormal)
		kit.WantErr(t, send(w, "after Close"), net.ErrClosed, "Send after Close")
		wantRead(t, peer, "\x81\x0cbefore Start\x8a\x0dare you there\x82\x09broadcast\x88\x02\x03\xe9")
		peer.Write(masked8(OpText, "too late"))
		peer.Write(masked8(OpClose, "\x03\xe9"))
		o.wait(t, "message 1 first", "message 1 second", "message 2 third", "closed")
		w.Abort()
		w.CloseWith(CloseNormal)
		o.wait(t, "message 1 first", "message 1 second", "message 2 third", "closed")
	})
}

// TestWebSocketEnds: Closing, with its reason, and Closed come once each and in this order; the Close frame has the code of RFC 6455.
func TestWebSocketEnds(t *testing.T) {
	failed := errors.New("no message of mine")
	for _, test := range []struct {
		name   string
		act    func(w *WebSocket, peer *net.TCPConn)
		calls  []string
		reason error // matched by errors.Is; nil for a ProtocolError
		read   string
	}{
		{"peer closes", func(w *WebSocket, peer *net.TCPConn) { peer.Write(masked8(OpClose, "\x03\xe8bye")) },
			[]string{"closing", "closed"}, ErrPeerClosed, "\x88\x02\x03\xe8"},
		{"peer closes without a code", func(w *WebSocket, peer *net.TCPConn) { peer.Write(masked8(OpClose, "")) },
			[]string{"closing", "closed"}, ErrPeerClosed, "\x88\x00"},
		{"FIN", func(w *WebSocket, peer *net.TCPConn) { peer.CloseWrite() },
			[]string{"closing", "closed"}, ErrPeerClosed, ""},
		{"FIN in a message", func(w *WebSocket, peer *net.TCPConn) { peer.Write(masked8(OpText, "cut")[:3]); peer.CloseWrite() },
			[]string{"partial", "closing", "closed"}, ErrPeerClosed, ""},
		{"unmasked", func(w *WebSocket, peer *net.TCPConn) { peer.Write([]byte("\x81\x01x")) },
			[]string{"closing", "closed"}, nil, "\x88\x02\x03\xea"},
		{"too big", func(w *WebSocket, peer *net.TCPConn) {
			peer.Write(masked8(OpText, strings.Repeat("x", 1001)))
		}, []string{"closing", "closed"}, nil, "\x88\x02\x03\xf1"},
		{"not UTF-8", func(w *WebSocket, peer *net.TCPConn) { peer.Write(masked8(OpText, "\xff")) },
			[]string{"closing", "closed"}, nil, "\x88\x02\x03\xef"},
		{"Message fails", func(w *WebSocket, peer *net.TCPConn) { peer.Write(masked8(OpText, "fail")) },
			[]string{"message 1 fail", "closing", "closed"}, failed, "\x88\x00"},
		{"Close", func(w *WebSocket, peer *net.TCPConn) { w.CloseWith(CloseNormal) },
			[]string{"closed"}, nil, "\x88\x02\x03\xe8"},
		{"Abort", func(w *WebSocket, peer *net.TCPConn) { w.Abort() },
			[]string{"closed"}, nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			each(t, func(t *testing.T, w *WebSocket, o *owner, peer *net.TCPConn) {
				if test.reason == failed {
					o.fail = failed
				}
				w.Start(nil)
				test.act(w, peer)
				wantRead(t, peer, test.read)
				peer.CloseWrite() // where the server waits for that
				o.wait(t, test.calls...)
				if !slices.Contains(test.calls, "closing") {
					return
				}
				var broken *ProtocolError
				if test.reason == nil && !errors.As(o.reason, &broken) || test.reason != nil && !errors.Is(o.reason, test.reason) {
					t.Errorf("reason: got %v, want %v", o.reason, test.reason)
				}
			})
		})
	}
}

// TestWebSocketClosingFirst: the reason is told before the end also where the queue has failed by itself meanwhile, so that there is no
// place for a Close frame.
func TestWebSocketClosingFirst(t *testing.T) {
	for _, bad := range [][]byte{[]byte("\x81\x01x"), masked8(OpClose, "")} {
		each(t, func(t *testing.T, w *WebSocket, o *owner, peer *net.TCPConn) {
			w.queue.Close()
			w.Start(bad)
			o.wait(t, "closing", "closed")
		})
	}
}

// TestWebSocketReset: a reset is told with the system's error.
func TestWebSocketReset(t *testing.T) {
	each(t, func(t *testing.T, w *WebSocket, o *owner, peer *net.TCPConn) {
		w.Start(nil)
		peer.SetLinger(0)
		peer.Close()
		o.wait(t, "closing", "closed")
		if errors.Is(o.reason, ErrPeerClosed) || o.reason == nil {
			t.Errorf("reason: got %v, want a reset", o.reason)
		}
	})
}

// TestWebSocketPause: while paused, hardly anything is read, and Close ends the pause.
func TestWebSocketPause(t *testing.T) {
	each(t, func(t *testing.T, w *WebSocket, o *owner, peer *net.TCPConn) {
		w.Pause()
		w.Start(nil)
		peer.Write(masked8(OpText, "1"))
		w.Resume()
		o.wait(t, "message 1 1")
		w.Pause()
		// A little may still come: what a Read that waits already gets. So one message first.
		peer.Write(masked8(OpText, "2"))
		w.Resume()
		o.wait(t, "message 1 1", "message 1 2")
		w.Pause()
		w.CloseWith(CloseNormal)
		peer.Write(masked8(OpClose, "\x03\xe8"))
		wantRead(t, peer, "\x88\x02\x03\xe8")
		o.wait(t, "message 1 1", "message 1 2", "closed")
	})
}

// TestWebSocketTooSlow: a peer that does not read is given up, with the queue's reason.
func TestWebSocketTooSlow(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			shared := newShared(t, Config{QueueBytes: 10_000, Pace: outbox.Pace{Rate: 1 << 10, Over: 100 * time.Millisecond}})
			near, _ := pair(t)
			w, o := new(WebSocket), newOwner()
			shared.Serve(w, kind.wrap(near), false, o)
			w.Start(nil)
			frame := &outbox.Frame{Bytes: AppendFrame(nil, OpText, bytes.Repeat([]byte("x"), 5000))}
			for range 4000 { // more than the kernels hold
				w.queue.Send(frame)
			}
			o.wait(t, "closing", "closed")
			kit.WantErr(t, o.reason, outbox.ErrTooSlow, "reason")
			if got := shared.Stats(); got.TooSlow != 1 || got.Lost == 0 {
				t.Errorf("Stats: got %+v, want one too slow and some lost", got)
			}
		})
	}
}

// TestTransportsClose ends what is left, in whatever state it is, and a connection that comes later.
func TestTransportsClose(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			shared := newShared(t, Config{})
			var owners []*owner
			for i := range 3 {
				near, _ := pair(t)
				w, o := new(WebSocket), newOwner()
				shared.Serve(w, kind.wrap(near), false, o)
				w.Start(nil)
				if i == 1 {
					w.Pause()
				}
				if kind.name == "stream" {
					w.Abort() // the owner's part: streams are closed one by one
				}
				owners = append(owners, o)
			}
			shared.Close()
			for _, o := range owners {
				if kind.name == "stream" {
					o.wait(t, "closed")
				} else {
					o.wait(t, "closing", "closed")
				}
			}
			near, _ := pair(t)
			w, o := new(WebSocket), newOwner()
			shared.Serve(w, kind.wrap(near), false, o)
			kit.WantErr(t, send(w, "late"), net.ErrClosed, "Send")
			w.CloseWith(CloseNormal)
			o.wait(t, "closed")
			w.Start(nil)

			near, _ = pair(t)
			w, o = new(WebSocket), newOwner()
			shared.Serve(w, kind.wrap(near), false, o)
			w.Start(nil)
			o.wait(t, "closing", "closed")
			shared.Close()
		})
	}
}

// TestPollerOnDemand: without a connection to poll there is no poller, which could not run in a bubble of testing/synctest.
func TestPollerOnDemand(t *testing.T) {
	shared := newShared(t, Config{})
	near, far := net.Pipe()
	defer far.Close()
	w, o := new(WebSocket), newOwner()
	shared.Serve(w, near, false, o)
	w.Start(nil)
	kit.Check(t, shared.poller == nil, "got a poller for a pipe, want none")
	w.Abort()
	o.wait(t, "closed")
}

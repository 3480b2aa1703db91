package transport

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/belfry-io/belfry/test/kit"
)

// never is a budget that is used up for ever.
const never = allowance(1 << 60)

// feedHeld is feed for a Reader that holds what is to be inflated, all of it or only what is not small, until a worker would come.
func feedHeld(config ReaderConfig, all bool, chunks ...[]byte) (events []string, held int, first error) {
	in := &inflation{socket: new(WebSocket), queue: newInflateQueue()}
	in.config = config
	in.config.inflation = in
	if all {
		in.used = never
	}
	r, rec, with := Reader{Config: &in.config}, new(recorder), inflaters.New().(*inflater)
	for _, chunk := range chunks {
		p := slices.Clone(chunk)
		err := r.Feed(p, rec)
		in.keep()
		for i := range p {
			p[i] = 0xdd
		}
		for ; r.isHeld(); held++ {
			if r.Partial() || err != nil {
				rec.events = append(rec.events, fmt.Sprintf("partial or failed while something is held: %v", err))
			}
			err = r.resume(with, rec)
		}
		if err != nil && first == nil {
			first = err
		} else if err != nil {
			rec.events = append(rec.events, "second error: "+err.Error())
		}
	}
	return rec.events, held, first
}

// TestHeld: a Reader that holds what is compressed hands out the same, in the same order, however it comes.
func TestHeld(t *testing.T) {
	const seed = 7
	rng := rand.New(rand.NewPCG(seed, 0))
	long := strings.Repeat("hello, ", 10_000)
	cases := append(deflateCases(), readerCase{"small and long by turns", &ReaderConfig{Deflate: true}, slices.Concat(
		client(0xc1, squeeze("a")), client(0xc2, squeeze(long)), client(0x89, "p"), client(0xc2, squeeze(long)), client(0x81, "b"), client(0xc1, squeeze("c")),
		client(0x42, squeeze(long)[:9]), client(0x89, "q"), client(0x80, squeeze(long)[9:]), client(0x88, "\x03\xe8"), client(0xc1, squeeze("late"))),
		[]string{`text "a"`, fmt.Sprintf("binary %q", long), `ping "p"`, fmt.Sprintf("binary %q", long), `text "b"`, `text "c"`,
			`ping "q"`, fmt.Sprintf("binary %q", long), `close 1000 ""`}, nil})
	for _, test := range cases {
		if test.config == nil {
			continue
		}
		t.Run(test.rule, func(t *testing.T) {
			for _, all := range []bool{false, true} {
				for i, chunks := range [][][]byte{{test.input}, bytewise(test.input), randomSplit(rng, test.input), randomSplit(rng, test.input)} {
					events, held, err := feedHeld(*test.config, all, chunks...)
					var want error
					if test.err != nil {
						want = test.err
					}
					if !slices.Equal(events, test.events) || err != want {
						t.Errorf("split %d, all held: %t: got %.200q, %v, want %.200q, %v", i, all, events, err, test.events, test.err)
					}
					if got := slices.ContainsFunc(test.events, func(e string) bool { return len(e) > 2*maxInlined }); got && held == 0 {
						t.Errorf("split %d, all held: %t: nothing was held", i, all)
					}
				}
			}
		})
	}
}

// eachInflating runs a test with a WebSocket of each kind whose peer compresses, and its peer.
func eachInflating(t *testing.T, test func(t *testing.T, w *WebSocket, o *owner, peer *net.TCPConn)) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			shared := newShared(t, Config{MaxMessage: 100_000, Deflate: 1024})
			near, far := pair(t)
			w, o := new(WebSocket), newOwner()
			shared.Serve(w, kind.wrap(near), true, unfed{o})
			test(t, w, o, far)
		})
	}
}

// unfed notes nothing of what has come of a message.
type unfed struct{ *owner }

func (unfed) Fed(int, bool) {}
func (unfed) HungUp()       {}
func (unfed) Large()        {}

// TestInflating: what comes behind a message that is inflated elsewhere comes after it, whatever it is, and errors have their codes.
func TestInflating(t *testing.T) {
	long := "long " + strings.Repeat("hello, ", 10_000)
	first, last := squeeze(long)[:50], squeeze(long)[50:]
	message := func(text string) string { return fmt.Sprintf("message 1 %.20s", text) }
	for _, test := range []struct {
		name  string
		input []byte
		calls []string
		code  CloseCode
	}{
		{"close behind it", slices.Concat(client(0xc1, squeeze(long)), client(0x88, "\x03\xe8")), []string{message(long)}, CloseNormal},
		{"others behind it", slices.Concat(client(0xc1, squeeze(long)), client(0x81, "b"), client(0xc1, squeeze("c")), client(0xc1, squeeze(long)), client(0x81, "d"), client(0x88, "\x03\xe8")),
			[]string{message(long), message("b"), message("c"), message(long), message("d")}, CloseNormal},
		{"many", slices.Concat(slices.Repeat(client(0xc1, squeeze(long)), 50), client(0x88, "\x03\xe8")), slices.Repeat([]string{message(long)}, 50), CloseNormal},
		{"fragments", slices.Concat(client(0x41, first), client(0x80, last), client(0x81, "b"), client(0x88, "\x03\xe8")), []string{message(long), message("b")}, CloseNormal},
		{"not DEFLATE", slices.Concat(client(0xc1, squeeze(long)), client(0xc1, squeeze(long)[:100]+"\x06"), client(0x81, "b")), []string{message(long)}, CloseInvalidData},
		{"not UTF-8", slices.Concat(client(0xc1, squeeze(long)), client(0xc1, squeeze(long+"\xff")), client(0x81, "b")), []string{message(long)}, CloseInvalidData},
		{"bomb", slices.Concat(client(0xc1, squeeze(long)), client(0xc2, string(bomb(1<<20))), client(0x81, "b")), []string{message(long)}, CloseTooBig},
		{"bad frame", slices.Concat(client(0xc1, squeeze(long)), client(0xa1, ""), client(0x81, "b")), []string{message(long)}, CloseProtocolError},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, early := range []bool{false, true} {
				eachInflating(t, func(t *testing.T, w *WebSocket, o *owner, peer *net.TCPConn) {
					if early {
						w.Start(slices.Clone(test.input))
					} else {
						w.Start(nil)
						peer.Write(test.input)
					}
					answer := AppendClose(nil, test.code, "")
					got := make([]byte, len(answer))
					if _, err := io.ReadFull(peer, got); err != nil || string(got) != string(answer) {
						t.Errorf("the peer read %q, %v, want %q", got, err, answer)
					}
					peer.Close()
					o.wait(t, append(slices.Clone(test.calls), "closing", "closed")...)
				})
			}
		})
	}
}

// TestInflatingPong: a ping behind a message that is held is answered after it, and the peer is read on.
func TestInflatingPong(t *testing.T) {
	long := "long " + strings.Repeat("hello, ", 10_000)
	eachInflating(t, func(t *testing.T, w *WebSocket, o *owner, peer *net.TCPConn) {
		w.Start(nil)
		for i := range 20 {
			peer.Write(slices.Concat(client(0xc1, squeeze(long)), client(0x89, fmt.Sprint(i))))
			h, err := ws.ReadHeader(peer)
			kit.Require(t, err == nil && h.OpCode == ws.OpPong, "read %+v, %v, want a pong", h, err)
			if got := make([]byte, h.Length); !read(peer, got) || string(got) != fmt.Sprint(i) {
				t.Fatalf("got pong %q, want %d", got, i)
			}
			o.wait(t, slices.Repeat([]string{"message 1 " + long[:20]}, i+1)...)
		}
	})
}

func read(r io.Reader, p []byte) bool {
	_, err := io.ReadFull(r, p)
	return err == nil
}

// TestInflatingKept: what is held does not lie in the buffer that was read.
func TestInflatingKept(t *testing.T) {
	long := "long " + strings.Repeat("hello, ", 10_000)
	eachInflating(t, func(t *testing.T, w *WebSocket, o *owner, _ *net.TCPConn) {
		q := w.shared.inflating
		w.reader.Config.inflation.used, q.spare = never, never
		input := slices.Concat(client(0xc1, squeeze(long)), client(0x81, "b"))
		w.Start(input)
		clear(input)
		q.mu.Lock()
		q.spare = 0
		q.rouse()
		q.mu.Unlock()
		o.wait(t, "message 1 "+long[:20], "message 1 b")
	})
}

// TestInflatingPaused: the owner's pause and that of a worker do not end each other.
func TestInflatingPaused(t *testing.T) {
	long := "long " + strings.Repeat("hello, ", 10_000)
	eachInflating(t, func(t *testing.T, w *WebSocket, o *owner, peer *net.TCPConn) {
		w.changePause(wsHeld, 0)
		w.Start(nil)
		w.Pause()
		w.Resume()
		peer.Write(client(0xc1, squeeze(long)))
		kit.Check(t, isPaused(w), "Resume ended the pause of a worker")
		w.Pause()
		w.changePause(0, wsHeld)
		kit.Check(t, isPaused(w), "a worker ended the owner's pause")
		w.Resume()
		o.wait(t, "message 1 "+long[:20]) // it is not paused for ever; a worker has the message perhaps, and holds it again meanwhile
	})
}

// isPaused reports whether reading is paused.
func isPaused(w *WebSocket) bool {
	if w.stream == nil { // netpoll's Conn does not tell
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.state&(wsPaused|wsHeld) != 0
	}
	w.stream.mu.Lock()
	defer w.stream.mu.Unlock()
	return w.stream.paused
}

// A gate is a Receiver whose Message waits.
type gate struct {
	*owner
	open chan struct{}
}

func (g gate) Message(binary bool, payload []byte) error {
	err := g.owner.Message(binary, payload)
	<-g.open
	return err
}

// TestInflatingEnds: a connection that ends while a worker has a message of it, or while one waits, is gone at once; nothing more of it
// is delivered, nothing of it is left.
func TestInflatingEnds(t *testing.T) {
	long := "long " + strings.Repeat("hello, ", 10_000)
	two := slices.Concat(client(0xc1, squeeze(long)), client(0xc1, squeeze(long)), client(0x81, "b"))
	for _, test := range []struct {
		name string
		end  func(w *WebSocket)
		want []string
	}{
		{"Abort", (*WebSocket).Abort, []string{"closed"}},
		{"failure", func(w *WebSocket) { w.fail(errors.New("reset")) }, []string{"closing", "closed"}},
		{"Close of the shared", func(w *WebSocket) { w.Abort(); go w.shared.Close() }, []string{"closed"}},
	} {
		for _, waits := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/waits=%t", test.name, waits), func(t *testing.T) {
				for _, kind := range kinds {
					shared := newShared(t, Config{MaxMessage: 100_000, Deflate: 1024})
					near, far := pair(t)
					w, g := new(WebSocket), gate{newOwner(), make(chan struct{})}
					shared.Serve(w, kind.wrap(near), true, g)
					calls := []string{}
					if waits {
						w.reader.Config.inflation.used = never
						shared.inflating.spare = never
					} else {
						calls = append(calls, "message 1 "+long[:20])
					}
					w.Start(slices.Clone(two))
					g.wait(t, calls...)
					test.end(w)
					g.wait(t, append(calls, test.want...)...)
					close(g.open)
					far.SetReadDeadline(time.Now().Add(kit.Patience))
					io.Copy(io.Discard, far)
					shared.Close()
					g.wait(t, append(calls, test.want...)...)
					q := shared.inflating
					q.mu.Lock()
					if len(q.ready)+len(q.waiting)+q.running > 0 {
						t.Errorf("%d ready, %d waiting, %d workers are left", len(q.ready), len(q.waiting), q.running)
					}
					q.mu.Unlock()
				}
			})
		}
	}
}

// TestInflatingClose: the closing handshake does not wait for what is held.
func TestInflatingClose(t *testing.T) {
	long := strings.Repeat("hello, ", 10_000)
	eachInflating(t, func(t *testing.T, w *WebSocket, o *owner, peer *net.TCPConn) {
		w.reader.Config.inflation.used = never
		w.shared.inflating.spare = never
		w.Start(nil)
		peer.Write(slices.Concat(client(0xc1, squeeze(long)), client(0xc1, squeeze(long)), client(0x88, "\x03\xe8")))
		for q, deadline := w.shared.inflating, time.Now().Add(kit.Patience); ; time.Sleep(time.Millisecond) {
			q.mu.Lock()
			n := len(q.waiting)
			q.mu.Unlock()
			if n == 1 {
				break
			}
			kit.Require(t, !time.Now().After(deadline), "nothing waits")
		}
		w.CloseWith(CloseGoingAway)
		o.wait(t, "closed")
		wantRead(t, peer, "\x88\x02\x03\xe9")
	})
}

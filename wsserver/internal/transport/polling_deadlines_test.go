package transport

import (
	"github.com/belfry-io/belfry/test/kit"
	"io"
	"net"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// deadlineWriter notes the deadlines that were set.
type deadlineWriter struct {
	*httptest.ResponseRecorder
	read, write []time.Time
}

func (w *deadlineWriter) SetReadDeadline(t time.Time) error {
	w.read = append(w.read, t)
	return nil
}

func (w *deadlineWriter) SetWriteDeadline(t time.Time) error {
	w.write = append(w.write, t)
	return nil
}

// TestPollingDeadlines: a request has its deadlines, and leaves none to the next on its connection.
func TestPollingDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := newPolling(t)
		for range 2 {
			p.Append(textFrame("4x"))
			w := &deadlineWriter{ResponseRecorder: httptest.NewRecorder()}
			p.Get(w, httptest.NewRequest("GET", "/", nil))
			if len(w.write) == 0 || !w.write[0].IsZero() {
				t.Errorf("a GET waits with a deadline for its answer: %v", w.write) // which ends it in HTTP/2
			}
			wantDeadlines(t, "write of a GET", w.write, p.shared.pace.Patience())
			w = &deadlineWriter{ResponseRecorder: httptest.NewRecorder()}
			p.Post(w, httptest.NewRequest("POST", "/", strings.NewReader("4x")))
			wantDeadlines(t, "read of a POST", w.read, p.shared.pace.Patience())
			wantDeadlines(t, "write of a POST", w.write, p.shared.pace.Patience())
			p.Pause()
			w = &deadlineWriter{ResponseRecorder: httptest.NewRecorder()}
			go func() {
				synctest.Wait()
				p.Resume()
			}()
			p.Post(w, httptest.NewRequest("POST", "/", strings.NewReader("4x")))
			kit.Check(t, len(w.write) != 0 && w.write[0].IsZero(),
				"a POST waits with a deadline for its answer: %v", w.write)
		}
		p.Abort()
	})
}

func wantDeadlines(t *testing.T, what string, set []time.Time, want time.Duration) {
	t.Helper()
	kit.Check(t, len(set) >= 2 && slices.Contains(set, time.Now().Add(want)) && set[len(set)-1].IsZero(),
		"deadlines of the %s: %v", what, set)
}

// TestPollingVolatile: a GET that was answered with a noop waits no more, and volatile frames find nobody.
func TestPollingVolatile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := newPolling(t)
		volatile := textFrame("4v")
		volatile.Volatile = true
		wait := func() <-chan string {
			answer := make(chan string, 1)
			go func() {
				_, body := get(p)
				answer <- body
			}()
			synctest.Wait()
			return answer
		}
		noop := func(answer <-chan string) {
			t.Helper()
			kit.Want(t, <-answer, "6", "a GET")
			kit.Check(t, !p.Append(volatile), "a volatile frame was queued for nobody")
		}
		answer := wait()
		kit.Check(t, p.Append(volatile), "a volatile frame was not queued for a GET")
		kit.Want(t, <-answer, "4v", "a GET")
		answer = wait()
		p.Probe(true)
		noop(answer)
		noop(wait()) // after 100 ms
		p.Abort()
	})
}

// TestPollingMoved: a session that a WebSocket carries knows no more requests, and its Polling has nothing to say of its end.
func TestPollingMoved(t *testing.T) {
	p, o := newPolling(t)
	near, far := net.Pipe()
	defer far.Close()
	ws, carried := new(WebSocket), newOwner()
	p.shared.Serve(ws, near, false, carried)
	p.Append(textFrame("4one"))
	kit.Require(t, p.MoveTo(ws), "MoveTo: got false")
	p.Append(textFrame("4two"))
	const want = "\x81\x044one\x81\x044two"
	moved := make([]byte, len(want))
	if _, err := io.ReadFull(far, moved); err != nil || string(moved) != want {
		t.Errorf("the WebSocket's peer read %q, %v, want %q", moved, err, want)
	}
	status, body := get(p)
	wantAnswer(t, status, body, 400, badRequestBody)
	status, body = post(p, strings.NewReader("4x"))
	wantAnswer(t, status, body, 400, badRequestBody)
	kit.Check(t, !p.MoveTo(ws), "second MoveTo: got true")
	p.Close()
	p.Dismiss()
	p.Abort()
	o.want(t)
	ws.Abort()
	carried.wait(t, "closed")

	p, o = newPolling(t)
	p.Close()
	kit.Check(t, !p.MoveTo(ws), "MoveTo of a session that closes: got true")
	p.Abort()
	o.want(t, "closed")
}

package engine

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver/internal/engineio"
	"github.com/belfry-io/belfry/wsserver/internal/transport"
)

// TestBadPayload: the packets before the fault have arrived, those after it have not; the session ends, and its poll with it.
func TestBadPayload(t *testing.T) {
	for payload, want := range map[string]error{
		"4a\x1e":             engineio.ErrParse,
		"4a\x1e\x1e4b":       engineio.ErrParse,
		"4a\x1e7\x1e4b":      engineio.ErrParse,
		"4a\x1eb!!!\x1e4b":   engineio.ErrParse,
		"4a\x1e2\x1e4b":      engineio.ErrDirection,
		"4a\x1e0{}\x1e4b":    engineio.ErrDirection,
		"4a\x1e4reject":      errTest,
		"4a\x1e4reject\x1e7": errTest,
	} {
		polled(t, nil, func(t *testing.T, r *rig, sid string, o *owner) {
			o.react = func(m string) (bool, error) {
				if m == "reject" {
					return false, errTest
				}
				return false, nil
			}
			poll := r.startAndWait("GET", sid, "")
			status := 400
			if want == errTest {
				status = 200 // no rule of Engine.IO was broken
			}
			r.mustRequest("POST", "EIO=4&transport=polling&sid="+sid, payload, status)
			poll.want(200, "1")
			o.wantEnded(t, want)
			if got := o.messages(); got[0] != "a" || len(got) > 1 && got[1] != "reject" {
				t.Errorf("the session got %q", got)
			}
			synctest.Wait()
			r.gone(sid)
		})
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		sid := r.openPolling()
		r.mustRequest("POST", "EIO=4&transport=polling&sid="+sid, "", 400)
		r.owner(sid).wantEnded(t, engineio.ErrParse)
		sid = r.openPolling()
		r.mustRequest("POST", "EIO=4&transport=polling&sid="+sid, "4a\x1e4\xff", 400)
		r.owner(sid).wantEnded(t, engineio.ErrParse)
		r.owner(sid).wantMessages(t)
	})
}

// TestPostTooLarge: the client is told, and the session goes on.
func TestPostTooLarge(t *testing.T) {
	polled(t, func(cfg *Config) { cfg.MaxPayload = 10 }, func(t *testing.T, r *rig, sid string, o *owner) {
		query := "EIO=4&transport=polling&sid=" + sid
		kit.Want(t, r.mustRequest("POST", query, "4123456789x", 413), "")
		chunked := func(body string) int {
			request, _ := http.NewRequest("POST", "http://rig/engine.io/?"+query, io.MultiReader(strings.NewReader(body)))
			answer := kit.Must(r.http.Do(request))(t)
			answer.Body.Close()
			return answer.StatusCode
		}
		kit.Want(t, chunked("4123456789x"), 413, "in chunks")
		kit.Want(t, chunked("4one"), 200, "in chunks")
		kit.Want(t, chunked(strings.Repeat("x", 1<<20)), 413, "in many chunks")
		// What was announced alone is too much.
		nc, _ := r.dial()
		fmt.Fprintf(nc, "POST /engine.io/?%s HTTP/1.1\r\nHost: rig\r\nContent-Length: 1000000000000\r\n\r\n", query)
		answer := make([]byte, 12)
		io.ReadFull(nc, answer)
		nc.Close()
		kit.Want(t, string(answer), "HTTP/1.1 413")
		r.post(sid, "4123456789")
		o.wantMessages(t, "one", "123456789")
		o.lives(t)
		time.Sleep(time.Second) // net/http lingers
	})
}

// TestRefusedBody: a POST that is refused, and whose body does not come, is over when the time for the body is.
func TestRefusedBody(t *testing.T) {
	for _, headers := range []string{
		"Content-Length: 11",
		"Content-Length: 2\r\nContent-Type: application/octet-stream",
		"Transfer-Encoding: chunked\r\n\r\nb\r\n0123456789a\r\n1",
		"overlap",
	} {
		polled(t, func(cfg *Config) { cfg.MaxPayload = 10 }, func(t *testing.T, r *rig, sid string, o *owner) {
			if headers == "overlap" {
				headers = "Content-Length: 2"
				o.session.Pause()
				r.startAndWait("POST", sid, "4x")
			}
			nc, _ := r.dial()
			defer nc.Close()
			begin := time.Now()
			go fmt.Fprintf(nc, "POST /engine.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: rig\r\n%s\r\n\r\n", sid, headers)
			if answer, err := io.ReadAll(nc); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 4") {
				t.Errorf("%s: got %.20q, %v", headers, answer, err)
			}
			if d := time.Since(begin); d > 31*time.Second {
				t.Errorf("%s: the connection was closed after %v", headers, d)
			}
			time.Sleep(time.Second) // net/http lingers
		})
	}
}

func TestPostOctetStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		sid := r.openPolling()
		poll := r.startAndWait("GET", sid, "")
		nc, _ := r.dial()
		defer nc.Close()
		fmt.Fprintf(nc, "POST /engine.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: rig\r\n"+
			"Content-Type: application/octet-stream\r\nContent-Length: 2\r\n\r\n4x", sid)
		answer, err := io.ReadAll(nc) // the server closes the connection
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400") || !strings.HasSuffix(string(answer), badRequestBody) {
			t.Errorf("got %q, %v", answer, err)
		}
		poll.want(200, "1")
		o := r.owner(sid)
		o.wantEnded(t, transport.ErrContentType)
		o.wantMessages(t)
	})
}

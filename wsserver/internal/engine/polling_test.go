package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver/internal/transport"
)

// TestPollOutlastsTimeouts: the timeouts of the HTTP server are for its requests, not for the time that a session has nothing to say.
func TestPollOutlastsTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil, func(web *http.Server) {
			web.ReadTimeout = 5 * time.Second
			web.WriteTimeout = 5 * time.Second
		})
		sid := r.openPolling()
		o := r.owner(sid)
		r.wantPoll(sid, "2") // after 25 s
		r.post(sid, "3")
		o.session.Pause()
		post := r.start("POST", sid, "4waits")
		time.Sleep(10 * time.Second)
		o.lives(t)
		o.session.Resume()
		post.want(200, "ok")
		o.wantMessages(t, "waits")
		o.lives(t)
	})
}

// TestSendingData: Engine.IO 4, "Sending data".
func TestSendingData(t *testing.T) {
	polled(t, nil, func(t *testing.T, r *rig, sid string, o *owner) {
		o.send("one")
		o.session.Append(newFrame("two é", false))
		o.send("b\x00\xff\x1e")
		o.send("b")
		r.wantPoll(sid, "4one\x1e4two é\x1ebAP8e\x1eb")

		poll := r.startAndWait("GET", sid, "")
		poll.waits()
		o.send("three")
		poll.want(200, "4three")

		// A volatile message is for a poll that waits.
		kit.OK(t, o.session.Send(newFrame("dropped", true)), "Send of a volatile message")
		poll = r.startAndWait("GET", sid, "")
		o.session.Send(newFrame("volatile", true))
		poll.want(200, "4volatile")
		o.lives(t)
	})
}

// TestReceivingData: Engine.IO 4, "Receiving data".
func TestReceivingData(t *testing.T) {
	polled(t, nil, func(t *testing.T, r *rig, sid string, o *owner) {
		kit.Equal(t, r.post(sid, "4one\x1e4two é\x1ebAP8e\x1eb\x1e4"), "ok", "the answer is")
		o.wantMessages(t, "one", "two é", "b\x00\xff\x1e", "b", "")
		poll := r.start("GET", sid, "") // while POSTs go on
		synctest.Wait()
		r.post(sid, "4three")
		r.post(sid, "6\x1e3\x1e5") // without a meaning here
		poll.waits()
		o.wantMessages(t, "one", "two é", "b\x00\xff\x1e", "b", "", "three")
		o.send("x")
		poll.want(200, "4x")
	})
}

// TestOverlap: two GETs or two POSTs at a time end the session; one of each does not.
func TestOverlap(t *testing.T) {
	polled(t, nil, func(t *testing.T, r *rig, sid string, o *owner) {
		first := r.startAndWait("GET", sid, "")
		r.start("GET", sid, "").want(400, badRequestBody)
		first.want(200, "1")
		r.wantOver(sid, transport.ErrOverlap)
	})
	polled(t, nil, func(t *testing.T, r *rig, sid string, o *owner) {
		get := r.start("GET", sid, "")
		o.session.Pause()
		first := r.startAndWait("POST", sid, "4one")
		get.waits()
		first.waits()
		r.start("POST", sid, "4two").want(400, badRequestBody)
		first.want(400, badRequestBody)
		get.want(200, "1")
		o.wantEnded(t, transport.ErrOverlap)
		o.wantMessages(t)
		synctest.Wait()
		r.gone(sid)
	})
	// A body that still comes counts, too, and nobody waits for the rest of it.
	polled(t, nil, func(t *testing.T, r *rig, sid string, o *owner) {
		nc, _ := r.dial()
		defer nc.Close()
		fmt.Fprintf(nc, "POST /engine.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: rig\r\nContent-Length: 9\r\n\r\n4x", sid)
		synctest.Wait()
		time.Sleep(announceAfter)
		r.start("POST", sid, "4two").want(400, badRequestBody)
		o.wantEnded(t, transport.ErrOverlap)
		begin := time.Now()
		io.ReadAll(nc)
		if d := time.Since(begin); d > time.Second {
			t.Errorf("the first POST ends after %v", d)
		}
	})
}

// TestAbortedRequest: long-polling repeats nothing, so that a request that its client gives up ends the session.
func TestAbortedRequest(t *testing.T) {
	polled(t, nil, func(t *testing.T, r *rig, sid string, o *owner) {
		poll := r.startAndWait("GET", sid, "")
		poll.cancel()
		<-poll.done
		r.wantOver(sid, transport.ErrAborted)
	})
	polled(t, nil, func(t *testing.T, r *rig, sid string, o *owner) {
		o.session.Pause()
		post := r.startAndWait("POST", sid, "4x")
		post.cancel()
		<-post.done
		r.wantOver(sid, transport.ErrAborted)
	})
	for _, stop := range []bool{true, false} { // in the midst of a body: the client goes, or sends no more
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, nil)
			sid := r.openPolling()
			nc, _ := r.dial()
			defer nc.Close()
			fmt.Fprintf(nc, "POST /engine.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: rig\r\nContent-Length: 9\r\n\r\n4x", sid)
			synctest.Wait()
			if stop {
				nc.Close()
			} else {
				go io.Copy(io.Discard, nc)
			}
			begin := time.Now()
			o := r.owner(sid)
			if o.wantEnded(t, transport.ErrAborted); !stop && time.Since(begin) != standstill {
				t.Errorf("the session ended after %v", time.Since(begin))
			}
			o.wantMessages(t)
			synctest.Wait()
			r.gone(sid)
		})
	}
}

// TestClientCloses: a close packet ends the session at once; a poll that waits gets a noop.
func TestClientCloses(t *testing.T) {
	for _, polls := range []bool{true, false} {
		polled(t, nil, func(t *testing.T, r *rig, sid string, o *owner) {
			var poll *pending
			if polls {
				poll = r.startAndWait("GET", sid, "")
			}
			kit.Equal(t, r.post(sid, "4a\x1e1\x1e4b"), "ok")
			if polls {
				poll.want(200, "6")
			}
			o.wantEnded(t, transport.ErrPeerClosed)
			o.wantMessages(t, "a")
			r.gone(sid)
			kit.Equal(t, r.mustRequest("GET", "EIO=4&transport=polling&sid="+sid, "", 400), unknownSID)
			if err := o.session.Send(newFrame("x", false)); err == nil {
				t.Error("Send after the end: no error")
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		ws, o := r.openWebSocket()
		ws.mustSend(t, "4a", "1", "4b")
		ws.wantClosed(t)
		o.wantEnded(t, transport.ErrPeerClosed)
		o.wantMessages(t, "a")
	})
}

// TestServerCloses: a poll that waits gets a close packet; else the next one, with what was queued; else nobody, after 30 s.
func TestServerCloses(t *testing.T) {
	polled(t, nil, func(t *testing.T, r *rig, sid string, o *owner) {
		poll := r.startAndWait("GET", sid, "")
		o.session.Close(errTest)
		o.wantEnded(t, errTest)
		poll.want(200, "1")
		synctest.Wait()
		r.gone(sid)
		o.session.Close(errors.New("again"))
		o.session.Abort()
	})
	polled(t, nil, func(t *testing.T, r *rig, sid string, o *owner) {
		o.send("one")
		o.session.Close(errTest)
		o.wantEnded(t, errTest)
		if err := o.session.Send(newFrame("late", false)); err == nil {
			t.Error("Send after Close: no error")
		}
		time.Sleep(29 * time.Second) // a ping would be due
		r.post(sid, "4late")
		r.wantPoll(sid, "4one")
		r.wantPoll(sid, "1") // by itself: the official client forgets what comes with it
		synctest.Wait()
		r.gone(sid)
		o.wantMessages(t)
	})
	polled(t, nil, func(t *testing.T, r *rig, sid string, o *owner) {
		o.session.Close(errTest)
		time.Sleep(30*time.Second - time.Millisecond)
		kit.Check(t, r.srv.session(sid) != nil, "the session did not wait for a poll")
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		r.gone(sid)
	})
}

// TestTooSlow: a client that does not fetch what is for it.
func TestTooSlow(t *testing.T) {
	polled(t, func(cfg *Config) { cfg.QueueBytes = 1000 }, func(t *testing.T, r *rig, sid string, o *owner) {
		begin := time.Now()
		for range 100 {
			kit.OK(t, o.session.Send(newFrame(strings.Repeat("x", 97), false)))
		}
		<-o.ended
		if d := time.Since(begin); d < 15*time.Second || d > 18*time.Second {
			t.Errorf("the session ended after %v", d)
		}
		kit.Check(t, r.srv.Stats().Outbox.TooSlow == 1, "Stats: %+v", r.srv.Stats())
		synctest.Wait()
		r.gone(sid)
	})
}

// TestShutPolling: each state of a session that polls when its server is shut, and how long Close waits for it.
func TestShutPolling(t *testing.T) {
	cases := []struct {
		name  string
		state func(r *rig, sid string) func()
		wait  time.Duration
	}{
		{"idle", func(r *rig, sid string) func() { return func() {} }, 0},
		{"poll", func(r *rig, sid string) func() {
			poll := r.start("GET", sid, "")
			return func() { poll.want(200, "1") }
		}, 0},
		{"unfetched", func(r *rig, sid string) func() { r.owner(sid).send("x"); return func() {} }, time.Second},
		{"fetched late", func(r *rig, sid string) func() {
			r.owner(sid).send("x")
			fetched := make(chan struct{})
			go func() {
				defer close(fetched)
				time.Sleep(time.Second / 2)
				r.wantPoll(sid, "4x")
				r.wantPoll(sid, "1")
			}()
			return func() { <-fetched }
		}, time.Second / 2},
		{"paused POST", func(r *rig, sid string) func() {
			r.owner(sid).session.Pause()
			post := r.start("POST", sid, "4x")
			return func() { <-post.done }
		}, 0},
		{"closed", func(r *rig, sid string) func() { r.owner(sid).session.Close(errTest); return func() {} }, pollShutTimeout},
	}
	for _, c := range cases {
		kit.Bubble(t, c.name, func(t *testing.T) {
			r := newRig(t, nil)
			sid := r.openPolling()
			check := c.state(r, sid)
			synctest.Wait()
			begin := time.Now()
			r.srv.CloseSessions(errTest)
			kit.OK(t, r.srv.Close(context.Background()))
			kit.Equal(t, time.Since(begin), c.wait, "Close took")
			check()
			r.owner(sid).wantEnded(t, errTest)
		})
	}
}

package engine

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver/internal/engineio"
	"github.com/belfry-io/belfry/wsserver/internal/outbox"
	"github.com/belfry-io/belfry/wsserver/internal/transport"
)

// wantAfter waits for the end of a session and compares how long that took.
func (o *owner) wantAfter(t testing.TB, begin time.Time, want time.Duration, reason error) {
	t.Helper()
	o.wantEnded(t, reason)
	kit.Want(t, time.Since(begin), want, "the session ended after")
}

// TestHeartbeat: Engine.IO 4, "Heartbeat", on both transports.
func TestHeartbeat(t *testing.T) {
	polled(t, nil, func(t *testing.T, r *rig, sid string, o *owner) {
		for range 3 {
			begin := time.Now()
			r.wantPoll(sid, "2")
			kit.Want(t, time.Since(begin), 25*time.Second, "a ping after")
			r.post(sid, "3")
		}
		begin := time.Now()
		r.wantPoll(sid, "2")
		time.Sleep(19 * time.Second)
		r.post(sid, "3") // just in time, and the interval begins here
		r.wantPoll(sid, "2")
		kit.Want(t, time.Since(begin), 69*time.Second, "the ping after a late pong comes after")
		poll := r.start("GET", sid, "")
		o.wantAfter(t, begin, 89*time.Second, engineio.ErrPingTimeout)
		poll.want(200, "1")
		synctest.Wait()
		r.gone(sid)
	})
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		ws, o := r.openWebSocket()
		begin := time.Now()
		ws.wantRead(t, "2")
		ws.mustSend(t, "3")
		ws.wantRead(t, "2")
		ws.mustSend(t, "4alive") // the pong may be behind it: the timeout comes once more
		o.wantAfter(t, begin, 90*time.Second, engineio.ErrPingTimeout)
		ws.wantClosed(t)
	})
}

// TestVanished: a polling client that is never seen again after its handshake, or after a poll.
func TestVanished(t *testing.T) {
	for _, polled := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, nil)
			begin := time.Now()
			sid := r.openPolling()
			o := r.owner(sid)
			if polled {
				o.send("x")
				r.wantPoll(sid, "4x")
			}
			o.wantAfter(t, begin, 45*time.Second, engineio.ErrPingTimeout)
			synctest.Wait()
			r.gone(sid)
		})
	}
}

// standstill is how long a message that is incomplete may stand still.
var standstill = outbox.Pace{}.Defaults().Patience()

// TestPausePolling: a POST waits while the session is paused, until a ping is out: then the session reads on, for its pong.
func TestPausePolling(t *testing.T) {
	polled(t, nil, func(t *testing.T, r *rig, sid string, o *owner) {
		o.session.Pause()
		o.session.Pause()
		post := r.start("POST", sid, "4one")
		time.Sleep(24 * time.Second)
		post.waits()
		o.wantMessages(t)
		r.wantPoll(sid, "2") // pings are still sent
		post.want(200, "ok")
		o.wantMessages(t, "one")
		r.post(sid, "4two")
		r.post(sid, "3")
		post = r.start("POST", sid, "4three")
		time.Sleep(24 * time.Second)
		post.waits() // that was the pong
		o.wantMessages(t, "one", "two")
		o.session.Resume()
		synctest.Wait()
		post.waits()
		o.session.Resume()
		post.want(200, "ok")
		o.wantMessages(t, "one", "two", "three")
		begin := time.Now()
		o.session.Pause()
		r.wantPoll(sid, "2")
		o.wantAfter(t, begin, 21*time.Second, engineio.ErrPingTimeout) // nothing is to be read
		o.session.Pause()                                              // without an effect
		o.session.Resume()
	})
}

// TestPauseUpgrade: a pause holds across an upgrade, and its end reaches the WebSocket.
func TestPauseUpgrade(t *testing.T) {
	polled(t, nil, func(t *testing.T, r *rig, sid string, o *owner) {
		ws := r.probe(sid)
		o.session.Pause()
		post := r.startAndWait("POST", sid, "4one")
		post.waits()
		ws.mustSend(t, "5")
		post.want(200, "ok") // it came before
		synctest.Wait()
		o.wantMessages(t, "one")
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			ws.mustSend(t, "4two")
		}()
		time.Sleep(20 * time.Second)
		o.wantMessages(t, "one")
		o.send("down")
		ws.wantRead(t, "4down", "2")
		<-sent
		synctest.Wait()
		o.wantMessages(t, "one", "two") // read on, for the pong
		ws.mustSend(t, "3")
		synctest.Wait()
		go ws.mustSend(t, "4three")
		time.Sleep(20 * time.Second)
		o.wantMessages(t, "one", "two")
		o.session.Resume()
		synctest.Wait()
		o.wantMessages(t, "one", "two", "three")
		ws.nc.Close()
	})
}

func TestAcceptTimeout(t *testing.T) {
	config := func(cfg *Config) { cfg.AcceptTimeout = 10 * time.Second }
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, config)
		begin := time.Now()
		sid := r.openPolling()
		poll := r.start("GET", sid, "")
		r.owner(sid).wantAfter(t, begin, 10*time.Second, errNotAccepted)
		poll.want(200, "1")

		ws, o := r.openWebSocket()
		begin = time.Now()
		o.wantAfter(t, begin, 10*time.Second, errNotAccepted)
		ws.wantClosed(t)

		ws, o = r.openWebSocket()
		begin = time.Now()
		o.react = func(string) (bool, error) { return true, nil } // it is never complete, and this limit is the nearer one
		time.Sleep(9 * time.Second)
		ws.mustSend(t, "4part")
		o.wantAfter(t, begin, 10*time.Second, errNotAccepted)
		ws.wantClosed(t)

		ws, o = r.openWebSocket()
		o.session.Accept()
		o.session.Accept()
		time.Sleep(20 * time.Second)
		o.lives(t)
		ws.nc.Close()

		// The upgrade does not accept.
		sid = r.openPolling()
		begin = time.Now()
		up := r.probe(sid)
		up.mustSend(t, "5")
		r.owner(sid).wantAfter(t, begin, 10*time.Second, errNotAccepted)
		up.wantClosed(t)
	})
}

// TestIncomplete: what has begun is not to stand still for 17 s, on each transport and across an upgrade; a pause does not count.
func TestIncomplete(t *testing.T) {
	attachments := func(m string) (bool, error) { return m != "bwhole", nil }
	polled(t, nil, func(t *testing.T, r *rig, sid string, o *owner) {
		o.react = attachments
		begin := time.Now()
		r.post(sid, "4begin")
		time.Sleep(10 * time.Second)
		r.post(sid, "bAAAA") // more, but too little: the time goes on
		o.wantAfter(t, begin, standstill, errIncomplete)
	})
	polled(t, nil, func(t *testing.T, r *rig, sid string, o *owner) {
		o.react = attachments
		r.post(sid, "4begin")
		time.Sleep(12 * time.Second)
		r.post(sid, "bd2hvbGU=") // complete
		r.post(sid, "4begin")    // and the next one
		r.wantPoll(sid, "2")     // after 13 s
		r.post(sid, "3")
		time.Sleep(3 * time.Second)
		r.post(sid, "bd2hvbGU=\x1e4begin") // both at once: the time begins anew
		begin := time.Now()
		time.Sleep(time.Second)
		o.session.Pause()
		time.Sleep(10 * time.Second)
		o.session.Resume()
		o.wantAfter(t, begin, 11*time.Second+standstill, errIncomplete)
	})
	// one that is complete, and the next one's beginning, at once
	polled(t, nil, func(t *testing.T, r *rig, sid string, o *owner) {
		o.react = attachments
		r.post(sid, "4begin")
		time.Sleep(12 * time.Second)
		r.post(sid, "bd2hvbGU=\x1e4begin")
		begin := time.Now()
		r.wantPoll(sid, "2")
		r.post(sid, "3")
		o.wantAfter(t, begin, standstill, errIncomplete)
	})
	polled(t, nil, func(t *testing.T, r *rig, sid string, o *owner) { // across an upgrade
		o.react = attachments
		begin := time.Now()
		r.post(sid, "4begin")
		time.Sleep(10 * time.Second)
		ws := r.probe(sid)
		ws.mustSend(t, "5", "bmore")
		o.wantAfter(t, begin, standstill, errIncomplete)
		ws.wantClosed(t)
	})
	synctest.Test(t, func(t *testing.T) { // a frame of a WebSocket
		r := newRig(t, nil)
		ws, o := r.openWebSocket()
		begin := time.Now()
		frame := frames([]string{"4hello"})
		ws.nc.Write(frame[:3])
		time.Sleep(10 * time.Second)
		ws.nc.Write(frame[3:5])
		o.wantAfter(t, begin, standstill, errIncomplete)
		o.wantMessages(t)
		ws.nc.Close()
		o.wantEnded(t, errIncomplete)
	})
	synctest.Test(t, func(t *testing.T) { // one that is complete in time
		r := newRig(t, nil)
		ws, o := r.openWebSocket()
		frame := frames([]string{"4hello"})
		ws.nc.Write(frame[:3])
		time.Sleep(standstill - time.Second)
		ws.nc.Write(frame[3:])
		ws.wantRead(t, "2")
		ws.mustSend(t, "3")
		time.Sleep(20 * time.Second)
		o.wantMessages(t, "hello")
		o.lives(t)
		ws.nc.Close()
		o.wantEnded(t, transport.ErrPeerClosed)
	})
}

// TestSlowMessage: a message may take any time at the lowest rate, and no pong can come inside it; at less, it ends the session.
func TestSlowMessage(t *testing.T) {
	for _, test := range []struct {
		rate  int
		lives bool
	}{{1100, true}, {900, false}} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, nil)
			ws, o := r.openWebSocket()
			go io.Copy(io.Discard, ws.nc)
			frame := frames([]string{"4" + strings.Repeat("x", 200_000)})
			begin := time.Now()
			for len(frame) > 0 {
				time.Sleep(time.Second)
				synctest.Wait()
				select {
				case <-o.ended:
					frame = nil
				default:
					n := min(test.rate, len(frame))
					ws.nc.Write(frame[:n])
					frame = frame[n:]
				}
			}
			synctest.Wait()
			if !test.lives {
				o.wantAfter(t, begin, time.Second+standstill, errIncomplete)
				ws.nc.Close()
				return
			}
			o.lives(t)
			if got := o.messages(); len(got) != 1 || len(got[0]) != 200_000 {
				t.Errorf("got %d messages, want the long one", len(got))
			}
			// From now on a pong can come, and it does not.
			begin = time.Now()
			o.wantEnded(t, engineio.ErrPingTimeout)
			if d := time.Since(begin); d > 45*time.Second {
				t.Errorf("the session ended %v after the message", d)
			}
			ws.nc.Close()
		})
	}
}

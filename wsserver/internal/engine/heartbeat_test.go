package engine

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/wsserver/internal/engineio"
	"github.com/belfry-io/belfry/wsserver/internal/transport"
)

// wantAfter waits for the end of a session and compares how long that took.
func (o *owner) wantAfter(t testing.TB, begin time.Time, want time.Duration, reason error) {
	t.Helper()
	o.wantEnded(t, reason)
	if d := time.Since(begin); d != want {
		t.Errorf("the session ended after %v, want %v", d, want)
	}
}

// TestHeartbeat: Engine.IO 4, "Heartbeat", on both transports.
func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		sid := r.openPolling()
		o := r.owner(sid)
		for range 3 {
			begin := time.Now()
			r.wantPoll(sid, "2")
			if d := time.Since(begin); d != 25*time.Second {
				t.Errorf("a ping after %v", d)
			}
			r.post(sid, "3")
		}
		begin := time.Now()
		r.wantPoll(sid, "2")
		time.Sleep(19 * time.Second)
		r.post(sid, "3") // just in time, and the interval begins here
		r.wantPoll(sid, "2")
		if d := time.Since(begin); d != 69*time.Second {
			t.Errorf("the ping after a late pong comes after %v", d)
		}
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

func TestPausePolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		sid := r.openPolling()
		o := r.owner(sid)
		o.session.Pause()
		o.session.Pause()
		post := r.start("POST", sid, "4one")
		r.wantPoll(sid, "2") // pings are still sent
		time.Sleep(time.Hour)
		post.waits()
		o.lives(t)
		o.session.Resume()
		synctest.Wait()
		post.waits()
		o.wantMessages(t)
		o.session.Resume()
		post.want(200, "ok")
		o.wantMessages(t, "one")
		// The ping gets its whole timeout again.
		begin := time.Now()
		time.Sleep(19 * time.Second)
		r.post(sid, "3")
		r.wantPoll(sid, "2")
		o.lives(t)
		o.wantAfter(t, begin, 64*time.Second, engineio.ErrPingTimeout)
		o.session.Pause() // without an effect
		o.session.Resume()
	})
}

// TestPauseUpgrade: a pause holds across an upgrade, and its end reaches the WebSocket.
func TestPauseUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		sid := r.openPolling()
		o := r.owner(sid)
		ws := r.probe(sid)
		o.session.Pause()
		post := r.start("POST", sid, "4one")
		synctest.Wait()
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
		time.Sleep(time.Minute) // a ping is sent, and its timeout does not run
		o.wantMessages(t, "one")
		o.send("down")
		ws.wantRead(t, "2", "4down")
		o.session.Resume()
		<-sent
		synctest.Wait()
		o.wantMessages(t, "one", "two")
		begin := time.Now()
		o.wantAfter(t, begin, 40*time.Second, engineio.ErrPingTimeout) // "two" came after the ping
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
		r.owner(sid).wantAfter(t, begin, 10*time.Second, ErrNotAccepted)
		poll.want(200, "1")

		ws, o := r.openWebSocket()
		begin = time.Now()
		o.wantAfter(t, begin, 10*time.Second, ErrNotAccepted)
		ws.wantClosed(t)

		ws, o = r.openWebSocket()
		begin = time.Now()
		o.react = func(string) (bool, error) { return true, nil } // it is never complete, and this limit is the nearer one
		time.Sleep(9 * time.Second)
		ws.mustSend(t, "4part")
		o.wantAfter(t, begin, 10*time.Second, ErrNotAccepted)
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
		r.owner(sid).wantAfter(t, begin, 10*time.Second, ErrNotAccepted)
		up.wantClosed(t)
	})
}

// TestIncomplete: what has begun is to be complete in 30 s, on each transport and across an upgrade; a pause does not count.
func TestIncomplete(t *testing.T) {
	attachments := func(m string) (bool, error) { return m != "bwhole", nil }
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		sid := r.openPolling()
		o := r.owner(sid)
		o.react = attachments
		begin := time.Now()
		r.post(sid, "4begin")
		time.Sleep(20 * time.Second)
		r.post(sid, "bAAAA") // more, but not complete: the time goes on
		o.wantAfter(t, begin, 30*time.Second, ErrIncomplete)
	})
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		sid := r.openPolling()
		o := r.owner(sid)
		o.react = attachments
		r.post(sid, "4begin")
		time.Sleep(24 * time.Second)
		r.post(sid, "bd2hvbGU=") // complete
		r.post(sid, "4begin")    // and the next one
		begin := time.Now()
		r.wantPoll(sid, "2")
		r.post(sid, "3")
		time.Sleep(20 * time.Second)
		r.post(sid, "bd2hvbGU=\x1e4begin") // both at once: the time begins anew
		time.Sleep(time.Second)
		o.session.Pause()
		time.Sleep(time.Minute)
		o.session.Resume()
		r.wantPoll(sid, "2")
		r.post(sid, "3")
		o.wantAfter(t, begin, (1+20+1+60+30)*time.Second, ErrIncomplete)
	})
	synctest.Test(t, func(t *testing.T) { // one that is complete, and the next one's beginning, at once
		r := newRig(t, nil)
		sid := r.openPolling()
		o := r.owner(sid)
		o.react = attachments
		r.post(sid, "4begin")
		time.Sleep(20 * time.Second)
		r.post(sid, "bd2hvbGU=\x1e4begin")
		begin := time.Now()
		r.wantPoll(sid, "2")
		r.post(sid, "3")
		o.wantAfter(t, begin, 30*time.Second, ErrIncomplete)
	})
	synctest.Test(t, func(t *testing.T) { // across an upgrade
		r := newRig(t, nil)
		sid := r.openPolling()
		o := r.owner(sid)
		o.react = attachments
		begin := time.Now()
		r.post(sid, "4begin")
		time.Sleep(10 * time.Second)
		ws := r.probe(sid)
		ws.mustSend(t, "5", "bmore")
		ws.wantRead(t, "2")
		ws.mustSend(t, "3")
		o.wantAfter(t, begin, 30*time.Second, ErrIncomplete)
		ws.wantClosed(t)
	})
	synctest.Test(t, func(t *testing.T) { // a frame of a WebSocket
		r := newRig(t, nil)
		ws, o := r.openWebSocket()
		begin := time.Now()
		frame := frames([]string{"4hello"})
		ws.nc.Write(frame[:3])
		time.Sleep(20 * time.Second)
		ws.nc.Write(frame[3:5])
		go ws.wantRead(t, "2")
		o.wantAfter(t, begin, 30*time.Second, ErrIncomplete)
		o.wantMessages(t)
		ws.nc.Close()
		o.wantEnded(t, ErrIncomplete)
	})
	synctest.Test(t, func(t *testing.T) { // one that is complete in time
		r := newRig(t, nil)
		ws, o := r.openWebSocket()
		frame := frames([]string{"4hello"})
		ws.nc.Write(frame[:3])
		time.Sleep(20 * time.Second)
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

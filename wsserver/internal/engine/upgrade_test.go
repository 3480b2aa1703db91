package engine

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver/internal/engineio"
	"github.com/belfry-io/belfry/wsserver/internal/transport"
)

// TestUpgrade: Engine.IO 4, "Upgrade", step by step.
func TestUpgrade(t *testing.T) {
	polled(t, nil, func(t *testing.T, r *rig, sid string, o *owner) {
		poll := r.startAndWait("GET", sid, "")
		ws := kit.Must(r.openSocket(sid))(t)
		synctest.Wait()
		poll.waits() // the probe is what ends it
		ws.mustSend(t, "2probe")
		ws.wantRead(t, "3probe")
		poll.want(200, "6")

		// While it probes, the session polls, in both directions.
		r.post(sid, "4up")
		o.send("down")
		r.wantPoll(sid, "4down")
		begin := time.Now()
		poll = r.start("GET", sid, "")
		poll.want(200, "6")
		kit.Equal(t, time.Since(begin), 100*time.Millisecond, "a poll while a WebSocket probes took")
		ws.mustSend(t, "2probe") // again
		ws.wantRead(t, "3probe")

		o.send("first")
		o.session.Append(newFrame("bsecond", false))
		kit.Equal(t, o.session.Transport(), engineio.TransportPolling, "the transport is")
		ws.mustSend(t, "5")
		ws.wantRead(t, "4first", "bsecond")
		kit.Equal(t, o.session.Transport(), engineio.TransportWebSocket, "the transport is")
		o.send("third")
		ws.mustSend(t, "4more", "bbytes")
		ws.wantRead(t, "4third")
		synctest.Wait()
		o.wantMessages(t, "up", "more", "bbytes")
		kit.Equal(t, len(r.srv.allStrays()), 0, "WebSockets count as strays")

		for _, method := range []string{"GET", "POST"} {
			kit.Equal(t, r.mustRequest(method, "EIO=4&transport=polling&sid="+sid, "", 400), badRequestBody,
				method, "of an upgraded session")
		}
		time.Sleep(20 * time.Second) // the time of the upgrade does not run any more
		o.lives(t)
		ws.wantRead(t, "2") // 25 s after the handshake
		ws.mustSend(t, "3")
		ws.nc.Close()
		r.wantOver(sid, transport.ErrPeerClosed)
	})
}

// TestUpgradeEndsPoll: a poll that came just before the upgrade packet is answered.
func TestUpgradeEndsPoll(t *testing.T) {
	polled(t, nil, func(t *testing.T, r *rig, sid string, o *owner) {
		ws := r.probe(sid)
		poll := r.startAndWait("GET", sid, "")
		ws.mustSend(t, "5")
		synctest.Wait()
		poll.want(200, "6")
		o.lives(t)
		o.send("x")
		ws.wantRead(t, "4x")
		ws.nc.Close()
	})
}

// TestUpgradeDuringPost: a POST whose body comes only after the upgrade is received, and faults of it end the session.
func TestUpgradeDuringPost(t *testing.T) {
	for payload, want := range map[string]error{"4late": nil, "7": engineio.ErrParse} {
		polled(t, nil, func(t *testing.T, r *rig, sid string, o *owner) {
			ws := r.probe(sid)
			body, rest := io.Pipe()
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				r.stream(sid, body)
			}()
			time.Sleep(announceAfter)
			synctest.Wait()
			ws.mustSend(t, "5")
			synctest.Wait()
			io.WriteString(rest, payload)
			rest.Close()
			<-sent
			if want == nil {
				o.wantMessages(t, "late")
				ws.mustSend(t, "4after")
				synctest.Wait()
				o.wantMessages(t, "late", "after")
				ws.nc.Close()
			} else {
				begin := time.Now()
				ws.wantClosed(t)
				o.wantAfter(t, begin, 0, want)
			}
		})
	}
}

// TestProbeFails: whatever is wrong with a probe ends only its WebSocket; the session polls on, and another may probe.
func TestProbeFails(t *testing.T) {
	for _, sends := range [][]string{
		{"4message"}, {"2"}, {"5"}, {"b2probe"}, {"3probe"}, {"2probe", "4message"}, {"2probe", "1"}, {"2probe", "b5"}, {"leave"}, {"2probe", "leave"}, {"2probe", "wait"}, {"wait"},
	} {
		polled(t, nil, func(t *testing.T, r *rig, sid string, o *owner) {
			ws := kit.Must(r.openSocket(sid))(t)
			begin := time.Now()
			for _, message := range sends {
				switch message {
				case "leave":
					ws.nc.Close()
				case "wait":
					ws.wantClosed(t)
					if d := time.Since(begin); d != 10*time.Second {
						t.Errorf("%q: the probe ended after %v", sends, d)
					}
				case "2probe":
					ws.mustSend(t, message)
					ws.wantRead(t, "3probe")
				default:
					ws.mustSend(t, message)
					ws.wantClosed(t)
				}
			}
			synctest.Wait()
			o.lives(t)
			o.wantMessages(t)
			poll := r.start("GET", sid, "")
			time.Sleep(time.Second) // polls wait again
			poll.waits()
			o.send("x")
			poll.want(200, "4x")
			r.post(sid, "4y")
			ws = r.probe(sid)
			ws.mustSend(t, "5", "4z")
			synctest.Wait()
			o.wantMessages(t, "y", "z")
			ws.nc.Close()
		})
	}
}

// TestSecondWebSocket: during an upgrade, after it, and for a session that began with a WebSocket: closed at once, and without harm.
func TestSecondWebSocket(t *testing.T) {
	polled(t, nil, func(t *testing.T, r *rig, sid string, o *owner) {
		second := func(sid string) {
			t.Helper()
			begin := time.Now()
			ws := kit.Must(r.openSocket(sid, "2probe", "5", "4wrong"))(t)
			ws.wantClosed(t)
			kit.Equal(t, time.Since(begin), 0, "it was closed after")
		}
		ws := r.probe(sid)
		second(sid)
		ws.mustSend(t, "5", "4one")
		second(sid)
		o.send("down")
		ws.wantRead(t, "4down")
		o.wantMessages(t, "one")
		o.lives(t)
		ws.nc.Close()

		ws, o = r.openWebSocket()
		second(o.session.sid)
		o.send("down")
		ws.wantRead(t, "4down")
		o.lives(t)
		ws.nc.Close()

		// One that does not close its end is cut off.
		sid = r.openPolling()
		first := r.probe(sid)
		ws = kit.Must(r.openSocket(sid))(t)
		if m, err := ws.read(); !errors.Is(err, io.EOF) {
			t.Errorf("read %q, %v", m, err)
		}
		begin := time.Now()
		if _, err := io.Copy(io.Discard, ws.nc); err != nil || time.Since(begin) != 5*time.Second {
			t.Errorf("the connection ended after %v, %v", time.Since(begin), err)
		}
		first.nc.Close()
	})
}

// TestEndClosesProbe: the end of a session, for whatever reason, is that of the WebSocket that probes, and an upgrade comes too late.
func TestEndClosesProbe(t *testing.T) {
	ends := map[string]func(r *rig, o *owner){
		"server": func(r *rig, o *owner) { o.session.Close(errTest) },
		"abort":  func(r *rig, o *owner) { o.session.Abort() },
		"shut":   func(r *rig, o *owner) { r.srv.CloseSessions(errTest) },
		"client": func(r *rig, o *owner) { r.post(o.session.sid, "1") },
		"parse":  func(r *rig, o *owner) { r.start("POST", o.session.sid, "7").want(400, badRequestBody) },
	}
	for name, end := range ends {
		kit.Bubble(t, name, func(t *testing.T) {
			r := newRig(t, nil)
			sid := r.openPolling()
			o := r.owner(sid)
			ws := r.probe(sid)
			poll := r.startAndWait("GET", sid, "")
			begin := time.Now()
			end(r, o)
			<-o.ended
			go ws.send("5")
			ws.wantClosed(t)
			kit.Equal(t, time.Since(begin), 0, "after")
			<-poll.done
			synctest.Wait()
			r.gone(sid)
		})
	}
}

// TestUpgradeOfEnded: a session that only waits for its last poll is not upgraded.
func TestUpgradeOfEnded(t *testing.T) {
	polled(t, nil, func(t *testing.T, r *rig, sid string, o *owner) {
		o.session.Close(errTest)
		ws := kit.Must(r.openSocket(sid, "2probe"))(t)
		ws.wantClosed(t)
		r.wantPoll(sid, "1")
	})
}

// TestUpgradeEarly: the probe, and all that follows, in the segment of the request.
func TestUpgradeEarly(t *testing.T) {
	polled(t, nil, func(t *testing.T, r *rig, sid string, o *owner) {
		o.send("down")
		ws, err := r.openSocket(sid, "2probe", "5", "4up")
		kit.OK(t, err)
		ws.wantRead(t, "3probe", "4down")
		o.wantMessages(t, "up")
		ws.nc.Close()

		ws, err = r.openSocket("", "4first")
		kit.OK(t, err)
		if open, err := ws.read(); err != nil || open[0] != '0' {
			t.Errorf("read %q, %v", open, err)
		}
		synctest.Wait()
		for id, o := range r.owners {
			if id != sid {
				o.wantMessages(t, "first")
			}
		}
		ws.nc.Close()
	})
}

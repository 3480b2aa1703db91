package engine

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver/internal/engineio"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
)

const (
	unknownTransport = `{"code":0,"message":"Transport unknown"}`
	unknownSID       = `{"code":1,"message":"Session ID unknown"}`
	badMethod        = `{"code":2,"message":"Bad handshake method"}`
	badRequestBody   = `{"code":3,"message":"Bad request"}`
	badProtocol      = `{"code":5,"message":"Unsupported protocol version"}`
)

// TestHandshake: Engine.IO 4, "Handshake".
func TestHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		answer, body, err := r.request(t.Context(), "GET", "EIO=4&transport=polling", "")
		kit.Require(t, err == nil && answer.StatusCode == 200, "got %v, %v", answer, err)
		sid, err := wsrig.SID(body)
		kit.OK(t, err)
		want := `0{"sid":"` + sid + `","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`
		kit.Equal(t, body, want)
		kit.Equal(t, answer.Header.Get("Content-Type"), "text/plain; charset=UTF-8", "Content-Type is")
		if got := answer.Header["Set-Cookie"]; got != nil {
			t.Errorf("Set-Cookie is %q", got)
		}

		ws, err := r.openSocket("")
		kit.OK(t, err)
		first, err := ws.read()
		kit.OK(t, err)
		sid, err = wsrig.SID(first)
		kit.OK(t, err)
		want = `0{"sid":"` + sid + `","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`
		kit.Equal(t, first, want)
		if got := r.srv.Stats(); got.Accepted != 2 || refused(got) != 0 || r.srv.Len() != 2 {
			t.Errorf("Stats: %+v, Len %d", got, r.srv.Len())
		}
		ws.nc.Close()
	})
}

// TestRefused: requests that break a rule (facts of the reference: status, code and order of the checks).
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		sid := r.openPolling()
		ws, o := r.openWebSocket()
		cases := []struct {
			method, query string
			status        int
			body          string
		}{
			{"GET", "EIO=4", 400, unknownTransport},
			{"GET", "EIO=4&transport=abc", 400, unknownTransport},
			{"GET", "EIO=4&transport=__proto__", 400, unknownTransport},
			{"GET", "transport=polling", 400, badProtocol},
			{"GET", "EIO=3&transport=polling", 400, badProtocol},
			{"GET", "EIO=4&transport=websocket", 400, badRequestBody},
			{"POST", "EIO=4&transport=polling", 400, badMethod},
			{"PUT", "EIO=4&transport=polling&sid=abc", 400, unknownSID},
			{"GET", "EIO=4&transport=polling&sid=abc", 400, unknownSID},
			{"GET", "EIO=3&transport=polling&sid=" + sid, 400, badRequestBody},
			{"GET", "EIO=4&transport=websocket&sid=" + sid, 400, badRequestBody},
			{"GET", "EIO=4&transport=polling&sid=" + o.session.sid, 400, badRequestBody},
			{"POST", "EIO=4&transport=polling&sid=" + o.session.sid, 400, badRequestBody},
		}
		for _, c := range cases {
			kit.Equal(t, r.mustRequest(c.method, c.query, "", c.status), c.body, c.method, c.query)
		}
		answer, _, err := r.request(t.Context(), "PUT", "EIO=4&transport=polling&sid="+sid, "x")
		kit.Check(t, err == nil && answer.StatusCode == 405 && answer.Header.Get("Allow") == "GET, POST",
			"PUT: got %v, %v", answer, err)
		got := refused(r.srv.Stats())
		if r.gate != nil {
			got += refused(r.gate.Stats())
		}
		if got != uint64(len(cases)+1) {
			t.Errorf("refused: got %d, want %d", got, len(cases)+1)
		}
		if _, err := r.openSocket("abc"); err == nil || !strings.Contains(err.Error(), "400") {
			t.Errorf("an upgrade of no session: %v", err)
		}
		request, _ := http.NewRequest("GET", "http://rig/engine.io", nil)
		answer, err = r.http.Do(request)
		kit.Require(t, err == nil && answer.StatusCode == 404, "another path: got %v, %v", answer, err)
		answer.Body.Close()
		r.post(sid, "4still")
		r.owner(sid).wantMessages(t, "still")
		o.lives(t)
		ws.nc.Close()
	})
}

func TestAllow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var refuse error
		asked, opening := 0, 0
		r := newRig(t, func(cfg *Config) {
			cfg.Allow = func(r *http.Request, opens bool) error {
				asked++
				if opens {
					opening++
				}
				return refuse
			}
		})
		sid := r.openPolling()
		r.post(sid, "4a")
		refuse = errors.New("<go> away")
		r.post(sid, "4b")
		if got := r.mustRequest("GET", "EIO=4&transport=polling", "", 403); got != `{"code":4,"message":"\u003cgo\u003e away"}` {
			t.Errorf("got %s", got)
		}
		for _, id := range []string{"", sid} {
			if _, err := r.openSocket(id); err == nil || !strings.Contains(err.Error(), "400") {
				t.Errorf("a WebSocket of %q that is not allowed: %v", id, err)
			}
		}
		kit.Check(t, asked == 4 && opening == 3,
			"asked %d times, %d of them about opening a session, want 4 and 3", asked, opening)
		kit.Equal(t, r.srv.Len(), 1, "sessions")
		refuse = nil
		r.probe(sid).nc.Close()
	})
}

// TestCookie: with the answer that begins a session by polling, and no other.
func TestCookie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(cfg *Config) {
			cfg.Cookie = func(*http.Request) *http.Cookie {
				return &http.Cookie{Name: "io", Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode}
			}
		})
		answer, body, err := r.request(t.Context(), "GET", "EIO=4&transport=polling", "")
		kit.OK(t, err)
		sid, _ := wsrig.SID(body)
		kit.Equal(t, answer.Header.Get("Set-Cookie"), "io="+sid+"; Path=/; HttpOnly; SameSite=Lax",
			"Set-Cookie is")
		r.owner(sid).send("x")
		answer, _, err = r.request(t.Context(), "GET", "EIO=4&transport=polling&sid="+sid, "")
		if err != nil || answer.Header["Set-Cookie"] != nil {
			t.Errorf("Set-Cookie of a poll is %q", answer.Header["Set-Cookie"])
		}
	})
}

func TestDisableUpgrades(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(cfg *Config) { cfg.DisableUpgrades = true })
		body := r.mustRequest("GET", "EIO=4&transport=polling", "", 200)
		sid, _ := wsrig.SID(body)
		kit.Check(t, strings.Contains(body, `"upgrades":[]`), "got %s", body)
		if _, err := r.openSocket(sid); err == nil || !strings.Contains(err.Error(), "400") {
			t.Errorf("an upgrade: %v", err)
		}
		r.post(sid, "4x")
		ws, _ := r.openWebSocket()
		ws.nc.Close()
	})
}

func TestTransports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(cfg *Config) { cfg.Transports = engineio.TransportPolling })
		body := r.mustRequest("GET", "EIO=4&transport=polling", "", 200)
		sid, _ := wsrig.SID(body)
		kit.Check(t, strings.Contains(body, `"upgrades":[]`), "got %s", body)
		for _, id := range []string{"", sid} {
			if _, err := r.openSocket(id); err == nil || !strings.Contains(err.Error(), "400") {
				t.Errorf("a WebSocket of %q: %v", id, err)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(cfg *Config) { cfg.Transports = engineio.TransportWebSocket })
		kit.Equal(t, r.mustRequest("GET", "EIO=4&transport=polling", "", 400), unknownTransport)
		ws, _ := r.openWebSocket()
		ws.nc.Close()
	})
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(cfg *Config) { cfg.Transports = engineio.TransportWebSocket | engineio.TransportPolling })
		if body := r.mustRequest("GET", "EIO=4&transport=polling", "", 200); !strings.Contains(body, `"upgrades":["websocket"]`) {
			t.Errorf("got %s", body)
		}
	})
}

// TestOpenRefuses: an owner that takes no session, and a handshake that fails after it took one.
func TestOpenRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refuse := true
		r := newRig(t, func(cfg *Config) {
			open := cfg.Open
			cfg.Open = func(r *http.Request, s *Session) (Owner, error) {
				if refuse {
					return nil, nil
				}
				return open(r, s)
			}
		})
		r.mustRequest("GET", "EIO=4&transport=polling", "", 503)
		if _, err := r.openSocket(""); err == nil || !strings.Contains(err.Error(), "503") {
			t.Errorf("a WebSocket: %v", err)
		}
		refuse = false
		nc, _ := r.dial()
		nc.Write([]byte("GET /engine.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: rig\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"))
		buf := make([]byte, 12)
		nc.Read(buf)
		nc.Close()
		kit.Equal(t, string(buf), "HTTP/1.1 400", "a handshake without a key")
		synctest.Wait()
		for _, o := range r.owners {
			<-o.ended
		}
		if got := r.srv.Stats(); got.Accepted != 0 || refused(got) != 3 || r.srv.Len() != 0 || len(r.owners) != 1 {
			t.Errorf("Stats: %+v, Len %d, owners %d", got, r.srv.Len(), len(r.owners))
		}
	})
}

// TestShutRefuses: a server that closes opens nothing.
func TestShutRefuses(t *testing.T) {
	polled(t, nil, func(t *testing.T, r *rig, sid string, o *owner) {
		o.send("last") // so that the session waits for a poll
		r.srv.CloseSessions(errTest)
		r.mustRequest("GET", "EIO=4&transport=polling", "", 503)
		for _, id := range []string{"", sid} {
			if _, err := r.openSocket(id); err == nil || !strings.Contains(err.Error(), "503") {
				t.Errorf("a WebSocket of %q: %v", id, err)
			}
		}
		r.wantPoll(sid, "4last")
		r.wantPoll(sid, "1")
		o.wantEnded(t, errTest)
		kit.OK(t, r.srv.Close(context.Background()))
	})
}

// TestOpenMeetsShut: a session that began while the server was shut ends like the others.
func TestOpenMeetsShut(t *testing.T) {
	for _, kind := range []string{"polling", "WebSocket"} {
		synctest.Test(t, func(t *testing.T) {
			var r *rig
			r = newRig(t, func(cfg *Config) {
				open := cfg.Open
				cfg.Open = func(request *http.Request, s *Session) (Owner, error) {
					r.srv.CloseSessions(errTest)
					return open(request, s)
				}
			})
			if kind == "polling" {
				sid := r.openPolling()
				kit.Equal(t, r.mustRequest("GET", "EIO=4&transport=polling&sid="+sid, "", 400), unknownSID)
			} else {
				ws := kit.Must(r.openSocket(""))(t)
				ws.wantClosed(t)
			}
			for _, o := range r.owners {
				o.wantEnded(t, errTest)
			}
		})
	}
}

// refused is how many requests were refused, for whatever reason.
func refused(s Stats) (n uint64) {
	for _, of := range s.Refused {
		n += of
	}
	return n
}

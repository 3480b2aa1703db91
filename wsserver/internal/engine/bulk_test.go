package engine

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver/internal/engineio"
	"github.com/belfry-io/belfry/wsserver/internal/transport"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
)

// TestLargeMessage: 10 MB, both ways, on both transports and as text and binary.
func TestLargeMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(cfg *Config) { cfg.MaxPayload, cfg.QueueBytes = 15_000_000, 15_000_000 })
		text := strings.Repeat("0123456789", 1_000_000)
		sid := r.openPolling()
		o := r.owner(sid)
		r.post(sid, "4"+text)
		o.send(text)
		if got := r.poll(sid); got != "4"+text {
			t.Errorf("by polling: got %d bytes", len(got))
		}
		r.post(sid, string(engineio.AppendPacket(nil, true, []byte(text))))
		o.send("b" + text)
		if got := packets(t, r.poll(sid)); len(got) != 1 || got[0] != "b"+text {
			t.Errorf("by polling: got %d packets", len(got))
		}
		ws := r.probe(sid)
		ws.mustSend(t, "5", "4"+text, "b"+text)
		go func() {
			o.send(text)
			o.send("b" + text)
		}()
		for _, want := range []string{"4" + text, "b" + text} {
			if got, err := ws.read(); err != nil || got != want {
				t.Errorf("by WebSocket: got %d bytes, %v", len(got), err)
			}
		}
		synctest.Wait()
		got := o.messages()
		if len(got) != 4 || got[0] != text || got[1] != "b"+text || got[2] != text || got[3] != "b"+text {
			t.Errorf("the session got %d messages", len(got))
		}
		ws.nc.Close()
	})
}

// bytewise is a connection on which every Write goes out byte by byte.
type bytewise struct{ net.Conn }

func (c bytewise) Write(p []byte) (int, error) {
	for i := range p {
		if _, err := c.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

// TestByteByByte: requests, their bodies, the handshake and frames of a WebSocket, each byte by itself.
func TestByteByByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.slow = func(nc net.Conn) net.Conn { return bytewise{nc} }
		sid := r.openPolling()
		o := r.owner(sid)
		long := strings.Repeat("x", 300)
		r.post(sid, "4one\x1e4é"+long+"\x1ebAP8e")
		o.send("down é")
		r.wantPoll(sid, "4down é")
		ws := r.probe(sid)
		ws.mustSend(t, "5", "4two", "b\x00\xff", "4é"+long)
		o.send("b" + long)
		ws.wantRead(t, "b"+long)
		synctest.Wait()
		o.wantMessages(t, "one", "é"+long, "b\x00\xff\x1e", "two", "b\x00\xff", "é"+long)
		ws.nc.Close()
	})
}

// TestThousandPackets: in one payload, each way.
func TestThousandPackets(t *testing.T) {
	polled(t, nil, func(t *testing.T, r *rig, sid string, o *owner) {
		var payload []byte
		for i := range 1000 {
			m := message("up", i)
			if rest, binary := strings.CutPrefix(m, "b"); binary {
				payload = engineio.AppendPacket(payload, true, []byte(rest))
			} else {
				payload = engineio.AppendPacket(payload, false, []byte("4"+m))
			}
			o.send(message("down", i))
		}
		r.post(sid, string(payload))
		down := packets(t, r.poll(sid))
		up := o.messages()
		kit.Require(t, len(up) == 1000 && len(down) == 1000,
			"got %d messages up and %d down", len(up), len(down))
		for i := range 1000 {
			if up[i] != message("up", i) || strings.TrimPrefix(down[i], "4") != message("down", i) {
				t.Fatalf("message %d: got %q up and %q down", i, up[i], down[i])
			}
		}
	})
}

// TestTinyPackets: a payload of 333,334 packets takes a time in proportion to that of one with a tenth of them.
func TestTinyPackets(t *testing.T) {
	srv := New(Config{
		Path: "/", PingInterval: time.Hour, PingTimeout: time.Hour, UpgradeTimeout: time.Hour, MaxPayload: 1_000_000,
		Open: func(*http.Request, *Session) (Owner, error) { return counter{}, nil },
	})
	defer srv.Close(t.Context())
	defer srv.CloseSessions(errTest)
	w := httptest.NewRecorder()
	srv.ServeHTTP(w, httptest.NewRequest("GET", "/?EIO=4&transport=polling", nil))
	sid := kit.Must(wsrig.SID(w.Body.String()))(t)
	took := func(packets int, best time.Duration) time.Duration {
		payload := bytes.Repeat([]byte("4x\x1e"), packets)
		payload = payload[:len(payload)-1]
		w := httptest.NewRecorder()
		begin := time.Now()
		srv.ServeHTTP(w, httptest.NewRequest("POST", "/?EIO=4&transport=polling&sid="+sid, bytes.NewReader(payload)))
		kit.Require(t, w.Body.String() == "ok", "got %d, %q", w.Code, w.Body)
		return min(best, time.Since(begin))
	}
	// On a busy machine the best of some is what counts. Time that grew with the square would be a hundredfold in all of them.
	small, large := time.Hour, time.Hour
	for i := 0; i < 3 || i < 100 && large > 60*small; i++ {
		small, large = took(33_333, small), took(333_333, large)
	}
	t.Logf("%v for 33,333 packets, %v for 333,333", small, large)
	kit.Check(t, large <= 60*small, "33,333 packets took %v, 333,333 took %v", small, large)
}

type counter struct{}

func (counter) Message(bool, []byte) (bool, error) { return false, nil }
func (counter) Waiting() (int, time.Duration)      { return 0, 0 }
func (counter) Ended(Reason, error)                {}
func (counter) Gone()                              {}
func (counter) Moved()                             {}

// TestUpgradesOverSockets: sessions on the loopback interface, which upgrade at once with messages under way both ways. The WebSockets are
// polled, their requests served by net/http.
func TestUpgradesOverSockets(t *testing.T) {
	sessions, each := 200, 60
	if testing.Short() {
		sessions = 40
	}
	r := newRig(t, nil)
	web := httptest.NewServer(r.srv)
	defer web.Close()
	r.dialer = func() (net.Conn, error) { return net.Dial("tcp", web.Listener.Addr().String()) }
	var all sync.WaitGroup
	for i := range sessions {
		all.Go(func() {
			if err := r.upgradeOnce(i, each); err != nil {
				t.Errorf("session %d: %v", i, err)
			}
		})
	}
	all.Wait()
	r.http.CloseIdleConnections()
	kit.Equal(t, r.srv.Stats().Accepted, uint64(sessions), "sessions")
}

// upgradeOnce is a client of TestUpgradesOverSockets. Its messages carry numbers.
func (r *rig) upgradeOnce(id, each int) error {
	nc, err := r.dial()
	if err != nil {
		return err
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(kit.Patience))
	buf := bufio.NewReader(nc)
	exchange := func(method, query, body string) (string, error) {
		fmt.Fprintf(nc, "%s /engine.io/?EIO=4&transport=polling%s HTTP/1.1\r\nHost: rig\r\nContent-Length: %d\r\n\r\n%s", method, query, len(body), body)
		answer, err := http.ReadResponse(buf, nil)
		if err != nil {
			return "", err
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err == nil && answer.StatusCode != 200 {
			err = fmt.Errorf("%s was answered with %d, %q", method, answer.StatusCode, text)
		}
		return string(text), err
	}
	first, err := exchange("GET", "", "")
	if err != nil {
		return err
	}
	sid, err := wsrig.SID(first)
	if err != nil {
		return err
	}
	o := r.owner(sid)
	down := make(chan struct{})
	go func() {
		defer close(down)
		for i := range each {
			o.send(message("down", i))
		}
	}()
	defer func() { <-down }()
	query := "&sid=" + sid
	got, sent := 0, 0
	take := func(packet string) error {
		if want := message("down", got); packet != want && packet != "4"+want {
			return fmt.Errorf("message %d is %q", got, packet)
		}
		got++
		return nil
	}
	poll := func() error {
		payload, err := exchange("GET", query, "")
		if err != nil {
			return err
		}
		var fault error
		err = engineio.DecodePayload([]byte(payload), func(binary bool, packet []byte) error {
			p := string(packet)
			if binary {
				p = "b" + p
			}
			if p != "6" && fault == nil {
				fault = take(p)
			}
			return nil
		})
		if err == nil {
			err = fault
		}
		return err
	}
	post := func() error {
		m := message("up", sent)
		sent++
		payload := engineio.AppendPacket(nil, false, []byte("4"+m))
		if rest, binary := strings.CutPrefix(m, "b"); binary {
			payload = engineio.AppendPacket(nil, true, []byte(rest))
		}
		_, err := exchange("POST", query, string(payload))
		return err
	}
	if err := post(); err != nil {
		return err
	}
	ws, err := r.openSocket(sid, "2probe")
	if err != nil {
		return err
	}
	defer ws.nc.Close()
	ws.nc.SetDeadline(time.Now().Add(kit.Patience))
	if m, err := ws.read(); err != nil || m != "3probe" {
		return fmt.Errorf("the probe was answered with %q, %w", m, err)
	}
	for range id % 3 {
		if err := poll(); err != nil {
			return err
		}
		if err := post(); err != nil {
			return err
		}
	}
	up := []string{"5"}
	for ; sent < each; sent++ {
		m := message("up", sent)
		if m[0] != 'b' {
			m = "4" + m
		}
		up = append(up, m)
	}
	if err := ws.send(up...); err != nil {
		return err
	}
	for got < each {
		m, err := ws.read()
		if err != nil {
			return fmt.Errorf("after %d messages: %w", got, err)
		}
		if err := take(m); err != nil {
			return err
		}
	}
	ws.send("1")
	if m, err := ws.read(); err != io.EOF {
		return fmt.Errorf("after the end: read %q, %w", m, err)
	}
	<-o.ended
	if o.reason != transport.ErrPeerClosed {
		return fmt.Errorf("it ended with %w", o.reason)
	}
	for i, m := range o.messages() {
		if m != message("up", i) {
			return fmt.Errorf("the server's message %d is %q", i, m)
		}
	}
	if n := len(o.messages()); n != each {
		return fmt.Errorf("the server got %d messages, want %d", n, each)
	}
	return nil
}

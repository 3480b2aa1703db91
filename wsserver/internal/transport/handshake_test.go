package transport

import (
	"bufio"
	"bytes"
	"errors"
	"github.com/belfry-io/belfry/test/kit"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// upgraded is what Upgrade returned.
type upgraded struct {
	conn    net.Conn
	early   []byte
	deflate bool
	err     error
}

// watchedConn notes the deadlines that are in force.
type watchedConn struct {
	net.Conn
	mu          sync.Mutex // guards what follows
	read, write time.Time
}

func (c *watchedConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *watchedConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	c.read = t
	c.mu.Unlock()
	return c.Conn.SetReadDeadline(t)
}

func (c *watchedConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	c.write = t
	c.mu.Unlock()
	return c.Conn.SetWriteDeadline(t)
}

type watchedListener struct{ net.Listener }

func (l watchedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &watchedConn{Conn: c}, nil
}

// serve starts a server that upgrades every request, with deflate or without, and returns its address and what Upgrade returned.
func serve(t *testing.T, deflate bool) (addr string, results <-chan upgraded) {
	t.Helper()
	l := kit.Must(net.Listen("tcp", "127.0.0.1:0"))(t)
	ch := make(chan upgraded, 1)
	srv := &http.Server{
		ReadTimeout: time.Hour, WriteTimeout: time.Hour, ErrorLog: log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var u upgraded
			u.conn, u.early, u.deflate, u.err = Upgrade(w, r, deflate)
			ch <- u
		}),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv.Serve(watchedListener{l})
	}()
	t.Cleanup(func() {
		srv.Close()
		<-done
	})
	return l.Addr().String(), ch
}

// dial connects to addr and sends raw in one write.
func dial(t *testing.T, addr, raw string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c := kit.Must(net.Dial("tcp", addr))(t)
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	kit.Must(io.WriteString(c, raw))(t)
	return c, bufio.NewReader(c)
}

// request is the opening handshake of RFC 6455 section 1.2 after the edits, which are pairs of old and new.
func request(edits ...string) string {
	return strings.NewReplacer(edits...).Replace("GET /chat?x=1 HTTP/1.1\r\n" +
		"Host: server.example.com\r\n" +
		"Upgrade: websocket\r\n" +
		"Connection: Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
		"Sec-WebSocket-Version: 13\r\n\r\n")
}

const sampleAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" // RFC 6455 section 1.3

func TestUpgrade(t *testing.T) {
	tests := []struct{ rule, raw string }{
		{"4.2.1 plain", request()},
		{"4.2.1 values without regard to case", request("websocket", "WebSocket", "Connection: Upgrade", "Connection: upgrade", "Sec-WebSocket-Key", "SEC-WEBSOCKET-KEY")},
		{"4.2.1 Connection with more tokens", request("Connection: Upgrade", "Connection: keep-alive, Upgrade")},
		{"4.2.1 Connection in two lines", request("Connection: Upgrade", "Connection: keep-alive\r\nConnection: Upgrade")},
		{"4.2.1 Upgrade with more tokens", request("Upgrade: websocket", "Upgrade: foo, websocket")},
		{"9.1 extensions are not taken up", request("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n")},
		{"11.3.4 a malformed list of subprotocols is not taken up", request("\r\n\r\n", "\r\nSec-WebSocket-Protocol: c/hat, superchat\r\n\r\n")},
		{"a Content-Length of zero is no body", request("\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n")},
	}
	for _, test := range tests {
		t.Run(test.rule, func(t *testing.T) {
			addr, results := serve(t, false)
			c, br := dial(t, addr, test.raw)
			resp, err := http.ReadResponse(br, nil)
			kit.OK(t, err)
			u := <-results
			if u.err != nil {
				t.Fatalf("got error %v and status %d", u.err, resp.StatusCode)
			}
			defer u.conn.Close()
			h := resp.Header
			if resp.StatusCode != 101 || h.Get("Sec-WebSocket-Accept") != sampleAccept || h.Get("Upgrade") != "websocket" || h.Get("Connection") != "Upgrade" {
				t.Errorf("got %d with %v, want 101 as in RFC 6455 section 4.2.2", resp.StatusCode, h)
			}
			kit.Check(t, h["Sec-Websocket-Extensions"] == nil && h["Sec-Websocket-Protocol"] == nil,
				"got %v, want no extensions or subprotocol", h)
			kit.Check(t, u.early == nil, "got early bytes %q, want none", u.early)
			w := u.conn.(*watchedConn)
			w.mu.Lock()
			kit.Check(t, w.read.IsZero() && w.write.IsZero(),
				"got deadlines %v and %v, want none", w.read, w.write)
			w.mu.Unlock()

			// The connection carries frames both ways.
			kit.Must(c.Write(client(0x81, "up")))(t)
			buf := make([]byte, 100)
			n, err := io.ReadFull(u.conn, buf[:len(client(0x81, "up"))])
			if events, rerr := feed(nil, buf[:n]); err != nil || rerr != nil || !slices.Equal(events, []string{`text "up"`}) {
				t.Errorf("got %q, %v, %v", events, err, rerr)
			}
			kit.Must(u.conn.Write(AppendFrame(nil, OpText, []byte("down"))))(t)
			n, err = io.ReadFull(br, buf[:FrameSize(4)])
			if events, rerr := feed(&ReaderConfig{Client: true}, buf[:n]); err != nil || rerr != nil || !slices.Equal(events, []string{`text "down"`}) {
				t.Errorf("got %q, %v, %v", events, err, rerr)
			}
		})
	}
}

// TestUpgradeEarly sends frames in the segment of the request, which net/http then has in its buffer.
func TestUpgradeEarly(t *testing.T) {
	long := string(bytes.Repeat([]byte("z"), 10_000)) // more than net/http's buffer takes
	for _, messages := range [][]string{{"first"}, {"first", "second", ""}, {"first", long}} {
		var frames []byte
		var want []string
		for _, m := range messages {
			frames = append(frames, client(0x81, m)...)
			want = append(want, `text "`+m+`"`)
		}
		addr, results := serve(t, false)
		dial(t, addr, request()+string(frames))
		u := <-results
		if u.err != nil {
			t.Fatal(u.err)
		}
		defer u.conn.Close()
		kit.Require(t, len(u.early) != 0, "got no early bytes, want those behind the request")
		rest := make([]byte, len(frames)-len(u.early))
		if _, err := io.ReadFull(u.conn, rest); err != nil {
			t.Fatalf("read behind %d early bytes of %d: %v", len(u.early), len(frames), err)
		}
		if events, err := feed(nil, u.early, rest); err != nil || !slices.Equal(events, want) {
			t.Errorf("got %.100q, %v, want %.100q", events, err, want)
		}
	}
}

func TestUpgradeRefused(t *testing.T) {
	tests := []struct {
		rule   string
		raw    string
		status int
	}{
		{"4.2.1 method", request("GET", "POST", "\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n"), 405},
		{"4.2.1 method HEAD", request("GET", "HEAD"), 405},
		{"4.2.1 HTTP/1.0", request("HTTP/1.1", "HTTP/1.0"), 505},
		{"4.2.1 empty Host", request("Host: server.example.com", "Host:"), 400},
		{"4.2.1 no Connection", request("Connection: Upgrade\r\n", ""), 400},
		{"4.2.1 Connection without upgrade", request("Connection: Upgrade", "Connection: keep-alive"), 400},
		{"4.2.1 Connection with a like token", request("Connection: Upgrade", "Connection: upgraded"), 400},
		{"4.2.1 no Upgrade", request("Upgrade: websocket\r\n", ""), 400},
		{"4.2.1 Upgrade to something else", request("Upgrade: websocket", "Upgrade: h2c"), 400},
		{"4.2.1 no key", request("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), 400},
		{"4.2.1 empty key", request("dGhlIHNhbXBsZSBub25jZQ==", ""), 400},
		{"4.2.1 key of 15 bytes", request("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j"), 400},
		{"4.2.1 key of 17 bytes", request("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZSE="), 400},
		{"4.2.1 key of 24 characters, not base64", request("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j****"), 400},
		{"11.3.1 two keys", request("Sec-WebSocket-Key:", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key:"), 400},
		{"4.2.1 no version", request("Sec-WebSocket-Version: 13\r\n", ""), 400},
		{"4.4 version 8", request(": 13", ": 8"), 426},
		{"4.4 version 14", request(": 13", ": 14"), 426},
		{"4.4 version 013", request(": 13", ": 013"), 426},
		{"11.3.5 two versions", request(": 13", ": 13\r\nSec-WebSocket-Version: 8"), 426},
		{"4.4 list of versions", request(": 13", ": 13, 8"), 426},
		{"body with a length", request("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\nhello"), 400},
		{"body in chunks", request("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), 400},
		{"empty body in chunks", request("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400},
		{"length and chunks", request("\r\n\r\n", "\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400},
	}
	for _, test := range tests {
		t.Run(test.rule, func(t *testing.T) {
			addr, results := serve(t, false)
			_, br := dial(t, addr, test.raw)
			resp := kit.Must(http.ReadResponse(br, nil))(t)
			u := <-results
			refusal, ok := errors.AsType[*HandshakeError](u.err)
			if !ok || refusal.Status != test.status || resp.StatusCode != test.status || u.conn != nil || u.early != nil {
				t.Fatalf("got status %d and %+v, want %d", resp.StatusCode, u, test.status)
			}
			kit.Want(t, resp.Header.Get("Sec-WebSocket-Version"), "13", "Sec-WebSocket-Version")
			kit.Require(t, resp.Close, "got header %v, want Connection: close", resp.Header)
			if test.status == 426 && resp.Header.Get("Upgrade") != "websocket" {
				t.Errorf("got header %v, want Upgrade: websocket", resp.Header)
			}
			io.Copy(io.Discard, resp.Body)
			if _, err := br.ReadByte(); err != io.EOF && !strings.Contains(err.Error(), "reset") && !strings.Contains(err.Error(), "forcibly") {
				t.Errorf("after the answer: got %v, want the connection closed", err)
			}
		})
	}
}

// TestUpgradeByNetHTTP shows what never reaches Upgrade.
func TestUpgradeByNetHTTP(t *testing.T) {
	for _, test := range []struct{ rule, raw string }{
		{"no Host", request("Host: server.example.com\r\n", "")},
		{"two Hosts", request("Upgrade:", "Host: other\r\nUpgrade:")},
		{"space before the colon", request("Upgrade:", "Upgrade :")},
		{"two lengths", request("\r\n\r\n", "\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n")},
	} {
		addr, _ := serve(t, false)
		_, br := dial(t, addr, test.raw)
		resp, err := http.ReadResponse(br, nil)
		kit.Check(t, err == nil && resp.StatusCode == 400, "%s: got %v, %v, want 400", test.rule, resp, err)
	}
}

func goodRequest(t *testing.T) *http.Request {
	t.Helper()
	r := kit.Must(http.ReadRequest(bufio.NewReader(strings.NewReader(request()))))(t)
	return r
}

func TestUpgradeNotHijackable(t *testing.T) {
	w := httptest.NewRecorder()
	conn, early, _, err := Upgrade(w, goodRequest(t), false)
	kit.Check(t, err != nil && strings.Contains(err.Error(), "Hijacker") && conn == nil && early == nil,
		"got %v, %q, %v, want an error that names http.Hijacker", conn, early, err)
	kit.Want(t, w.Code, 500, "status")

	r := goodRequest(t)
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0
	w = httptest.NewRecorder()
	if _, _, _, err = Upgrade(w, r, false); err == nil || w.Code != 505 {
		t.Errorf("HTTP/2: got %v and status %d, want an error and 505", err, w.Code)
	}
}

// hijackable gives out conn.
type hijackable struct {
	http.ResponseWriter
	conn net.Conn
}

func (w hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.conn, bufio.NewReadWriter(bufio.NewReader(w.conn), bufio.NewWriter(w.conn)), nil
}

// wrapper hides the Hijacker that it wraps, as middleware does.
type wrapper struct{ http.ResponseWriter }

func (w wrapper) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func TestUpgradeThroughMiddleware(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() {
		io.Copy(io.Discard, theirs) // ends when ours is closed
	}()
	conn, _, _, err := Upgrade(wrapper{hijackable{httptest.NewRecorder(), ours}}, goodRequest(t), false)
	kit.Check(t, err == nil && conn == ours, "got %v, %v, want the wrapped connection", conn, err)
}

// closedConn takes no answer and notes that it is closed.
type closedConn struct {
	net.Conn
	closed bool
}

func (c *closedConn) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func (c *closedConn) Close() error {
	c.closed = true
	return c.Conn.Close()
}

func TestUpgradeAnswerFails(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	broken := &closedConn{Conn: ours}
	conn, _, _, err := Upgrade(hijackable{httptest.NewRecorder(), broken}, goodRequest(t), false)
	kit.Check(t, errors.Is(err, io.ErrClosedPipe) && conn == nil,
		"got %v, %v, want an error and no connection", conn, err)
	kit.Check(t, broken.closed, "the connection was not closed")
}

func TestIsUpgrade(t *testing.T) {
	for _, test := range []struct {
		header http.Header
		want   bool
	}{
		{http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}, true},
		{http.Header{"Connection": {"keep-alive , UPGRADE"}, "Upgrade": {"h2c", "WebSocket"}}, true},
		{http.Header{"Connection": {"Upgrade"}}, false},
		{http.Header{"Upgrade": {"websocket"}}, false},
		{http.Header{"Connection": {"keep-alive"}, "Upgrade": {"websocket"}}, false},
		{http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websockets"}}, false},
		{nil, false},
	} {
		kit.Want(t, IsUpgrade(&http.Request{Header: test.header}), test.want, test.header)
	}
}

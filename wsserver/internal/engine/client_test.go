package engine

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver/internal/engineio"
	"github.com/belfry-io/belfry/wsserver/internal/transport"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
)

// openWebSocket begins a session on a WebSocket.
func (r *rig) openWebSocket() (*socket, *owner) {
	r.t.Helper()
	ws, err := r.openSocket("")
	kit.OK(r.t, err)
	first, err := ws.read()
	kit.OK(r.t, err)
	return ws, r.owner(kit.Must(wsrig.SID(first))(r.t))
}

// probe opens a WebSocket for a session and sends the probe; it reads the answer, and returns when the poll that waited has its own.
func (r *rig) probe(sid string) *socket {
	r.t.Helper()
	ws := kit.Must(r.openSocket(sid))(r.t)
	ws.mustSend(r.t, "2probe")
	ws.wantRead(r.t, "3probe")
	synctest.Wait()
	return ws
}

func (s *socket) mustSend(t testing.TB, messages ...string) {
	t.Helper()
	kit.OK(t, s.send(messages...), "send")
}

func (s *socket) wantRead(t testing.TB, want ...string) {
	t.Helper()
	for _, w := range want {
		if got, err := s.read(); err != nil || got != w {
			t.Errorf("read %.100q, %v, want %.100q", got, err, w)
		}
	}
}

// wantClosed reads to the end and wants no message before it.
func (s *socket) wantClosed(t testing.TB) {
	t.Helper()
	if got, err := s.read(); !errors.Is(err, io.EOF) {
		t.Errorf("read %.100q, %v, want the end", got, err)
	}
	s.nc.Close()
}

// A socket is a client's WebSocket.
type socket struct {
	nc     net.Conn
	buf    *bufio.Reader
	reader transport.Reader
	queue  []string // messages that were read with an earlier one
	closed bool     // a Close frame came
}

var clientConfig = transport.ReaderConfig{Client: true, MaxMessage: 1 << 28}

// openSocket asks for a WebSocket, of a new session if sid is empty. early is sent behind the request.
func (r *rig) openSocket(sid string, early ...string) (*socket, error) {
	nc, err := r.dial()
	if err != nil {
		return nil, err
	}
	query := "EIO=4&transport=websocket"
	if sid != "" {
		query += "&sid=" + sid
	}
	request := "GET /engine.io/?" + query + " HTTP/1.1\r\nHost: rig\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
	s := &socket{nc: nc, buf: bufio.NewReader(nc)}
	s.reader.Config = &clientConfig
	if _, err := nc.Write(append([]byte(request), frames(early)...)); err != nil {
		return nil, err
	}
	answer, err := http.ReadResponse(s.buf, nil)
	if err != nil {
		nc.Close()
		return nil, err
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		nc.Close()
		return nil, fmt.Errorf("the answer is %s", answer.Status)
	}
	return s, nil
}

func frames(messages []string) (b []byte) {
	for _, message := range messages {
		var key [4]byte
		rand.Read(key[:])
		if rest, binary := strings.CutPrefix(message, "b"); binary {
			b = transport.AppendMaskedFrame(b, transport.OpBinary, key, []byte(rest))
		} else {
			b = transport.AppendMaskedFrame(b, transport.OpText, key, []byte(message))
		}
	}
	return b
}

func (s *socket) send(messages ...string) error {
	_, err := s.nc.Write(frames(messages))
	return err
}

// read returns the next message, binary behind "b"; io.EOF after a Close frame or the end of the connection.
func (s *socket) read() (string, error) {
	for len(s.queue) == 0 {
		if s.closed {
			return "", io.EOF
		}
		buf := make([]byte, 4096)
		n, err := s.buf.Read(buf)
		if e := s.reader.Feed(buf[:n], s); e != nil {
			return "", e
		}
		if err != nil && len(s.queue) == 0 {
			return "", err
		}
	}
	message := s.queue[0]
	s.queue = s.queue[1:]
	return message, nil
}

func (s *socket) Message(op transport.Opcode, payload []byte) error {
	message := string(payload)
	if op == transport.OpBinary {
		message = "b" + message
	}
	s.queue = append(s.queue, message)
	return nil
}

func (s *socket) Control(op transport.Opcode, payload []byte) error {
	s.closed = s.closed || op == transport.OpClose
	return nil
}

// packets splits a payload as a client does, binary decoded behind "b".
func packets(t testing.TB, payload string) (all []string) {
	t.Helper()
	err := engineio.DecodePayload(bytes.Clone([]byte(payload)), func(binary bool, packet []byte) error {
		p := string(packet)
		if binary {
			p = "b" + p
		}
		all = append(all, p)
		return nil
	})
	if err != nil {
		t.Errorf("payload %q: %v", payload, err)
	}
	return all
}

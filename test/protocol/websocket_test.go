package protocol

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// The opcodes of RFC 6455, section 5.2, and the bits before them.
const (
	continuation = 0x0
	text         = 0x1
	binaryData   = 0x2
	closing      = 0x8
	ping         = 0x9
	pong         = 0xA

	fin  = 0x80
	rsv1 = 0x40
)

// A frame is one of RFC 6455, as it was read.
type frame struct {
	head    byte // FIN, RSV and the opcode
	payload string
}

func (f frame) String() string { return fmt.Sprintf("frame %#x %s", f.head, brief(f.payload)) }

// A socket is a connection of WebSocket.
type socket struct {
	*conn
	quiet bool // pings of Engine.IO are for the case to answer
}

const key = "dGhlIHNhbXBsZSBub25jZQ==" // and its answer, from RFC 6455, section 1.3
const accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

// upgrade is the text of a request for a WebSocket.
func (c *check) upgrade(query string, header ...string) string {
	return c.request("GET", query, "", append([]string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + key}, header...)...)
}

// dialSocket opens a WebSocket, and sends more in the same segment as the request.
func (c *check) dialSocket(query, more string) *socket {
	k := c.dial().send(c.upgrade(query) + more)
	k.switched()
	return &socket{conn: k}
}

// switched reads the answer to an upgrade, which must be a 101.
func (k *conn) switched() {
	head := k.head()
	if !strings.HasPrefix(head, "HTTP/1.1 101 ") {
		k.c.Fatalf("upgrade: got %q, want a 101", head)
	}
	if !strings.Contains(head, accept) {
		k.c.Fatalf("upgrade: got %q, want Sec-WebSocket-Accept: %s", head, accept)
	}
}

// head reads the head of an answer as it is.
func (k *conn) head() string {
	var b strings.Builder
	for {
		line, err := k.r.ReadString('\n')
		b.WriteString(line)
		if err != nil {
			k.c.Fatalf("got %q, then %v", b.String(), err)
		}
		if line == "\r\n" {
			return b.String()
		}
	}
}

// socket opens a session over WebSocket.
func (c *check) socket() *socket {
	s := c.dialSocket(websocket, "")
	c.opened(s.next().payload)
	return s
}

// probe opens a WebSocket for a polling session, and sends first as its first packet.
func (s *session) probe(first string) *socket {
	w := s.c.dialSocket(websocket+"&sid="+s.sid, "")
	w.text(first)
	return w
}

// masked is a client's frame.
func masked(head byte, payload string) string {
	b := []byte{head}
	switch n := len(payload); {
	case n < 126:
		b = append(b, fin|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, fin|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, fin|127), uint64(n))
	}
	if len(payload) > 1<<16 {
		return string(b) + "\x00\x00\x00\x00" + payload // a key that costs nothing
	}
	mask := []byte{1, 2, 3, 4}
	b = append(b, mask...)
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i%4])
	}
	return string(b)
}

func textFrame(s string) string { return masked(fin|text, s) }

func (s *socket) text(packets ...string) {
	for _, p := range packets {
		s.send(textFrame(p))
	}
}

func (s *socket) binary(payload string) { s.send(masked(fin|binaryData, payload)) }

// read returns the next frame, whatever it is.
func (s *socket) read() (frame, error) {
	head := make([]byte, 2)
	if _, err := io.ReadFull(s.r, head); err != nil {
		return frame{}, err
	}
	if head[1]&fin != 0 {
		return frame{}, errors.New("the server masks")
	}
	n := uint64(head[1])
	switch extended := n; extended {
	case 126:
		n = number(s.r, 2)
	case 127:
		n = number(s.r, 8)
	}
	payload := make([]byte, n)
	_, err := io.ReadFull(s.r, payload)
	return frame{head[0], string(payload)}, err
}

func number(r *bufio.Reader, size int) (n uint64) {
	for range size {
		b, _ := r.ReadByte()
		n = n<<8 | uint64(b)
	}
	return n
}

// next returns the next frame; it answers pings of Engine.IO on the way.
func (s *socket) next() frame {
	for {
		f, err := s.read()
		if err != nil {
			s.c.Fatalf("got %v, want a frame", err)
		}
		if s.quiet || f != (frame{fin | text, "2"}) {
			return f
		}
		s.text("3")
	}
}

// want fails the case unless these texts are next.
func (s *socket) want(texts ...string) {
	for _, t := range texts {
		equal(s.c, "frame", s.next(), frame{fin | text, t})
	}
}

// wantBinary fails the case unless these binary messages are next.
func (s *socket) wantBinary(payloads ...string) {
	for _, p := range payloads {
		equal(s.c, "frame", s.next(), frame{fin | binaryData, p})
	}
}

// lives fails the case unless the session echoes.
func (s *socket) lives() {
	s.text("4still here?")
	s.want("4still here?")
}

// closed fails the case unless the server closes, with a close frame of one of these codes, if any are named, and no message before it.
// A frame without a code counts as 1005. Pings are answered, so that it is not their time-out that closes, and a second one proves that
// the server goes on.
func (s *socket) closed(codes ...int) {
	for pings := 0; ; {
		f, err := s.read()
		switch {
		case timeout(err):
			s.c.Fatalf("the WebSocket is still open, want it closed")
		case err != nil:
			if len(codes) > 0 {
				s.c.Fatalf("got %v, want a close frame with %d", err, codes)
			}
			return
		case f.head == fin|closing:
			code := 1005
			if len(f.payload) >= 2 {
				code = int(binary.BigEndian.Uint16([]byte(f.payload)))
			}
			if len(codes) > 0 && !slices.Contains(codes, code) {
				s.c.Fatalf("closed with %d %q, want %d", code, f.payload[min(2, len(f.payload)):], codes)
			}
			s.send(masked(fin|closing, f.payload))
			if rest := s.ended(); rest != "" {
				s.c.Fatalf("got %q after the close frame", rest)
			}
			return
		case f == frame{fin | text, "2"} && pings == 0 && !s.quiet:
			pings++
			s.text("3")
		case f != frame{fin | text, "1"}:
			s.c.Fatalf("got %v, want the end", f)
		}
	}
}

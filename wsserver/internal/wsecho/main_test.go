package main

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/test/leak"
)

func TestMain(m *testing.M) { leak.Main(m, "belfry/") }

// The parts of a frame's first byte (RFC 6455 section 5.2, RFC 7692 section 6).
const (
	fin        = 0x80
	compressed = 0x40
	more       = 0 // of a continuation
	text       = 1
	bin        = 2
	cls        = 8
	ping       = 9
	pong       = 10
)

// A peer is a client that writes frames as it is told.
type peer struct {
	t  *testing.T
	nc net.Conn
	r  *bufio.Reader
}

// connect opens a WebSocket, with the extension if it is named.
func connect(t *testing.T, deflate bool, extension string) *peer {
	t.Helper()
	s := newServer(deflate, 1<<20)
	web := httptest.NewServer(s)
	t.Cleanup(func() {
		web.Close()
		s.close()
	})
	nc := kit.Must(net.Dial("tcp", web.Listener.Addr().String()))(t)
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(kit.Patience))
	p := &peer{t, nc, bufio.NewReader(nc)}
	if extension != "" {
		extension = "Sec-WebSocket-Extensions: " + extension + "\r\n"
	}
	fmt.Fprintf(nc, "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n", extension)
	answer := ""
	for !strings.HasSuffix(answer, "\r\n\r\n") {
		line, err := p.r.ReadString('\n')
		if err != nil {
			t.Fatalf("%q: %v", answer, err)
		}
		answer += line
	}
	if !strings.Contains(answer, " 101 ") || strings.Contains(answer, "permessage-deflate") != (deflate && extension != "") {
		t.Fatalf("the answer is %q", answer)
	}
	return p
}

// send writes a frame, masked.
func (p *peer) send(first byte, payload string) *peer {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	mask := [4]byte{1, 2, 3, 4}
	b = append(b, mask[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i%4])
	}
	p.nc.Write(b)
	return p
}

// frame reads a frame.
func (p *peer) frame() (first byte, payload string, err error) {
	var head [2]byte
	if _, err := io.ReadFull(p.r, head[:]); err != nil {
		return 0, "", err
	}
	size := uint64(head[1])
	switch size {
	case 126:
		var n uint16
		binary.Read(p.r, binary.BigEndian, &n)
		size = uint64(n)
	case 127:
		binary.Read(p.r, binary.BigEndian, &size)
	}
	b := make([]byte, size)
	_, err = io.ReadFull(p.r, b)
	return head[0], string(b), err
}

// want reads a frame, which must be this one.
func (p *peer) want(first byte, payload string) *peer {
	p.t.Helper()
	got, b, err := p.frame()
	kit.Require(p.t, err == nil && got == first && b == payload,
		"got frame %#x %.100q, %v, want %#x %.100q", got, b, err, first, payload)
	return p
}

// wantClose reads a Close frame with this code, behind which the server closes the connection when it is answered.
func (p *peer) wantClose(code uint16) {
	p.t.Helper()
	first, b, err := p.frame()
	got := uint16(1005) // no status (RFC 6455 section 7.1.5)
	if len(b) >= 2 {
		got = binary.BigEndian.Uint16([]byte(b))
	}
	kit.Require(p.t, err == nil && first == fin|cls && got == code,
		"got frame %#x %q, %v, want a Close frame with %d", first, b, err, code)
	p.send(fin|cls, b)
	if _, _, err := p.frame(); err == nil {
		p.t.Fatal("a frame behind the Close frame")
	}
}

func code(n uint16) string { return string(binary.BigEndian.AppendUint16(nil, n)) }

// TestEcho holds it to cases of the kinds that Autobahn's suite has; the numbers are those of its sections.
func TestEcho(t *testing.T) {
	for _, tc := range []struct {
		name string
		run  func(p *peer)
	}{
		{"1.1 texts of all forms of length", func(p *peer) {
			for _, n := range []int{0, 1, 125, 126, 127, 65535, 65536, 1 << 20} {
				p.send(fin|text, strings.Repeat("*", n)).want(fin|text, strings.Repeat("*", n))
			}
		}},
		{"1.2 binary", func(p *peer) { p.send(fin|bin, "\xfe\x00").want(fin|bin, "\xfe\x00") }},
		{"2 pings", func(p *peer) {
			for _, payload := range []string{"", "hello", "\x00\xff", strings.Repeat("x", 125)} {
				p.send(fin|ping, payload).want(fin|pong, payload)
			}
		}},
		{"2.5 a ping that is too long", func(p *peer) { p.send(fin|ping, strings.Repeat("x", 126)).wantClose(1002) }},
		{"2.7 a pong that nobody has asked for", func(p *peer) { p.send(fin|pong, "?").send(fin|text, "a").want(fin|text, "a") }},
		{"3 a reserved bit", func(p *peer) { p.send(fin|text|0x20, "a").wantClose(1002) }},
		{"4 a reserved opcode", func(p *peer) { p.send(fin|text, "a").send(fin|3, "b").want(fin|text, "a").wantClose(1002) }},
		{"5 fragments", func(p *peer) { p.send(text, "frag").send(more, "").send(fin|more, "ment").want(fin|text, "fragment") }},
		{"5 a ping between fragments", func(p *peer) {
			p.send(text, "frag").send(fin|ping, "!").want(fin|pong, "!").send(fin|more, "ment").want(fin|text, "fragment")
		}},
		{"5 a continuation of nothing", func(p *peer) { p.send(fin|more, "a").wantClose(1002) }},
		{"5 a text between fragments", func(p *peer) { p.send(text, "a").send(fin|text, "b").wantClose(1002) }},
		{"5 a ping in fragments", func(p *peer) { p.send(ping, "a").wantClose(1002) }},
		{"6 characters across fragments", func(p *peer) { p.send(text, "\xce").send(fin|more, "\xba").want(fin|text, "\u03ba") }},
		{"6 the last character there is", func(p *peer) { p.send(fin|text, "\U0010ffff").want(fin|text, "\U0010ffff") }},
		{"6 beyond the last character", func(p *peer) { p.send(fin|text, "\xf4\x90\x80\x80").wantClose(1007) }},
		{"6 a surrogate", func(p *peer) { p.send(fin|text, "\xed\xa0\x80").wantClose(1007) }},
		{"6 half a character", func(p *peer) { p.send(fin|text, "a\xce").wantClose(1007) }},
		{"7 a Close frame without a code", func(p *peer) { p.send(fin|cls, "").wantClose(1005) }},
		{"7 a Close frame", func(p *peer) {
			p.send(fin|text, "a").send(fin|cls, code(1000)+"bye").want(fin|text, "a").wantClose(1000)
		}},
		{"7 a Close frame between fragments", func(p *peer) { p.send(text, "a").send(fin|cls, code(1000)).wantClose(1000) }},
		{"7 codes that are allowed", func(p *peer) { p.send(fin|cls, code(4999)).wantClose(4999) }},
		{"7 a code that must not be sent", func(p *peer) { p.send(fin|cls, code(1006)).wantClose(1002) }},
		{"7 half a code", func(p *peer) { p.send(fin|cls, "\x03").wantClose(1002) }},
		{"7 a reason that is no text", func(p *peer) { p.send(fin|cls, code(1000)+"\xff").wantClose(1007) }},
		{"9 more than the bound", func(p *peer) { p.send(fin|text, strings.Repeat("*", 1<<20+1)).wantClose(1009) }},
		{"10 fragments of one byte", func(p *peer) {
			p.send(text, "")
			for range 500 {
				p.send(more, "x")
			}
			p.send(fin|more, "").want(fin|text, strings.Repeat("x", 500))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Run("plain", func(t *testing.T) { tc.run(connect(t, false, "")) })
			t.Run("deflate on offer", func(t *testing.T) { tc.run(connect(t, true, "")) })
		})
	}
}

// TestDeflate: sections 12 and 13, with permessage-deflate.
func TestDeflate(t *testing.T) {
	p := connect(t, true, "permessage-deflate; client_max_window_bits")
	for _, message := range []string{"", "a", strings.Repeat("again and again ", 1000), strings.Repeat("\u03ba", 1<<18)} {
		p.send(fin|compressed|text, deflated(t, message))
		if got := p.inflated(text); got != message {
			t.Errorf("got %.100q of %d bytes, want %.100q of %d", got, len(got), message, len(message))
		}
	}
	again := strings.Repeat("again and again ", 1000)
	if first, b, err := p.send(fin|text, again).frame(); err != nil || first != fin|compressed|text || len(b) > len(again)/10 {
		t.Errorf("the echo of what compresses well is frame %#x of %d bytes, %v", first, len(b), err)
	}
	// In fragments, of which the first alone has the bit, with a ping between them.
	whole := deflated(t, "in two parts")
	p.send(compressed|bin, whole[:3]).send(fin|ping, "!").want(fin|pong, "!").send(fin|more, whole[3:])
	kit.Want(t, p.inflated(bin), "in two parts", "in fragments")
	p.send(fin|text, "not compressed")
	kit.Want(t, p.inflated(text), "not compressed", "not compressed")
	p.send(fin|compressed|text, "\xff\xff\xff\xff").wantClose(1007)

	p = connect(t, true, "permessage-deflate")
	p.send(fin|compressed|text, deflated(t, strings.Repeat("0", 1<<20+1))).wantClose(1009)
	p = connect(t, false, "permessage-deflate")
	p.send(fin|compressed|text, deflated(t, "a")).wantClose(1002)
}

// deflated is a message as permessage-deflate has it (RFC 7692 section 7.2.1).
func deflated(t *testing.T, message string) string {
	var b bytes.Buffer
	w := kit.Must(flate.NewWriter(&b, -1))(t)
	io.WriteString(w, message)
	w.Flush()
	return strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
}

// inflated reads a message, compressed or not.
func (p *peer) inflated(op byte) string {
	p.t.Helper()
	first, b, err := p.frame()
	kit.Require(p.t, err == nil && first&^compressed == fin|op, "got frame %#x %.100q, %v", first, b, err)
	if first&compressed == 0 {
		return b
	}
	out, err := io.ReadAll(flate.NewReader(strings.NewReader(b + "\x00\x00\xff\xff\x01\x00\x00\xff\xff")))
	if err != nil {
		p.t.Fatalf("%.100q: %v", b, err)
	}
	return string(out)
}

package wsserver_test

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/internal/transport"
)

// A deflating is a client of one socket that compresses what it sends.
type deflating struct {
	nc     net.Conn
	buf    *bufio.Reader
	reader transport.Reader
	got    []string
}

// newDeflating connects a client to the root namespace.
func newDeflating(t *testing.T, nc net.Conn) *deflating {
	t.Helper()
	nc.SetDeadline(time.Now().Add(4 * kit.Patience))
	c, err := connectDeflating(nc)
	if err != nil {
		nc.Close()
		t.Fatal(err)
	}
	nc.SetDeadline(time.Time{})
	return c
}

func connectDeflating(nc net.Conn) (*deflating, error) {
	c := &deflating{nc: nc, buf: bufio.NewReader(nc)}
	c.reader.Config = &transport.ReaderConfig{Client: true, Deflate: true, MaxMessage: 1 << 28}
	_, err := io.WriteString(nc, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
	if err != nil {
		return nil, err
	}
	answer, err := http.ReadResponse(c.buf, nil)
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(answer.Header.Get("Sec-WebSocket-Extensions"), "permessage-deflate") {
		return nil, fmt.Errorf("permessage-deflate was not negotiated: %s", answer.Status)
	}
	if err := c.send("40"); err != nil {
		return nil, err
	}
	for _, want := range []string{"0{", "40{"} {
		if got, err := c.read(); err != nil || !strings.HasPrefix(got, want) {
			return nil, fmt.Errorf("read %q, %w, want %q", got, err, want)
		}
	}
	return c, nil
}

// squeezed is the frame of a text message, compressed.
func squeezed(message string) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	io.WriteString(w, message)
	w.Flush()
	var key [4]byte
	rand.Read(key[:])
	frame := transport.AppendMaskedFrame(nil, transport.OpText, key, bytes.TrimSuffix(b.Bytes(), []byte("\x00\x00\xff\xff")))
	frame[0] |= 0x40 // RSV1
	return frame
}

func (c *deflating) send(message string) error {
	_, err := c.nc.Write(squeezed(message))
	return err
}

// read returns the next message.
func (c *deflating) read() (string, error) {
	for len(c.got) == 0 {
		b := make([]byte, 4096)
		n, err := c.buf.Read(b)
		if err := c.reader.Feed(b[:n], c); err != nil {
			return "", err
		}
		if err != nil {
			return "", err
		}
	}
	message := c.got[0]
	c.got = c.got[1:]
	return message, nil
}

func (c *deflating) Message(_ transport.Opcode, payload []byte) error {
	c.got = append(c.got, string(payload))
	return nil
}

func (c *deflating) Control(op transport.Opcode, _ []byte) error {
	if op == transport.OpClose {
		return io.EOF
	}
	return nil
}

// TestInflateAbuse: clients that send little which inflates to much, over and over, hardly hold up others, which compress as well. What is measured is
// not time, which the machine's load makes longer, but what the server inflates for the former while it answers the latter. Read and
// inflated in one place, it is some 500 MB for each answer.
func TestInflateAbuse(t *testing.T) {
	for _, test := range []struct {
		name     string
		abusers  int
		size     int // inflated
		fragment bool
		own      int  // the length of what the others send
		all      bool // with -all alone
	}{
		{"the input that was found", 8, 990_000, false, 20, false},
		{"1", 1, 990_000, false, 20, true},
		{"100", 100, 990_000, false, 20, true},
		{"of 10 kB", 8, 10_000, false, 20, true},
		{"of 100 kB", 8, 100_000, false, 20, true},
		{"in fragments", 8, 990_000, true, 20, false},
		{"and others that are not small", 8, 990_000, false, 20_000, false},
	} {
		if test.all && !kit.All() {
			continue
		}
		if kit.Raced {
			test.abusers = min(test.abusers, 20)
		}
		t.Run(test.name, func(t *testing.T) {
			srv := newServer(t, wsserver.Config{
				PingInterval: time.Hour, // the clients answer none
				Compression:  wsserver.Compression{PerMessageDeflate: true},
			})
			var inflated atomic.Int64
			srv.Of("/").OnConnect(func(_ context.Context, s *wsserver.Socket) error {
				s.On("bomb", func(context.Context, *wsserver.Event) error {
					inflated.Add(int64(test.size))
					return nil
				})
				return nil
			})
			dial := listen(t, srv, localhost(t), false)
			bomb := squeezed(`42["bomb","` + strings.Repeat("a", test.size-11) + `"]`)
			if test.fragment {
				bomb = fragments(bomb)
			}
			var senders sync.WaitGroup
			t.Cleanup(senders.Wait)
			for range test.abusers {
				c := newDeflating(t, dial())
				senders.Go(func() {
					for {
						if _, err := c.nc.Write(bomb); err != nil {
							return
						}
					}
				})
				t.Cleanup(func() { c.nc.Close() })
			}
			for start := time.Now(); inflated.Load() == 0; time.Sleep(time.Millisecond) {
				kit.Require(t, time.Since(start) <= kit.Patience, "no bomb arrived")
			}
			other := newDeflating(t, dial())
			defer other.nc.Close()
			other.nc.SetDeadline(time.Now().Add(4 * kit.Patience))
			before := inflated.Load()
			const messages = 40
			text := strings.Repeat("hello, world ", 1+test.own/13)[:test.own]
			frame := squeezed(`421["echo","` + text + `"]`)
			for i := range messages {
				kit.Must(other.nc.Write(frame))(t)
				if got, err := other.read(); err != nil || got != `431["`+text+`"]` {
					t.Fatalf("answer %d is %.50q, %v", i, got, err)
				}
			}
			each := (inflated.Load() - before) / messages
			t.Logf("%d bytes were inflated for each answer", each)
			kit.Check(t, each <= 60_000_000, "%d bytes were inflated for each answer", each)
		})
	}
}

// fragments is a frame of fewer than 64 KiB in three.
func fragments(frame []byte) []byte {
	const header = 8 // with a length of 16 bits, and the mask
	payload := bytes.Clone(frame[header:])
	for i := range payload {
		payload[i] ^= frame[4+i%4]
	}
	third := len(payload) / 3
	first := transport.AppendMaskedFrame(nil, transport.OpText, [4]byte{}, payload[:third])
	first[0] = byte(transport.OpText) | 0x40
	second := transport.AppendMaskedFrame(nil, transport.OpContinuation, [4]byte{}, payload[third:2*third])
	second[0] = byte(transport.OpContinuation)
	return slices.Concat(first, second, transport.AppendMaskedFrame(nil, transport.OpContinuation, [4]byte{}, payload[2*third:]))
}

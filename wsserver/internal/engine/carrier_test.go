package engine

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver/internal/budget"
	"github.com/belfry-io/belfry/wsserver/internal/engineio"
	"github.com/belfry-io/belfry/wsserver/internal/outbox"
	"github.com/belfry-io/belfry/wsserver/internal/transport"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
)

// A third carrier: packets on a stream of bytes, framed as Engine.IO frames them on WebTransport (engine.io-parser/lib/index.ts). All of
// it is in this file.

const kindStream = engineio.Transport(1 << 7)

// streamForm is the form of a frame on a stream: each packet behind its length, and a bit that says whether it is binary.
var streamForm = &outbox.Form{Make: func(f *outbox.Frame) (b []byte) {
	for isBinary, packet := range transport.Packets(f) {
		b = appendStream(b, isBinary, packet)
	}
	return b
}}

func appendStream(b []byte, isBinary bool, packet []byte) []byte {
	flag := byte(0)
	if isBinary {
		flag = 0x80
	}
	switch n := len(packet); {
	case n < 126:
		b = append(b, flag|byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, flag|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, flag|127), uint64(n))
	}
	return append(b, packet...)
}

func readStream(r *bufio.Reader) (isBinary bool, packet []byte, err error) {
	first, err := r.ReadByte()
	if err != nil {
		return false, nil, err
	}
	n := uint64(first & 0x7f)
	var long [8]byte
	switch n {
	case 126:
		_, err = io.ReadFull(r, long[6:])
		n = binary.BigEndian.Uint64(long[:])
	case 127:
		_, err = io.ReadFull(r, long[:])
		n = binary.BigEndian.Uint64(long[:])
	}
	if err == nil {
		packet = make([]byte, n)
		_, err = io.ReadFull(r, packet)
	}
	return first&0x80 != 0, packet, err
}

// A stream is that carrier, and its channel.
type stream struct {
	connection
	nc    net.Conn
	queue outbox.Queue
	gone  func() // once

	mu      sync.Mutex // guards what follows
	changed sync.Cond
	paused  bool
}

func newStream(s *Session, group *outbox.Group, nc net.Conn, upgrade bool) *stream {
	c := &stream{nc: nc}
	c.changed.L = &c.mu
	c.gone = sync.OnceFunc(func() {
		c.queue.Close()
		c.Resume()
		nc.Close()
		c.Closed()
	})
	c.queue.Init(group, outbox.Stream{Writer: nc}, c)
	if upgrade {
		c.init(s, c)
	} else {
		c.init(s, nil)
	}
	return c
}

func (c *stream) read() {
	for r := bufio.NewReader(c.nc); ; {
		c.mu.Lock()
		for c.paused {
			c.changed.Wait()
		}
		c.mu.Unlock()
		isBinary, packet, err := readStream(r)
		if errors.Is(err, io.EOF) {
			err = transport.ErrPeerClosed
		}
		if err != nil {
			c.Failed(err)
			return
		}
		if err := c.Message(isBinary, packet); err != nil {
			c.Closing(err)
			c.Close()
			continue
		}
		c.Fed(len(packet), false)
	}
}

func (c *stream) Kind() engineio.Transport          { return kindStream }
func (c *stream) Append(f *outbox.Frame) bool       { return c.queue.Append(f.As(streamForm)) }
func (c *stream) Send(f *outbox.Frame) bool         { return c.queue.Send(f.As(streamForm)) }
func (c *stream) Pause()                            { c.pause(true) }
func (c *stream) Resume()                           { c.pause(false) }
func (c *stream) Close()                            { c.queue.CloseAfterFlush(nil) }
func (c *stream) GoAway()                           { c.Close() }
func (c *stream) HeardAll() bool                    { return false }
func (c *stream) Dismiss()                          { c.Close() }
func (c *stream) Abort()                            { c.gone() }
func (c *stream) Idle() bool                        { return false }
func (c *stream) Taken() uint32                     { return c.queue.Taken() }
func (c *stream) PingTaken() bool                   { return c.queue.PingTaken() }
func (c *stream) DropVolatile()                     { c.queue.DropVolatile() }
func (c *stream) Waiting() (out, in outbox.Waiting) { return c.queue.Waiting(), outbox.Waiting{} }

func (c *stream) Adopt(frames []*outbox.Frame) {
	formed := make([]*outbox.Frame, len(frames))
	for i, f := range frames {
		formed[i] = f.As(streamForm)
	}
	c.queue.Adopt(formed)
}

func (c *stream) pause(paused bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paused = paused
	c.changed.Broadcast()
}

// A stream is the owner of its queue.
func (c *stream) Flushed()         { c.Abort() }
func (c *stream) Large()           { c.connection.Large() }
func (c *stream) Failed(err error) { c.Closing(err); c.Abort() }

// A streamClient is the other end.
type streamClient struct {
	t   *testing.T
	nc  net.Conn
	buf *bufio.Reader
}

func (c *streamClient) send(packets ...string) {
	for _, p := range packets {
		isBinary := p[0] == 'b'
		if isBinary {
			p = p[1:]
		}
		kit.Must(c.nc.Write(appendStream(nil, isBinary, []byte(p))))(c.t, "send")
	}
}

func (c *streamClient) want(want ...string) {
	c.t.Helper()
	for _, w := range want {
		isBinary, packet, err := readStream(c.buf)
		got := string(packet)
		if isBinary {
			got = "b" + got
		}
		kit.Check(c.t, err == nil && got == w, "read %.50q, %v, want %.50q", got, err, w)
	}
}

func (c *streamClient) wantEnd() {
	c.t.Helper()
	if _, packet, err := readStream(c.buf); err != io.EOF {
		c.t.Errorf("read %.50q, %v, want the end", packet, err)
	}
	c.nc.Close()
}

// openStream has a client reach the server by a stream: for a session of that id, or for a new one.
func (r *rig) openStream(t *testing.T, group *outbox.Group, sid string) (*streamClient, *owner) {
	near, far := net.Pipe()
	client := &streamClient{t, near, bufio.NewReader(near)}
	if sid != "" {
		kit.OK(t, r.srv.enter())
		c := newStream(r.srv.session(sid), group, far, true)
		c.offer()
		go c.read()
		return client, r.owner(sid)
	}
	s := r.srv.newSession(httptest.NewRecorder(), httptest.NewRequest("CONNECT", "/engine.io/", nil), false)
	c := newStream(s, group, far, false)
	c.carry(c)
	go c.read()
	_, packet, err := readStream(client.buf)
	kit.OK(t, err)
	return client, r.owner(kit.Must(wsrig.SID(string(packet)))(t))
}

// TestThirdCarrier: a session on a carrier that the engine has never heard of: messages, heartbeat, pause, and each way to end.
func TestThirdCarrier(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, c *streamClient, o *owner){
		"the server closes": func(t *testing.T, c *streamClient, o *owner) {
			o.send("last")
			o.session.Close(errTest)
			c.want("4last")
			c.wantEnd()
			o.wantEnded(t, errTest)
		},
		"the client closes": func(t *testing.T, c *streamClient, o *owner) {
			c.send("1")
			c.wantEnd()
			o.wantEnded(t, transport.ErrPeerClosed)
		},
		"the client goes": func(t *testing.T, c *streamClient, o *owner) {
			c.nc.Close()
			o.wantEnded(t, transport.ErrPeerClosed)
		},
		"it breaks the rules": func(t *testing.T, c *streamClient, o *owner) {
			c.send("x")
			c.wantEnd()
			o.wantEnded(t, engineio.ErrParse)
		},
		"it answers no ping": func(t *testing.T, c *streamClient, o *owner) {
			c.want("2")
			c.wantEnd()
			o.wantEnded(t, engineio.ErrPingTimeout)
		},
		"aborted": func(t *testing.T, c *streamClient, o *owner) {
			o.session.Abort()
			c.wantEnd()
		},
	} {
		kit.Bubble(t, name, func(t *testing.T) {
			r, group := newRig(t, nil), outbox.NewGroup(outbox.Config{})
			defer group.Close()
			c, o := r.openStream(t, group, "")
			kit.Equal(t, o.session.Transport(), kindStream, "the transport is")
			long := fmt.Sprintf("%0100000d", 7)
			c.send("4up", "b\x00\xff", "4"+long)
			o.wantMessages(t, "up", "b\x00\xff", long)
			shared := newFrame("to all", false)
			o.session.Append(shared)
			o.session.Append(shared)
			o.send("bbytes")
			o.send(long)
			c.want("4to all", "4to all", "bbytes", "4"+long)

			o.session.Pause()
			synctest.Wait()
			go c.send("4one", "4two") // one of them may still come
			time.Sleep(time.Second)
			if got := o.messages(); len(got) > 4 {
				t.Errorf("%d messages came in a pause", len(got)-3)
			}
			o.session.Resume()
			o.wantMessages(t, "up", "b\x00\xff", long, "one", "two")
			time.Sleep(r.srv.cfg.PingInterval - time.Second)
			c.want("2")
			c.send("3")
			o.lives(t)
			end(t, c, o)
			synctest.Wait()
			r.gone(o.session.sid)
		})
	}
}

// TestUpgradeToThirdCarrier: it takes a session over from polling, with all that waits, in order; another that comes is refused.
func TestUpgradeToThirdCarrier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget.New(1 << 20)
		r, group := newRig(t, func(cfg *Config) { cfg.Budget = b }), outbox.NewGroup(outbox.Config{Budget: b})
		defer group.Close()
		sid := r.openPolling()
		c, o := r.openStream(t, group, sid)
		second, _ := r.openStream(t, group, sid)
		second.wantEnd()
		poll := r.start("GET", sid, "")
		c.send("2probe")
		c.want("3probe")
		poll.want(200, "6")
		o.send("one")
		o.send("b\x00")
		go func() {
			c.send("5", "4up")
			synctest.Wait()
			o.send("two")
		}()
		c.want("4one", "b\x00", "4two")
		o.wantMessages(t, "up")
		kit.Equal(t, o.session.Transport(), kindStream, "the transport is")
		kit.Equal(t, len(r.srv.allStrays()), 0, "strays")
		o.session.Close(errTest)
		c.wantEnd()
		r.wantOver(sid, errTest)
		kit.Equal(t, b.Used(), 0, "bytes count in the end")
	})
}

package wsrig

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/belfry-io/belfry/wsserver/internal/transport"
)

// Frame is a frame as a client sends it (RFC 6455 section 5.2): final, masked, with any opcode and
// payload, for [Conn.Write].
func Frame(opcode byte, payload []byte) []byte { return AppendFrame(nil, opcode, payload) }

// AppendFrame appends a [Frame] to dst.
func AppendFrame(dst []byte, opcode byte, payload []byte) []byte {
	var key [4]byte
	rand.Read(key[:])
	return transport.AppendMaskedFrame(dst, transport.Opcode(opcode), key, payload)
}

func frames(texts []string) []byte {
	var b []byte
	for _, text := range texts {
		b = AppendFrame(b, byte(transport.OpText), []byte(text))
	}
	return b
}

// SID returns the session's id of an open packet (Engine.IO 4, Handshake).
func SID(open string) (string, error) {
	var o struct{ SID string }
	payload, ok := strings.CutPrefix(open, "0")
	if err := json.Unmarshal([]byte(payload), &o); err != nil || !ok || o.SID == "" {
		return "", fmt.Errorf("wsrig: %.64q is no open packet: %v", open, err)
	}
	return o.SID, nil
}

// Write sends bytes as they are, in one piece. That the connection has ended is found by reading.
func (c *Conn) Write(p []byte) {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	c.nc.Write(p)
}

// Send sends text messages, all in one piece: Send(`41`, `40`).
func (c *Conn) Send(messages ...string) { c.Write(frames(messages)) }

// SendBinary sends a binary message.
func (c *Conn) SendBinary(data []byte) { c.Write(Frame(byte(transport.OpBinary), data)) }

// Read waits for the next message. A text message is returned as it came, a binary one with "b"
// before it.
func (c *Conn) Read() string {
	c.t.Helper()
	var m message
	if err := c.Await(func() bool {
		if len(c.messages) == 0 {
			return false
		}
		m, c.messages = c.messages[0], c.messages[1:]
		return true
	}); err != nil {
		c.t.Fatalf("wsrig: waiting for a message: %v", err)
	}
	if m.binary {
		return "b" + string(m.data)
	}
	return string(m.data)
}

// IgnorePings leaves the server's pings unanswered from now on.
func (c *Conn) IgnorePings() { c.Update(func() { c.silent = true }) }

// IgnoreClose leaves the server's Close frame unanswered.
func (c *Conn) IgnoreClose() { c.Update(func() { c.rude = true }) }

// Pings is how many pings the server has sent.
func (c *Conn) Pings() (n int) {
	c.Update(func() { n = c.pings })
	return n
}

// Unread is how many bytes the client has sent that the server has not read yet. It is known through
// memory alone, and else 0.
func (c *Conn) Unread() int {
	if p, ok := c.nc.(*pipe); ok {
		return p.out.len()
	}
	return 0
}

// Stall stops reading, so that what the server sends stays in the network: nothing is received, no
// ping is answered.
func (c *Conn) Stall() { c.Update(func() { c.stalled = true }) }

// Resume ends a stall.
func (c *Conn) Resume() { c.Update(func() { c.stalled = false }) }

// Close closes the connection as RFC 6455 section 7.1.2 has it, with the code 1000, and waits for the
// server to do its part.
func (c *Conn) Close() End {
	c.t.Helper()
	c.Shut()
	return c.Wait()
}

// Shut is Close that does not wait.
func (c *Conn) Shut() {
	var closing bool
	c.Update(func() { closing, c.closing = c.closing, true })
	if !closing {
		code := binary.BigEndian.AppendUint16(nil, uint16(transport.CloseNormal))
		c.Write(Frame(byte(transport.OpClose), code))
	}
}

// CloseWrite ends what the client sends, without a Close frame, and still reads: a half-closed
// connection.
func (c *Conn) CloseWrite() {
	c.t.Helper()
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok {
		c.t.Fatalf("wsrig: a %T cannot be half closed", c.nc)
	}
	half.CloseWrite()
}

// Abort drops the connection without a word, and returns when nothing of the Conn is left.
func (c *Conn) Abort() {
	c.nc.Close()
	c.Resume()
	<-c.done
}

// Done is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Wait waits until the connection has ended.
func (c *Conn) Wait() End {
	c.t.Helper()
	end, err := c.AwaitEnd()
	if err != nil {
		c.t.Fatalf("wsrig: %v", err)
	}
	return end
}

// AwaitEnd is Wait that returns an error if the connection does not end in time.
func (c *Conn) AwaitEnd() (end End, err error) {
	timeout := time.NewTimer(c.cfg.Timeout)
	defer timeout.Stop()
	select {
	case <-c.done:
	case <-timeout.C:
		err = fmt.Errorf("waiting for the end of the connection: it is open after %v", c.cfg.Timeout)
	}
	c.Update(func() { end = c.end })
	return end, err
}

package figures

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/test/need"
)

// A client is connected to "/" over a WebSocket. It has no goroutine: who uses it reads.
type client struct {
	nc net.Conn
	r  *bufio.Reader
	n  *node
}

// batch is how many clients take a step together, so that a busy machine has them wait together.
const batch = 50

// upgrade is the request of a client.
const upgrade = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\n" +
	"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// needFiles skips a test with a crowd where a process may not have as many files open.
func needFiles(t *testing.T) {
	t.Helper()
	var limit syscall.Rlimit
	kit.OK(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	if limit.Cur < crowded+500 {
		need.Missing(t, fmt.Sprintf("%d open files", crowded+500), "raise the hard limit (ulimit -Hn)")
	}
}

// connect connects a client, and returns when the server has said so.
func (n *node) connect(t *testing.T) *client {
	t.Helper()
	return n.crowd(t, 1)[0]
}

// crowd connects clients.
func (n *node) crowd(t *testing.T, size int) (all []*client) {
	t.Helper()
	hello := n.frame(t, &packet.Packet{Type: packet.Connect})
	for len(all) < size {
		begin := len(all)
		for range min(batch, size-begin) {
			nc := kit.Must(net.Dial("tcp", n.address))(t)
			t.Cleanup(func() { nc.Close() })
			kit.OK(t, nc.SetDeadline(time.Now().Add(2*kit.Patience)))
			c := &client{nc, bufio.NewReaderSize(nc, 1<<10), n}
			c.send(t, []byte(upgrade))
			all = append(all, c)
		}
		for _, c := range all[begin:] {
			answer := kit.Must(http.ReadResponse(c.r, nil))(t)
			kit.Equal(t, answer.StatusCode, http.StatusSwitchingProtocols)
			kit.Equal(t, c.read(t)[0], '0', "the open packet")
			c.send(t, hello)
		}
		for _, c := range all[begin:] {
			got := c.read(t)
			kit.Require(t, bytes.Contains(got, []byte("sid")), "got %q, want that it is connected", got)
		}
	}
	return all
}

// event is an event with arguments; ack is whether it wants an answer.
func event(t *testing.T, ack bool, args ...any) *packet.Packet {
	t.Helper()
	return &packet.Packet{Type: packet.Event, HasID: ack, Args: kit.Must(packet.Marshal(args...))(t)}
}

// message is a packet as the Engine.IO message that it is.
func (n *node) message(t *testing.T, p *packet.Packet) (op ws.OpCode, message []byte) {
	t.Helper()
	e := kit.Must(n.codec.Encode(p))(t)
	if e.Text == nil {
		return ws.OpBinary, e.Attachments[0]
	}
	return ws.OpText, append([]byte("4"), e.Text...)
}

// frame is a packet as a client sends it.
func (n *node) frame(t *testing.T, p *packet.Packet) []byte {
	t.Helper()
	op, message := n.message(t, p)
	frame := ws.MaskFrameInPlace(ws.NewFrame(op, true, bytes.Clone(message)))
	return kit.Must(ws.CompileFrame(frame))(t)
}

func (c *client) send(t *testing.T, frames []byte) {
	t.Helper()
	kit.Must(c.nc.Write(frames))(t)
}

// read is the server's next message.
func (c *client) read(t *testing.T) []byte {
	t.Helper()
	h := kit.Must(ws.ReadHeader(c.r))(t)
	p := make([]byte, h.Length)
	kit.Must(io.ReadFull(c.r, p))(t)
	return p
}

// expect reads the next message, which must be this one.
func (c *client) expect(t *testing.T, want []byte) {
	t.Helper()
	if got := c.read(t); !bytes.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
}

// leave ends a connection.
func leave(clients ...*client) {
	for _, c := range clients {
		c.nc.Close()
	}
}

// poll opens a session that polls, and connects it to "/". No request waits then.
func (n *node) poll(t *testing.T, web *http.Client) {
	t.Helper()
	url := "http://" + n.address + "/socket.io/?EIO=4&transport=polling"
	text := func(r *http.Response, err error) string {
		kit.OK(t, err)
		defer r.Body.Close()
		return string(kit.Must(io.ReadAll(r.Body))(t))
	}
	var open struct{ SID string }
	kit.OK(t, json.Unmarshal([]byte(text(web.Get(url))[1:]), &open))
	url += "&sid=" + open.SID
	kit.Equal(t, text(web.Post(url, "text/plain", strings.NewReader("40"))), "ok")
	got := text(web.Get(url))
	kit.Require(t, strings.HasPrefix(got, `40{"sid"`), "got %q, want that it is connected", got)
}

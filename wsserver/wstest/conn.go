package wstest

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/wsserver/internal/transport"
)

// What a server may send, in bytes. It is the server that is tested, so this bounds accidents only.
const maxReceived = 1 << 28

var (
	readerConfig = transport.ReaderConfig{MaxMessage: maxReceived, Client: true}
	limits       = packet.Limits{Attachments: 1 << 16, AttachmentBytes: maxReceived, Arguments: 1 << 20, Depth: 10_000} // the server's are to be met
)

// conn is a connection, with a Client for each namespace.
type conn struct {
	t       testing.TB
	nc      net.Conn
	cfg     Config
	reader  transport.Reader
	decoder packet.Decoder
	done    chan struct{} // closed when read has returned

	writeMu sync.Mutex // held while something is written, which so stays whole

	mu       sync.Mutex    // guards what follows, and the fields of clients
	changed  chan struct{} // closed when anything below changes, and replaced
	opened   bool          // the open packet has come
	clients  map[string]*Client
	messages []message // of a raw client
	pings    int
	stalled  bool
	closing  bool // this side has sent its Close frame
	ended    bool
	end      End
}

type message struct {
	binary bool
	data   []byte
}

// request is the WebSocket's opening handshake (RFC 6455 section 4.1), up to and with the empty line.
func (c *conn) request() string {
	var nonce [16]byte
	rand.Read(nonce[:])
	query := url.Values{"EIO": {"4"}, "transport": {"websocket"}}
	for name, values := range c.cfg.Query {
		query[name] = values
	}
	header := http.Header{
		"Upgrade":               {"websocket"},
		"Connection":            {"Upgrade"},
		"Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key":     {base64.StdEncoding.EncodeToString(nonce[:])},
	}
	for name, values := range c.cfg.Header {
		header[http.CanonicalHeaderKey(name)] = values
	}
	host := "example.com"
	if values := header["Host"]; len(values) > 0 {
		host = values[0]
		delete(header, "Host")
	}
	var b strings.Builder
	u := url.URL{Path: c.cfg.Path, RawQuery: query.Encode()}
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\n", u.RequestURI(), host)
	header.Write(&b)
	b.WriteString("\r\n")
	return b.String()
}

// handshake sends the request, with early behind it, and reads the answer. What follows that is left in the result.
func (c *conn) handshake(early []byte) (*bufio.Reader, error) {
	c.nc.SetDeadline(time.Now().Add(c.cfg.Timeout))
	if _, err := c.nc.Write(append([]byte(c.request()), early...)); err != nil {
		return nil, fmt.Errorf("send the request: %w", err)
	}
	r := bufio.NewReader(c.nc)
	answer, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		body := make([]byte, 512)
		n, _ := answer.Body.Read(body)
		return nil, fmt.Errorf("the server answered %s: %s", answer.Status, body[:n])
	}
	c.nc.SetDeadline(time.Time{})
	return r, nil
}

// read takes what the server sends until the connection ends.
func (c *conn) read(r *bufio.Reader) {
	defer close(c.done)
	buf := make([]byte, 4<<10)
	for {
		n, err := r.Read(buf)
		c.unstalled()
		if e := c.reader.Feed(buf[:n], (*handler)(c)); e != nil && err == nil {
			err = fmt.Errorf("the server broke the protocol: %w", e)
		}
		if err != nil {
			c.finish(err)
			return
		}
	}
}

// unstalled waits until nobody wants the client to be stalled.
func (c *conn) unstalled() {
	c.mu.Lock()
	for c.stalled && !c.ended {
		changed := c.changed
		c.mu.Unlock()
		<-changed
		c.mu.Lock()
	}
	c.mu.Unlock()
}

// finish notes the end of the connection.
func (c *conn) finish(err error) {
	c.nc.Close()
	c.update(func() {
		if c.end.Err == nil {
			c.end.Err = err
		}
		c.ended = true
		for _, client := range c.clients {
			client.lose()
		}
	})
}

// update changes something that others wait for.
func (c *conn) update(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	close(c.changed)
	c.changed = make(chan struct{})
}

// wait waits until ready, which is called under c.mu, returns true. When it does not in time, or can no more since the connection has
// ended, wait fails the test.
func (c *conn) wait(what string, ready func() bool) {
	c.t.Helper()
	timeout := time.NewTimer(c.cfg.Timeout)
	defer timeout.Stop()
	for {
		c.mu.Lock()
		ok, changed, ended, end := ready(), c.changed, c.ended, c.end
		c.mu.Unlock()
		switch {
		case ok:
			return
		case ended:
			c.t.Fatalf("wstest: waiting for %s: the connection has ended: %v", what, end)
		}
		select {
		case <-changed:
		case <-timeout.C:
			c.t.Fatalf("wstest: waiting for %s: nothing within %v", what, c.cfg.Timeout)
		}
	}
}

// write sends p in one piece. That the connection has ended is found by reading.
func (c *conn) write(p []byte) {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	c.nc.Write(p)
}

func appendFrame(dst []byte, op transport.Opcode, payload []byte) []byte {
	var key [4]byte
	rand.Read(key[:])
	return transport.AppendMaskedFrame(dst, op, key, payload)
}

// encode makes frames of a packet.
func (c *conn) encode(p *packet.Packet) []byte {
	c.t.Helper()
	encoded, err := c.cfg.Codec.Encode(p)
	if err != nil {
		c.t.Fatalf("wstest: %v", err)
	}
	var frames []byte
	if len(encoded.Text) > 0 {
		frames = appendFrame(nil, transport.OpText, append([]byte{'4'}, encoded.Text...))
	}
	for _, a := range encoded.Attachments {
		frames = appendFrame(frames, transport.OpBinary, a)
	}
	return frames
}

// handler is the conn as its Reader sees it.
type handler conn

func (h *handler) Control(op transport.Opcode, payload []byte) error {
	c := (*conn)(h)
	switch op {
	case transport.OpPing:
		c.write(appendFrame(nil, transport.OpPong, payload))
	case transport.OpClose:
		code, reason := transport.ParseClose(payload)
		var closing bool
		c.update(func() {
			closing = c.closing
			c.closing = true
			c.end.Code, c.end.Reason = int(code), string(reason)
			for _, client := range c.clients {
				client.lose()
			}
		})
		if !closing && !c.cfg.NoClose {
			c.write(appendFrame(nil, transport.OpClose, payload)) // the server closes the connection (RFC 6455 section 7.1.1)
		}
	}
	return nil
}

func (h *handler) Message(op transport.Opcode, payload []byte) error {
	c := (*conn)(h)
	isBinary := op == transport.OpBinary
	if !isBinary && string(payload) == "2" {
		c.update(func() { c.pings++ })
		if !c.cfg.NoPong {
			c.write(appendFrame(nil, transport.OpText, []byte("3")))
		}
		return nil
	}
	if c.cfg.Raw {
		m := message{isBinary, append([]byte{}, payload...)}
		c.update(func() { c.messages = append(c.messages, m) })
		return nil
	}
	var p *packet.Packet
	var err error
	switch {
	case isBinary:
		p, err = c.decoder.Binary(payload)
	case len(payload) > 0 && payload[0] == '0':
		c.update(func() { c.opened = true })
	case len(payload) > 0 && payload[0] == '4':
		p, err = c.decoder.Text(payload[1:])
	case string(payload) == "6":
	default:
		err = fmt.Errorf("unknown packet %.64q", payload)
	}
	if err != nil || p == nil {
		return err
	}
	return c.take(p)
}

// take hands a packet to the client of its namespace.
func (c *conn) take(p *packet.Packet) error {
	c.mu.Lock()
	client := c.clients[p.Namespace]
	c.mu.Unlock()
	if client == nil {
		return fmt.Errorf("packet %v for namespace %q, which was not asked for", p.Type, p.Namespace)
	}
	return client.take(p)
}

// closePayload is that of a Close frame.
func closePayload(code int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(code)) }

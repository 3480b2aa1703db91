package wstest

import (
	"fmt"
	"net"
	"testing"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
)

// limits are those of packets that are received. The server's are to be met.
var limits = packet.Limits{
	Attachments: 1 << 16, AttachmentBytes: wsrig.MaxReceived, Arguments: 1 << 20, Depth: 10_000,
}

func init() { wsrig.Under = func(client any) *wsrig.Conn { return client.(*Client).current() } }

// session is what the clients of a connection share, and of those that follow it.
type session struct {
	t     testing.TB
	cfg   Config
	codec packet.Codec
	lock  *wsrig.Lock // guards what follows, and is that of every connection

	conn    *wsrig.Conn // the newest
	opened  bool        // its open packet has come
	clients map[string]*Client
}

// begin opens a session. The result is in no namespace yet.
func begin(t testing.TB, nc net.Conn, cfg Config) *Client {
	t.Helper()
	s := &session{t: t, cfg: cfg, codec: cfg.Codec, lock: wsrig.NewLock(), clients: make(map[string]*Client)}
	if s.codec == nil {
		s.codec = packet.JSON{}
	}
	s.open(nc, func() {})
	return &Client{session: s}
}

// open opens a connection, and waits for its open packet. swapped is called under the lock when the
// connection is the newest, before anything of it is read.
func (s *session) open(nc net.Conn, swapped func()) {
	s.t.Helper()
	conn, err := wsrig.Open(s.t, nc, wsrig.Config{
		Path: s.cfg.Path, Query: s.cfg.Query, Header: s.cfg.Header, Timeout: s.cfg.Timeout, Lock: s.lock,
	})
	if err != nil {
		s.t.Fatalf("wstest: %v", err)
	}
	s.lock.Update(func() {
		s.conn, s.opened = conn, false
		swapped()
	})
	decoder := s.codec.NewDecoder(&limits)
	conn.Start(func(binary bool, message []byte) error {
		return s.receive(conn, decoder, binary, message)
	}, func() {
		if s.conn == conn {
			s.lose()
		}
	})
	if err := conn.Await(func() bool { return s.opened }); err != nil {
		s.t.Fatalf("wstest: waiting for the open packet: %v", err)
	}
}

// lose notes that the clients have no connection any more. The lock must be held.
func (s *session) lose() {
	for _, c := range s.clients {
		c.leave(away)
	}
}

// current is the newest connection.
func (s *session) current() (conn *wsrig.Conn) {
	s.lock.Update(func() { conn = s.conn })
	return conn
}

// newClient makes the client of a namespace, in place of an earlier one.
func (s *session) newClient(namespace string, auth any) *Client {
	c := &Client{
		session:   s,
		namespace: namespace,
		auth:      auth,
		lost:      make(chan struct{}),
		handlers:  make(map[string]func(Event) []any),
		acks:      make(map[uint64]*question),
	}
	s.lock.Update(func() { s.clients[namespace] = c })
	return c
}

// receive takes a message of the server.
func (s *session) receive(conn *wsrig.Conn, decoder packet.Decoder, binary bool, message []byte) error {
	var p *packet.Packet
	var err error
	switch {
	case binary:
		p, err = decoder.Binary(message)
	case len(message) > 0 && message[0] == '0':
		s.lock.Update(func() { s.opened = s.opened || s.conn == conn })
	case len(message) > 0 && message[0] == '4':
		p, err = decoder.Text(message[1:])
	case string(message) == "6":
	default:
		err = fmt.Errorf("unknown packet %.64q", message)
	}
	if err != nil || p == nil {
		return err
	}
	var client *Client
	s.lock.Update(func() { client = s.clients[p.Namespace] })
	if client == nil {
		return fmt.Errorf("packet %v for namespace %q, which was not asked for", p.Type, p.Namespace)
	}
	return client.take(conn, p)
}

// encode returns the frames of a packet of the client's namespace.
func (c *Client) encode(p *packet.Packet) (frames []byte) {
	c.t.Helper()
	p.Namespace = c.namespace
	encoded, err := c.codec.Encode(p)
	if err != nil {
		c.t.Fatalf("wstest: %v", err)
	}
	if len(encoded.Text) > 0 {
		frames = wsrig.AppendFrame(frames, 1, append([]byte{'4'}, encoded.Text...))
	}
	for _, a := range encoded.Attachments {
		frames = wsrig.AppendFrame(frames, 2, a)
	}
	return frames
}

// send sends a packet of the client's namespace, in one piece.
func (c *Client) send(p *packet.Packet) {
	c.t.Helper()
	frames := c.encode(p)
	c.current().Write(frames)
}

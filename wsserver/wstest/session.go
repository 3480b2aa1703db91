package wstest

import (
	"encoding/json"
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

func init() { wsrig.Under = func(client any) *wsrig.Conn { return client.(*Client).conn } }

// session is an Engine.IO session, with a Client for each namespace.
type session struct {
	t       testing.TB
	codec   packet.Codec
	conn    *wsrig.Conn
	decoder packet.Decoder

	// The lock of conn guards what follows.
	opened  bool // the open packet has come
	clients map[string]*Client
}

// begin opens a session. The result is in no namespace yet.
func begin(t testing.TB, nc net.Conn, cfg Config) *Client {
	t.Helper()
	s := &session{t: t, codec: cfg.Codec, clients: make(map[string]*Client)}
	if s.codec == nil {
		s.codec = packet.JSON{}
	}
	s.decoder = s.codec.NewDecoder(&limits)
	var err error
	s.conn, err = wsrig.Open(t, nc, wsrig.Config{
		Path: cfg.Path, Query: cfg.Query, Header: cfg.Header, Timeout: cfg.Timeout,
	})
	if err != nil {
		t.Fatalf("wstest: %v", err)
	}
	s.conn.Start(s.receive, func() {
		for _, client := range s.clients {
			client.lose()
		}
	})
	c := &Client{session: s}
	c.await("the open packet", func() bool { return s.opened })
	return c
}

// newClient makes the client of a namespace, in place of an earlier one.
func (s *session) newClient(namespace string) *Client {
	c := &Client{
		session:   s,
		namespace: namespace,
		lost:      make(chan struct{}),
		handlers:  make(map[string]func(Event) []any),
		acks:      make(map[uint64]*question),
	}
	s.conn.Update(func() { s.clients[namespace] = c })
	return c
}

// receive takes a message of the server.
func (s *session) receive(binary bool, message []byte) error {
	var p *packet.Packet
	var err error
	switch {
	case binary:
		p, err = s.decoder.Binary(message)
	case len(message) > 0 && message[0] == '0':
		s.conn.Update(func() { s.opened = true })
	case len(message) > 0 && message[0] == '4':
		p, err = s.decoder.Text(message[1:])
	case string(message) == "6":
	default:
		err = fmt.Errorf("unknown packet %.64q", message)
	}
	if err != nil || p == nil {
		return err
	}
	var client *Client
	s.conn.Update(func() { client = s.clients[p.Namespace] })
	if client == nil {
		return fmt.Errorf("packet %v for namespace %q, which was not asked for", p.Type, p.Namespace)
	}
	return client.take(p)
}

func (c *Client) connect(auth any) {
	c.t.Helper()
	p := &packet.Packet{Type: packet.Connect}
	if auth != nil {
		data, err := json.Marshal(auth)
		if err != nil {
			c.t.Fatalf("wstest: auth: %v", err)
		}
		p.Data = data
	}
	c.send(p)
}

// send sends a packet of the client's namespace, in one piece.
func (c *Client) send(p *packet.Packet) {
	c.t.Helper()
	p.Namespace = c.namespace
	encoded, err := c.codec.Encode(p)
	if err != nil {
		c.t.Fatalf("wstest: %v", err)
	}
	var frames []byte
	if len(encoded.Text) > 0 {
		frames = wsrig.AppendFrame(frames, 1, append([]byte{'4'}, encoded.Text...))
	}
	for _, a := range encoded.Attachments {
		frames = wsrig.AppendFrame(frames, 2, a)
	}
	c.conn.Write(frames)
}

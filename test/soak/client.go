package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// patience is how long a client waits for what it is due.
const patience = time.Minute

// A carrier carries the messages of a client: Engine.IO's packets.
type carrier interface {
	send(packet string) error
	receive() ([]string, error)
	abandon()     // without a word
	close() error // as it should be
}

// visit is the life of a client; n says what kind of life.
func (w *world) visit(n int) (err error) {
	host := w.hosts[n%len(w.hosts)]
	var c carrier
	switch kind := n / len(w.hosts) % 4; kind {
	case 0:
		c, err = w.poll(host)
	case 1:
		var p *polling
		if p, err = w.poll(host); err == nil {
			c, err = p.upgrade()
		}
	default:
		c, err = dial(host, "")
	}
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	s := &session{carrier: c, world: w}
	if n%3 == 0 {
		s.namespace = fmt.Sprintf("/made-%d,", n%500)
	}
	if err = s.live(n); err != nil {
		c.abandon()
		return fmt.Errorf("client %d, %T: %w", n, c, err)
	}
	switch n % 7 {
	case 0:
		c.abandon()
		return nil
	case 1:
		err = s.send("4" + "1" + s.namespace)
	}
	return errors.Join(err, c.close())
}

// A session is a client connected to one namespace.
type session struct {
	carrier
	world     *world
	namespace string // as packets have it: "/made-1,", or nothing
	acks      int
}

// live connects, and joins a room, says something there, leaves, a few times.
func (s *session) live(n int) error {
	if err := s.send("40" + s.namespace); err != nil {
		return err
	}
	if err := s.until("40" + s.namespace); err != nil {
		return err
	}
	for i := range 3 {
		room := fmt.Sprint("room-", (n+i*7)%1000)
		for _, event := range []string{"join", "say", "leave"} {
			if err := s.ask(event, room); err != nil {
				return err
			}
		}
	}
	return nil
}

// ask emits an event and waits for its acknowledgement.
func (s *session) ask(event, room string) error {
	s.acks++
	if err := s.send(fmt.Sprintf(`42%s%d[%q,%q]`, s.namespace, s.acks, event, room)); err != nil {
		return err
	}
	return s.until(fmt.Sprintf("43%s%d[true]", s.namespace, s.acks))
}

// until receives, and answers pings, until a packet with this beginning comes.
func (s *session) until(beginning string) error {
	for {
		packets, err := s.receive()
		if err != nil {
			return fmt.Errorf("waiting for %q: %w", beginning, err)
		}
		found := false
		for _, p := range packets {
			switch {
			case strings.HasPrefix(p, beginning):
				found = true
			case p == "2":
				if err := s.send("3"); err != nil {
					return err
				}
			case strings.HasPrefix(p, "42"):
				s.world.events.Add(1)
			case p == "1", strings.HasPrefix(p, "41"), strings.HasPrefix(p, "44"):
				return fmt.Errorf("waiting for %q: got %q", beginning, p)
			}
		}
		if found {
			return nil
		}
	}
}

// A socket is a WebSocket.
type socket struct{ net.Conn }

// dial opens a WebSocket, as a session of its own or for the one with this id.
func dial(host, sid string) (*socket, error) {
	url := "ws://" + host + "/socket.io/?EIO=4&transport=websocket"
	if sid != "" {
		url += "&sid=" + sid
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	nc, r, _, err := ws.Dial(ctx, url)
	if err != nil {
		return nil, err
	}
	nc.SetDeadline(time.Now().Add(patience))
	if r == nil {
		return &socket{nc}, nil
	}
	return &socket{buffered{nc, r}}, nil
}

// buffered is a connection of which something was read ahead.
type buffered struct {
	net.Conn
	r io.Reader
}

func (b buffered) Read(p []byte) (int, error) { return b.r.Read(p) }

func (s *socket) send(packet string) error { return wsutil.WriteClientText(s.Conn, []byte(packet)) }

func (s *socket) receive() ([]string, error) {
	b, err := wsutil.ReadServerText(s.Conn)
	return []string{string(b)}, err
}

func (s *socket) abandon() { s.Conn.Close() }

func (s *socket) close() error {
	defer s.Conn.Close()
	if err := ws.WriteFrame(s.Conn, ws.MaskFrameInPlace(ws.NewCloseFrame(ws.NewCloseFrameBody(1000, "")))); err != nil {
		return err
	}
	for {
		if _, err := s.receive(); err != nil {
			return nil
		}
	}
}

// polling is long-polling.
type polling struct {
	client *http.Client
	host   string
	url    string
	sid    string
}

// poll opens a session that polls.
func (w *world) poll(host string) (*polling, error) {
	p := &polling{client: w.http, host: host, url: "http://" + host + "/socket.io/?EIO=4&transport=polling"}
	packets, err := p.receive()
	if err != nil {
		return nil, err
	}
	_, rest, _ := strings.Cut(packets[0], `"sid":"`)
	if p.sid, _, _ = strings.Cut(rest, `"`); p.sid == "" {
		return nil, fmt.Errorf("no session in %q", packets[0])
	}
	p.url += "&sid=" + p.sid
	return p, nil
}

func (p *polling) send(packet string) error {
	_, err := body(p.client.Post(p.url, "text/plain", strings.NewReader(packet)))
	return err
}

func (p *polling) receive() ([]string, error) {
	text, err := body(p.client.Get(p.url))
	return strings.Split(text, "\x1e"), err
}

func body(r *http.Response, err error) (string, error) {
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", r.StatusCode, b)
	}
	return string(b), err
}

func (p *polling) abandon()     {}
func (p *polling) close() error { return p.send("1") }

// upgrade changes to a WebSocket, as the official client does: nothing is waiting for the client by now.
func (p *polling) upgrade() (*socket, error) {
	s, err := dial(p.host, p.sid)
	if err != nil {
		return nil, err
	}
	if err := s.send("2probe"); err != nil {
		return nil, err
	}
	if got, err := s.receive(); err != nil || got[0] != "3probe" {
		return nil, fmt.Errorf("the answer to the probe is %q, %w", got, err)
	}
	return s, s.send("5")
}

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/belfry-io/belfry/test/dealer"
)

// patience is how long a client waits for what it is due, while it connects.
const patience = 20 * time.Second

// errLeft is the error of receive after leave.
var errLeft = errors.New("the client has left the connection")

// A carrier carries the messages of a client: Engine.IO's packets. One goroutine receives; the other
// methods are for any.
type carrier interface {
	send(packet string) error
	receive() ([]string, error)
	leave()        // ends receive, and leaves the connection open and unread
	abandon()      // closes the connection without a word
	owner() string // the node that has the session, if a balancer says so
}

// A socket is a WebSocket.
type socket struct {
	net.Conn
	r    *bufio.Reader
	node string // that has taken the connection, as a balancer says

	mu   sync.Mutex // held while something is written
	left bool
}

// dial opens a WebSocket, as a session of its own or for the one with this id.
func dial(ctx context.Context, host, sid string) (*socket, error) {
	url := "ws://" + host + "/socket.io/?EIO=4&transport=websocket"
	if sid != "" {
		url += "&sid=" + sid
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	node := ""
	dialer := ws.Dialer{OnHeader: func(key, value []byte) error {
		if string(key) == dealer.NodeHeader {
			node = string(value)
		}
		return nil
	}}
	nc, ahead, _, err := dialer.Dial(ctx, url)
	if err != nil {
		return nil, err
	}
	s := &socket{Conn: nc, r: bufio.NewReaderSize(nc, 1024), node: node}
	if ahead != nil {
		s.r = ahead
	}
	return s, nil
}

func (s *socket) send(packet string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return wsutil.WriteClientText(s.Conn, []byte(packet))
}

func (s *socket) receive() ([]string, error) {
	for {
		h, err := ws.ReadHeader(s.r)
		if err != nil {
			return nil, s.ended(err)
		}
		body := make([]byte, h.Length)
		if _, err := io.ReadFull(s.r, body); err != nil {
			return nil, s.ended(err)
		}
		switch h.OpCode {
		case ws.OpText:
			return []string{string(body)}, nil
		case ws.OpClose:
			code, reason := ws.ParseCloseFrameData(body)
			return nil, fmt.Errorf("the server closed the WebSocket: %d %s", code, reason)
		}
	}
}

func (s *socket) ended(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left {
		return errLeft
	}
	return err
}

func (s *socket) leave() {
	s.mu.Lock()
	s.left = true
	s.mu.Unlock()
	s.SetReadDeadline(time.Unix(1, 0))
}

func (s *socket) abandon() { s.Close() }

// polling is long-polling.
type polling struct {
	crowd  *crowd
	host   string
	url    string
	sid    string
	node   string        // which has the session, as a balancer says
	asked  time.Duration // when the last poll began; for who receives
	by     string        // which has answered it
	failed atomic.Bool   // a request has
	ctx    context.Context
	cancel context.CancelFunc
	left   chan struct{}
	once   sync.Once
	mu     sync.Mutex // held by a POST: a client sends one at a time
}

// poll opens a session that polls.
func (w *crowd) poll(ctx context.Context, host string) (*polling, error) {
	url := "http://" + host + "/socket.io/?EIO=4&transport=polling"
	p := &polling{crowd: w, host: host, url: url, left: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancel(ctx)
	packets, err := p.receive()
	if err == nil {
		_, rest, _ := strings.Cut(packets[0], `"sid":"`)
		if p.sid, _, _ = strings.Cut(rest, `"`); p.sid == "" {
			err = fmt.Errorf("no session in %q", packets[0])
		}
	}
	if err != nil {
		p.cancel()
		return nil, err
	}
	p.url += "&sid=" + p.sid
	p.node = p.by
	return p, nil
}

func (p *polling) send(packet string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	began := p.crowd.plan.now()
	a := p.do(http.MethodPost, packet)
	if a.err == nil {
		p.crowd.tally.polls.posted(p.kind(a.node), p.crowd.plan.now()-began)
	}
	return a.err
}

func (p *polling) receive() ([]string, error) {
	p.asked = p.crowd.plan.now()
	came := make(chan answer, 1)
	go func() { came <- p.do(http.MethodGet, "") }() // until the server answers, or abandon
	select {
	case <-p.left:
		return nil, errLeft
	case a := <-came:
		p.by = a.node
		return strings.Split(a.text, "\x1e"), a.err
	}
}

// An answer is one to a request.
type answer struct {
	text string
	node string // that has given it, as a balancer says
	err  error
}

func (p *polling) do(method, body string) (a answer) {
	began := p.crowd.plan.now()
	r, err := http.NewRequestWithContext(p.ctx, method, p.url, strings.NewReader(body))
	if err != nil {
		return answer{err: err}
	}
	came, err := p.crowd.web.Do(r)
	if err != nil {
		p.failed.Store(true)
		return answer{err: err}
	}
	defer came.Body.Close()
	text, err := io.ReadAll(came.Body)
	if err == nil && came.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", came.Status, text)
	}
	a = answer{string(text), came.Header.Get(dealer.NodeHeader), err}
	p.judge(a, began)
	return a
}

// judge notes what is said of a request whose owner is dead, or which should be known.
func (p *polling) judge(a answer, began time.Duration) {
	owner := p.crowd.nodes.named(p.node)
	select {
	case <-p.left:
		return // the client has another session
	default:
	}
	if owner == nil || p.ctx.Err() != nil || a.node == "" {
		return // a session that begins, or a node that died with the request
	}
	killed := p.crowd.nodes.killedAt(owner)
	if killed != 0 && a.node != p.node {
		p.crowd.tally.polls.waited(p.crowd.plan.now() - max(began, killed))
	}
	if a.err == nil || p.failed.Swap(true) || killed != 0 || owner.isLeaving() {
		return
	}
	if strings.Contains(a.text, "Session ID unknown") {
		p.crowd.tally.polls.forgotten(p.sid, a.err)
	}
}

func (p *polling) owner() string { return p.node }
func (s *socket) owner() string  { return s.node }

func (p *polling) leave()   { p.once.Do(func() { close(p.left) }) }
func (p *polling) abandon() { p.cancel() }

// upgrade changes to a WebSocket, as the official client does. The client does not poll meanwhile.
func (p *polling) upgrade() (*socket, error) {
	s, err := dial(p.ctx, p.host, p.sid)
	if err != nil {
		return nil, err
	}
	s.SetDeadline(time.Now().Add(patience))
	if err = s.send("2probe"); err == nil {
		var got []string
		if got, err = s.receive(); err == nil && got[0] != "3probe" {
			err = fmt.Errorf("the answer to the probe is %q", got)
		}
	}
	if err == nil {
		err = s.send("5")
	}
	if err != nil {
		s.abandon()
		return nil, err
	}
	s.SetDeadline(time.Time{})
	return s, nil
}

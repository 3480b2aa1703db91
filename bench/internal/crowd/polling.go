package crowd

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// separator stands between packets of a payload: Engine.IO 4, "HTTP long-polling".
const separator = 0x1e

// appendPacket appends a packet of Engine.IO to a payload.
func appendPacket(dst []byte, binary bool, packet []byte) []byte {
	if len(dst) > 0 {
		dst = append(dst, separator)
	}
	if !binary {
		return append(dst, packet...)
	}
	return base64.StdEncoding.AppendEncode(append(dst, 'b'), packet)
}

// dialPolling begins to connect a client that polls. c.mu must be held.
func (c *Crowd) dialPolling(cl *client) {
	l := newWriter(c)
	cl.link = l
	c.running.Go(func() { c.servePolling(cl, l) })
}

// maxPost bounds what is sent with one request, in bytes: it is what servers take by default.
const maxPost = 1_000_000

// servePolling opens the session of a client, and polls until it ends.
func (c *Crowd) servePolling(cl *client, l *writer) {
	u, limit, err := c.openPolling(cl, l)
	if err != nil {
		c.under(cl, func() error { return err })
		return
	}
	c.running.Go(func() { c.post(cl, l, u, limit) })
	for l.ctx.Err() == nil {
		l.mayRead()
		body, err := c.request(l.ctx, http.MethodGet, u, nil)
		c.under(cl, func() error {
			if err != nil {
				return err
			}
			return c.payloads(cl, body)
		})
	}
}

// openPolling opens the session, and returns where it is and how much it takes at once.
func (c *Crowd) openPolling(cl *client, l *writer) (u string, limit int, err error) {
	body, err := c.request(l.ctx, http.MethodGet, cl.target.String(), nil)
	if err != nil {
		return "", 0, err
	}
	var open struct {
		SID        string `json:"sid"`
		MaxPayload int    `json:"maxPayload"`
	}
	first, rest, _ := bytes.Cut(body, []byte{separator})
	switch {
	case bytes.Contains(body[:min(len(body), 12)], []byte(":0{")): // the length comes first there
		return "", 0, ErrOldProtocol
	case len(first) == 0 || first[0] != '0' || json.Unmarshal(first[1:], &open) != nil || open.SID == "":
		return "", 0, refused("no Socket.IO server: the answer begins with %.60q", body)
	}
	c.under(cl, func() error {
		cl.state = opening
		return errors.Join(c.payloads(cl, first), c.payloads(cl, rest))
	})
	if limit = open.MaxPayload; limit <= 0 {
		limit = maxPost
	}
	return cl.target.String() + "&sid=" + url.QueryEscape(open.SID), limit, nil
}

// payloads takes the packets of a payload.
func (c *Crowd) payloads(cl *client, body []byte) error {
	if len(body) == 0 {
		return nil
	}
	now := c.now()
	for p := range bytes.SplitSeq(body, []byte{separator}) {
		binary := len(p) > 0 && p[0] == 'b'
		if binary {
			n, err := base64.StdEncoding.Decode(p, p[1:])
			if err != nil {
				return fmt.Errorf("not a binary packet of Engine.IO 4: %.100q", p)
			}
			p = p[:n]
		}
		if err := c.packet(cl, binary, p, now); err != nil || cl.state == gone {
			return err
		}
	}
	return nil
}

// post sends what a client has to say, until it ends.
func (c *Crowd) post(cl *client, l *writer, u string, limit int) {
	var spare []byte
	for {
		out := l.take(cl, spare)
		if out == nil {
			c.bye(cl, u)
			return
		}
		for rest := out; len(rest) > 0; {
			var body []byte
			body, rest = splitPayload(rest, limit)
			if _, err := c.request(l.ctx, http.MethodPost, u, body); err != nil {
				c.under(cl, func() error { return err })
				break
			}
		}
		spare = out
	}
}

// splitPayload takes whole packets off a payload: as many as fit, but at least one.
func splitPayload(p []byte, limit int) (body, rest []byte) {
	if len(p) <= limit {
		return p, nil
	}
	i := bytes.LastIndexByte(p[:limit+1], separator)
	if i < 0 {
		if i = bytes.IndexByte(p, separator); i < 0 {
			return p, nil
		}
	}
	return p[:i], p[i+1:]
}

// bye ends the session of a client that the crowd ends: without it the server would wait for its ping.
func (c *Crowd) bye(cl *client, u string) {
	c.mu.Lock()
	known := cl.id != ""
	c.mu.Unlock()
	if !known {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	c.request(ctx, http.MethodPost, u, []byte("1")) // a server that is gone does not mind
}

// request does a request and returns the body of a good answer.
func (c *Crowd) request(ctx context.Context, method, u string, body []byte) ([]byte, error) {
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	r, err := http.NewRequestWithContext(ctx, method, u, reader)
	if err != nil {
		return nil, err
	}
	for name, values := range c.cfg.Header {
		r.Header[name] = values
	}
	if host := c.cfg.Header.Get("Host"); host != "" {
		r.Host = host
	}
	if body != nil {
		r.Header.Set("Content-Type", "text/plain;charset=UTF-8")
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, bare(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxMessage+1))
	switch {
	case err != nil:
		return nil, bare(err)
	case len(answer) > maxMessage:
		return nil, errLarge
	case resp.StatusCode != http.StatusOK:
		return nil, refusal(strings.TrimSpace(resp.Status), answer)
	}
	return answer, nil
}

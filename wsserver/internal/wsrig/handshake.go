package wsrig

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// request is the WebSocket's opening handshake (RFC 6455 section 4.1), up to and with the empty line.
func (c *Conn) request() string {
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

// handshake sends the request, with what is early behind it, and reads the answer. What follows that
// is left in the result.
func (c *Conn) handshake() (*bufio.Reader, error) {
	c.nc.SetDeadline(time.Now().Add(c.cfg.Timeout))
	if _, err := c.nc.Write(append([]byte(c.request()), frames(c.cfg.Early)...)); err != nil {
		return nil, fmt.Errorf("send the request: %w", err)
	}
	r := bufio.NewReader(c.nc)
	answer, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(io.LimitReader(answer.Body, 512))
		return nil, fmt.Errorf("the server answered %s: %s", answer.Status, strings.TrimSpace(string(body)))
	}
	c.nc.SetDeadline(time.Time{})
	return r, nil
}

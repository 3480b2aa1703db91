package crowd

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
)

// The key is the example of RFC 6455 section 1.3: what a server makes of it is for its own tests.
const (
	handshakeKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	handshakeAnswer = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// offer is what of permessage-deflate (RFC 7692 section 7.1) clients ask for: each message for itself.
const offer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

// handshake is the request for a WebSocket.
func (c *Crowd) handshake(cl *client) []byte {
	var b bytes.Buffer
	host := cl.target.Host
	if given := c.cfg.Header.Get("Host"); given != "" {
		host = given
	}
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n", cl.target.RequestURI(), host, handshakeKey)
	if c.cfg.Deflate {
		fmt.Fprintf(&b, "Sec-WebSocket-Extensions: %s\r\n", offer)
	}
	// A header that would break the request is left out by Write.
	c.cfg.Header.WriteSubset(&b, map[string]bool{"Host": true}) // a buffer takes everything
	b.WriteString("\r\n")
	return b.Bytes()
}

// maxAnswer bounds the answer to a handshake, in bytes.
const maxAnswer = 32 << 10

// upgraded takes the answer to a handshake, once it is whole, and returns what comes after it.
func (c *Crowd) upgraded(cl *client, p []byte) (rest []byte, done bool, err error) {
	head, rest, found := bytes.Cut(p, []byte("\r\n\r\n"))
	if !found {
		if len(p) > maxAnswer {
			return nil, false, refused("no end of the header in the answer to the handshake")
		}
		return p, false, nil
	}
	line, _, _ := strings.Cut(string(head), "\r\n")
	_, status, ok := strings.Cut(line, " ")
	switch {
	case !strings.HasPrefix(line, "HTTP/1.") || !ok:
		return nil, false, refused("no answer of HTTP, but %.60q", line)
	case !strings.HasPrefix(status, "101"):
		return nil, false, refusal(status, rest)
	case !strings.Contains(string(head), handshakeAnswer):
		return nil, false, refused("the answer to the handshake does not accept it")
	}
	cl.shrunk = strings.Contains(string(head), "permessage-deflate")
	c.opened(cl)
	return rest, true, nil
}

// refusal is the error of an answer that says no.
func refusal(status string, body []byte) error {
	text := strings.Join(strings.Fields(string(body[:min(len(body), 200)])), " ")
	if text == "" || strings.HasPrefix(text, "<") {
		return refused("%s", status)
	}
	return refused("%s: %s", status, text)
}

// opened goes on after the handshake of a transport.
func (c *Crowd) opened(cl *client) {
	cl.state = opening
	if c.cfg.Dialect == Centrifuge {
		cl.state = asking
		c.sendConnect(cl)
	}
}

// newHTTPClient makes the client of polling, which keeps its connections.
func newHTTPClient(cfg Config) *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConns, t.MaxIdleConnsPerHost = 0, 1<<20
	t.DisableCompression = !cfg.Deflate
	t.TLSClientConfig = tlsConfig(cfg, "")
	return &http.Client{Transport: t}
}

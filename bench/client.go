package main

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// maxMessage bounds what a connection has received of a message that is not complete, in bytes.
const maxMessage = 1 << 20

// A client is a connection of the load.
type client struct {
	fd       int
	rest     []byte   // received, but not a whole frame
	received *checker // nil for one that is not a member of the room
}

// open makes c a socket of the namespace "/": the WebSocket handshake, Engine.IO's and Socket.IO's.
func (c *client) open(address string) error {
	var err error
	if c.fd, err = dial(address); err != nil {
		return err
	}
	// The key is the example of RFC 6455 section 1.3: what the server makes of it is for its own tests to check.
	request := "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: " + address + "\r\nConnection: Upgrade\r\n" +
		"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	if _, err := write(c.fd, []byte(request)); err != nil {
		return err
	}
	var header []byte
	for {
		if err := c.more(); err != nil {
			return fmt.Errorf("answer to the handshake: %w", err)
		}
		var found bool
		if header, c.rest, found = bytes.Cut(c.rest, []byte("\r\n\r\n")); found {
			break
		}
		c.rest = header
	}
	if !bytes.HasPrefix(header, []byte("HTTP/1.1 101 ")) {
		return fmt.Errorf("answer to the handshake: %.200q", header)
	}
	if _, err := c.expect("0{"); err != nil {
		return err
	}
	if _, err := write(c.fd, appendMasked(nil, finText, []byte("40"))); err != nil {
		return err
	}
	_, err = c.expect("40{")
	return err
}

// joinTimeout is how long a node may fail to reach all others with a join.
const joinTimeout = 20 * time.Second

// join puts c into the room, and returns when the server has said that every node knows of it.
func (c *client) join() error {
	deadline := time.Now().Add(joinTimeout)
	for id := 1; ; id++ {
		ask := fmt.Sprintf(`42%d["join",%q]`, id, room)
		if _, err := write(c.fd, appendMasked(nil, finText, []byte(ask))); err != nil {
			return err
		}
		prefix := "43" + strconv.Itoa(id) + "["
		answer, err := c.expect(prefix)
		if err != nil {
			return err
		}
		if answer == prefix+`""]` {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("join the room: %s", strings.TrimPrefix(answer, prefix))
		}
	}
}

// expect waits for the next message, which must begin with prefix, and answers pings on the way. c.fd must be blocking.
func (c *client) expect(prefix string) (string, error) {
	for {
		first, payload, size, err := nextFrame(c.rest)
		if err != nil {
			return "", err
		}
		if size == 0 {
			if err := c.more(); err != nil {
				return "", fmt.Errorf("waiting for a message %q: %w", prefix, err)
			}
			continue
		}
		message := string(payload)
		c.rest = c.rest[size:]
		if answer := pong(first, payload); answer != nil {
			if _, err := write(c.fd, answer); err != nil {
				return "", err
			}
			continue
		}
		if first != finText || !strings.HasPrefix(message, prefix) {
			return "", fmt.Errorf("got a message %.100q, want %q", message, prefix)
		}
		return message, nil
	}
}

// more waits for more bytes of a blocking socket.
func (c *client) more() error {
	if len(c.rest) > maxMessage {
		return fmt.Errorf("a message of more than %d bytes", maxMessage)
	}
	p := make([]byte, 4096)
	n, err := read(c.fd, p)
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("nothing in %v", dialTimeout)
	}
	c.rest = append(c.rest, p[:n]...)
	return nil
}

// pong returns the answer to a frame if it is a ping, of WebSocket or of Engine.IO, or else nil.
func pong(first byte, payload []byte) []byte {
	switch {
	case first == finPing:
		return appendMasked(nil, finPong, payload)
	case first == finText && string(payload) == "2":
		return appendMasked(nil, finText, []byte("3"))
	}
	return nil
}

//go:build !linux

package netpoll

import (
	"errors"
	"fmt"
	"net"
	"runtime"
)

// A Poller waits for bytes on many connections. There is none on this system.
type Poller struct{ ReadSize func() int }

// A Conn is a connection whose Handler is called by a Poller. There is none on this system.
type Conn struct{}

var errUnsupported = fmt.Errorf("netpoll: no poller on %s: %w", runtime.GOOS, errors.ErrUnsupported)

// New fails with an error that wraps [errors.ErrUnsupported].
func New() (*Poller, error) { return nil, errUnsupported }

// Attach fails and leaves c as it was.
func (p *Poller) Attach(c net.Conn, h Handler) (*Conn, error) { return nil, errUnsupported }

// Close does nothing.
func (p *Poller) Close() error { return nil }

// Start fails.
func (c *Conn) Start() error { return errUnsupported }

// Write fails.
func (c *Conn) Write(p []byte) (int, error) { return 0, errUnsupported }

// Writev fails.
func (c *Conn) Writev(bufs [][]byte) (int, error) { return 0, errUnsupported }

// Pause does nothing.
func (c *Conn) Pause() {}

// Resume does nothing.
func (c *Conn) Resume() {}

// Unacknowledged returns zero.
func (c *Conn) Unacknowledged() int { return 0 }

// CloseWrite fails.
func (c *Conn) CloseWrite() error { return errUnsupported }

// Close does nothing.
func (c *Conn) Close() error { return nil }

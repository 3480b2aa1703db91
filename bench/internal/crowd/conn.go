package crowd

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/url"
)

// dial begins to connect a client. c.mu must be held.
func (c *Crowd) dial(cl *client) error {
	if c.cfg.Transport == Polling {
		c.dialPolling(cl)
		return nil
	}
	if raw(c.cfg, cl.target) {
		return c.dialRaw(cl)
	}
	l := newWriter(c)
	cl.link = l
	c.running.Go(func() { c.serve(cl, l) })
	return nil
}

// A writer is the link of a client that has goroutines: one that reads, and one that writes.
type writer struct {
	crowd  *Crowd
	ctx    context.Context // ends with the client
	cancel context.CancelFunc
	wake   chan struct{} // something is to be written
	resume chan struct{} // closed when the client reads again; nil while it does
}

func newWriter(c *Crowd) *writer {
	l := &writer{crowd: c, wake: make(chan struct{}, 1)}
	l.ctx, l.cancel = context.WithCancel(c.ctx)
	return l
}

func (l *writer) flush(*client) error {
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return nil
}

func (l *writer) pause(_ *client, on bool) error {
	if on {
		l.resume = make(chan struct{})
	} else if l.resume != nil {
		close(l.resume)
		l.resume = nil
	}
	return nil
}

func (l *writer) close(*client) { l.cancel() }

// under has the crowd do something for a client that is still there, and then what is due. An error ends
// the client.
func (c *Crowd) under(cl *client, do func() error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cl.state == gone {
		return
	}
	if err := do(); err != nil {
		c.drop(cl, err)
	}
	c.step()
}

// mayRead waits while a client does not read.
func (l *writer) mayRead() {
	l.crowd.mu.Lock()
	resume := l.resume
	l.crowd.mu.Unlock()
	if resume != nil {
		select {
		case <-resume:
		case <-l.ctx.Done():
		}
	}
}

// take waits for something to write, and takes it. It returns nil when the client has ended.
func (l *writer) take(cl *client, spare []byte) (out []byte) {
	for {
		select {
		case <-l.wake:
		case <-l.ctx.Done():
			return nil
		}
		l.crowd.mu.Lock()
		out, cl.out = cl.out, spare[:0]
		l.crowd.mu.Unlock()
		if len(out) > 0 {
			return out
		}
		spare = out
	}
}

// serve connects a client and reads from it, until it ends.
func (c *Crowd) serve(cl *client, l *writer) {
	conn, err := c.open(cl, l)
	if err != nil {
		c.under(cl, func() error { return bare(err) })
		return
	}
	stop := context.AfterFunc(l.ctx, func() { conn.Close() })
	defer stop()
	c.running.Go(func() { // ends with l.ctx, which closes the connection
		var spare []byte
		for {
			out := l.take(cl, spare)
			if out == nil {
				return
			}
			if _, err := conn.Write(out); err != nil {
				c.under(cl, func() error { return bare(err) })
				return
			}
			spare = out
		}
	})
	c.under(cl, func() error {
		cl.out = append(cl.out, c.handshake(cl)...)
		c.mark(cl)
		return nil
	})
	buf := make([]byte, 16<<10)
	kept := 0
	for l.ctx.Err() == nil {
		l.mayRead()
		if kept == len(buf) {
			buf = append(buf, make([]byte, len(buf))...)
		}
		n, err := conn.Read(buf[kept:])
		c.under(cl, func() error {
			rest, failed := c.handle(cl, buf[:kept+n])
			if failed == nil && err != nil {
				failed = closedEarly(cl, bare(err))
			}
			kept = copy(buf, rest)
			return failed
		})
	}
}

// open opens the connection of a client.
func (c *Crowd) open(cl *client, l *writer) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(l.ctx, stepTimeout)
	defer cancel()
	if cl.target.Scheme == "http" {
		return new(net.Dialer).DialContext(ctx, "tcp", hostPort(cl.target))
	}
	d := tls.Dialer{Config: tlsConfig(c.cfg, cl.target.Hostname())}
	return d.DialContext(ctx, "tcp", hostPort(cl.target))
}

// hostPort is where a server listens.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// tlsConfig is that of connections to a host.
func tlsConfig(cfg Config, host string) *tls.Config {
	return &tls.Config{ServerName: host, InsecureSkipVerify: cfg.Insecure}
}

// errClosed is why a client ends whose server has closed the connection.
var errClosed = errors.New("closed by the server without a word")

// closedEarly is err, unless that is errClosed of a client that has no answer to its handshake yet.
func closedEarly(cl *client, err error) error {
	if cl.state == upgrading && errors.Is(err, errClosed) {
		return refused("closed without an answer to the handshake")
	}
	return err
}

// bare is an error without what differs from connection to connection, so that equal ones can be counted.
func bare(err error) error {
	if errors.Is(err, io.EOF) {
		return errClosed
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return errors.New(op.Op + ": " + op.Err.Error())
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

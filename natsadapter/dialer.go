package natsadapter

import (
	"cmp"
	"context"
	"net"
	"sync"

	"github.com/nats-io/nats.go"
)

// A dialer makes the network connections below nats.go. They end with ctx.
type dialer struct {
	ctx  context.Context
	dial func(ctx context.Context, network, address string) (net.Conn, error)
	tls  bool // the connections are encrypted already
}

// newDialer returns a dialer that dials as o says.
func newDialer(ctx context.Context, o *nats.Options) dialer {
	if server := o.InProcessServer; server != nil {
		return dialer{
			ctx: ctx,
			dial: func(context.Context, string, string) (net.Conn, error) {
				nc, err := server.InProcessConn()
				if err != nil {
					return nil, &net.OpError{Op: "dial", Net: "in-process", Err: err} // it is down, and may come back
				}
				return nc, nil
			},
		}
	}
	if custom := o.CustomDialer; custom != nil {
		skip, ok := custom.(interface{ SkipTLSHandshake() bool })
		return dialer{
			ctx: ctx,
			dial: func(_ context.Context, network, address string) (net.Conn, error) {
				return custom.Dial(network, address)
			},
			tls: ok && skip.SkipTLSHandshake(),
		}
	}
	plain := net.Dialer{Timeout: cmp.Or(o.Timeout, nats.DefaultTimeout)}
	if o.Dialer != nil {
		plain = *o.Dialer
	}
	if o.AllowMultipathTCP != nil {
		plain.SetMultipathTCP(*o.AllowMultipathTCP)
	}
	return dialer{ctx: ctx, dial: plain.DialContext}
}

// useDialer makes o connect by a dialer that dials as o has said, and whose connections end with
// ctx.
func useDialer(ctx context.Context, o *nats.Options) {
	o.CustomDialer = newDialer(ctx, o)
	if o.InProcessServer != nil { // the dialer sees to it; nats.go would go past the dialer
		o.InProcessServer, o.SkipHostLookup = nil, true
	}
}

// Dial implements nats.CustomDialer.
func (d dialer) Dial(network, address string) (net.Conn, error) {
	if err := d.ctx.Err(); err != nil { // not every dialer below looks
		return nil, err
	}
	nc, err := d.dial(d.ctx, network, address)
	if err != nil {
		return nil, err
	}
	w := &wire{Conn: nc}
	w.stop = context.AfterFunc(d.ctx, w.abort)
	return w, nil
}

// SkipTLSHandshake is asked for by nats.go.
func (d dialer) SkipTLSHandshake() bool { return d.tls }

// A wire is a network connection that does not outlive a failed write. When one fails that had
// written nothing, nats.go throws its buffer away, which may hold subscriptions, and goes on.
type wire struct {
	net.Conn
	stop func() bool
	once sync.Once
	err  error
}

func (w *wire) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	if err != nil {
		w.abort()
	}
	return n, err
}

func (w *wire) Close() error {
	w.stop()
	w.abort()
	return w.err
}

func (w *wire) abort() {
	w.once.Do(func() { w.err = w.Conn.Close() })
}

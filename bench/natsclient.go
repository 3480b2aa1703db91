package main

import (
	"errors"
	"maps"
	"net"

	"github.com/nats-io/nats.go"
)

// clientConfig is what a bare client of NATS is started with.
type clientConfig struct {
	URL string `json:"url"` // of NATS servers, the first of which it uses as long as that lives
	ID  byte   `json:"id"`  // of its prober
}

// A natsClient is what one would write without belfry: a connection of nats.go with its defaults, a subject for each room, and one channel for all
// subscriptions, which is the cheapest way that nats.go has. When its server dies it reconnects by itself.
type natsClient struct {
	conn   *nats.Conn
	msgs   chan *nats.Msg
	prober prober
}

func newClientRole() map[string]handler {
	c := new(natsClient)
	handlers := map[string]handler{
		"start": handle(func(cfg clientConfig) (none, error) { return none{}, c.start(cfg) }),
		"join":  handle(func(args joinArgs) (none, error) { return none{}, c.join(args) }),
	}
	maps.Copy(handlers, c.prober.handlers(c.send))
	return handlers
}

// send publishes. What the connection lost because its server was killed is no failure of the measurement: it is among the messages that never came.
func (c *natsClient) send(room string, payload []byte) error {
	err := c.conn.Publish(subject(room), payload)
	if _, broken := errors.AsType[*net.OpError](err); broken {
		return nil
	}
	return err
}

// start connects. The client lives as long as the process.
func (c *natsClient) start(cfg clientConfig) (err error) {
	c.prober.id = cfg.ID
	c.msgs = make(chan *nats.Msg, 64<<10)
	c.conn, err = nats.Connect(cfg.URL, nats.DontRandomize(), nats.NoEcho(), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		c.prober.fail(err)
	}))
	if err != nil {
		return err
	}
	go func() {
		for m := range c.msgs {
			c.prober.receive(m.Data)
		}
	}()
	return nil
}

// join subscribes to the rooms of args, and waits until the server has them all.
func (c *natsClient) join(args joinArgs) error {
	var errs []error
	for i := range args.Rooms {
		if _, err := c.conn.ChanSubscribe(subject(roomName(args.Prefix, args.First+i)), c.msgs); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, c.conn.Flush())...)
}

// subject is that of a room, as long as belfry's.
func subject(room string) string { return "client.v1.rbench.r.r=2F.r" + room }

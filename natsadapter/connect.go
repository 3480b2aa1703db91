package natsadapter

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
)

// Cluster is the name of the cluster that nodes join by this adapter.
func (a *Adapter) Cluster() string { return a.cfg.Cluster }

// ServiceSubject is what the subjects of the cluster's service begin with (package service): "<prefix>.service.<cluster>", with the cluster's
// name as a token that is safe in a subject, such as "belfry.service.rchat" for "chat". No node of any cluster uses them for itself. An error
// says that Config.Prefix is none.
func (a *Adapter) ServiceSubject() (string, error) {
	if !validPrefix(a.cfg.Prefix) {
		return "", fmt.Errorf("natsadapter: %w", prefixError(a.cfg.Prefix))
	}
	return a.cfg.Prefix + ".service." + string(appendToken(nil, a.cfg.Cluster)), nil
}

// Connect returns a connection to the servers of the adapter, with its options and then those given here, for what a program does with NATS
// besides. It is an ordinary connection, which reconnects by itself and for ever, and keeps nothing for later while it is lost. It is the
// caller's, who closes it.
//
// Connect waits for a server to answer, for as long as the options say, which is two seconds for each server by default, and no longer than
// ctx, which bounds Connect alone and not the life of the connection. The look-up of a host's name takes its own time.
func (a *Adapter) Connect(ctx context.Context, options ...nats.Option) (*nats.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("natsadapter: connect: %w", err)
	}
	set, err := a.resolve()
	if err != nil {
		return nil, fmt.Errorf("natsadapter: connect: %w", err)
	}
	o := set.options
	for _, u := range set.servers {
		o.Servers = append(o.Servers, u.String())
	}
	o.NoRandomize, o.NoEcho = false, false
	o.AllowReconnect, o.MaxReconnect, o.IgnoreAuthErrorAbort = true, -1, true
	o.ReconnectBufSize = -1
	for _, option := range options {
		if option == nil {
			continue
		}
		if err := option(&o); err != nil {
			return nil, fmt.Errorf("natsadapter: connect: option: %w", err)
		}
	}
	dialing, end := context.WithCancel(context.Background()) // until Connect returns it ends with ctx, and then no more
	useDialer(dialing, &o)
	stop := context.AfterFunc(ctx, end)
	nc, err := o.Connect()
	if !stop() {
		if err == nil {
			nc.Close()
		}
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("natsadapter: connect: %w", err)
	}
	return nc, nil
}

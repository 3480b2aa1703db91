package natsadapter

import (
	"cmp"
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
)

// Cluster returns the name of the cluster.
func (a *Adapter) Cluster() string { return a.cfg.Cluster }

// ServiceSubject returns the beginning of the subjects of the cluster's service (package service):
// "<prefix>.service.<cluster>", with the cluster's name as a token that is safe in a subject, such
// as "belfry.service.rchat" for "chat". Nodes do not use these subjects themselves. An error means
// that Config.Prefix is not valid.
func (a *Adapter) ServiceSubject() (string, error) {
	if !validPrefix(a.cfg.Prefix) {
		return "", fmt.Errorf("natsadapter: %w", prefixError(a.cfg.Prefix))
	}
	return a.cfg.Prefix + ".service." + string(appendToken(nil, a.cfg.Cluster)), nil
}

// Connect returns a connection to the servers of the adapter, with its options and then the given
// ones, for the program's own use of NATS. It is an ordinary connection, which reconnects by itself
// and for ever, and buffers nothing while it is lost. The caller must close it.
//
// Connect waits for a server to answer, as long as the options say, by default two seconds for each
// server, and not after ctx ends. ctx bounds Connect alone, not the life of the connection. Looking
// up a host's name takes time of its own.
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
	o.Name = cmp.Or(o.Name, defaultName)
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

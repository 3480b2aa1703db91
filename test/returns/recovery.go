package main

import (
	"context"
	"time"

	"github.com/belfry-io/belfry/wsserver"
)

// recoverable turns recovery on.
func recoverable(cfg *wsserver.Config) { cfg.Recovery = &wsserver.Recovery{Data: visitor{}} }

// drainNotice is how long a node that drains still takes new clients.
const drainNotice = time.Second

// drain has a server send its clients to others, so many a second.
func drain(ctx context.Context, srv *wsserver.Server, pace int) error {
	return srv.Drain(ctx, wsserver.Drain{Notice: drainNotice, Over: time.Second, Rate: pace, Linger: 2 * time.Second})
}

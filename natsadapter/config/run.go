package config

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/belfry-io/belfry/wsserver"
)

// The times of the HTTP server that text does not set.
const (
	headerTime = 10 * time.Second
	idleTime   = 2 * time.Minute
)

// Run listens, waits until srv is ready, and serves handler until ctx ends; then it drains srv, as
// [Config.Drain] does, shuts it down, within ShutdownTime, and closes c. SIGTERM or an interrupt after
// that ends it at once, and cuts the clients that are left. On SIGHUP Run calls [Config.Reload]. It returns nil
// after an end by ctx, if nothing was left undone. srv, which handler serves, is closed in any case.
//
// Programs that need more, such as several servers, do the same by Listen, Ready, Reload, Drain and
// Close.
func (c *Config) Run(ctx context.Context, srv *wsserver.Server, handler http.Handler) error {
	defer c.Close()
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	listeners, err := c.Listen()
	if err != nil {
		return errors.Join(err, c.shutdown(context.Background(), srv, new(http.Server)))
	}
	web := &http.Server{Handler: handler, ReadHeaderTimeout: headerTime, IdleTimeout: idleTime,
		ErrorLog: slog.NewLogLogger(c.Logger.Handler(), slog.LevelWarn)}
	if err := c.Ready(ctx, srv); err != nil {
		for _, l := range listeners {
			l.Close()
		}
		if ctx.Err() != nil {
			err = nil // told to end while it began
		}
		return errors.Join(err, c.shutdown(context.Background(), srv, web))
	}
	ended := make(chan error, len(listeners))
	for _, l := range listeners {
		c.Logger.Info("listening", "address", address(l))
		go func() { ended <- web.Serve(srv.Pace(l)) }()
	}
	for {
		select {
		case <-hangup:
			c.Reload(srv) // it logs what is wrong
		case err := <-ended:
			return errors.Join(fmt.Errorf("config: the HTTP server has ended: %w", err), c.shutdown(context.Background(), srv, web))
		case <-ctx.Done():
			again, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			c.Logger.Info("the node ends when its clients have gone to others; at once on a second signal",
				"connections", srv.Stats().Connections)
			err := errors.Join(c.Drain(again, srv), c.shutdown(again, srv, web))
			for range listeners {
				<-ended
			}
			return err
		}
	}
}

func address(l net.Listener) string {
	if l.Addr().Network() == "unix" {
		return "unix:" + l.Addr().String()
	}
	return l.Addr().String()
}

func (c *Config) shutdown(ctx context.Context, srv *wsserver.Server, web *http.Server) error {
	ctx, cancel := context.WithTimeout(ctx, c.ShutdownTime)
	defer cancel()
	return srv.Shutdown(ctx, web)
}

// Drain sends the clients of srv to other nodes, as the settings say whose names begin with "drain-":
// see [wsserver.Server.Drain]. It takes no longer than drain-notice, drain-over and drain-linger
// together. The program then closes srv.
func (c *Config) Drain(ctx context.Context, srv *wsserver.Server) error {
	d := c.drain
	ctx, cancel := context.WithTimeout(ctx, c.drainTime())
	defer cancel()
	return srv.Drain(ctx, wsserver.Drain{
		Notice: orNone(d.Notice), Over: max(d.Over, 1), Rate: d.Rate, Linger: orNone(d.Linger),
	})
}

// EndTime is how long an end by Run may take: that of Drain, and ShutdownTime.
func (c *Config) EndTime() time.Duration { return c.drainTime() + c.ShutdownTime }

func (c *Config) drainTime() time.Duration { return c.drain.Notice + c.drain.Over + c.drain.Linger }

// orNone is a duration of text for a wsserver.Drain, where zero means the default.
func orNone(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// Ready waits until srv has joined its cluster, for StartTime at the most. The error says, in one
// line, which setting of the connection is wrong, and what would be right.
func (c *Config) Ready(ctx context.Context, srv *wsserver.Server) error {
	ctx, cancel := context.WithTimeout(ctx, c.StartTime)
	defer cancel()
	return c.Explain(srv.Ready(ctx))
}

// Protocolapp is the application that Socket.IO's own protocol suite expects of a server, on belfry's public API, for suites that run
// outside of this module:
//
//	go run ./test/protocolapp -addr 127.0.0.1:3000
//
// It has the namespaces "/" and "/custom". Both emit "auth" with the client's auth, {} without one. In "/", "message" is answered by
// "message-back", and "message-with-ack" acknowledged, with the same arguments.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/belfry-io/belfry/wsserver"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "protocolapp:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context) error {
	addr := flag.String("addr", "127.0.0.1:3000", "listen on this `address`; port 0 takes a free one")
	path := flag.String("path", "/socket.io/", "where clients find the server")
	pingInterval := flag.Duration("ping-interval", 300*time.Millisecond, "time between pings")
	pingTimeout := flag.Duration("ping-timeout", 200*time.Millisecond, "how long a client may take to answer a ping")
	maxPayload := flag.Int("max-payload", 1_000_000, "bound of a client's message, in `bytes`")
	cors := flag.String("cors", "*", "`origins` whose pages may use the server, divided by commas; empty for none")
	connectTimeout := flag.Duration("connect-timeout", time.Second, "how long a client may take to connect to a namespace")
	flag.Parse()

	cfg := wsserver.Config{
		Path:           *path,
		PingInterval:   *pingInterval,
		PingTimeout:    *pingTimeout,
		Limits:         wsserver.Limits{MaxPayload: *maxPayload},
		ConnectTimeout: *connectTimeout,
	}
	if *cors != "" {
		cfg.HTTP.CORS = &wsserver.CORS{Origins: strings.Split(*cors, ",")}
	}
	srv := wsserver.New(cfg)
	serveApp(srv)
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		return errors.Join(err, srv.Close(ctx))
	}
	fmt.Printf("listening on %s\n", listener.Addr())
	web := &http.Server{Handler: srv, ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 16 << 10}
	ended := make(chan error, 1)
	go func() { ended <- web.Serve(listener) }()
	select {
	case err = <-ended:
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second) // then clients that do not answer are cut off
	defer cancel()
	if closed := srv.Shutdown(ctx, web); !errors.Is(closed, context.DeadlineExceeded) {
		err = errors.Join(err, closed)
	}
	return err
}

// serveApp sets the handlers.
func serveApp(srv *wsserver.Server) {
	for _, name := range []string{"/", "/custom"} {
		srv.Of(name).OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
			auth := s.Handshake().Auth
			if auth == nil {
				auth = json.RawMessage("{}")
			}
			return s.Emit(ctx, "auth", auth)
		})
	}
	root := srv.Of("/")
	root.On("message", func(ctx context.Context, e *wsserver.Event) error {
		args, err := e.Args()
		if err != nil {
			return err
		}
		return e.Socket().Emit(ctx, "message-back", args...)
	})
	root.On("message-with-ack", func(ctx context.Context, e *wsserver.Event) error {
		args, err := e.Args()
		if err != nil {
			return err
		}
		return e.Ack(args...)
	})
}

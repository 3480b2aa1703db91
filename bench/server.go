package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"time"

	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/msgpack"
)

// room is the one that all members join.
const room = "room"

// serverConfig is what a server is started with.
type serverConfig struct {
	Broker  string `json:"broker"`  // URL of the NATS server; empty means one node
	Sockets int    `json:"sockets"` // how many will come

	Recovery bool `json:"recovery"`
	Deflate  bool `json:"deflate"` // messages are compressed, for clients that can read them
	Packed   bool `json:"packed"`  // MessagePack

	Certificate string `json:"certificate"` // folder with cert.pem and key.pem; empty means no TLS
}

// serverStats is how a server stands. The counts are those since it began.
type serverStats struct {
	Goroutines int    `json:"goroutines"`
	Frames     uint64 `json:"frames"`
	Bytes      uint64 `json:"bytes"`
	Writes     uint64 `json:"writes"`
	Lost       uint64 `json:"lost"` // frames of clients that went away or were too slow
	Failures   uint64 `json:"failures"`
}

func (s serverStats) sub(b serverStats) serverStats {
	s.Frames -= b.Frames
	s.Bytes -= b.Bytes
	s.Writes -= b.Writes
	s.Lost -= b.Lost
	s.Failures -= b.Failures
	return s
}

func (s serverStats) add(b serverStats) serverStats {
	s.Frames += b.Frames
	s.Bytes += b.Bytes
	s.Writes += b.Writes
	s.Lost += b.Lost
	s.Failures += b.Failures
	return s
}

// spareFiles is how many files a process opens besides its sockets.
const spareFiles = 100

// newServerRole is a Socket.IO server with the application that is measured.
func newServerRole() map[string]handler {
	var srv *wsserver.Server
	var profile *os.File
	return map[string]handler{
		"start": handle(func(cfg serverConfig) (address string, err error) {
			srv, address, err = serve(cfg)
			return address, err
		}),
		"stats": handle(func(none) (serverStats, error) {
			s := srv.Stats()
			return serverStats{
				Goroutines: runtime.NumGoroutine(),
				Frames:     s.Frames, Bytes: s.Bytes, Writes: s.Writes, Lost: s.Lost + s.Dropped, Failures: s.Failures,
			}, nil
		}),
		"peers":  handle(func(none) (int, error) { return srv.ServerCount() - 1, nil }),
		"memory": handle(func(none) (memory, error) { return usedMemory() }),
		"profile": handle(func(path string) (none, error) {
			if path == "" {
				pprof.StopCPUProfile()
				return none{}, profile.Close()
			}
			var err error
			if profile, err = os.Create(path); err != nil {
				return none{}, err
			}
			return none{}, pprof.StartCPUProfile(profile)
		}),
	}
}

// serve starts a server with the application.
func serve(cfg serverConfig) (srv *wsserver.Server, address string, err error) {
	if err := allowFiles(cfg.Sockets + spareFiles); err != nil {
		return nil, "", err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	config := wsserver.Config{Logger: log}
	if cfg.Recovery {
		config.Recovery = &wsserver.Recovery{}
	}
	if cfg.Deflate {
		config.Compression.PerMessageDeflate = true
	}
	if cfg.Packed {
		config.Codec = msgpack.Codec{}
	}
	if cfg.Broker != "" {
		config.Adapter = natsadapter.New(natsadapter.Config{URL: cfg.Broker, Cluster: "bench", Logger: log})
	}
	srv = wsserver.New(config)
	application(srv)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := srv.Ready(ctx); err != nil {
		return nil, "", err
	}
	address, err = serveHTTP(srv, cfg.Certificate)
	return srv, address, err
}

// application is what all contenders have: a client joins rooms, publishes to one, and has something sent back.
func application(srv *wsserver.Server) {
	ns := srv.Of("/")
	ns.On("join", func(ctx context.Context, e *wsserver.Event) error {
		rooms := make([]string, e.Len())
		into := make([]any, len(rooms))
		for i := range rooms {
			into[i] = &rooms[i]
		}
		if err := e.Decode(into...); err != nil {
			return err
		}
		if err := e.Socket().Join(ctx, rooms...); err != nil {
			return e.Ack(err.Error())
		}
		return e.Ack("")
	})
	ns.On("publish", func(ctx context.Context, e *wsserver.Event) error {
		var room string
		var data any
		if err := e.Decode(&room, &data); err != nil {
			return err
		}
		return ns.To(room).Emit(ctx, "message", data)
	})
	ns.On("echo", func(_ context.Context, e *wsserver.Event) error {
		var data any
		if err := e.Decode(&data); err != nil {
			return err
		}
		return e.Ack(data)
	})
}

// serveHTTP has a handler serve on a free port of the loopback interface until the process ends, over TLS if there is a folder with a
// certificate.
func serveHTTP(h http.Handler, certificate string) (address string, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	serve := http.Serve
	if certificate != "" {
		serve = func(l net.Listener, h http.Handler) error {
			return http.ServeTLS(l, h, filepath.Join(certificate, certFile), filepath.Join(certificate, keyFile))
		}
	}
	go func() {
		if err := serve(listener, h); !errors.Is(err, net.ErrClosed) {
			fmt.Fprintln(os.Stderr, "bench: server:", err)
			os.Exit(1)
		}
	}()
	return listener.Addr().String(), nil
}

// Chat is the chat of Socket.IO's getting started, with its server in Go. The page needs npm's
// socket.io-client:
//
//	npm install --prefix /tmp/client socket.io-client
//	go run ./examples/guides/chat -client /tmp/client/node_modules/socket.io-client/dist
package main

import (
	"context"
	_ "embed"
	"log"
	"log/slog"
	"net/http"
	"os"
	"os/signal"

	"github.com/belfry-io/belfry/natsadapter/config"
	"github.com/belfry-io/belfry/wsserver"
)

//go:embed index.html
var page []byte

func main() {
	var own struct {
		Client string `key:"client" default:"node_modules/socket.io-client/dist" help:"the folder dist of npm's socket.io-client"`
	}
	cfg := config.MustLoad(config.Program{Name: "chat", Args: os.Args[1:], Own: &own})
	cfg.Server.HTTP.ClientFiles = os.DirFS(own.Client)
	srv := wsserver.New(cfg.Server)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := cfg.Run(ctx, srv, handler(srv)); err != nil {
		log.Fatal(err)
	}
}

func handler(srv *wsserver.Server) http.Handler {
	srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
		slog.Info("a user connected", "socket", s.ID())
		s.OnDisconnect(func(ctx context.Context, reason error) {
			slog.Info("user disconnected", "socket", s.ID(), "reason", reason)
		})
		return nil
	})
	wsserver.On(srv.Of("/"), "chat message", func(ctx context.Context, s *wsserver.Socket, text string) error {
		return srv.Emit(ctx, "chat message", text) // to everyone, on every node
	})
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { w.Write(page) })
	return mux
}

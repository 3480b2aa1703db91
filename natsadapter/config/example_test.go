package config_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/belfry-io/belfry/natsadapter/config"
	"github.com/belfry-io/belfry/natsadapter/embedded"
	"github.com/belfry-io/belfry/wsserver"
)

// A whole program: its own settings beside all of the server's, and the adapter by text.
func Example() {
	var own struct {
		Greeting string        `key:"greeting" default:"hello" help:"what a newcomer is told"`
		Keep     time.Duration `key:"keep" default:"24h" min:"1m" help:"how long messages are kept"`
	}
	cfg := config.MustLoad(config.Program{
		Name:     "chat",
		About:    "Chat is a small chat.",
		Args:     os.Args[1:],
		Own:      &own,
		Embedded: embedded.FromURL, // links nats-server, for the adapter embedded:
		Server: wsserver.Config{
			PingInterval: 10 * time.Second, // text may say otherwise
			HTTP: wsserver.HTTPConfig{ // only code can say this
				AllowRequest: func(r *http.Request) error { return nil },
			},
		},
	})
	srv := wsserver.New(cfg.Server)
	srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
		return s.Emit(ctx, "greeting", own.Greeting)
	})
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := cfg.Run(ctx, srv, mux); err != nil {
		cfg.Logger.Error("chat has ended", "error", err)
		os.Exit(1)
	}
}

// Text overrides code; of texts, a flag counts before the environment.
func ExampleLoad() {
	cfg, err := config.Load(config.Program{
		Name:    "chat",
		Args:    []string{"-limits.max-payload", "512KiB"},
		Environ: []string{"CHAT_LIMITS_MAX_PAYLOAD=1MB", "CHAT_PING_INTERVAL=15s"},
		Server:  wsserver.Config{PingInterval: 10 * time.Second, PingTimeout: 5 * time.Second},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cfg.Close()
	fmt.Println(cfg.Server.Limits.MaxPayload, cfg.Server.PingInterval, cfg.Server.PingTimeout)
	// Output: 524288 15s 5s
}

// What is wrong is said in a line each.
func ExampleKeyError() {
	_, err := config.Load(config.Program{
		Name:    "chat",
		Args:    []string{"-limits.max-paylaod", "512KiB", "-ping-timeout=20"},
		Environ: []string{"CHAT_LOG_LEVEL=loud"},
	})
	fmt.Println(err)
	if wrong, ok := errors.AsType[*config.KeyError](err); ok {
		fmt.Println("want", wrong.Want)
	}
	// Output:
	// flag -limits.max-paylaod: there is no such setting: want -limits.max-payload
	// environment variable CHAT_LOG_LEVEL: log.level: "loud" is no level: want debug, info, warn or error
	// flag -ping-timeout: "20" has no unit: want 20s, 20ms or 20m
	// want -limits.max-payload
}

// A server that Run does not serve, such as one of several, is made ready and reloaded by calls.
func ExampleConfig_Ready() {
	cfg, err := config.Load(config.Program{Name: "chat", Args: []string{"-adapter", "embedded:"}, Environ: []string{},
		Embedded: embedded.FromURL, Server: wsserver.Config{Logger: slog.New(slog.DiscardHandler)}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cfg.Close()
	ctx := context.Background()
	srv := wsserver.New(cfg.Server)
	defer srv.Close(ctx)
	if err := cfg.Ready(ctx, srv); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("cluster", cfg.NATS.Cluster())
	// Output: cluster chat
}

// The program's own table of settings, for its documentation.
func ExampleMarkdown() {
	var own struct {
		Greeting string `key:"greeting" default:"hello" help:"what a newcomer is told"`
	}
	text, err := config.Markdown(config.Program{Name: "chat", Own: &own})
	if err != nil {
		fmt.Println(err)
		return
	}
	first, _, _ := strings.Cut(text, "\n### This node")
	fmt.Println(first)
	// Output:
	// ### chat
	//
	// | key | environment | value | default | meaning |
	// | --- | --- | --- | --- | --- |
	// | `greeting` | `CHAT_GREETING` | text | hello | what a newcomer is told |
}

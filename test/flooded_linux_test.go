package test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/belfry-io/belfry/wsserver"
)

func init() { roles["flooded"] = beFlooded }

// A flooded is what a flooded server says of itself.
type flooded struct {
	Most  int // of its resident memory so far, in bytes
	Now   int
	Stats wsserver.Stats
}

// beFlooded is a server that echoes, waits in its handlers for its clients to go, and sends the room "readers" what its argument says, in bytes a
// second, as events of 16 kB with a number. It says where it listens, and answers each line with what it is like.
func beFlooded(args []string) error {
	rate, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	debug.SetMemoryLimit(floodLimit)
	srv := wsserver.New(wsserver.Config{
		Limits:      wsserver.Limits{BudgetBytes: floodBudget},
		Compression: wsserver.Compression{PerMessageDeflate: args[0] == "deflate"},
		Logger:      slog.New(slog.DiscardHandler),
	})
	srv.OnConnect(func(ctx context.Context, s *wsserver.Socket) error {
		s.On("echo", func(ctx context.Context, e *wsserver.Event) error {
			var text any
			if err := e.Decode(&text); err != nil {
				return err
			}
			return s.Emit(ctx, "back", text)
		})
		s.On("wait", func(ctx context.Context, e *wsserver.Event) error { <-ctx.Done(); return nil })
		wsserver.On(s, "join", func(ctx context.Context, _ *wsserver.Socket, room string) error { return s.Join(ctx, room) })
		return nil
	})
	web := httptest.NewUnstartedServer(srv)
	if args[0] == "tls" {
		web.StartTLS()
	} else {
		web.Start()
	}
	go func() {
		const size = 16_000
		text := strings.Repeat("r", size)
		n := 0
		for range time.Tick(time.Second * size / time.Duration(rate)) {
			srv.To("readers").Emit(context.Background(), "n", n, text)
			n++
		}
	}()
	fmt.Println(web.Listener.Addr())
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		is := flooded{Stats: srv.Stats()}
		if is.Most, is.Now, err = resident(); err != nil {
			return err
		}
		if err := json.NewEncoder(os.Stdout).Encode(is); err != nil {
			return err
		}
	}
	return nil
}

// resident is how much memory this process takes, and took at the most, in bytes (proc(5), /proc/pid/status).
func resident() (most, now int, err error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		n, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
		switch name {
		case "VmHWM":
			most = n << 10
		case "VmRSS":
			now = n << 10
		}
	}
	return most, now, nil
}

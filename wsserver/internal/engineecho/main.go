// Engineecho is an Engine.IO server that sends each message back as it came: text as text, binary as binary. Suites that test a server of
// the protocol are pointed at it.
package main

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/rs/cors"

	"github.com/belfry-io/belfry/wsserver/internal/echoserver"
	"github.com/belfry-io/belfry/wsserver/internal/engine"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:3000", "`address` to listen on")
	path := flag.String("path", "/engine.io/", "`prefix` of the requests")
	pingInterval := flag.Duration("ping-interval", 300*time.Millisecond, "`time` between a client's last sign of life and a ping")
	pingTimeout := flag.Duration("ping-timeout", 200*time.Millisecond, "`time` that a client has to answer a ping")
	upgradeTimeout := flag.Duration("upgrade-timeout", 10*time.Second, "`time` that a client has to finish an upgrade")
	maxPayload := flag.Int("max-payload", 1_000_000, "most `bytes` of a message or a request")
	origins := flag.String("cors", "*", "`origins` whose pages may connect, separated by commas; * is any, empty is none")
	headerTimeout := flag.Duration("header-timeout", 5*time.Second, "`time` that a client has to send the header of a request")
	flag.Parse()

	// A suite sends bursts of many messages and reads the echo of all: a client that stands still for a moment meanwhile, on a busy machine,
	// is not one that does not read.
	queue := max(8<<20, *maxPayload)
	cfg := engine.Config{
		Path:           "/" + strings.Trim(*path, "/") + "/",
		PingInterval:   *pingInterval,
		PingTimeout:    *pingTimeout,
		UpgradeTimeout: *upgradeTimeout,
		MaxPayload:     *maxPayload,
		QueueBytes:     queue,
		Open:           func(_ *http.Request, s *engine.Session) (engine.Owner, error) { return echo{s}, nil },
		Logger:         slog.Default(),
	}
	if *origins != "" {
		cfg.CORS = cors.New(cors.Options{
			AllowedOrigins: strings.Split(*origins, ","),
			AllowedMethods: []string{http.MethodGet, http.MethodPost},
			AllowedHeaders: []string{"*"},
		})
	}
	srv := engine.New(cfg)
	web := &http.Server{
		Addr:              *addr,
		Handler:           srv,
		ReadHeaderTimeout: *headerTimeout,
		MaxHeaderBytes:    16 << 10,
	}
	echoserver.Main("engineecho", web, func() error {
		ending, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		srv.CloseSessions(errors.New("server shutting down"))
		if err := srv.Close(ending); !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		return nil // clients that do not answer are cut off
	})
}

// echo is the receiver of a session.
type echo struct{ session *engine.Session }

func (e echo) Message(binary bool, payload []byte) (more bool, err error) {
	m := engine.Messages{Text: append([]byte{}, payload...)} // an empty one, too
	if binary {
		m = engine.Messages{Binary: [][]byte{payload}}
	}
	e.session.Send(engine.NewFrame(m)) // a session that has ended takes nothing, and needs nothing
	return false, nil
}

func (echo) Ended(engine.Reason, error) {}
func (echo) Gone()                      {}

func (echo) Moved() {}

func (echo) Waiting() (bytes int, oldest time.Duration) { return 0, 0 }

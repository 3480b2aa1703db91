// Wsecho is a WebSocket server that sends each message back as it came, by what reads and writes the connections of belfry: suites that test
// a server of RFC 6455 and RFC 7692, such as Autobahn's, are pointed at it.
package main

import (
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/belfry-io/belfry/wsserver/internal/echoserver"
	"github.com/belfry-io/belfry/wsserver/internal/transport"
)

// closeTimeout is how long a peer has to answer a Close frame.
const closeTimeout = 5 * time.Second

func main() {
	addr := flag.String("addr", "127.0.0.1:9001", "`address` to listen on")
	deflate := flag.Bool("deflate", false, "negotiate permessage-deflate, and compress every message for those who can take it")
	maxMessage := flag.Int("max-message", 64<<20, "most `bytes` of a message, inflated")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "Wsecho sends every WebSocket message back, until it is interrupted.\n\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	s := newServer(*deflate, *maxMessage)
	web := &http.Server{Addr: *addr, Handler: s, ReadHeaderTimeout: 5 * time.Second}
	echoserver.Main("wsecho", web, func() error {
		err := web.Close()
		s.close()
		return err
	})
}

// A server answers each request with a WebSocket that echoes.
type server struct {
	transports *transport.Shared
	deflate    bool
	closing    sync.WaitGroup // the goroutines that wait for peers to answer a Close frame
}

func newServer(deflate bool, maxMessage int) *server {
	cfg := transport.Config{
		MaxMessage: maxMessage,
		QueueBytes: maxMessage + 8<<20, // a suite sends many messages before it reads their echo
		Logger:     slog.Default(),
	}
	if deflate {
		cfg.Deflate = 1
	}
	return &server{transports: transport.New(cfg), deflate: deflate}
}

// close ends all connections, after which no request may come.
func (s *server) close() {
	s.transports.Close()
	s.closing.Wait()
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !transport.IsUpgrade(r) {
		http.Error(w, "this is a server of WebSockets alone", http.StatusUpgradeRequired)
		return
	}
	nc, early, deflated, err := transport.Upgrade(w, r, s.deflate)
	if err != nil {
		return // the client has its answer
	}
	e := &echo{server: s, closed: make(chan struct{})}
	s.transports.Serve(&e.ws, nc, deflated, e)
	e.ws.Start(early)
}

// echo is a connection, and its receiver.
type echo struct {
	server *server
	ws     transport.WebSocket
	closed chan struct{}
}

func (e *echo) Message(binary bool, payload []byte) error {
	e.ws.Send(transport.NewFrame(binary, payload)) // a connection that has ended takes nothing, and needs nothing
	return nil
}

func (e *echo) Fed(int, bool) {} // no time-out waits for messages

func (e *echo) HungUp() {} // reading is never paused

func (e *echo) Large() {} // nothing is to go ahead of a large frame

func (e *echo) Closing(error) {
	e.server.closing.Go(func() {
		select {
		case <-e.closed:
		case <-time.After(closeTimeout):
			e.ws.Abort()
		}
	})
}

func (e *echo) Closed() { close(e.closed) }

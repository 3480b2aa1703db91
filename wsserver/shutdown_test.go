package wsserver_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// A program that ends by Ctrl-C, and says goodbye to its clients first.
func ExampleServer_Shutdown() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	srv := wsserver.New(wsserver.Config{})
	web := &http.Server{Handler: srv}
	listener, err := net.Listen("tcp", "127.0.0.1:0") // in a program: ":8080"
	if err != nil {
		fmt.Println(err)
		return
	}
	served := make(chan error, 1)
	go func() { served <- web.Serve(listener) }()

	stop() // stands for Ctrl-C
	select {
	case err = <-served: // it could not serve
	case <-ctx.Done():
	}
	stop() // a second Ctrl-C ends the program at once
	ending, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	fmt.Println(errors.Join(err, srv.Shutdown(ending, web)))
	// Output: <nil>
}

// startWeb serves srv, and a request for /block, which tells running and waits for release.
func startWeb(
	t *testing.T, srv http.Handler, running chan<- struct{}, release <-chan struct{},
) (web *http.Server, addr string, served <-chan error) {
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.HandleFunc("/block", func(http.ResponseWriter, *http.Request) {
		close(running)
		<-release
	})
	web = &http.Server{Handler: mux}
	l := localhost(t)
	ended := make(chan error, 1)
	go func() { ended <- web.Serve(l) }()
	t.Cleanup(func() { web.Close() })
	return web, l.Addr().String(), ended
}

// TestShutdown: polls, WebSockets and idle connections end, each in its way, and nothing is
// accepted any more.
func TestShutdown(t *testing.T) {
	srv := wsserver.New(wsserver.Config{
		PingInterval: time.Hour, // no ping answers the poll
		Logger:       kit.Silent,
	})
	web, addr, served := startWeb(t, srv, nil, nil)
	dial := func() net.Conn {
		nc, err := net.Dial("tcp", addr)
		if err != nil { // the poller's, when all is over
			nc, _ = net.Pipe()
			nc.Close()
		}
		return nc
	}
	gone := farewells(srv.Of("/"))
	p := newPoller(t, dial)
	p.poll()
	c := wstest.New(t, dial(), wstest.Config{})
	idle := dial()
	fmt.Fprint(idle, "GET /socket.io/socket.io.js HTTP/1.1\r\nHost: x\r\n\r\n")
	kit.Must(idle.Read(make([]byte, 1)))(t)
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), kit.Patience)
	defer cancel()
	if err := srv.Shutdown(ctx, web); err != nil {
		t.Errorf("Shutdown: %v after %v", err, time.Since(start))
	}
	for range 2 {
		kit.WantErr(t, next(t, gone).reason, wsserver.ErrShutdown, "a socket has ended since")
	}
	if end := c.Wait(); end.Err != io.EOF {
		t.Errorf("the WebSocket: %v", end)
	}
	p.done.Wait()
	if _, err := io.Copy(io.Discard, idle); err != nil {
		t.Errorf("the idle connection: %v, want its end", err)
	}
	kit.Want(t, <-served, http.ErrServerClosed, "Serve")
	if nc, err := net.Dial("tcp", addr); err == nil {
		nc.Close()
		t.Error("connections are still accepted")
	}
}

// TestShutdownInTime: what does not end is cut off with ctx, and reported, whether it is a request
// or a handler of a socket.
func TestShutdownInTime(t *testing.T) {
	for _, blocked := range []string{"request", "handler"} {
		t.Run(blocked, func(t *testing.T) {
			running, release := make(chan struct{}), make(chan struct{})
			srv := wsserver.New(wsserver.Config{Logger: kit.Silent})
			web, addr, served := startWeb(t, srv, running, release)
			nc := kit.Must(net.Dial("tcp", addr))(t)
			if blocked == "request" {
				fmt.Fprint(nc, "GET /block HTTP/1.1\r\nHost: x\r\n\r\n")
				defer nc.Close()
			} else {
				srv.Of("/").On("x", handler(func() { close(running); <-release }))
				wstest.New(t, nc, wstest.Config{}).Emit("x")
			}
			<-running
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			kit.WantErr(t, srv.Shutdown(ctx, web), context.DeadlineExceeded, "Shutdown")
			if blocked == "request" {
				if _, err := io.ReadAll(nc); err != nil && !errors.Is(err, io.EOF) {
					t.Errorf("the request's connection: %v, want its end", err)
				}
			}
			close(release)
			kit.Want(t, <-served, http.ErrServerClosed, "Serve")
			ctx, cancel = context.WithTimeout(t.Context(), kit.Patience)
			defer cancel()
			if err := srv.Shutdown(ctx, web); err != nil { // what it was waiting for
				t.Errorf("a second Shutdown: %v", err)
			}
		})
	}
}

// Package echoserver runs the servers that suites of tests are pointed at, engineecho and wsecho.
package echoserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

// Main has web serve on its Addr until a signal asks it to end, and then calls end. A program that
// fails exits with the status 1.
func Main(name string, web *http.Server, end func() error) {
	if err := run(web, end); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

func run(web *http.Server, end func() error) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	l, err := net.Listen("tcp", web.Addr)
	if err != nil {
		return err
	}
	fmt.Printf("listening on %s\n", l.Addr())
	served := make(chan error, 1)
	go func() { served <- web.Serve(l) }()
	select {
	case err = <-served:
	case <-ctx.Done():
	}
	return errors.Join(err, end(), web.Close())
}

// Peers are servers in Go that belfry's benchmark compares belfry with (see ../README.md).
//
//	go build -o peers . && ./peers -side zishang [-deflate] [-tls DIR]
//	./peers -side centrifuge [-redis URL] [-deflate] [-tls DIR]
//
// DIR has cert.pem and key.pem.
// A server prints its address when it serves, and ends when its standard input does, or on SIGTERM.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// sides are the servers. Each gives what serves its clients; redis is the URL of a Redis server, empty for
// a node that is alone; deflate has it agree to permessage-deflate.
var sides = map[string]func(redis string, deflate bool) (http.Handler, error){
	"zishang":    newZishang,
	"centrifuge": newCentrifuge,
}

func main() {
	names := strings.Join(slices.Sorted(maps.Keys(sides)), ", ")
	side := flag.String("side", "", "which server: "+names)
	redis := flag.String("redis", "", "the `URL` of the Redis server of the cluster")
	deflate := flag.Bool("deflate", false, "compress messages")
	dir := flag.String("tls", "", "the `folder` of the certificate; without it there is no TLS")
	flag.Parse()
	begin, ok := sides[*side]
	if !ok || flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "peers: want -side, one of %s, and nothing but flags\n", names)
		os.Exit(2)
	}
	if err := serve(func() (http.Handler, error) { return begin(*redis, *deflate) }, *dir); err != nil {
		fmt.Fprintf(os.Stderr, "peers: %s: %v\n", *side, err)
		os.Exit(1)
	}
}

// serve serves clients until standard input ends, or SIGTERM comes.
func serve(begin func() (http.Handler, error), certificate string) error {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		end <- syscall.SIGTERM
	}()
	h, err := begin()
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() {
		if certificate == "" {
			failed <- http.Serve(l, h)
			return
		}
		failed <- http.ServeTLS(l, h, filepath.Join(certificate, "cert.pem"), filepath.Join(certificate, "key.pem"))
	}()
	serves := struct {
		Address string `json:"address"`
	}{l.Addr().String()}
	if err := json.NewEncoder(os.Stdout).Encode(serves); err != nil {
		return err
	}
	select {
	case <-end:
		return nil
	case err := <-failed:
		return err
	}
}

package transport

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/test/need"
)

// echo is a Receiver that sends back what it receives.
type echo struct {
	w      *WebSocket
	closed chan struct{}
}

func (e *echo) Message(binary bool, payload []byte) error {
	e.w.Send(NewFrame(binary, payload))
	return nil
}
func (e *echo) Fed(int, bool) {}
func (e *echo) HungUp()       {}
func (e *echo) Large()        {}
func (e *echo) Closing(error) {}
func (e *echo) Closed()       { close(e.closed) }

// countedConn counts the bytes in both directions.
type countedConn struct {
	net.Conn
	in, out *atomic.Int64
}

func (c countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.in.Add(int64(n))
	return n, err
}

func (c countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.out.Add(int64(n))
	return n, err
}

func (c countedConn) CloseWrite() error { return c.Conn.(*net.TCPConn).CloseWrite() }

// TestDeflateAgainstNode: what the ws package of Node.js compresses arrives, and it reads what is compressed here.
func TestDeflateAgainstNode(t *testing.T) {
	node, ws := need.Node(t, "engine.io-client/node_modules/ws") // which Socket.IO uses in Node.js
	for _, test := range []struct {
		options, extension string
		in, out            int64 // of the bytes that 400,000 of payload become, the most
	}{
		{`{"threshold":0}`, "permessage-deflate", 60_000, 60_000},
		{`{"threshold":0,"clientMaxWindowBits":9}`, "permessage-deflate", 60_000, 60_000},
		{`{"serverMaxWindowBits":15,"serverNoContextTakeover":true}`, "permessage-deflate", 60_000, 60_000},
		{`{"serverMaxWindowBits":10}`, "", 500_000, 500_000},
		{`false`, "", 500_000, 500_000},
	} {
		t.Run(test.options, func(t *testing.T) {
			t.Parallel()
			shared := newShared(t, Config{Deflate: 1024})
			var in, out atomic.Int64
			var served sync.WaitGroup
			served.Add(1)
			srv := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer served.Done()
				nc, early, deflate, err := Upgrade(w, r, true)
				if err != nil {
					t.Error(err)
					return
				}
				e := &echo{new(WebSocket), make(chan struct{})}
				shared.Serve(e.w, countedConn{nc, &in, &out}, deflate, e)
				e.w.Start(early)
				<-e.closed
			})}
			l := kit.Must(net.Listen("tcp", "127.0.0.1:0"))(t)
			done := make(chan struct{})
			go func() {
				defer close(done)
				srv.Serve(l)
			}()
			t.Cleanup(func() {
				srv.Close()
				<-done
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, node, "testdata/deflate.cjs", ws, "ws://"+l.Addr().String()+"/", test.options, test.extension)
			if output, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("node: %v\n%s", err, output)
			}
			served.Wait()
			if in.Load() > test.in || out.Load() > test.out {
				t.Errorf("got %d bytes in and %d out, want %d and %d at most", in.Load(), out.Load(), test.in, test.out)
			}
			if uncompressed := int64(300_000); test.extension == "" && (in.Load() < uncompressed || out.Load() < uncompressed) {
				t.Errorf("got %d bytes in and %d out without compression", in.Load(), out.Load())
			}
		})
	}
}

package wsserver_test

import (
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/wsserver"
)

// A crowd is a listener to which there are always more.
type crowd struct{ closed atomic.Bool }

func (c *crowd) Accept() (net.Conn, error) {
	if c.closed.Load() {
		return nil, net.ErrClosed
	}
	return nil, nil
}
func (c *crowd) Close() error { c.closed.Store(true); return nil }
func (*crowd) Addr() net.Addr { return nil }

// TestPace: two connections are accepted for each that may begin, by two listeners together; none waits without a limit; and Close ends a wait.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{Limits: wsserver.Limits{Handshakes: 5}})
		one, two := srv.Pace(new(crowd)), srv.Pace(new(crowd))
		began := time.Now()
		for range 20 {
			one.Accept()
			two.Accept()
		}
		if took := time.Since(began); took != 3900*time.Millisecond { // the first at once
			t.Errorf("40 took %v, want 3.9s", took)
		}
		if err := srv.SetLimits(wsserver.Limits{}); err != nil {
			t.Fatal(err)
		}
		began = time.Now()
		for range 1000 {
			one.Accept()
		}
		if took := time.Since(began); took > 50*time.Millisecond {
			t.Errorf("without a limit, 1,000 took %v", took)
		}
		if err := srv.SetLimits(wsserver.Limits{Handshakes: 1}); err != nil {
			t.Fatal(err)
		}
		two.Accept()
		two.Accept()
		began = time.Now()
		go two.Close()
		if _, err := two.Accept(); !errors.Is(err, net.ErrClosed) || time.Since(began) != 0 {
			t.Errorf("a listener that is closed: got %v, after %v", err, time.Since(began))
		}
	})
}

package natsadapter

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/test/kit"
)

// TestHungServer stops all bytes between a link and its server.
func TestHungServer(t *testing.T) {
	s := natstest.NewServer(t)
	p := newProxy(t, s.URL())
	a, b := open(t, quiet(p.url(), nats.FlusherTimeout(200*time.Millisecond))), open(t, quiet(s.URL()))
	a.until(adapter.Connected)
	a.subscribe(room("before"))
	b.reaches(a, room("before"))

	p.hold()
	start := time.Now()
	var slowest time.Duration
	for msg := make([]byte, 64<<10); ; {
		began := time.Now()
		err := a.Publish(t.Context(), room("x"), msg)
		slowest = max(slowest, time.Since(began))
		if err != nil {
			break
		}
		if time.Since(start) > kit.Patience {
			t.Fatal("Publish goes on and on")
		}
	}
	if slowest > 20*time.Second {
		t.Errorf("Publish blocked for %v, want the write time-out of 200 ms", slowest)
	}
	// The write that failed may have taken all that was buffered with it.
	a.subscribe(room("meanwhile"))
	if reason := a.until(adapter.Degraded); reason == nil {
		t.Error("no reason")
	}
	p.release()
	a.until(adapter.Connected)
	b.reaches(a, room("before"))
	b.reaches(a, room("meanwhile"))
}

// TestSilentServer lets nothing through, and the link publishes nothing: only its pings can tell.
func TestSilentServer(t *testing.T) {
	s := natstest.NewServer(t)
	p := newProxy(t, s.URL())
	a := open(t, quiet(p.url(), nats.PingInterval(30*time.Millisecond), nats.Timeout(100*time.Millisecond)))
	a.until(adapter.Connected)
	p.hold()
	kit.ErrorIs(t, a.until(adapter.Degraded), nats.ErrStaleConnection, "the reason")
	p.release()
	a.until(adapter.Connected)
}

// TestFailedWriteEndsConnection lets a write fail of which nothing has left: nats.go would go on without what it had buffered.
func TestFailedWriteEndsConnection(t *testing.T) {
	s := natstest.NewServer(t)
	for name, option := range map[string]func(d *failingDialer) nats.Option{
		"CustomDialer": func(d *failingDialer) nats.Option { return nats.SetCustomDialer(d) },
		"InProcess":    func(d *failingDialer) nats.Option { return nats.InProcessServer(inProcess{d, s.URL()}) },
	} {
		t.Run(name, func(t *testing.T) {
			d := &failingDialer{}
			a, b := open(t, quiet(s.URL(), option(d))), open(t, quiet(s.URL()))
			a.until(adapter.Connected)
			d.fail()
			a.subscribe(room("x"))
			b.reaches(a, room("x"))
			kit.Equal(t, a.adapter.Stats().Connections, 2, "connections")
		})
	}
}

// TestFailedWriteOfMessage lets the write fail that a message makes which is larger than the buffer of nats.go.
func TestFailedWriteOfMessage(t *testing.T) {
	s := natstest.NewServer(t)
	d := &failingDialer{}
	a := open(t, quiet(s.URL(), nats.SetCustomDialer(d)))
	a.until(adapter.Connected)
	d.fail()
	err := a.Publish(t.Context(), room("x"), make([]byte, 64<<10))
	if !errors.Is(err, adapter.ErrUnavailable) || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Publish whose write fails: %v, want %v and why", err, adapter.ErrUnavailable)
	}
	a.until(adapter.Connected)
}

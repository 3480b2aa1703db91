package natstest

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/test/kit"
)

func connect(t *testing.T, url string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, nats.NoReconnect())
	kit.OK(t, err)
	t.Cleanup(nc.Close)
	return nc
}

// wait returns when closed says that a connection has ended.
func wait(t *testing.T, closed <-chan nats.Status) {
	t.Helper()
	select {
	case <-closed:
	case <-time.After(time.Minute):
		t.Fatal("the connection is still there")
	}
}

func TestRestart(t *testing.T) {
	s := NewServer(t)
	url := s.URL()
	nc := connect(t, url)
	closed := nc.StatusChanged(nats.CLOSED)
	kit.Equal(t, s.Clients(), 1, "clients")
	s.Shutdown()
	s.Shutdown()
	wait(t, closed)
	if _, err := nats.Connect(url); err == nil {
		t.Error("the server still accepts connections after Shutdown")
	}
	s.Restart()
	kit.Equal(t, s.URL(), url, "URL", "after Restart")
	connect(t, url)
	s.Restart()
	connect(t, url)
}

func TestDisconnect(t *testing.T) {
	s := NewServer(t)
	nc := connect(t, s.URL())
	closed := nc.StatusChanged(nats.CLOSED)
	s.Disconnect()
	wait(t, closed)
	connect(t, s.URL())
}

func TestClusterForwards(t *testing.T) {
	servers := NewCluster(t, 3)
	check := func() {
		t.Helper()
		a, b := connect(t, servers[0].URL()), connect(t, servers[2].URL())
		sub, err := a.SubscribeSync("x")
		kit.OK(t, err)
		kit.OK(t, a.Flush())
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
			kit.OK(t, b.Publish("x", nil))
			if _, err := sub.NextMsg(20 * time.Millisecond); err == nil {
				return
			}
		}
		t.Fatal("nothing arrives at another server")
	}
	check()
	servers[2].Restart()
	WaitForRoutes(t, servers...)
	check()
}

func TestLameDuck(t *testing.T) {
	s := NewServer(t)
	told := make(chan struct{}, 1)
	nc, err := nats.Connect(s.URL(), nats.NoReconnect(), nats.LameDuckModeHandler(func(*nats.Conn) {
		select {
		case told <- struct{}{}:
		default:
		}
	}))
	kit.OK(t, err)
	t.Cleanup(nc.Close)
	s.LameDuck()
	select {
	case <-told:
	case <-time.After(time.Minute):
		t.Fatal("the client was not told")
	}
	if nc.IsClosed() || !s.Running() {
		t.Error("the client was told and disconnected at once, want a second of grace")
	}
	s.LameDuck() // it has been told
	for deadline := time.Now().Add(time.Minute); s.Running(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the server is up still")
		}
	}
	if got := fails(t, func(t testing.TB) { WaitForRoutes(t, s) }); !strings.Contains(got, s.URL()+" is down") {
		t.Errorf("WaitForRoutes says %q of a server that has gone", got)
	}
	s.Restart()
	if !s.Running() {
		t.Error("the server is not running after Restart")
	}
	connect(t, s.URL())
	s.LameDuck()
	s.Restart() // before it has gone
	if !s.Running() {
		t.Error("the server is not running after a Restart that has cut LameDuck short")
	}
	connect(t, s.URL())
}

// A failing is a test that keeps to itself why it fails.
type failing struct {
	testing.TB
	text string
}

func (f *failing) Fatalf(format string, args ...any) {
	f.text = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// fails returns why a test that does f fails.
func fails(t *testing.T, f func(t testing.TB)) string {
	test, done := &failing{TB: t}, make(chan struct{})
	go func() {
		defer close(done)
		f(test)
	}()
	<-done
	return test.text
}

func TestURLs(t *testing.T) {
	a, b := NewServer(t), NewServer(t)
	if got, want := URLs(a, b), a.URL()+","+b.URL(); got != want {
		t.Errorf("URLs %s, want %s", got, want)
	}
}

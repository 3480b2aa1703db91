package wsserver_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// TestSetLimits: each limit that can change holds from then on.
func TestSetLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := everyNamespace(t, wsserver.Config{HTTP: wsserver.HTTPConfig{TrustedProxies: proxy, Key: keyOf}})
		g := guest{t, srv, "polling", "198.51.100.1", "k"}
		g.want("", "")
		g.want("", "")
		for _, test := range []struct {
			limits       wsserver.Limits
			status, text string
		}{
			{wsserver.Limits{MaxConnections: 2}, "503", "as many"},
			{wsserver.Limits{PerAddress: 1}, "", ""}, // counts from now on
			{wsserver.Limits{PerAddress: 1}, "429", "address"},
			{wsserver.Limits{PerKey: 1}, "", ""},
			{wsserver.Limits{PerKey: 1}, "429", "key"},
			{wsserver.Limits{HandshakeBytes: 2}, "431", "too large"},
			{wsserver.Limits{}, "", ""},
		} {
			kit.OK(t, srv.SetLimits(test.limits))
			g.want(test.status, test.text)
		}
		set := func(l wsserver.Limits) {
			kit.OK(t, srv.SetLimits(l))
		}
		c := wstest.Dial(t, srv, wstest.Config{Namespace: "/a"})
		set(wsserver.Limits{MaxNamespaces: 1})
		if _, refusal := c.Try("/b", nil); !strings.Contains(string(refusal), "too many namespaces") {
			t.Errorf("MaxNamespaces: got %q", refusal)
		}
		set(wsserver.Limits{MaxSockets: 1})
		if _, refusal := c.Try("/b", nil); !strings.Contains(string(refusal), "on one connection") {
			t.Errorf("MaxSockets: got %q", refusal)
		}
		set(wsserver.Limits{})
		c.Of("/b", nil).EmitWithAck("echo")
	})
}

// TestSetMaxEvents: the bound of events that wait changes for sockets that there are.
func TestSetMaxEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, wsserver.Config{PingInterval: time.Hour})
		release := make(chan struct{})
		srv.Of("/").On("wait", func(context.Context, *wsserver.Event) error { <-release; return nil })
		c := wstest.Dial(t, srv, wstest.Config{})
		kit.OK(t, srv.SetLimits(wsserver.Limits{MaxEvents: 3}))
		for range 20 {
			c.Emit("wait")
			synctest.Wait()
		}
		if got := srv.Stats().Events; got != 4 { // one is handled
			t.Errorf("%d events were read, want 4", got)
		}
		close(release)
		c.EmitWithAck("echo")
	})
}

// TestSetWrongLimits: what is wrong or cannot change is named, and then nothing changes.
func TestSetWrongLimits(t *testing.T) {
	srv := newServer(t, wsserver.Config{Limits: wsserver.Limits{MaxPayload: 5000, SlowAfter: time.Second, PerAddress: 7}})
	same := wsserver.Limits{MaxPayload: 5000, SlowAfter: time.Second}
	for field, change := range map[string]func(*wsserver.Limits){
		"MaxPayload":     func(l *wsserver.Limits) { l.MaxPayload = 5001 },
		"Packet":         func(l *wsserver.Limits) { l.Packet = packet.Limits{Depth: 7} },
		"QueueBytes":     func(l *wsserver.Limits) { l.QueueBytes = 7 },
		"SlowRate":       func(l *wsserver.Limits) { l.SlowRate = 7 },
		"SlowAfter":      func(l *wsserver.Limits) { l.SlowAfter = 7 },
		"BehindFor":      func(l *wsserver.Limits) { l.BehindFor = 7 },
		"MaxConnections": func(l *wsserver.Limits) { l.MaxConnections = -1 },
		"HandshakeWait":  func(l *wsserver.Limits) { l.HandshakeWait = -1 },
		"ByteRate":       func(l *wsserver.Limits) { l.ByteRate = 100 },
		"EventBurst":     func(l *wsserver.Limits) { l.EventBurst = 100 },
		"PerKey":         func(l *wsserver.Limits) { l.PerKey = 100 },
	} {
		l := same
		l.MaxConnections = 1
		change(&l)
		err := srv.SetLimits(l)
		if err == nil || !strings.HasPrefix(err.Error(), "wsserver: SetLimits: Limits."+field+": ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v", field, err)
		}
	}
	g := guest{t: t, srv: srv, transport: "polling"}
	g.want("", "")
	g.want("", "")
	same.MaxConnections = 1
	kit.OK(t, srv.SetLimits(same))
	g.want("503", "as many")

	unusable := newServer(t, wsserver.Config{Limits: wsserver.Limits{MaxPayload: -1}})
	if err := unusable.SetLimits(wsserver.Limits{}); err == nil || !strings.Contains(err.Error(), "MaxPayload") {
		t.Errorf("a server that is not usable: got %v", err)
	}
}

// TestSetLimitsConcurrently is for the race detector, and what it ends with holds.
func TestSetLimitsConcurrently(t *testing.T) {
	srv := newServer(t, wsserver.Config{})
	var done sync.WaitGroup
	for i := range 4 {
		done.Go(func() {
			for n := range 50 {
				if err := srv.SetLimits(wsserver.Limits{EventRate: 1000 * (n % 2), Handshakes: 1000 * i, MaxEvents: n, BudgetBytes: 10<<20 + n}); err != nil {
					t.Error(err)
				}
			}
		})
		done.Go(func() {
			c := wstest.Dial(t, srv, wstest.Config{})
			for range 50 {
				c.EmitWithAck("echo", 1)
			}
		})
	}
	done.Wait()
}

// TestMaxRooms: a socket joins exactly so many rooms; a call that would join more joins none, and rooms that were left make room.
func TestMaxRooms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log kit.Log
		srv := newServer(t, wsserver.Config{Limits: wsserver.Limits{MaxRooms: 3}, Logger: log.Logger()})
		s, other := socketOf(t, srv, wstest.Dial(t, srv, wstest.Config{})), socketOf(t, srv, wstest.Dial(t, srv, wstest.Config{}))
		join := func(want error, rooms ...string) {
			t.Helper()
			before := len(s.Rooms())
			if err := s.Join(t.Context(), rooms...); !errors.Is(err, want) {
				t.Errorf("%q: got %v, want %v", rooms, err, want)
			}
			if want != nil && len(s.Rooms()) != before {
				t.Errorf("%q: some were joined: %q", rooms, s.Rooms())
			}
		}
		join(wsserver.ErrTooManyRooms, "a", "b", "c", "d")
		join(nil, "a", "b", "a", "b", s.ID())
		join(wsserver.ErrTooManyRooms, "c", "d")
		join(nil, "c", "a")
		join(wsserver.ErrTooManyRooms, "d")
		join(nil, "a", "b", "c")
		s.Leave(s.ID())
		join(wsserver.ErrTooManyRooms, "d")
		join(nil, s.ID())
		s.Leave("a")
		join(nil, "d")
		kit.OK(t, other.Join(t.Context(), "x", "y", "z"), "another socket")
		kit.Equal(t, srv.Stats().Declined, (wsserver.Declined{Rooms: 4}), "declined: 4 joins")
		if got := strings.Count(log.String(), "MaxRooms"); got != 1 {
			t.Errorf("%d lines in the log, want 1:\n%s", got, log.String())
		}
		if err := srv.All().SocketsJoin(t.Context(), "by the program"); err != nil || len(s.Rooms()) != 5 {
			t.Errorf("SocketsJoin: got %v, %q", err, s.Rooms())
		}
	})
}

// TestMaxRoomsConcurrently: joins of one socket that run at the same time do not join more either.
func TestMaxRoomsConcurrently(t *testing.T) {
	srv := newServer(t, wsserver.Config{Limits: wsserver.Limits{MaxRooms: 3}})
	s := socketOf(t, srv, wstest.Dial(t, srv, wstest.Config{}))
	var joins sync.WaitGroup
	for i := range 50 {
		joins.Go(func() { s.Join(t.Context(), fmt.Sprint(i)) })
	}
	joins.Wait()
	kit.Equal(t, len(s.Rooms()), 4, "rooms: 3 and its own")
}

// TestNamespacesPerAddress: the clients of an address make so many namespaces, with however many connections, and join others' beyond.
func TestNamespacesPerAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := everyNamespace(t, wsserver.Config{
			Limits: wsserver.Limits{NamespacesPerAddress: 3, MaxNamespaces: 5},
			HTTP:   wsserver.HTTPConfig{TrustedProxies: proxy},
		})
		dial := func(address string) *wstest.Client {
			return wstest.Dial(t, srv, wstest.Config{Header: guest{address: address}.header()})
		}
		one, two, other := dial("198.51.100.1"), dial("198.51.100.1"), dial("198.51.100.2")
		refused := func(c *wstest.Client, namespace string) {
			t.Helper()
			if _, refusal := c.Try(namespace, nil); !strings.Contains(string(refusal), "too many namespaces") {
				t.Errorf("%s: got %q", namespace, refusal)
			}
		}
		first := one.Of("/1", nil)
		one.Of("/2", nil)
		third := two.Of("/3", nil)
		refused(one, "/4")
		refused(two, "/4")
		other.Of("/4", nil)
		one.Of("/4", nil) // made by another
		first.Disconnect()
		third.Disconnect()
		synctest.Wait()
		two.Of("/1", nil)
		one.Of("/1", nil)
		srv.Of("/1") // the program's own from now on
		two.Of("/5", nil)
		two.Of("/6", nil)
		refused(two, "/7")
		other.Of("/7", nil)
		refused(other, "/8") // of all
		kit.Equal(t, srv.Stats().Declined, (wsserver.Declined{AddressNamespaces: 3, Namespaces: 1}))
	})
}

package test

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
)

// TestDrainStorm: a server that drains ends connections no faster than its rate, over sockets of the kernel. With -storm it is 3,000 clients at
// 1,000 a second, on a quiet machine, and no 100 ms may have more than 20 % above that; when they are back also depends on what runs the clients.
func TestDrainStorm(t *testing.T) {
	clients, rate := 300, 100
	if *storms > 0 {
		clients, rate = 3000, 1000
	}
	var servers [2]*wsserver.Server
	var addresses [2]string
	for i := range servers {
		servers[i] = newServer(t, wsserver.Config{})
		l := kit.Must(net.Listen("tcp", "127.0.0.1:0"))(t)
		web := &http.Server{Handler: servers[i]}
		go web.Serve(l)
		t.Cleanup(func() { web.Close() })
		addresses[i] = l.Addr().String()
	}
	var mu sync.Mutex                 // guards what follows
	var ended, left, back []time.Time // for the server; as its clients see it; and where they are back
	note := func(times *[]time.Time) {
		mu.Lock()
		defer mu.Unlock()
		*times = append(*times, time.Now())
	}
	servers[0].Of("/").OnDisconnect(func(context.Context, *wsserver.Socket, error) { note(&ended) })
	var gone sync.WaitGroup
	hold := make(chan struct{})
	begin := func() {
		nc, r, _, err := stormSocket(addresses[0], "")
		if err != nil {
			t.Errorf("a client cannot connect: %v", err)
			return
		}
		gone.Go(func() {
			defer nc.Close()
			for {
				message, err := readMessage(nc, r)
				switch {
				case err != nil:
					t.Errorf("a client has no close frame: %v", err)
					return
				case message == "2":
					nc.Write(masked(ws.OpText, "3"))
				case message == "\x03\xe9": // 1001
					note(&left)
					nc.Close()
					again, _, _, err := stormSocket(addresses[1], "")
					if err != nil {
						t.Errorf("a client cannot come back: %v", err)
						return
					}
					note(&back)
					defer again.Close()
					<-hold
					return
				}
			}
		})
	}
	var connecting sync.WaitGroup
	for range 50 {
		connecting.Go(func() {
			for range clients / 50 {
				begin()
			}
		})
	}
	connecting.Wait()
	began := time.Now()
	kit.OK(t, servers[0].Drain(t.Context(), wsserver.Drain{Notice: -1, Over: time.Second, Rate: rate}))
	took := time.Since(began)
	kit.Eventually(t, "the clients to be back", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(back) == clients || t.Failed()
	})
	close(hold)
	gone.Wait()
	for _, times := range []struct {
		what string
		at   []time.Time
	}{{"ended", ended}, {"left", left}, {"back", back}} {
		slices.SortFunc(times.at, time.Time.Compare)
		most := mostWithin(times.at, 100*time.Millisecond)
		t.Logf("%d clients %s within %v, at most %d within 100 ms, %d within a second; Drain took %v", clients, times.what,
			times.at[len(times.at)-1].Sub(times.at[0]).Round(time.Millisecond), most, mostWithin(times.at, time.Second), took.Round(time.Millisecond))
		if *storms > 0 && times.what == "ended" && float64(most) > 1.2*float64(rate)/10 {
			t.Errorf("%d clients %s within 100 ms, want at most 20 %% more than %d", most, times.what, rate/10)
		}
	}
	if least := time.Duration(clients) * time.Second / time.Duration(rate) * 9 / 10; took < least {
		t.Errorf("Drain took %v, want at least %v: the rate does not bite", took, least)
	}
	if s := servers[0].Stats(); s.Drain.Ended != clients || s.Drain.Cut != 0 || s.Connections != 0 {
		t.Errorf("%+v, %d connections", s.Drain, s.Connections)
	}
}

// mostWithin is how many of times, which are sorted, are within a window.
func mostWithin(times []time.Time, window time.Duration) (n int) {
	for i, from := range times {
		end, _ := slices.BinarySearchFunc(times, from.Add(window), time.Time.Compare)
		n = max(n, end-i)
	}
	return n
}

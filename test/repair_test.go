package test

import (
	"encoding/binary"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/natstest"
)

// tally is a member that checks what it gets: numbers of each origin in each room, in order, each once.
type tally struct {
	probe
	mu      sync.Mutex // guards what follows
	last    map[string]uint64
	count   map[int]int // by origin
	trouble []string
}

func (c *tally) Deliver(frame any) bool {
	b := frame.([]byte)
	origin, room, n := int(b[0]), string(b[1:3]), binary.BigEndian.Uint64(b[3:])
	c.mu.Lock()
	defer c.mu.Unlock()
	key := fmt.Sprint(origin, room)
	if last, ok := c.last[key]; ok && n <= last && len(c.trouble) < 10 {
		c.trouble = append(c.trouble, fmt.Sprintf("number %d of node %d in room %s after %d", n, origin, room, last))
	}
	c.last[key] = n
	c.count[origin]++
	return true
}

// TestBrokersFail has three nodes broadcast to each other's rooms while their NATS servers are shut down and started again, one after the
// other, and all at once, and connections break. Every broadcast reaches every member that is due, once, and in order in each room; what NATS
// has lost of them is counted, so that it is seen that something was lost at all.
func TestBrokersFail(t *testing.T) {
	const nodes, roomCount = 3, 10
	servers := natstest.NewCluster(t, 3)
	var hubs []*adapter.Hub
	var rooms []*adapter.Rooms
	var members []*tally
	for i := range nodes {
		h, r := newHub(t, natsadapter.New(natsadapter.Config{
			URL: servers[i].URL(), Cluster: "test", Logger: testLogger(t),
			Options: []nats.Option{nats.ReconnectWait(20 * time.Millisecond), nats.ReconnectJitter(0, 0)},
		}))
		m := &tally{last: make(map[string]uint64), count: make(map[int]int)}
		id := h.NewID()
		if err := r.Add(t.Context(), id, m); err != nil {
			t.Fatal(err)
		}
		hubs, rooms, members = append(hubs, h), append(rooms, r), append(members, m)
		for room := range roomCount {
			if err := r.Join(t.Context(), id, fmt.Sprintf("r%d", room)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, h := range hubs {
		waitForHub(t, h, nodes-1)
	}

	stop := make(chan struct{})
	var emitting sync.WaitGroup
	var sent [nodes]int
	for origin := range nodes {
		emitting.Go(func() {
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for n := uint64(0); ; n++ {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				room := fmt.Sprintf("r%d", n%roomCount)
				payload := binary.BigEndian.AppendUint64(append([]byte{byte(origin)}, room...), n)
				if err := rooms[origin].Broadcast(adapter.Broadcast{Rooms: []string{room}, Payload: payload}); err != nil {
					t.Errorf("node %d: %v", origin, err)
				}
				sent[origin]++
			}
		})
	}
	pause := func(d time.Duration) { <-time.After(d) }
	for i, s := range servers {
		pause(200 * time.Millisecond)
		s.Shutdown()
		pause(200 * time.Millisecond)
		s.Restart()
		pause(200 * time.Millisecond)
		servers[(i+1)%3].Disconnect()
	}
	for _, s := range servers {
		s.Shutdown()
	}
	pause(300 * time.Millisecond)
	for _, s := range servers {
		s.Restart()
	}
	natstest.WaitForRoutes(t, servers...)
	pause(200 * time.Millisecond)
	close(stop)
	emitting.Wait()

	missing := func() (what string) {
		for i, m := range members {
			m.mu.Lock()
			for origin, n := range sent {
				if got := m.count[origin]; got != n {
					what = fmt.Sprintf("the member of node %d has %d of %d broadcasts of node %d", i, got, n, origin)
				}
			}
			m.mu.Unlock()
		}
		return what
	}
	for deadline := time.Now().Add(20 * time.Second); missing() != ""; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("%s", missing())
			break
		}
	}
	var repaired uint64
	for i, m := range members {
		s := hubs[i].Stats()
		repaired += s.Repaired
		if len(m.trouble) > 0 || s.Missed+s.Unknown > 0 {
			t.Errorf("node %d: %v, %d missed, %d unknown", i, m.trouble, s.Missed, s.Unknown)
		}
	}
	t.Logf("%d broadcasts, %d of their deliveries repaired", sent[0]+sent[1]+sent[2], repaired)
	if repaired == 0 {
		t.Error("nothing was lost on the way: this test cannot tell whether there is repair")
	}
}

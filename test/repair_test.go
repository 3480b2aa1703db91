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

// A choir is nodes that broadcast to each other's rooms all the time, with a member on each that is in all rooms and checks what it gets.
type choir struct {
	t       *testing.T
	hubs    []*adapter.Hub
	rooms   []*adapter.Rooms
	members []*tally
	sent    []int // by node

	stop    chan struct{}
	singing sync.WaitGroup
}

const choirRooms = 10

// newChoir starts a node for each adapter, which broadcasts every millisecond.
func newChoir(t *testing.T, adapters ...adapter.Adapter) *choir {
	c := &choir{t: t, sent: make([]int, len(adapters)), stop: make(chan struct{})}
	for _, a := range adapters {
		h, r := newHub(t, a)
		m := &tally{last: make(map[string]uint64), count: make(map[int]int)}
		id := h.NewID()
		if err := r.Add(t.Context(), id, m); err != nil {
			t.Fatal(err)
		}
		for room := range choirRooms {
			if err := r.Join(t.Context(), id, fmt.Sprintf("r%d", room)); err != nil {
				t.Fatal(err)
			}
		}
		c.hubs, c.rooms, c.members = append(c.hubs, h), append(c.rooms, r), append(c.members, m)
	}
	for _, h := range c.hubs {
		waitForHub(t, h, len(adapters)-1)
	}
	for origin := range c.hubs {
		c.singing.Go(func() { c.sing(origin) })
	}
	return c
}

func (c *choir) sing(origin int) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for n := uint64(0); ; n++ {
		select {
		case <-c.stop:
			return
		case <-tick.C:
		}
		room := fmt.Sprintf("r%d", n%choirRooms)
		payload := binary.BigEndian.AppendUint64(append([]byte{byte(origin)}, room...), n)
		if err := c.rooms[origin].Broadcast(adapter.Broadcast{Rooms: []string{room}, Payload: payload}); err != nil {
			c.t.Errorf("node %d: %v", origin, err)
		}
		c.sent[origin]++
	}
}

// end stops the broadcasts, when all is well again, and checks that every member has got every one, once, and in order in each room.
func (c *choir) end() {
	c.t.Helper()
	close(c.stop)
	c.singing.Wait()
	for deadline := time.Now().Add(20 * time.Second); c.missing() != ""; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Errorf("%s", c.missing())
			break
		}
	}
	var total int
	var s adapter.Stats
	for i, m := range c.members {
		one := c.hubs[i].Stats()
		total += c.sent[i]
		s.Repaired, s.Stale, s.Overtaken = s.Repaired+one.Repaired, s.Stale+one.Stale, s.Overtaken+one.Overtaken
		m.mu.Lock()
		if len(m.trouble) > 0 || one.Missed+one.Unknown > 0 {
			c.t.Errorf("node %d: %v, %d missed, %d unknown", i, m.trouble, one.Missed, one.Unknown)
		}
		m.mu.Unlock()
	}
	c.t.Logf("%d broadcasts to %d nodes each: %d deliveries repaired, %d overtaken by others of another room; %d came too late",
		total, len(c.hubs)-1, s.Repaired, s.Overtaken, s.Stale)
	if s.Repaired == 0 {
		c.t.Error("nothing was lost on the way: this test cannot tell whether there is repair")
	}
}

// missing says what has not come yet.
func (c *choir) missing() (what string) {
	for i, m := range c.members {
		m.mu.Lock()
		for origin, n := range c.sent {
			if got := m.count[origin]; got != n {
				what = fmt.Sprintf("the member of node %d has %d of %d broadcasts of node %d", i, got, n, origin)
			}
		}
		m.mu.Unlock()
	}
	return what
}

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

// TestBrokersFail has nodes broadcast to each other while their NATS servers are shut down and started again, one after the other, and all
// at once, and connections break. Every broadcast reaches every member that is due, once, and in order in each room.
func TestBrokersFail(t *testing.T) {
	servers := natstest.NewCluster(t, 3)
	var adapters []adapter.Adapter
	for _, s := range servers {
		adapters = append(adapters, natsadapter.New(natsadapter.Config{
			URL: s.URL(), Cluster: "test", Logger: testLogger(t),
			Options: []nats.Option{nats.ReconnectWait(20 * time.Millisecond), nats.ReconnectJitter(0, 0)},
		}))
	}
	c := newChoir(t, adapters...)
	pause := func(d time.Duration) { <-time.After(d) } // for traffic, not for an event
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
	c.end()
}

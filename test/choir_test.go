package test

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/cluster"
)

// A choir is nodes that broadcast to each other's rooms all the time, with a member on each that is in all rooms and checks what it gets.
type choir struct {
	t      *testing.T
	voices []*singer
}

// A report is what a singer has sent, and what its member has got.
type report struct {
	Sent    int
	Got     []int // by origin
	Trouble []string
	Stats   cluster.Stats
}

const (
	choirRooms = 10
	maxVoices  = 8
)

// join adds a node in this process.
func (c *choir) join(a adapter.Adapter) {
	c.t.Helper()
	h, _ := newHub(c.t, a)
	s, err := newSinger(h, len(c.voices))
	if err != nil {
		c.t.Fatal(err)
	}
	c.voices = append(c.voices, s)
}

// begin begins when all know each other.
func (c *choir) begin() {
	c.t.Helper()
	for _, v := range c.voices {
		if err := v.meet(len(c.voices) - 1); err != nil {
			c.t.Fatal(err)
		}
	}
	for _, v := range c.voices {
		v.sing()
	}
}

// end ends the broadcasts, when all is well again, and checks that every member has got every one, once, and in order in each room.
func (c *choir) end() {
	c.t.Helper()
	for _, v := range c.voices {
		v.hush()
	}
	var reports []report
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		reports = nil
		for _, v := range c.voices {
			reports = append(reports, v.report())
		}
		what := missing(reports)
		if what == "" {
			break
		}
		if time.Now().After(deadline) {
			c.t.Error(what)
			break
		}
	}
	var total int
	var s cluster.Stats
	for i, r := range reports {
		total += r.Sent
		s.Repaired, s.Stale, s.Overtaken = s.Repaired+r.Stats.Repaired, s.Stale+r.Stats.Stale, s.Overtaken+r.Stats.Overtaken
		if len(r.Trouble) > 0 || r.Stats.Missed+r.Stats.Unknown > 0 {
			c.t.Errorf("node %d: %v, %d missed, %d unknown", i, r.Trouble, r.Stats.Missed, r.Stats.Unknown)
		}
	}
	c.t.Logf("%d broadcasts to %d nodes each: %d deliveries repaired, %d overtaken by others of another room; %d came too late",
		total, len(c.voices)-1, s.Repaired, s.Overtaken, s.Stale)
	if s.Repaired == 0 {
		c.t.Error("nothing was lost on the way: this test cannot tell whether there is repair")
	}
}

// missing says what has not come yet.
func missing(reports []report) (what string) {
	for i, r := range reports {
		for origin, other := range reports {
			if r.Got[origin] != other.Sent {
				what = fmt.Sprintf("the member of node %d has %d of %d broadcasts of node %d", i, r.Got[origin], other.Sent, origin)
			}
		}
	}
	return what
}

// A singer is a node of a choir, which broadcasts every millisecond. It is also the member.
type singer struct {
	probe
	hub    *cluster.Hub
	rooms  *cluster.Rooms
	origin int

	stop    chan struct{}
	singing sync.WaitGroup

	mu   sync.Mutex // guards what follows
	last map[string]uint64
	rep  report
}

func newSinger(h *cluster.Hub, origin int) (*singer, error) {
	s := &singer{
		hub:    h,
		rooms:  h.Rooms("/", func(payload []byte, volatile bool) (any, error) { return payload, nil }),
		origin: origin,
		last:   make(map[string]uint64),
		rep:    report{Got: make([]int, maxVoices)},
	}
	id, err := add(context.Background(), h, s.rooms, s)
	if err != nil {
		return nil, err
	}
	for room := range choirRooms {
		if err := rejoin(func() error { return s.rooms.Join(context.Background(), id, fmt.Sprintf("r%d", room)) }); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *singer) meet(nodes int) error {
	for deadline := time.Now().Add(time.Minute); len(s.hub.Stats().Nodes) < nodes; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("node %s knows %v only", s.hub.Node(), s.hub.Stats().Nodes)
		}
	}
	return nil
}

func (s *singer) sing() {
	s.stop = make(chan struct{})
	s.singing.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for n := uint64(0); ; n++ {
			select {
			case <-s.stop:
				return
			case <-tick.C:
			}
			payload := binary.BigEndian.AppendUint64([]byte{byte(s.origin)}, n)
			err := s.rooms.Emit(cluster.Broadcast{Rooms: song(n), Except: []string{"elsewhere"}, Payload: payload})
			s.mu.Lock()
			if s.rep.Sent++; err != nil {
				s.trouble("broadcast %d: %v", n, err)
			}
			s.mu.Unlock()
		}
	})
}

func (s *singer) hush() {
	close(s.stop)
	s.singing.Wait()
}

func (s *singer) report() report {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rep.Stats = s.hub.Stats()
	s.rep.Stats.State.Reason = nil
	r := s.rep
	r.Got = append([]int(nil), r.Got...)
	return r
}

// trouble notes what must not be. s.mu must be held.
func (s *singer) trouble(format string, args ...any) {
	if len(s.rep.Trouble) < 10 {
		s.rep.Trouble = append(s.rep.Trouble, fmt.Sprintf(format, args...))
	}
}

// song is what broadcast n of a node names: one room every other time, else up to 8, which travel in one way or the other.
func song(n uint64) []string {
	size := uint64(1)
	if n%2 == 1 {
		size = 2 + n/2%7
	}
	rooms := make([]string, size)
	for i := range rooms {
		rooms[i] = fmt.Sprintf("r%d", (n/3+uint64(i))%choirRooms)
	}
	return rooms
}

// Deliver checks the numbers of each origin in each room: in order, each once.
func (s *singer) Deliver(frame any) bool {
	b := frame.([]byte)
	origin, n := int(b[0]), binary.BigEndian.Uint64(b[1:])
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, room := range song(n) {
		key := fmt.Sprint(origin, room)
		if last, ok := s.last[key]; ok && n <= last {
			s.trouble("number %d of node %d in room %s after %d", n, origin, room, last)
		}
		s.last[key] = n
	}
	s.rep.Got[origin]++
	return true
}

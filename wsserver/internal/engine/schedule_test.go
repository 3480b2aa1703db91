package engine

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver/internal/engineio"
)

var (
	schedules    = flag.Int("schedules", 1000, "how many schedules TestUpgradeSchedules runs")
	scheduleSeed = flag.Uint64("schedule", 0, "the only schedule that TestUpgradeSchedules runs, unless it is 0")
)

// TestUpgradeSchedules: a session that begins by polling has messages under way in both directions while WebSockets probe it, give up in
// many ways, and in the end one may take it over. Nothing is lost, doubled or reordered (Engine.IO 4, "Upgrade").
func TestUpgradeSchedules(t *testing.T) {
	if *scheduleSeed != 0 {
		runSchedule(t, *scheduleSeed, &totals{})
		return
	}
	n := *schedules
	if testing.Short() {
		n /= 10
	}
	var sum totals
	for seed := range n {
		runSchedule(t, uint64(seed+1), &sum)
		kit.Require(t, !t.Failed(), "schedule %d; run it alone with -schedule %[1]d", seed+1)
	}
	t.Logf("%+v", sum)
	if n >= 100 && (sum.Upgraded < n/4 || sum.Polled < n/10 || sum.Aborted < n/2 || sum.Up < 10*n || sum.Down < 10*n || sum.Noops < n/10) {
		t.Errorf("the schedules hold too little: %+v", sum)
	}
}

// totals say what the schedules held.
type totals struct {
	Upgraded, Polled, Aborted int // sessions that ended on a WebSocket, by polling; probes that came to nothing
	Up, Down                  int // messages
	Noops                     int // polls that a probe ended
}

// A schedule is a client and the random decisions of its test.
type schedule struct {
	t     *testing.T
	r     *rig
	sid   string
	owner *owner
	sum   *totals

	mu      sync.Mutex
	random  *rand.Rand
	got     []string // what came from the server
	sent    int
	want    int  // messages of either side
	paused  bool // for an upgrade
	closing bool
	posting sync.Mutex     // held during a POST: there is one at a time
	busy    sync.WaitGroup // requests of the polling client under way
	fault   error
}

func runSchedule(t *testing.T, seed uint64, sum *totals) {
	t.Helper()
	ok := t.Run(fmt.Sprint(seed), func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, nil)
			s := &schedule{t: t, r: r, sum: sum, random: rand.New(rand.NewPCG(seed, 7)), want: 20 + int(seed%60)}
			s.sid = r.openPolling()
			s.owner = r.owner(s.sid)
			s.run()
		})
	})
	kit.Check(t, ok, "schedule %d failed", seed)
}

// n is a random number below n, and wait a random time, mostly short.
func (s *schedule) n(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.random.IntN(n)
}

func (s *schedule) wait() {
	scale := []time.Duration{0, time.Microsecond, time.Millisecond, 10 * time.Millisecond, 150 * time.Millisecond}[s.n(5)]
	time.Sleep(time.Duration(s.n(10)) * scale)
}

// message is the i-th of one side; every third is binary, and some are empty but for their number.
func message(side string, i int) string {
	if i%3 == 2 {
		return fmt.Sprintf("b%s%d\x00\xff\x1e", side, i)
	}
	return fmt.Sprintf("%s%d %s", side, i, strings.Repeat("é", i%7))
}

func (s *schedule) run() {
	var all sync.WaitGroup
	all.Go(func() { // the server's side
		for i := range s.want {
			s.wait()
			s.owner.send(message("down", i))
		}
	})
	stop := make(chan struct{})
	all.Go(func() { s.poller(stop) })
	upgraded := make(chan *socket, 1)
	all.Go(func() {
		defer close(upgraded)
		for range s.n(5) {
			s.wait()
			if ws := s.probe(); ws != nil {
				upgraded <- ws
				return
			}
		}
	})
	s.poster()
	if ws := <-upgraded; ws != nil {
		s.sum.Upgraded++
		close(stop)
		s.socket(ws)
		ws.nc.Close()
	} else {
		s.sum.Polled++
		s.posts(s.want)
		s.until(func() bool { return len(s.got) >= s.want })
		s.mu.Lock()
		s.closing = true
		s.mu.Unlock()
		s.post("1")
		close(stop)
	}
	all.Wait()
	<-s.owner.ended
	s.check("server", s.owner.messages(), "up")
	s.check("client", s.got, "down")
	if s.fault != nil {
		s.t.Error(s.fault)
	}
	s.sum.Up += s.want
	s.sum.Down += s.want
}

func (s *schedule) check(who string, got []string, side string) {
	for i := range max(len(got), s.want) {
		switch {
		case i >= len(got):
			s.t.Errorf("the %s got %d messages, want %d", who, len(got), s.want)
			return
		case i >= s.want || got[i] != message(side, i):
			s.t.Errorf("the %s's message %d of %d is %q, want %q", who, i, len(got), got[i], message(side, i))
			return
		}
	}
}

// until waits until done, called with s.mu, is true.
func (s *schedule) until(done func() bool) {
	for range 100_000 {
		s.mu.Lock()
		ok := done() || s.fault != nil
		s.mu.Unlock()
		if ok {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.t.Error("what is waited for does not happen")
}

// enter begins a request of the polling client, unless it is paused for an upgrade.
func (s *schedule) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.paused {
		s.busy.Add(1)
	}
	return !s.paused
}

func (s *schedule) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault == nil {
		s.fault = err
	}
}

// poller polls, one request after the other, until it is stopped.
func (s *schedule) poller(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		if !s.enter() {
			time.Sleep(time.Millisecond)
			continue
		}
		answer, payload, err := s.r.request(s.t.Context(), "GET", "EIO=4&transport=polling&sid="+s.sid, "")
		s.mu.Lock()
		closing := s.closing
		s.mu.Unlock()
		switch {
		case err != nil:
			s.failed(err)
		case answer.StatusCode == 400 && closing:
		case answer.StatusCode != 200:
			s.failed(fmt.Errorf("a poll was answered with %d, %q", answer.StatusCode, payload))
		default:
			for _, packet := range packets(s.t, payload) {
				ping, err := s.take(packet)
				if err != nil {
					s.failed(err)
				}
				if ping {
					s.busy.Go(func() { s.post("3") })
				}
			}
		}
		s.busy.Done()
		if err != nil {
			return
		}
		s.wait()
	}
}

// take handles a packet of the server, and reports whether it is a ping.
func (s *schedule) take(packet string) (ping bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case packet[0] == 'b':
		s.got = append(s.got, packet)
	case packet[0] == '4':
		s.got = append(s.got, packet[1:])
	case packet == "2":
		return true, nil
	case packet == "6":
		s.sum.Noops++
	default:
		return false, fmt.Errorf("the client got %q", packet)
	}
	return false, nil
}

// post sends a payload while the client polls.
func (s *schedule) post(payload string) {
	s.posting.Lock()
	defer s.posting.Unlock()
	kit.Want(s.t, s.r.post(s.sid, payload), "ok", "a POST was answered with")
}

// poster posts messages while the client polls, some of them in one request, until it is paused or has sent a random number of them.
func (s *schedule) poster() { s.posts(s.n(s.want + 1)) }

func (s *schedule) posts(most int) {
	for {
		s.wait()
		s.mu.Lock()
		if s.paused || s.sent >= most {
			s.mu.Unlock()
			return
		}
		s.busy.Add(1)
		var payload []byte
		for range min(1+s.random.IntN(5), most-s.sent) {
			m := message("up", s.sent)
			if rest, binary := strings.CutPrefix(m, "b"); binary {
				payload = engineio.AppendPacket(payload, true, []byte(rest))
			} else {
				payload = engineio.AppendPacket(payload, false, []byte("4"+m))
			}
			s.sent++
		}
		s.mu.Unlock()
		s.post(string(payload))
		s.busy.Done()
	}
}

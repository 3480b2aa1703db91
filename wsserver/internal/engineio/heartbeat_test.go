package engineio

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// client is a session with its deadline, as a server has it.
type client struct {
	deadlines                     *Deadlines
	interval, look, rest, timeout *Delay
	start                         time.Time
	answer                        time.Duration // from ping to pong; zero: none
	got                           time.Duration // from ping to when the client has it
	mu                            sync.Mutex    // guards what follows
	session                       State
	deadline                      Deadline
	pings                         []time.Duration
	ended                         time.Duration
}

func (c *client) wait(w Wait) {
	switch w {
	case WaitNothing:
		c.deadlines.Stop(&c.deadline)
	case WaitPing:
		c.interval.Arm(&c.deadline, c)
	case WaitTaken:
		c.look.Arm(&c.deadline, c)
	case WaitRest:
		c.rest.Arm(&c.deadline, c)
	case WaitPong:
		c.timeout.Arm(&c.deadline, c)
	}
}

func (c *client) Expired(d *Deadline) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.deadlines.Confirm(d) {
		return
	}
	var e Evidence
	if n := len(c.pings); n > 0 {
		e.Taken = time.Since(c.start)-c.pings[n-1] >= c.got
	}
	ping, next, err := c.session.Expired(e)
	c.wait(next)
	if err != nil {
		c.ended = time.Since(c.start)
	}
	if ping {
		c.pings = append(c.pings, time.Since(c.start))
		if c.answer > 0 {
			time.AfterFunc(c.answer, c.pong)
		}
	}
}

func (c *client) pong() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if event, _, _ := c.session.Receive(false, []byte("3")); event == EventPong {
		c.wait(WaitPing)
	}
}

func TestHeartbeat(t *testing.T) {
	const s = time.Second
	for _, test := range []struct {
		rule          string
		got, answer   time.Duration
		pause, resume time.Duration
		pings         []time.Duration
		ended         time.Duration
	}{
		{"interval from the last pong", 0, 2 * s, 0, 0, []time.Duration{25 * s, 52 * s, 79 * s, 106 * s}, 0},
		{"no answer", 0, 0, 0, 0, []time.Duration{25 * s}, 45 * s},
		{"answer just in time", 0, 20*s - 1, 0, 0, []time.Duration{25 * s, 70*s - 1, 115*s - 2}, 0},
		{"answer too late", 0, 20*s + 1, 0, 0, []time.Duration{25 * s}, 45 * s},
		{"a ping behind a message that takes half a minute", 30 * s, 32 * s, 0, 0, []time.Duration{25 * s, 82 * s}, 0},
		{"the same, and no answer", 30 * s, 0, 0, 0, []time.Duration{25 * s}, 75 * s},
		{"resumed after the client has got the ping", 0, 0, 30 * s, 40 * s, []time.Duration{25 * s}, 60 * s},
		{"a pause alone changes nothing", 0, 0, 10 * s, 0, []time.Duration{25 * s}, 45 * s},
	} {
		synctest.Test(t, func(t *testing.T) {
			deadlines := NewDeadlines()
			c := &client{
				deadlines: deadlines, interval: deadlines.Delay(25 * s), look: deadlines.Delay(s), rest: deadlines.Delay(19 * s),
				timeout: deadlines.Delay(20 * s), start: time.Now(), answer: test.answer, got: test.got,
			}
			c.wait(WaitPing)
			do := func(at time.Duration, f func() Wait) {
				if at > 0 {
					time.Sleep(at - time.Since(c.start))
					c.mu.Lock()
					c.wait(f())
					c.mu.Unlock()
				}
			}
			do(test.pause, func() Wait { c.session.Pause(); return WaitUnchanged })
			do(test.resume, c.session.Resume)
			time.Sleep(120*s - time.Since(c.start))
			deadlines.Close()
			time.Sleep(time.Minute) // for answers that are on their way
			c.mu.Lock()
			defer c.mu.Unlock()
			if !slices.Equal(c.pings, test.pings) || c.ended != test.ended {
				t.Errorf("%s: got pings at %v and the end at %v, want %v and %v", test.rule, c.pings, c.ended, test.pings, test.ended)
			}
		})
	}
}

package transport

import (
	"fmt"
	"github.com/belfry-io/belfry/test/kit"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A worker's time in these tests is that of the bubble: to inflate and deliver a message takes what its Receiver says.
type costs struct {
	cost time.Duration

	mu   sync.Mutex // guards what follows
	done int
	got  chan struct{}
}

func (c *costs) Message(bool, []byte) error {
	time.Sleep(c.cost)
	c.mu.Lock()
	c.done++
	c.mu.Unlock()
	select {
	case c.got <- struct{}{}:
	default:
	}
	return nil
}

func (c *costs) Fed(int, bool) {}
func (c *costs) HungUp()       {}
func (c *costs) Large()        {}
func (c *costs) Closing(error) {}
func (c *costs) Closed()       {}

// A crowd is shared in a bubble whose clients all compress.
type crowd struct {
	shared  *Shared
	clients sync.WaitGroup
	conns   []net.Conn
	sockets []*WebSocket

	mu     sync.Mutex      // guards what follows
	worked []time.Duration // when the worker began and ended a message, by turns
}

func newCrowd() *crowd {
	c := &crowd{shared: New(Config{MaxMessage: 100_000, Deflate: 1024, Logger: slog.New(slog.DiscardHandler)})}
	c.shared.inflating.most = 1
	c.shared.inflating.cpu = func() time.Duration {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.worked = append(c.worked, c.shared.inflating.now())
		return c.worked[len(c.worked)-1]
	}
	return c
}

// work returns when the worker began and ended a message until now, by turns.
func (c *crowd) work() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.worked)
}

func (c *crowd) join(cost time.Duration) (*costs, net.Conn) {
	near, far := net.Pipe()
	w, r := new(WebSocket), &costs{cost: cost, got: make(chan struct{}, 1)}
	c.shared.Serve(w, near, true, r)
	w.Start(nil)
	c.sockets, c.conns = append(c.sockets, w), append(c.conns, far)
	return r, far
}

// abuse has a client send for ever.
func (c *crowd) abuse(cost time.Duration, message []byte) *costs {
	r, far := c.join(cost)
	c.clients.Go(func() {
		for {
			if _, err := far.Write(slices.Clone(message)); err != nil {
				return
			}
		}
	})
	return r
}

func (c *crowd) close() {
	for i, w := range c.sockets {
		w.Abort()
		c.conns[i].Close()
	}
	c.shared.Close()
	c.clients.Wait()
}

// TestInflateFairness: beside clients that keep the workers busy for ever, the messages of another take little longer than alone, and all of
// the first get together what there is to spare, in equal parts.
func TestInflateFairness(t *testing.T) {
	long := client(0xc2, squeeze(strings.Repeat("hello, ", 10_000)))
	for _, test := range []struct {
		abusers int
		cost    time.Duration // of a message of theirs
		pause   time.Duration // of the others
		burst   bool          // the others begin with them
	}{
		{0, 0, 200 * time.Millisecond, true},
		{1, 10 * time.Millisecond, 200 * time.Millisecond, true},
		{8, 10 * time.Millisecond, 200 * time.Millisecond, true},
		{8, 10 * time.Millisecond, 200 * time.Millisecond, false},
		{8, time.Millisecond, 200 * time.Millisecond, false},
		{8, 100 * time.Millisecond, 200 * time.Millisecond, false},
		{100, 10 * time.Millisecond, 200 * time.Millisecond, true},
		{100, 10 * time.Millisecond, 200 * time.Millisecond, false},
		{300, 10 * time.Millisecond, time.Second, false},
	} {
		kit.Bubble(t, fmt.Sprintf("%d of %v, together %t", test.abusers, test.cost, test.burst), func(t *testing.T) {
			c := newCrowd()
			defer c.close()
			var abusers []*costs
			for range test.abusers {
				abusers = append(abusers, c.abuse(test.cost, long))
			}
			if !test.burst {
				time.Sleep(time.Minute)
			}
			count := func() (all, least, most int) {
				least = 1 << 30
				for _, a := range abusers {
					a.mu.Lock()
					all, least, most = all+a.done, min(least, a.done), max(most, a.done)
					a.mu.Unlock()
				}
				return all, least, most
			}
			before, _, _ := count()
			start := time.Now()
			const others, cost, messages = 20, time.Millisecond, 50
			var wait sync.WaitGroup
			for i := range others {
				r, far := c.join(cost)
				wait.Go(func() {
					time.Sleep(time.Duration(i) * 7 * time.Millisecond)
					for n := range messages {
						sent := time.Now()
						far.Write(slices.Clone(long))
						<-r.got
						// One message of an abuser's that has begun, and all the others' own; at first, one of each that is as new.
						most, all := test.cost+others*cost, time.Duration(test.abusers)*test.cost
						if test.burst && sent.Sub(start) < all+others*cost {
							most += all
						}
						if took := time.Since(sent); took > most {
							t.Errorf("message %d of a client that is within its budget took %v, want %v", n, took, most)
						}
						time.Sleep(test.pause)
					}
				})
			}
			wait.Wait()
			passed := time.Since(start)
			all, least, most := count()
			used := time.Duration(all-before) * test.cost
			budgets := passed/spareShare + time.Duration(test.abusers)*(passed/inflateShare+test.cost)
			if test.burst {
				budgets += time.Duration(test.abusers) * inflateBurst
			}
			kit.Check(t, used <= budgets,
				"the abusers got %v of %v, want %v at the most", used, passed, budgets)
			if test.abusers > 0 && (used < passed/spareShare*9/10-test.cost || most-least > 2) {
				t.Errorf("the abusers got %v of %v, each between %d and %d messages", used, passed, least, most)
			}
		})
	}
}

// TestInflateShares: a client alone gets its burst, and then its share and what is to spare; after a while it has a burst again.
func TestInflateShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd()
		defer c.close()
		const cost = 5 * time.Millisecond
		r, far := c.join(cost)
		long := client(0xc2, squeeze(strings.Repeat("hello, ", 10_000)))
		for round := range 3 {
			start := time.Now()
			for i := range 400 {
				far.Write(slices.Clone(long))
				<-r.got
				passed, used := time.Since(start), time.Duration(i+1)*cost
				if i == int(inflateBurst/cost)-1 && passed > used+cost {
					t.Errorf("round %d: the burst of %v took %v", round, used, passed)
				}
				if most := inflateBurst + passed/inflateShare + passed/spareShare + 2*cost; used > most {
					t.Fatalf("round %d: message %d: got %v of %v, want %v at the most", round, i, used, passed, most)
				}
			}
			if passed := time.Since(start); passed > 400*cost*spareShare {
				t.Errorf("round %d: %v of work took %v", round, 400*cost, passed)
			}
			time.Sleep(time.Duration(inflateShare) * 400 * cost)
		}
	})
}

// TestInflateInline: many small messages do not keep the one busy who reads: beyond what is granted they go to a worker.
func TestInflateInline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd()
		defer c.close()
		small := client(0xc2, squeeze("hello"))
		r, far := c.join(0)
		for range 100 {
			far.Write(slices.Clone(small))
			<-r.got
		}
		kit.Check(t, len(c.work()) == 0, "a worker had a small message of a client that had used nothing")
		const cost, clients, passed = maxInlineCost, 50, 500 * time.Millisecond
		var abusers []*costs
		for range clients {
			abusers = append(abusers, c.abuse(cost, small))
		}
		time.Sleep(passed)
		synctest.Wait()
		inline := time.Duration(0)
		for _, a := range abusers {
			a.mu.Lock()
			inline += time.Duration(a.done) * cost
			a.mu.Unlock()
		}
		worked := c.work()
		for i := 1; i < len(worked); i += 2 {
			inline -= worked[i] - worked[i-1]
		}
		// All of them may begin one at the same time.
		if most := passed/pollerShare + pollerBurst + clients*cost; inline > most || inline <= 0 {
			t.Errorf("%v of %v went by where messages are read, want %v at the most", inline, passed, most)
		}
	})
}

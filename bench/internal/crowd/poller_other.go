//go:build !linux

package crowd

import (
	"errors"
	"net/url"
	"time"
)

// A poller waits for a time, or to be woken: clients have goroutines on this system.
type poller struct{ wakeup chan struct{} }

func newPoller() (*poller, error) { return &poller{wakeup: make(chan struct{}, 1)}, nil }

func (p *poller) close() error { return nil }

// wake ends the wait that is going on, or the next one.
func (p *poller) wake() {
	select {
	case p.wakeup <- struct{}{}:
	default:
	}
}

// wait waits to be woken, or for limit, which is less than 0 if there is none.
func (p *poller) wait(limit time.Duration) (n int, err error) {
	if limit < 0 {
		<-p.wakeup
		return 0, nil
	}
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-p.wakeup:
	case <-t.C:
	}
	return 0, nil
}

// A ready is a descriptor with something to do, which does not exist here.
type ready struct{}

func (p *poller) event(int) ready { return ready{} }

func (c *Crowd) ready(ready) {}

// addresses are looked up by the dialer here.
type addresses = map[string]struct{}

// raw reports whether clients of a server are descriptors that the loop reads.
func raw(Config, *url.URL) bool { return false }

var errRaw = errors.New("no descriptors on this system")

func (c *Crowd) dialRaw(*client) error { return errRaw }

func allowFiles(int) error { return nil }

func cpuTime() time.Duration { return 0 }

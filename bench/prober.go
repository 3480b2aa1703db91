package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"
)

// A prober sends numbered messages to rooms at a steady rate, and notes when those of others come. The clock is the machine's, which all
// processes share.
type prober struct {
	id   byte
	stop chan struct{}
	done sync.WaitGroup

	mu   sync.Mutex
	sent []int64             // when message n was sent, in nanoseconds since 1970
	got  [maxProbers][]int64 // when message n of a prober came first; 0: not yet
	err  error
}

const (
	maxProbers = 8
	probeSize  = 64 // bytes of a message; the first probeHead of them have a meaning
	probeHead  = 1 + 4
	probeTick  = time.Millisecond
)

// probeArgs say what a prober sends.
type probeArgs struct {
	Rooms []string `json:"rooms"` // in turn
	Rate  int      `json:"rate"`  // messages a second
}

// probes is what a prober has noted: times in nanoseconds since 1970.
type probes struct {
	Sent []int64             `json:"sent"`
	Got  [maxProbers][]int64 `json:"got"` // by prober; 0 is never
}

// start sends until hush is called.
func (p *prober) start(args probeArgs, send func(room string, payload []byte) error) {
	p.stop = make(chan struct{})
	p.done.Go(func() {
		tick := time.NewTicker(probeTick)
		defer tick.Stop()
		begun := time.Now()
		for n := 0; ; {
			select {
			case <-tick.C:
			case <-p.stop:
				return
			}
			// What is due is sent at once, as many as a few ticks have: a process that was held up does not send what it missed.
			due := int(time.Since(begun).Seconds() * float64(args.Rate))
			if burst := max(1, args.Rate/100); due-n > burst {
				begun = begun.Add(time.Duration(float64(due-n-burst) / float64(args.Rate) * float64(time.Second)))
				due = n + burst
			}
			for ; n < due; n++ {
				payload := make([]byte, probeSize)
				payload[0] = p.id
				binary.BigEndian.PutUint32(payload[1:], uint32(n))
				p.mu.Lock()
				p.sent = append(p.sent, time.Now().UnixNano())
				p.mu.Unlock()
				if err := send(args.Rooms[n%len(args.Rooms)], payload); err != nil {
					p.fail(err)
				}
			}
		}
	})
}

// hush stops what start began.
func (p *prober) hush() {
	if p.stop != nil {
		close(p.stop)
		p.done.Wait()
		p.stop = nil
	}
}

// noted returns everything noted so far, and the first thing that went wrong.
func (p *prober) noted() (probes, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return probes{Sent: p.sent, Got: p.got}, p.err
}

// fail notes the first error.
func (p *prober) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
}

// receive notes a message that has come.
func (p *prober) receive(payload []byte) {
	now := time.Now().UnixNano()
	if len(payload) != probeSize || payload[0] >= maxProbers {
		p.fail(fmt.Errorf("a message of %d bytes that is none of the probers'", len(payload)))
		return
	}
	n := int(binary.BigEndian.Uint32(payload[1:probeHead]))
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.got[payload[0]]
	for len(list) <= n {
		list = append(list, 0)
	}
	if list[n] == 0 {
		list[n] = now
	}
	p.got[payload[0]] = list
}

// counts are how many messages of each prober have come.
func (p *prober) counts() (counts [maxProbers]int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, list := range p.got {
		for _, at := range list {
			if at != 0 {
				counts[i]++
			}
		}
	}
	return counts
}

// handlers are the requests that a role with a prober answers besides its own. send must not keep the payload.
func (p *prober) handlers(send func(room string, payload []byte) error) map[string]handler {
	return map[string]handler{
		"probe": handle(func(args probeArgs) (none, error) {
			if len(args.Rooms) == 0 || args.Rate <= 0 || p.stop != nil {
				return none{}, errors.New("want rooms, a rate, and no other probe")
			}
			p.start(args, send)
			return none{}, nil
		}),
		"counts": handle(func(none) ([maxProbers]int, error) { return p.counts(), nil }),
		"hush": handle(func(none) (none, error) {
			p.hush()
			return none{}, nil
		}),
		"probes": handle(func(none) (probes, error) { return p.noted() }),
		"memory": handle(func(none) (memory, error) { return usedMemory() }),
	}
}

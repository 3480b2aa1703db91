package cluster

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
)

// holder keeps the calls of the kind "poll" on a node, and what it is told of them.
type holder struct {
	calls chan *Held

	mu   sync.Mutex // guards what follows
	told map[*Held][]string
}

// holding has h hold calls.
func holding(h *Hub) *holder {
	k := &holder{calls: make(chan *Held, 100), told: make(map[*Held][]string)}
	h.HandleHeld("poll", func(c *Held) {
		k.note(c, string(c.Payload()))
		c.OnNote(func(note []byte) { k.note(c, string(note)) })
		c.OnEnd(func() { k.note(c, "end") })
		k.calls <- c
	})
	return k
}

func (k *holder) note(c *Held, text string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.told[c] = append(k.told[c], text)
}

// heard checks what was said of a call.
func (k *holder) heard(t *testing.T, c *Held, want ...string) {
	t.Helper()
	synctest.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	kit.EqualSlices(t, k.told[c], want, "told of the call")
}

// A poll is a held call under way.
type poll struct {
	answer []byte
	early  func([]byte) error
	note   func([]byte) error
	err    error
	took   time.Duration
	done   chan struct{}
}

// ask has h poll another node.
func ask1(t *testing.T, h *Hub, to *Hub, payload string) *poll {
	p := &poll{done: make(chan struct{})}
	start := time.Now()
	go func() {
		defer close(p.done)
		p.answer, p.note, p.err = h.CallHeld(t.Context(), to.Node(), "poll", []byte(payload),
			func(note func([]byte) error) { p.early = note })
		p.took = time.Since(start)
	}()
	return p
}

func TestCallHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, _ := cluster(t, 2)
		k := holding(hubs[1])
		p := ask1(t, hubs[0], hubs[1], "hello")
		c := <-k.calls
		kit.Equal(t, c.From(), hubs[0].Node(), "From")
		synctest.Wait()
		for i := range 10 {
			kit.OK(t, p.early(fmt.Append(nil, i)))
		}
		time.Sleep(time.Minute)
		kit.Equal(t, hubs[0].Stats().HeldCalls, 1, "HeldCalls of the asker")
		kit.Equal(t, hubs[1].Stats().Held, 1, "Held of the other")
		large := strings.Repeat("large ", 300_000)
		kit.OK(t, c.Answer([]byte(large)))
		<-p.done
		if p.err != nil || string(p.answer) != large {
			t.Fatalf("%d bytes, %v", len(p.answer), p.err)
		}
		kit.OK(t, p.note([]byte("done")))
		k.heard(t, c, slices.Concat([]string{"hello"}, strings.Fields("0 1 2 3 4 5 6 7 8 9"), []string{"done"})...)
		c.Done()
		kit.OK(t, p.note([]byte("too late")))
		k.heard(t, c, slices.Concat([]string{"hello"}, strings.Fields("0 1 2 3 4 5 6 7 8 9"), []string{"done"})...)
		idle(t, hubs...)
	})
}

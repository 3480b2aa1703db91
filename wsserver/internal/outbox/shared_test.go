package outbox

import (
	"math/rand/v2"
	"testing"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver/internal/budget"
)

// TestSharedOnce: a frame that several queues hold counts once, and is freed by the last of them.
func TestSharedOnce(t *testing.T) {
	b := budget.New(10_000)
	cfg := Config{Budget: b, Limit: 1000}
	x, y := newRig(cfg), newRig(cfg)
	g := NewGroup(cfg)
	t.Cleanup(g.Close)
	m := new(Mailbox)
	m.Init(g, new(owner))
	f := frame("12345")
	const once = 5 + frameOverhead
	want := func(what string, n int64) {
		t.Helper()
		kit.Want(t, b.Used(), n, what, "bytes are counted")
	}
	x.q.Append(f)
	y.q.Append(f)
	m.Append(f)
	want("three hold it", once)
	x.drain(t)
	want("one has written it", once)
	y.q.Close()
	want("one has dropped it", once)
	frames, _ := m.Take()
	want("it is fetched", once)
	if got := m.Waiting(); got.Bytes != 5 || got.Writing != 5 {
		t.Errorf("while it is fetched: %+v wait", got)
	}
	m.Close()
	want("it is written still", once)
	m.Done(frames)
	want("all are done", 0)
	if got := m.Waiting(); got.Bytes != 0 {
		t.Errorf("in the end: %+v wait", got)
	}
	twin := f.As(&Form{func(*Frame) []byte { return []byte("1") }})
	x.q.Append(f)
	z := newRig(cfg)
	z.q.Append(twin)
	want("its twin counts by itself", once+1+frameOverhead)
	x.drain(t)
	z.drain(t)
	want("both are written", 0)
}

// TestSharedModel does random steps with shared frames, until all queues have ended: nothing is counted then, and never less than nothing.
func TestSharedModel(t *testing.T) {
	start := rand.Uint64()
	twins := &Form{func(*Frame) []byte { return []byte("t;") }}
	for seed := start; seed < start+300; seed++ {
		r := rand.New(rand.NewPCG(seed, 3))
		b := budget.New(1 << 30)
		cfg := Config{Budget: b, Limit: 1 + r.IntN(500), NextEnd: semicolons}
		var queues []*rig
		for range 3 {
			w := newRig(cfg)
			w.owner.q = nil // it is closed in the midst of its own write
			w.sink.take = func(offered int) (int, error) {
				switch r.IntN(12) {
				case 0:
					w.q.Append(pingFrame())
				case 1:
					if r.IntN(10) == 0 {
						w.q.Close() // in flight
					}
				case 2:
					w.q.Append(&Frame{Bytes: []byte("v;v;"), Volatile: true})
				}
				return r.IntN(offered + 1), nil
			}
			queues = append(queues, w)
		}
		g := NewGroup(cfg)
		boxes := make([]Mailbox, 2)
		for i := range boxes {
			boxes[i].Init(g, new(owner))
		}
		var away [2][]*Frame
		most := int64(0)
		for range 300 {
			f := &Frame{Bytes: []byte("aaa;b;cccccc;dd;")[:4+2*r.IntN(2)], Volatile: r.IntN(4) == 0}
			send := func(q *Queue, f *Frame) {
				if r.IntN(4) == 0 {
					f = f.As(twins)
				}
				if r.IntN(2) == 0 {
					q.Send(f)
				} else {
					q.Append(f)
				}
			}
			switch r.IntN(3) {
			case 0:
				most += int64(len(f.Bytes)) + 2 + 2*frameOverhead
				for _, w := range queues {
					send(&w.q, f)
				}
				for i := range boxes {
					boxes[i].Append(f)
				}
			case 1:
				w := queues[r.IntN(len(queues))]
				w.q.Writable()
				w.step()
				if r.IntN(20) == 0 {
					w.q.DropVolatile()
				}
			case 2:
				i := r.IntN(len(boxes))
				boxes[i].Done(away[i])
				away[i], _ = boxes[i].Take()
				switch r.IntN(40) {
				case 0:
					boxes[i].MoveTo(&queues[r.IntN(len(queues))].q)
				case 1:
					boxes[i].Append(pingFrame())
				case 2:
					boxes[i].DropVolatile()
				}
			}
			if used := b.Used(); used < 0 || used > most+300*4+300*frameOverhead {
				t.Fatalf("seed %d: %d bytes are counted", seed, used)
			}
		}
		for i, w := range queues {
			w.sink.take = nil
			if i == 0 {
				w.q.CloseAfterFlush(frame("end;"))
				w.q.Writable()
				w.drain(t)
			}
			w.q.Close()
		}
		for i := range boxes {
			boxes[i].Done(away[i])
			boxes[i].Close()
		}
		g.Close()
		if used := b.Used(); used != 0 {
			t.Fatalf("seed %d: %d bytes are counted although nothing is left", seed, used)
		}
	}
}

// full is a sink that takes nothing.
type full struct{}

func (full) Write([]byte) (int, error)    { return 0, nil }
func (full) Writev([][]byte) (int, error) { return 0, nil }

// TestSharedInALane: the queues of a lane are done with the frames that they share in one round or in several, in the same places or in
// others, and with all that fits into a batch or with more: each frame is freed once the last of them is done.
func TestSharedInALane(t *testing.T) {
	for _, frames := range []int{1, 3, len(releases{}), 2*len(releases{}) + 1, 2 * maxBatch} {
		b := budget.New(1 << 30)
		h := newHeld(Config{Budget: b, Limit: 1 << 20})
		queues := make([]*Queue, 5)
		for i := range queues {
			queues[i] = new(Queue)
			queues[i].Init(h, nowhere{}, &owner{})
			for range i / 2 { // what follows has the same place in two queues, and another in others
				queues[i].Append(frame("own"))
			}
		}
		late := new(Queue)
		late.Init(h, full{}, &owner{})
		all := make([]*Frame, frames)
		for i := range all {
			all[i] = &Frame{Bytes: make([]byte, 1+i%100)}
			for _, q := range queues {
				q.Append(all[i])
			}
		}
		h.drain(t)
		kit.Want(t, b.Used(), 0, frames, "frames: bytes counted after all was written")
		size := int64(0)
		for _, f := range all {
			size += int64(len(f.Bytes)) + frameOverhead
			queues[0].Append(f)
			late.Append(f)
		}
		h.drain(t)
		if used := b.Used(); used < size {
			t.Errorf("%d frames: %d bytes are counted while a queue holds %d", frames, used, size)
		}
		late.Close()
		kit.Want(t, b.Used(), 0, frames, "frames: bytes counted in the end")
	}
}

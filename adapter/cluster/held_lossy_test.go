package cluster

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
	"github.com/belfry-io/belfry/adapter/internal/mesh"
	"github.com/belfry-io/belfry/test/kit"
)

// Whatever is lost on the way, each call is answered with its own answer, and its notes come in order.
func TestHeldOverLossyLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, sieves := sifted(t, 3)
		for i, s := range sieves {
			lossy := rand.New(rand.NewPCG(uint64(i), 1))
			s.set(func(*envelope.Message) bool { return lossy.IntN(5) == 0 })
		}
		k := holding(hubs[1])
		var polls []*poll
		for i := range 60 {
			p := ask1(t, hubs[i%2*2], hubs[1], fmt.Sprint("call ", i))
			polls = append(polls, p)
		}
		synctest.Wait()
		for _, p := range polls {
			for i := range 3 {
				kit.OK(t, p.early(fmt.Append(nil, "early ", i)))
			}
		}
		calls := make(map[string]*Held)
		for range polls {
			c := <-k.calls
			k.mu.Lock()
			calls[k.told[c][0]] = c
			k.mu.Unlock()
		}
		size := func(i int) int { return i % 7 * 30_000 }
		for i := range polls {
			name := fmt.Sprint("call ", i)
			kit.OK(t, calls[name].Answer([]byte(name+strings.Repeat("x", size(i)))))
		}
		for i, p := range polls {
			<-p.done
			if name := fmt.Sprint("call ", i); p.err != nil || string(p.answer) != name+strings.Repeat("x", size(i)) {
				t.Fatalf("%s: %d bytes, %.20q, %v", name, len(p.answer), p.answer, p.err)
			}
			kit.OK(t, p.note([]byte("late 0")))
			kit.OK(t, p.note([]byte("late 1")))
		}
		for i := range sieves {
			if sieves[i].set(nil) == 0 {
				t.Error("nothing was lost")
			}
		}
		time.Sleep(5 * time.Second)
		for i := range polls {
			name := fmt.Sprint("call ", i)
			k.heard(t, calls[name], name, "early 0", "early 1", "early 2", "late 0", "late 1")
			calls[name].Done()
		}
		idle(t, hubs...)
	})
}

// A node that is silent for a while has the call when it is back, and its answer comes, whichever of the two is cut off and whenever.
func TestHeldWhileSuspect(t *testing.T) {
	for _, away := range []string{"the asker", "the other"} {
		for _, early := range []bool{true, false} {
			kit.Bubble(t, fmt.Sprint(away, ", before the call: ", early), func(t *testing.T) {
				hubs, wires := cluster(t, 2)
				k := holding(hubs[1])
				wire := wires[0]
				if away == "the other" {
					wire = wires[1]
				}
				var p *poll
				if !early {
					p = ask1(t, hubs[0], hubs[1], "hello")
					settle()
				}
				wire.die()
				time.Sleep(5 * time.Second)
				if early {
					p = ask1(t, hubs[0], hubs[1], "hello")
				}
				synctest.Wait()
				if nodes, _ := hubs[0].Nodes(); !nodes[1].Suspect || p.early == nil {
					t.Fatalf("%v, want it to be suspect, and the call to be sent", nodes)
				}
				kit.OK(t, p.early([]byte("still here")))
				time.Sleep(10 * time.Second)
				wire.set(adapter.State{Status: adapter.Connected})
				c := <-k.calls
				time.Sleep(5 * time.Second)
				k.heard(t, c, "hello", "still here")
				wire.die()
				time.Sleep(5 * time.Second)
				kit.OK(t, c.Answer([]byte("answer")))
				k.heard(t, c, "hello", "still here")
				wire.set(adapter.State{Status: adapter.Connected})
				<-p.done
				if p.err != nil || string(p.answer) != "answer" {
					t.Fatalf("%q, %v", p.answer, p.err)
				}
				c.Done()
				idle(t, hubs...)
			})
		}
	}
}

// A node that is given up ends what it holds, and what is held for it.
func TestHeldWithDeadNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, wires := cluster(t, 2)
		k := holding(hubs[1])
		p := ask1(t, hubs[0], hubs[1], "hello")
		c := <-k.calls
		wires[1].die()
		time.Sleep(mesh.DeadAfter - time.Second)
		select {
		case <-p.done:
			t.Fatalf("after %v: %v", p.took, p.err)
		default:
		}
		k.heard(t, c, "hello")
		<-p.done
		kit.ErrorIs(t, p.err, ErrNode)
		time.Sleep(2 * time.Second)
		k.heard(t, c, "hello", "end")
		if c.Answer(nil) == nil || p.note != nil || p.early(nil) == nil {
			t.Error("who has gone was told something")
		}
		idle(t, hubs...)
	})
}

// What a node has said before it leaves comes, although it is lost at first: the answer to a call, and the notes about one.
func TestHeldBeforeLeaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs, sieves := sifted(t, 3)
		k := holding(hubs[1])
		p, q := ask1(t, hubs[0], hubs[1], "p"), ask1(t, hubs[0], hubs[1], "q")
		calls := []*Held{<-k.calls, <-k.calls}
		slices.SortFunc(calls, func(a, b *Held) int { return strings.Compare(k.told[a][0], k.told[b][0]) })
		sieves[0].set(func(m *envelope.Message) bool { return broadcasts(m) && m.From == hubs[1].Node() })
		kit.OK(t, calls[0].Answer([]byte("answer")))
		kit.OK(t, hubs[1].Close(t.Context()))
		<-p.done
		<-q.done
		if p.err != nil || string(p.answer) != "answer" {
			t.Errorf("%q, %v", p.answer, p.err)
		}
		kit.ErrorIs(t, q.err, ErrNode, "the call that was not answered")
		k.heard(t, calls[0], "p", "end")
		k.heard(t, calls[1], "q", "end")
		k = holding(hubs[2])
		r := ask1(t, hubs[0], hubs[2], "r")
		c := <-k.calls
		kit.OK(t, c.Answer(nil))
		<-r.done
		sieves[2].set(func(m *envelope.Message) bool { return broadcasts(m) && m.From == hubs[0].Node() })
		for i := range 3 {
			kit.OK(t, r.note(fmt.Append(nil, i)))
		}
		kit.OK(t, hubs[0].Close(t.Context()))
		k.heard(t, c, "r", "0", "1", "2", "end")
		idle(t, hubs...)
	})
}

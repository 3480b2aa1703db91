package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
	"github.com/belfry-io/belfry/adapter/internal/mesh"
	"github.com/belfry-io/belfry/test/kit"
)

// party is a cluster whose nodes can be cut off from the others, with notice and without, and be killed.
type party struct {
	t      *testing.T
	memory *adapter.Memory

	mu   sync.Mutex // guards what follows
	away map[string]bool
}

// guest is a node of a party, with a member in the room that is named.
type guest struct {
	*Hub
	party  *party
	sieve  *sieve
	member *member

	mu     sync.Mutex // guards what follows
	losses map[string][]Loss
}

func newParty(t *testing.T) *party {
	return &party{t: t, memory: new(adapter.Memory), away: make(map[string]bool)}
}

// open adds a node: a client where room is empty.
func (p *party) open(room string) *guest {
	p.t.Helper()
	g := &guest{party: p, sieve: newSieve(p.memory), losses: make(map[string][]Loss)}
	g.Hub = NewHub(HubConfig{Adapter: g.sieve, Client: room == "", Logger: silent, OnLoss: func(l Loss) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.losses[l.Node] = append(g.losses[l.Node], l)
	}})
	g.sieve.set(func(m *envelope.Message) bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.away[m.From] || p.away[g.Node()]
	})
	p.t.Cleanup(func() { g.Close(context.Background()) })
	if err := g.Ready(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	if room != "" {
		r, id := g.Rooms("/", frame), g.NewID()
		g.member = &member{remove: func() { r.Remove(id) }}
		p.confirmed(r.Add(p.t.Context(), id, g.member))
		p.confirmed(r.Join(p.t.Context(), id, room))
	}
	return g
}

// confirmed checks that a join was confirmed by all nodes but those that are away: a newcomer may hear of one of these from others.
func (p *party) confirmed(err error) {
	p.t.Helper()
	unfenced, ok := errors.AsType[*UnfencedError](err)
	p.mu.Lock()
	defer p.mu.Unlock()
	if ok && unfenced.Broker == nil && !slices.ContainsFunc(unfenced.Nodes, func(node string) bool { return !p.away[node] }) {
		return
	}
	if err != nil {
		p.t.Fatalf("join: %v", err)
	}
}

// cut takes g away from the others, or brings it back.
func (g *guest) cut(away, noticed bool) {
	g.party.mu.Lock()
	g.party.away[g.Node()] = away
	g.party.mu.Unlock()
	if noticed {
		g.sieve.wire.set(map[bool]adapter.State{true: {Status: adapter.Degraded, Reason: errors.New("cut")}, false: {Status: adapter.Connected}}[away])
	}
	synctest.Wait()
}

// kill ends g without a word.
func (g *guest) kill() { g.cut(true, true) }

// lost are the losses of what node has sent.
func (g *guest) lost(node string) []Loss {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.losses[node])
}

// count is how many losses are unknown, or are not.
func count(losses []Loss, unknown bool) (n int) {
	for _, l := range losses {
		if l.Unknown == unknown {
			n++
		}
	}
	return n
}

// emit sends ten broadcasts to red.
func (g *guest) emit() (payloads []string) {
	for i := range 10 {
		payloads = append(payloads, fmt.Sprint(g.Node(), " ", i))
		say(g.party.t, g.Hub, payloads[i], Broadcast{Rooms: []string{"red"}})
	}
	synctest.Wait() // they are with the broker
	return payloads
}

// names checks that Close has named these nodes, and no others.
func names(t *testing.T, err error, want ...*guest) {
	t.Helper()
	var ids []string
	for _, g := range want {
		ids = append(ids, g.Node())
	}
	slices.Sort(ids)
	var partial *PartialError
	errors.As(err, &partial)
	switch {
	case want == nil && err != nil:
		t.Errorf("Close: %v; want nil: all have everything", err)
	case want != nil && (partial == nil || !slices.Equal(partial.Nodes, ids)):
		t.Errorf("Close: %v; want a PartialError that names %v", err, ids)
	}
}

// A node is cut off, and another one emits and leaves, or is killed: Close names who is cut off, and it reports a loss when it is back, once. A node
// that was there all the time has everything, and reports nothing.
func TestPartingsWhileCutOff(t *testing.T) {
	type parting struct {
		begins string        // when the one that parts begins: before the cut, in it, or, a client, before or in it
		killed bool          // instead of Close
		notice bool          // the node that is cut off knows that it is
		others string        // the room of the node that stays; none: there is no such node
		gap    time.Duration // from the cut to the emission
		pause  time.Duration // from there to the parting
	}
	run := func(t *testing.T, c parting) {
		p := newParty(t)
		b := p.open("red")
		var stays *guest
		if c.others != "" {
			stays = p.open(c.others)
		}
		room := map[bool]string{true: "", false: "blue"}[c.begins == "a client before" || c.begins == "a client meanwhile"]
		early := c.begins == "before" || c.begins == "a client before"
		var x *guest
		if early {
			x = p.open(room)
		}
		time.Sleep(time.Second)
		b.cut(true, c.notice)
		time.Sleep(c.gap)
		if !early {
			x = p.open(room)
		}
		want := x.emit()
		time.Sleep(c.pause)
		if c.killed {
			x.kill()
		} else {
			names(t, closing(t, t.Context(), x.Hub, 0, 300*time.Millisecond), b)
		}
		time.Sleep(5*time.Second - c.gap - c.pause)
		b.cut(false, c.notice)
		patience := 3 * time.Second
		if c.killed || stays == nil {
			patience = mesh.DeadAfter + 3*time.Second
		}
		time.Sleep(patience)
		// What no Beat has named, the node that stays can tell if it has got it. A node that has missed a Beat does not know what else there was.
		exact, unknown := 0, 1
		if c.killed && c.pause == 0 && c.others == "red" {
			exact = 10
			if early && !c.notice && c.gap < time.Second {
				unknown = 0
			}
		}
		lost := b.lost(x.Node())
		if n := count(lost, true); n != unknown || len(lost)-n != exact {
			t.Errorf("%v after its return the node that was cut off has reported %v, want %d losses and %d unknown", patience, lost, exact, unknown)
		}
		kit.Equal(t, len(b.member.take()), 0, "broadcasts that came to it")
		if stays != nil && stays.member != nil && c.others == "red" {
			got(t, "the node that stays", stays.member, want...)
		}
		time.Sleep(5 * time.Minute)
		for _, g := range []*guest{b, stays} {
			if g == nil {
				continue
			}
			missed, unknown := exact, unknown
			if g != b {
				missed, unknown = 0, 0
			}
			if s := g.Stats(); int(s.Missed) != missed || int(s.Unknown) != unknown || len(s.Suspects) != 0 || len(s.Nodes) != map[bool]int{true: 1}[stays != nil] {
				t.Errorf("five minutes later: %+v, want %d missed and %d unknown", s, missed, unknown)
			}
		}
	}
	for _, begins := range []string{"before", "a client before", "meanwhile", "a client meanwhile"} {
		for _, killed := range []bool{false, true} {
			for _, notice := range []bool{false, true} {
				for _, others := range []string{"red", "blue", ""} {
					for _, gap := range []time.Duration{310 * time.Millisecond, 3210 * time.Millisecond} { // no Beat is due then
						for _, pause := range []time.Duration{0, time.Second} {
							early := begins == "before" || begins == "a client before"
							switch {
							case others == "" && (!notice || !early):
								continue // nobody knows of both
							case !early && !killed && others == "":
								continue
							case killed && early && !notice && others != "red" && gap < time.Second && pause == 0:
								continue // nobody has heard anything after the cut
							case !early && !killed && !notice && gap < time.Second && others == "":
								continue
							}
							c := parting{begins, killed, notice, others, gap, pause}
							t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { run(t, c) }) })
						}
					}
				}
			}
		}
	}
}

// Of several that leave while a node is cut off each names it, servers as well as clients, whatever time they have; who leaves when it is back
// names nobody, and who has sent nothing has nothing to be confirmed.
func TestCloseNamesWhoIsCutOff(t *testing.T) {
	for _, notice := range []bool{false, true} {
		for _, gap := range []time.Duration{0, 3 * time.Second, 20 * time.Second, 50 * time.Second} {
			for name, patience := range map[string]time.Duration{"no ctx": 0, "a short ctx": time.Millisecond, "a ctx that has ended": -1} {
				kit.Bubble(t, fmt.Sprintf("notice %v, %v, %s", notice, gap, name), func(t *testing.T) {
					p := newParty(t)
					b, c := p.open("red"), p.open("red")
					before, idle, later := p.open(""), p.open(""), p.open("")
					time.Sleep(time.Second)
					b.cut(true, notice)
					time.Sleep(gap)
					server, meanwhile := p.open("blue"), p.open("")
					for _, g := range []*guest{before, server, meanwhile} {
						g.emit()
					}
					for _, g := range []*guest{before, server, meanwhile} {
						ctx, cancel := t.Context(), context.CancelFunc(func() {})
						if patience != 0 {
							ctx, cancel = context.WithTimeout(ctx, patience)
						}
						err := closing(t, ctx, g.Hub, 0, 300*time.Millisecond)
						cancel()
						if patience < 0 { // it has not waited for anybody: whoever had not confirmed by itself is named, too
							var partial *PartialError
							if !errors.As(err, &partial) || !slices.Contains(partial.Nodes, b.Node()) || !errors.Is(err, context.DeadlineExceeded) {
								t.Errorf("Close: %v; want a PartialError that names %s", err, b.Node())
							}
							continue
						}
						names(t, err, b)
						names(t, g.Close(t.Context()), b) // it stays so
					}
					names(t, closing(t, t.Context(), idle.Hub, 0, 300*time.Millisecond))
					b.cut(false, notice)
					time.Sleep(3 * time.Second)
					later.emit()
					if patience >= 0 {
						names(t, closing(t, t.Context(), later.Hub, 0, 0))
					} // else nobody may have heard the goodbyes
					if n := len(c.member.take()); patience >= 0 && n != 40 {
						t.Errorf("%d broadcasts came to the node that stays, want 40", n)
					}
				})
			}
		}
	}
}

// A node that has been away for longer than it may be back for is not named any more.
func TestCloseForgetsTheDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParty(t)
		p.open("red")
		x, y := p.open(""), p.open("")
		dead := p.open("red")
		time.Sleep(time.Second)
		dead.kill()
		time.Sleep(2*mesh.DeadAfter - time.Second)
		x.emit()
		names(t, closing(t, t.Context(), x.Hub, 0, 300*time.Millisecond), dead)
		time.Sleep(2 * time.Second)
		y.emit()
		names(t, closing(t, t.Context(), y.Hub, 0, 300*time.Millisecond))
	})
}

// A node that is back while Close waits for another one gets what it has missed, and is not named.
func TestCutHealsDuringClose(t *testing.T) {
	for _, notice := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p := newParty(t)
			b, c, x := p.open("red"), p.open("red"), p.open("")
			time.Sleep(time.Second)
			b.cut(true, notice)
			time.Sleep(3 * time.Second)
			c.sieve.set(func(m *envelope.Message) bool { return m.From == x.Node() && m.Broadcast != nil }) // it asks, in vain
			want := x.emit()
			time.AfterFunc(100*time.Millisecond, func() { b.cut(false, notice) })
			names(t, closing(t, t.Context(), x.Hub, time.Second, 2100*time.Millisecond), c)
			synctest.Wait()
			got(t, "the node that is back", b.member, want...)
			time.Sleep(time.Minute)
			if lost := b.lost(x.Node()); lost != nil {
				t.Errorf("it has reported %v", lost)
			}
			if lost := c.lost(x.Node()); count(lost, true) != 1 {
				t.Errorf("the node that got nothing has reported %v, want an unknown loss", lost)
			}
		})
	}
}

// A node that is killed, while nothing else is wrong, takes nothing along that it has handed to the broker: nobody reports a loss, whatever
// was under way, and whoever comes later either.
func TestKillWithHealthyBrokers(t *testing.T) {
	for _, nodes := range []int{2, 3, 8} {
		for _, pause := range []time.Duration{0, 100 * time.Millisecond, 700 * time.Millisecond} {
			synctest.Test(t, func(t *testing.T) {
				p := newParty(t)
				var guests []*guest
				for i := range nodes {
					guests = append(guests, p.open([]string{"red", "blue", ""}[i%3]))
				}
				rooms := guests[0].Rooms("/", frame)
				id, _ := add(t, guests[0].Hub, "green", "red", "blue")
				time.Sleep(1300 * time.Millisecond)
				x := guests[nodes-1]
				want := x.emit()
				say(t, x.Hub, "to all", Broadcast{})
				say(t, x.Hub, "to two", Broadcast{Rooms: []string{"green", "blue"}})
				time.Sleep(pause)
				x.kill()
				guests = guests[:nodes-1]
				guests = append(guests, p.open("red"))            // which comes afterwards
				_ = rooms.Join(t.Context(), id, "yellow", "blue") // which names the one that was killed
				for range 20 {                                    // those who stay go on
					time.Sleep(100 * time.Millisecond)
					guests[0].emit()
				}
				time.Sleep(2 * time.Minute)
				for i, g := range guests {
					g.mu.Lock()
					if s := g.Stats(); s.Missed != 0 || s.Unknown != 0 || len(g.losses) != 0 {
						t.Errorf("of %d nodes, %v after the last broadcast: node %d has reported %v, %+v", nodes, pause, i, g.losses, s)
					}
					g.mu.Unlock()
				}
				if got := guests[0].member.take(); !slices.Equal(got[:min(len(got), 10)], want) {
					t.Errorf("the first node got %q, want %q first", got, want)
				}
			})
		}
	}
}

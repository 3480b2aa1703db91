package mesh

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"
)

// sessions are what a moving world has besides: members that go from node to node, and take along what has come to them.
type sessions struct {
	moving   bool
	careless string // a rule of the move that the nodes do not keep
	sessions []*session

	moves, refused, carried, twice int // carried are emissions that went with a session, twice are those that had come to both nodes
}

// The rules of a move that nodes may not keep.
const (
	cutsAtOnce    = "the holder does not settle"
	givesToAll    = "a claim is not exclusive"
	readsAtOnce   = "the new node does not settle, and does not know later what it was given"
	forgets       = "the new node settles, and does not know later what it was given"
	onlyRemembers = "the new node does not settle" // and need not: what it was given tells what has come
)

// session is a client that was away or is back: all that comes to it counts, whichever node has it.
type session struct {
	name  string
	holds *place // nil when it is over
}

// place is where a session is, or is to be.
type place struct {
	*session
	node   *node
	member *member
	log    []arrival          // all that the session has got since its beginning, in order
	given  map[*emission]bool // of these, what has come with it, and not over the link
	had    map[*node]uint64   // by origin: up to there all was settled where it was before, and what is not in log was not due
	joins  int                // of the member that have not ended
	named  []string           // by them
	then   func()             // called when they have
	claim  *claim             // the newest one
	gone   bool               // the session has been given away
}

// arrival is an emission that has come to a session, by these of its rooms.
type arrival struct {
	*emission
	by []string
}

// note takes what comes to the member, as one of rooms.
func (p *place) note(e *emission, rooms []string, step int) {
	if p.given[e] || e.stamp.Sequence <= p.had[e.from] {
		return
	}
	if len(rooms) == 0 {
		rooms = []string{namespace}
	}
	p.log = append(p.log, arrival{e, slices.DeleteFunc(slices.Clone(rooms), func(room string) bool {
		ms := p.member.in[room]
		return ms == nil || !ms.at.before(e, step) // then nothing is promised of the order
	})})
}

func (p *place) joined(missing []string) {
	p.joins--
	p.named = append(p.named, missing...)
	if p.joins == 0 && p.then != nil {
		then := p.then
		p.then = nil
		p.node.w.after(0, then)
	}
}

// works reports whether the place has a node that answers, and a member.
func (p *place) works() bool { return p.node.alive && !p.node.closing && p.member.connected }

// claim is how a node takes a session over.
type claim struct {
	from, to *place
	sent     map[*node]uint64 // what all nodes had sent when the Join at the new place ended
	owing    []*due           // at the old place when it gave
	log      []arrival
	had      map[*node]uint64
	named    []string
}

// wins reports whether the holder gives the session to this claim: the newest wins, and one alone.
func (c *claim) wins() bool {
	if c.from.node.w.careless == givesToAll {
		return c.from.works()
	}
	return c.from.works() && !c.from.gone && c.from.claim == c
}

func (c *claim) refuse() {
	w := c.to.node.w
	w.refused++
	w.trace("a claim of %s for %s is refused", c.to.node.id, c.to.name)
	c.to.node.awake(func() { c.to.node.remove(c.to.member) })
}

// move does something with sessions.
func (w *world) move(n *node) {
	var living []*session
	for _, s := range w.sessions.sessions {
		if s.holds != nil && !s.holds.gone && !s.holds.works() {
			s.holds = nil
		}
		if s.holds != nil && !s.holds.gone {
			living = append(living, s)
		}
	}
	switch k := w.rng.IntN(10); {
	case k < 2:
		n.settle(func([]string) {})
	case n.emitter:
	case len(living) == 0 || k < 4 && len(living) < 6:
		s := &session{name: fmt.Sprint("session", len(w.sessions.sessions))}
		w.sessions.sessions = append(w.sessions.sessions, s)
		s.holds = s.place(n)
		n.join(s.holds.member, w.room(), w.room())
	default:
		s := living[w.rng.IntN(len(living))]
		n.claim(s)
		if other := w.pick(); other != nil && !other.emitter && w.chance(0.4) {
			w.after(w.between(0, 60*time.Millisecond), func() {
				if s.holds != nil && other.alive && !other.closing {
					other.awake(func() { other.claim(s) })
				}
			})
		}
	}
}

// place adds a member for a session.
func (s *session) place(n *node) *place {
	p := &place{session: s, node: n, had: make(map[*node]uint64)}
	n.w.trace("a place for %s at %s", s.name, n.id)
	n.add(p)
	return p
}

// says has one of the two nodes of a claim say something to the other, besides all that the machines say. Where it is lost, the claim ends.
func (c *claim) says(from, to *node, do func()) {
	w := to.w
	w.after(w.between(0, 4*maxHop), func() {
		switch {
		case from.connected(0) && to.connected(0) && !to.m.opening:
			to.awake(do)
		case c.to != nil:
			c.refuse()
		}
	})
}

// claim asks the holder of a session for it.
func (n *node) claim(s *session) {
	from := s.holds
	if from.node == n {
		return
	}
	n.w.trace("%s claims %s of %s", n.id, s.name, from.node.id)
	c := &claim{from: from}
	c.says(n, from.node, func() {
		if !from.works() || from.gone {
			return
		}
		from.claim = c
		rooms := slices.DeleteFunc(slices.Sorted(maps.Keys(from.member.in)), func(room string) bool { return room == namespace })
		c.says(from.node, n, func() { c.expect(s, n, rooms) })
	})
}

// expect has the new node join the rooms of a session, and then asks for what it has missed.
func (c *claim) expect(s *session, n *node, rooms []string) {
	c.to = s.place(n)
	c.to.then = func() {
		c.sent, c.named = n.w.sent(), c.to.named
		c.says(n, c.from.node, c.take)
	}
	n.join(c.to.member, rooms...)
}

// sent is what each node has sent by now.
func (w *world) sent() map[*node]uint64 {
	sent := make(map[*node]uint64)
	for _, n := range w.nodes {
		sent[n] = n.sent
	}
	return sent
}

// take has the holder settle, and give what has come to the session.
func (c *claim) take() {
	if !c.wins() {
		c.refuse()
		return
	}
	give := func(unsettled []string) {
		if !c.wins() {
			c.refuse()
			return
		}
		c.named = append(c.named, unsettled...)
		for _, o := range c.from.node.w.nodes { // of those whom it has not met the holder has nothing
			if p := c.from.node.m.peers[o.id]; p == nil || !p.started {
				c.named = append(c.named, o.id)
			}
		}
		c.log, c.had = slices.Clone(c.from.log), maps.Clone(c.from.had)
		for _, o := range c.from.node.w.nodes {
			if p := c.from.node.m.peers[o.id]; p != nil && p.started {
				c.had[o] = max(c.had[o], p.low)
			}
		}
		c.had[c.from.node] = c.from.node.m.Last()
		for _, list := range c.from.node.dues {
			for _, d := range list {
				if d.member == c.from.member {
					c.owing = append(c.owing, d)
				}
			}
		}
		c.says(c.from.node, c.to.node, c.taken)
	}
	if c.from.node.w.careless == cutsAtOnce {
		give(nil)
		return
	}
	c.from.node.settle(give)
}

// taken has the new node settle, too, and then tells the holder, which may have heard of a newer claim since.
func (c *claim) taken() {
	if !c.to.works() {
		return // its member was sent away
	}
	done := func(unsettled []string) {
		c.named = append(c.named, unsettled...)
		c.says(c.to.node, c.from.node, func() {
			if !c.wins() {
				c.refuse()
				return
			}
			c.from.gone = true
			c.from.node.remove(c.from.member)
			c.says(c.from.node, c.to.node, c.finish)
		})
	}
	switch c.to.node.w.careless {
	case readsAtOnce, onlyRemembers:
		done(nil)
	default:
		c.to.node.settle(done)
	}
}

// finish puts together what the holder gave and what has come here since, and checks it.
func (c *claim) finish() {
	w, n, s := c.to.node.w, c.to.node, c.to.session
	if s.holds == nil {
		return
	}
	if s.holds != c.from {
		w.fail("%s is at %s and at %s", s.name, s.holds.node.id, n.id)
		return
	}
	s.holds = nil
	if !c.to.works() {
		return
	}
	w.moves++
	w.carried += len(c.log)
	has := make(map[*emission]bool)
	for _, a := range c.log {
		has[a.emission] = true
	}
	whole := c.log
	for _, a := range c.to.log {
		if has[a.emission] {
			w.twice++
			delete(has, a.emission)
		} else if a.stamp.Sequence > c.had[a.from] {
			whole = append(whole, a)
		}
	}
	if w.careless != readsAtOnce && w.careless != forgets {
		c.to.given, c.to.had = has, c.had
	}
	c.to.log = whole
	w.trace("%s has moved from %s to %s: %v", s.name, c.from.node.id, n.id, whole)
	for _, d := range c.owing {
		e := d.e
		if e.stamp.Sequence <= c.sent[e.from] && !slices.Contains(c.named, e.from.id) && !c.from.misses(e) &&
			!slices.ContainsFunc(whole, func(a arrival) bool { return a.emission == e }) {
			w.fail("%s has moved from %s to %s without %v", s.name, c.from.node.id, n.id, e)
		}
	}
	c.to.check()
	s.holds = c.to
}

// misses reports whether the node of a place has counted something of the origin of e as lost.
func (p *place) misses(e *emission) bool {
	return p.node.gone[e] || len(p.node.unknown[e.from]) > 0
}

// check checks what has come to a session, from its beginning.
func (p *place) check() {
	w := p.node.w
	seen := make(map[*emission]bool)
	high := make(map[stream]*emission) // by room
	for _, a := range p.log {
		if seen[a.emission] {
			w.fail("%s at %s: %v came twice", p.name, p.node.id, a)
		}
		seen[a.emission] = true
		for _, room := range a.by {
			at := stream{a.from, room}
			if last := high[at]; last != nil && a.stamp.Sequence < last.stamp.Sequence {
				w.fail("%s at %s: %v came after %v in %s", p.name, p.node.id, a, last, room)
			}
			high[at] = a.emission
		}
	}
}

// moving is a world of another sort in which sessions move.
func moving(seed uint64, limits Limits, careless string, trace func(string, ...any)) *world {
	w := begin(seed, faults{any: seed%4 != 0}, limits, trace)
	w.moving, w.careless = true, careless
	switch seed % 4 {
	case 0:
		w.goWell()
	case 1:
		w.goSteadily()
	default:
		w.goWrong(false)
	}
	for _, s := range w.sessions.sessions {
		if s.holds != nil {
			s.holds.check()
		}
	}
	return w
}

// TestCarelessMoves checks the checks of moves: where a rule is not kept, a session misses something, or gets it twice, or is at two nodes.
func TestCarelessMoves(t *testing.T) {
	for _, c := range []struct {
		rule  string
		shows bool
	}{
		{cutsAtOnce, true},
		{givesToAll, true},
		{readsAtOnce, true},
		{forgets, true},
		{onlyRemembers, false},
	} {
		t.Run(c.rule, func(t *testing.T) {
			n := uint64(400)
			if !c.shows {
				n = 20
			}
			for seed := uint64(1); seed <= n; seed++ {
				w := moving(seed, windows(seed), c.rule, nil)
				switch {
				case w.failure == "":
				case !c.shows:
					t.Fatalf("world %d: %s", seed, w.failure)
				default:
					t.Logf("world %d: %s", seed, w.failure)
					return
				}
			}
			if c.shows {
				t.Errorf("nothing has gone wrong in %d worlds", n)
			}
		})
	}
}

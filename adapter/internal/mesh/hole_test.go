package mesh

import (
	"reflect"
	"slices"
	"testing"
)

// A broadcast of a union comes once for each topic. The answer for a topic that was pending at the first copy moves nothing back.
func TestCopyAfterLateAnswer(t *testing.T) {
	s := newScript(t)
	s.receives("o", 5, "b")
	s.joins(2, "a")
	s.gets("o", 7, []uint64{6, 0}, "a", "b")
	s.delivers("o7")
	s.answers("o", 5) // left before 6 did
	s.ended(2, none)
	s.gets("o", 7, []uint64{6, 0}, "a", "b")
	s.delivers()
	s.counted(Counts{Delivered: 1, Copies: 1})
}

// What a union's copy says about a topic that was joined after the first copy counts: the next broadcast there waits for nothing that is here.
func TestCopyMovesItsTopics(t *testing.T) {
	s := newScript(t)
	s.receives("o", 5, "b")
	s.gets("o", 6, []uint64{2, 3}, "a", "b")
	s.delivers("o6")
	s.LinkDown(s.at, s.Last())
	s.joins(2, "a") // presumed answered
	s.did(s.LinkUp(s.at))
	s.gets("o", 6, []uint64{2, 3}, "a", "b")
	s.delivers()
	s.gets("o", 8, []uint64{6}, "a")
	s.delivers("o8")
	s.counted(Counts{Delivered: 2, Copies: 1})
}

// The same when the copy comes because it was asked for: else it would be asked for without end.
func TestRepairOfWhatIsHereEndsTheQuestion(t *testing.T) {
	s := newScript(t)
	s.receives("o", 5, "b")
	s.gets("o", 6, []uint64{2, 3}, "a", "b")
	s.LinkDown(s.at, s.Last())
	s.joins(2, "a")
	s.did(s.LinkUp(s.at))
	s.gets("o", 8, []uint64{6}, "a")
	s.delivers()
	s.asks("o", missing("a", 5, 6))
	s.repaired("o", 6, []uint64{2, 3}, "a", "b")
	s.delivers("o8")
	s.hears("o", &Gone{})
	s.hears("o", beat(5, 8, tail("a", 8), tail("b", 6)))
	s.empty("o", 8)
	s.wait(maxNackInterval)
	s.asks("o")
	s.counted(Counts{Delivered: 2, Copies: 1})
}

// What is early is held until what is missing in front of it has come.
func TestHoles(t *testing.T) {
	s := newScript(t)
	s.receives("o", 0, "a", "b")
	s.gets("o", 1, []uint64{0}, "a")
	s.delivers("o1")
	s.gets("o", 3, []uint64{2}, "a") // 2 is missing
	s.delivers()
	s.asks("o", missing("a", 1, 2))
	s.gets("o", 4, []uint64{3}, "a") // and known to be
	s.delivers()
	s.asks("o")
	s.gets("o", 3, []uint64{2}, "a") // twice
	s.gets("o", 6, []uint64{0}, "b") // overtakes them, on another topic
	s.delivers("o6")
	s.gets("o", 2, []uint64{1}, "a")
	s.delivers("o2", "o3", "o4")
	s.counted(Counts{Delivered: 5, Copies: 1, Overtaken: 3})
	s.gets("o", 2, []uint64{1}, "a")
	s.delivers()
	s.gets("o", 7, []uint64{0}, "c") // over-delivered
	s.delivers()
	s.gets("me", 9, []uint64{0}, "a") // an echo
	s.delivers()
	s.counted(Counts{Delivered: 5, Copies: 2, Overtaken: 3, Unwanted: 1})
	s.hears("o", beat(0, 7, tail("a", 4), tail("b", 6), tail("c", 7)))
	s.empty("o", 7)
	s.gets("o", 3, []uint64{2}, "a") // a late copy, long forgotten
	s.delivers()
	s.counted(Counts{Delivered: 5, Copies: 2, Overtaken: 3, Unwanted: 1, Stale: 1})
}

// A union waits as long as anything is missing in front of it on any of its topics, and what is behind it waits with it.
func TestUnionWaitsOnAllTopics(t *testing.T) {
	s := newScript(t)
	s.receives("o", 0, "a", "b")
	s.gets("o", 3, []uint64{1, 2}, "a", "b")
	s.asks("o", missing("a", 0, 1), missing("b", 0, 2))
	s.gets("o", 4, []uint64{3}, "b")
	s.gets("o", 1, []uint64{0}, "a")
	s.delivers("o1")
	s.gets("o", 2, []uint64{0}, "b")
	s.delivers("o2", "o3", "o4")
}

// A broadcast that is past on one of its topics and next on another goes to the members of the other alone.
func TestPastTopicIsMasked(t *testing.T) {
	s := newScript(t)
	s.receives("o", 5, "b")
	s.joins(2, "a")
	s.answers("o", 7) // what is on a up to 7 is from before the Join
	s.ended(2, none)
	s.gets("o", 6, []uint64{5, 4}, "a", "b")
	s.delivers("o6")
	if got := effects[Deliver[string]](s)[0].Past; !reflect.DeepEqual(got, []bool{true, false}) {
		t.Errorf("past is %v, want a alone", got)
	}
	s.gets("o", 8, []uint64{7, 6}, "a", "b")
	s.delivers("o8")
	if got := effects[Deliver[string]](s)[0].Past; got != nil {
		t.Errorf("past is %v, want nothing", got)
	}
	s.gets("o", 7, []uint64{6}, "a")
	s.delivers()
	s.counted(Counts{Delivered: 2, Stale: 1})
}

// A request under delivery may join a topic. What is held waits until it has done so, and is judged by what the node receives then.
func TestRequestsAreCarriedOutInTheirPlace(t *testing.T) {
	s := newScript(t)
	s.receives("o", 5, "a")
	request := incoming("o", 6, []uint64{5, 0}, "a", "@me/x")
	request.Changes = true
	s.gets("o", 7, []uint64{6}, "a")
	s.gets("o", 9, []uint64{6, 8}, "@me/x", "b")
	s.delivers()
	s.did(s.Broadcast(s.at, "o", request))
	s.delivers("o6")
	s.LinkDown(s.at, s.Last()) // so that the answers for the topic are presumed at once
	s.joins(2, "b")            // by the request
	s.delivers()
	s.gets("o", 10, []uint64{7}, "a") // comes meanwhile
	s.delivers()
	s.did(s.LinkUp(s.at))
	s.did(s.Resume(s.at, "o"))
	s.delivers("o7", "o10") // 9 waits for what was on b before it
	s.wait(nackInterval)
	s.asks("o", missing("b", 5, 8))
	s.did(s.Broadcast(s.at, "o", request)) // a copy
	s.delivers()
	s.repaired("o", 8, []uint64{0}, "b")
	s.delivers("o8", "o9")
	s.did(s.Resume(s.at, "nobody"))
	s.counted(Counts{Delivered: 5, Copies: 1, Repaired: 1, Overtaken: 2})
}

// Between a request and its Resume nothing of its origin is delivered, and no low watermark moves, whatever comes.
func TestPausedOrigin(t *testing.T) {
	s := newScript(t)
	s.receives("o", 5, "a")
	s.receives("p", 5)
	request := incoming("o", 6, []uint64{5}, "a")
	request.Changes = true
	s.did(s.Broadcast(s.at, "o", request))
	s.delivers("o6")
	s.hears("o", beat(5, 6, tail("a", 6)))
	s.stands("o", 5, 6)
	s.gets("p", 6, []uint64{5}, "a")
	s.delivers("p6")
	s.did(s.Resume(s.at, "o"))
	s.empty("o", 6)
}

// unexpect drops what is not due any more.
func (n *node) unexpect(which func(*due) bool) {
	for origin, list := range n.dues {
		n.dues[origin] = slices.DeleteFunc(list, which)
	}
}

func (n *node) unexpectVia(m *member, room string) {
	n.unexpect(func(d *due) bool {
		if d.member != m || !slices.Contains(d.via, room) {
			return false
		}
		d.via = slices.DeleteFunc(slices.Clone(d.via), func(r string) bool { return r == room })
		return len(d.via) == 0
	})
}

func (n *node) lost(l Lost) {
	w := n.w
	o := w.node(l.Node)
	w.trace("%s: lost %+v", n.id, l)
	p := n.m.peers[o.id]
	dead := p.standing.over() && !o.alive
	if w.roomy && !dead || w.mortal && (l.Unknown || n.hadToCome(o.emissions[l.Upto-1])) {
		w.fail("%s: lost %+v, which could have been repaired", n.id, l)
	}
	n.dues[o] = slices.DeleteFunc(n.dues[o], func(d *due) bool {
		return l.After < d.e.stamp.Sequence && (d.e.stamp.Sequence <= l.Upto || dead && l.Unknown)
	})
	if l.Unknown {
		w.unknown++
		former := uint64(0)
		if list := n.unknown[o]; list != nil {
			former = list[len(list)-1].Upto
		}
		if l.After < former || l.Upto < l.After || l.Upto == l.After && p.standing != StandingDead || l.Upto > uint64(len(o.emissions)) {
			w.fail("%s: lost %+v of %d, and before that up to %d", n.id, l, len(o.emissions), former)
		}
		n.unknown[o] = append(n.unknown[o], unknown{l, n.steps})
		return
	}
	w.missed++
	e := o.emissions[l.Upto-1]
	switch {
	case n.gone[e]:
		w.fail("%s: %v is counted as lost twice", n.id, e)
	case n.carried[e]:
		w.fail("%s: %v is counted as lost, and was delivered", n.id, e)
	case !w.weak && !slices.ContainsFunc(e.topics, n.tracks):
		w.fail("%s: %v is counted as lost, and does not concern it", n.id, e)
	}
	n.gone[e] = true
}

// hadToCome reports whether an emission was handed to a broker on a topic that n was subscribed to before.
func (n *node) hadToCome(e *emission) bool {
	return slices.ContainsFunc(e.handed, func(topic string) bool { return n.tracks(topic) && n.begun[topic] < e.at })
}

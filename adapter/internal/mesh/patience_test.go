package mesh

import (
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
)

// farAck is what a node says that was asked at echo, and is so far away from its broker.
func farAck(s *script, echo, distance time.Duration) *Ack {
	return &Ack{About: old, Fence: s.fence, Sent: 5, Echo: echo, RoundTrip: distance}
}

// A node that takes 300 ms to answer is waited for, when that has been measured; another is suspect as soon as ever.
func TestPatienceFollowsTheRoundTrip(t *testing.T) {
	s := newScript(t)
	s.knows("near", 5)
	s.knows("far", 5)
	s.joins(1, "a")
	asked := s.at
	s.answers("near", 5)
	s.wait(FenceTimeout)
	s.ended(1, []string{"far"}) // nobody can know yet
	s.wait(50 * ms)
	s.hears("near", beat(5, 5))
	s.hears("far", farAck(s, asked, 0))
	s.suspects()
	s.joins(2, "b")
	s.answers("near", 5)
	s.wait(300 * ms)
	s.ended()
	s.answers("far", 5)
	s.ended(2, none)
	s.joins(3, "c")
	s.wait(FenceTimeout)
	s.suspects("near") // after FenceTimeout
	s.wait(600*ms - FenceTimeout)
	s.ended(3, []string{"near", "far"})
}

// What nodes say of the ways to their brokers counts until a round trip is measured.
func TestPatienceFollowsTheDistances(t *testing.T) {
	for _, c := range []struct{ mine, its, want time.Duration }{
		{0, 0, FenceTimeout},
		{50 * ms, 50 * ms, FenceTimeout},
		{300 * ms, 0, 600 * ms},
		{0, 300 * ms, 600 * ms},
		{100 * ms, 300 * ms, 800 * ms},
		{2 * time.Second, 0, MaxPatience},
		{0, time.Hour, MaxPatience},
		{0, -time.Hour, FenceTimeout},
	} {
		s := unlinked(t)
		s.wait(10 * time.Second)
		s.Linked(Broker{RoundTrip: c.mine})
		s.did(s.LinkUp(s.at))
		kit.Equal(t, one[*Fence](s, "").RoundTrip, c.mine, "the distance that a hello says")
		s.hears("o", &Fence{About: old, Number: 1, Hello: true, RoundTrip: c.its})
		kit.Equal(t, s.patience(s.peers["o"]), c.want, c.mine, "and", c.its, "away: patience")
		acks := sent[*Ack](s, "o")
		if len(acks) != 1 || acks[0].Echo != old.Age || acks[0].RoundTrip != c.mine {
			t.Errorf("answered %+v, want the echo of %v and the distance %v", acks, old.Age, c.mine)
		}
	}
}

// The opening of a link waits for those who are far away, as they or those who name them say, and for nobody else longer than ever.
func TestOpeningWaitsForTheFar(t *testing.T) {
	opens := func(b Broker) *script {
		s := unlinked(t)
		s.wait(10 * time.Second)
		s.Linked(b)
		s.did(s.LinkUp(s.at))
		return s
	}
	open := func(s *script, d time.Duration) {
		t.Helper()
		s.wait(d - 1)
		if !s.opening {
			t.Errorf("the opening has ended before %v", d)
		}
		s.wait(1)
		if s.opening {
			t.Errorf("the opening has not ended after %v", d)
		}
	}
	open(opens(Broker{}), FenceTimeout)
	open(opens(Broker{RoundTrip: 300 * ms}), 600*ms)

	s := opens(Broker{})
	s.hears("near", &Ack{About: old, Fence: s.fence, Sent: 5, Members: []string{"me", "far"}, Patience: 700 * ms})
	open(s, 700*ms)

	s = opens(Broker{})
	s.hears("near", &Ack{About: old, Fence: s.fence, Sent: 5, Members: []string{"me"}, Patience: time.Hour}) // of nobody who matters
	if s.opening {
		t.Error("the opening goes on when all have answered")
	}

	s = opens(Broker{})
	s.hears("far", &Fence{About: old, Number: 1, Hello: true, RoundTrip: 400 * ms})
	open(s, 800*ms)
	s.suspects("far")

	s = opens(Broker{}) // again, after far has been measured
	s.hears("far", farAck(s, s.at-400*ms, 0))
	s.wait(time.Second)
	s.did(s.LinkDown(s.at, s.Last()))
	s.did(s.LinkUp(s.at))
	open(s, 800*ms)
}

// Late answers count at once, and are soon forgotten; what is no round trip at all is not taken for one.
func TestMeasuredRoundTrips(t *testing.T) {
	s := newScript(t)
	s.knows("o", 5)
	measured := func(rtt, want time.Duration) {
		t.Helper()
		s.hears("o", farAck(s, s.at-rtt, 0))
		kit.Equal(t, s.patience(s.peers["o"]), want, "a round trip of", rtt, "patience")
	}
	measured(ms, FenceTimeout)
	measured(800*ms, 1600*ms)
	measured(ms, 801*ms)
	measured(ms, 401*ms+ms/2)
	measured(ms, FenceTimeout)
	measured(MaxPatience+1, FenceTimeout) // it was stopped
	measured(-time.Hour, FenceTimeout)
	measured(s.at, FenceTimeout) // no Age at all, as of an earlier version
	measured(1500*ms, MaxPatience)
	s.hears("o", farAck(s, s.at-time.Millisecond, 300*ms)) // it has gone to another broker, farther away
	kit.Equal(t, s.patience(s.peers["o"]), FenceTimeout, "patience: what was measured")
}

// A Join behind the fence of another takes no longer when the node that the first waits for has gone meanwhile.
func TestJoinBehindAFarNodeThatLeaves(t *testing.T) {
	s := newScript(t)
	s.knows("near", 5)
	s.hears("far", farAck(s, s.at-500*ms, 0))
	s.joins(1, "a")
	s.joins(2, "b")
	s.answers("near", 5)
	s.wait(600 * ms)
	s.ended()
	s.hears("far", &Bye{About: old, Last: 5})
	s.ended(1, none)
	s.answers("near", 5)
	s.ended(2, none) // and not before near has had its time
}

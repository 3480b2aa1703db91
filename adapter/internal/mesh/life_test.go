package mesh

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func isReady(s *script) bool {
	return slices.ContainsFunc(s.got, func(e Effect[string]) bool { _, ok := e.(Ready[string]); return ok })
}

func TestReady(t *testing.T) {
	s := newScript(t)
	if got := sent[*Fence](s, ""); len(got) != 1 || !got[0].Hello {
		t.Fatalf("said %v when the link came up, want one hello", got)
	}
	s.joins(1, "a")
	s.wait(FenceTimeout - 1)
	if s.ended(); isReady(s) {
		t.Error("ready too early: somebody may still answer")
	}
	s.wait(1)
	if s.ended(1, none); !isReady(s) {
		t.Error("not ready, although nobody is there")
	}
	s.did(s.LinkDown(s.at, s.origin.g))
	s.did(s.LinkUp(s.at))
	s.hears("o", &Ack{To: "me", F: s.f, Age: time.Hour, Members: []string{"p"}})
	if isReady(s) {
		t.Error("ready before p has answered, who was heard of")
	}
	s.answers("p", 0)
	if !isReady(s) {
		t.Error("not ready, although all have answered")
	}
}

func TestJoinBeforeTheLinkIsUp(t *testing.T) {
	s := &script{T: t, Machine: New(config("me"))}
	s.joins(1, "a")
	s.ended()
	s.wait(FenceTimeout / 2)
	s.ended()
	s.did(s.LinkUp(s.at))
	s.hears("o", &Ack{To: "me", F: s.f, Sent: 3, Age: time.Hour})
	s.ended(1, none)
}

// Of an older node nothing but its answer says where its broadcasts begin for us. A Beat does not, nor does a broadcast.
func TestOlderNodeIsMetByItsAnswer(t *testing.T) {
	s := newScript(t)
	s.knows("other", 0)
	s.joins(1, "a")
	s.answers("other", 0)
	s.hears("o", beat(5, 7, Tail{hashOf("a"), 7}))
	if got := sent[*Fence](s, "o"); len(got) != 1 || !got[0].Hello {
		t.Fatalf("o is asked %v, want one hello", got)
	}
	s.gets("o", 8, []uint64{7}, "a")
	s.gets("o", 9, []uint64{8}, "a")
	s.delivers()
	s.wait(FenceTimeout)
	if got := sent[*Fence](s, "o"); len(got) != 1 {
		t.Fatalf("o is asked %d times after %v, want once more", len(got), FenceTimeout)
	}
	s.answers("o", 8)
	s.delivers("o9")
	s.counted(Counts{Delivered: 1, Stale: 1})
	s.gets("o", 10, []uint64{9}, "a")
	s.delivers("o10")
	s.counted(Counts{Delivered: 2, Stale: 1})
}

// All that a younger node ever sent concerns us, although it was met late.
func TestYoungerNodeBeginsAtItsBirth(t *testing.T) {
	s := newScript(t)
	s.joins(1, "a")
	s.wait(FenceTimeout)
	s.gets("o", 5, []uint64{4}, "a") // born behind a partition
	s.delivers()
	s.hears("o", &Fence{F: 1, Sent: 5, Age: time.Second, Hello: true})
	s.delivers("o5")
	s.counted(Counts{Delivered: 1, Holes: 1})
	if got := sent[*Resync](s, "o"); len(got) != 1 || got[0].A != 0 {
		t.Errorf("asked %v, want one Resync from 0", got)
	}
	s.hears("o", beat(0, 5, Tail{hashOf("a"), 5}, Tail{hashOf("@me/x"), 2}))
	s.counted(Counts{Delivered: 1, Holes: 2})
}

func TestHeldBroadcastsAreBounded(t *testing.T) {
	s := newScript(t)
	s.joins(1, "a")
	for g := range uint64(maxHeld + 3) {
		s.gets("o", g+1, []uint64{g}, "a")
	}
	s.counted(Counts{Unheld: 3})
	s.hears("o", &Fence{F: 1, Age: time.Second})
	s.counted(Counts{Unheld: 3, Delivered: maxHeld})
	s.gets("o", maxHeld+4, []uint64{maxHeld + 3}, "a")
	s.counted(Counts{Unheld: 3, Delivered: maxHeld + 1, Holes: 1})
}

func TestSilence(t *testing.T) {
	s := newScript(t)
	s.knows("o", 0)
	s.joins(1, "a")
	s.answers("o", 0)
	s.wait(SuspectAfter - BeatInterval)
	if got := s.Suspects(); got != nil {
		t.Fatalf("suspects %v too early", got)
	}
	s.wait(2 * BeatInterval)
	if got := s.Suspects(); !slices.Equal(got, []string{"o"}) || s.Members() != nil {
		t.Fatalf("suspects %v, members %v; want o, and nobody", got, s.Members())
	}
	s.joins(2, "b")
	s.ended(2, none)
	s.hears("o", beat(0, 0))
	if got := s.Members(); !slices.Equal(got, []string{"o"}) || s.Suspects() != nil {
		t.Errorf("members %v, suspects %v after its Beat; want o, and nobody", got, s.Suspects())
	}
}

// A node that hung for longer than DeadAfter and returns is not met anew: what it has delivered is not delivered again, and what it
// sent meanwhile is missing.
func TestDeadNodeReturns(t *testing.T) {
	s := newScript(t)
	s.knows("o", 5)
	s.joins(1, "a")
	s.answers("o", 5)
	s.gets("o", 6, []uint64{0}, "a")
	s.wait(DeadAfter + BeatInterval)
	if s.Suspects() != nil || s.Members() != nil {
		t.Fatalf("suspects %v, members %v; want nobody", s.Suspects(), s.Members())
	}
	p := s.peers["o"]
	if p == nil || len(p.last)+len(p.done)+len(p.held) != 0 || p.floor != 6 {
		t.Fatalf("of the dead node %+v is kept, want its place and no more", p)
	}
	s.gets("o", 6, []uint64{0}, "a")
	s.delivers()
	s.gets("o", 8, []uint64{7}, "a")
	s.delivers("o8")
	s.counted(Counts{Delivered: 2, Holes: 2, Stale: 1}) // 7, and what there may have been up to 6
	if got := s.Members(); !slices.Equal(got, []string{"o"}) {
		t.Errorf("members %v, want o again", got)
	}
}

// What a node sent before it was given up, and was not accounted for by a Beat, is unknown when it returns.
func TestDeadNodeLeavesAGap(t *testing.T) {
	s := newScript(t)
	s.knows("o", 5)
	s.joins(1, "a", "b")
	s.answers("o", 5)
	s.gets("o", 7, []uint64{0}, "b") // 6, on a, is lost
	s.wait(DeadAfter + BeatInterval)
	s.counted(Counts{Delivered: 1})
	s.hears("o", beat(7, 7))
	s.counted(Counts{Delivered: 1, Holes: 1})
	s.hears("o", beat(7, 7))
	s.counted(Counts{Delivered: 1, Holes: 1})
}

func TestTombstonesAreBounded(t *testing.T) {
	s := newScript(t)
	s.knows("first", 0)
	for i := range maxTombstones {
		id := fmt.Sprint("dead", i)
		s.knows(id, 0)
		s.hears(id, &Bye{})
	}
	s.hears("first", beat(0, 0))
	for i := range 10 {
		id := fmt.Sprint("more", i)
		s.knows(id, 0)
		s.hears(id, &Bye{})
	}
	s.knows("last", 0) // the tenth is counted with the next
	if n := len(s.order); n != maxTombstones+2 || len(s.peers) != n {
		t.Errorf("%d nodes in order and %d by id, want %d", n, len(s.peers), maxTombstones+2)
	}
	if s.peers["dead9"] != nil || s.peers["dead10"] == nil || s.peers["first"] == nil {
		t.Error("not the oldest of the dead were forgotten")
	}
}

func TestBye(t *testing.T) {
	s := newScript(t)
	s.knows("o", 5)
	s.joins(1, "a")
	s.answers("o", 5)
	s.gets("o", 6, []uint64{0}, "a")
	s.joins(2, "b")
	s.hears("o", &Bye{})
	s.ended(2, none) // a node that has left sends nothing
	if s.Members() != nil {
		t.Errorf("members %v after Bye", s.Members())
	}
	if p := s.peers["o"]; len(p.last)+len(p.done) != 0 {
		t.Errorf("%d last and %d done of a node that has left", len(p.last), len(p.done))
	}
	s.hears("o", beat(6, 9))
	s.gets("o", 7, []uint64{6}, "a")
	s.delivers()
	if s.Members() != nil {
		t.Errorf("a late message brings %v back", s.Members())
	}
	s.joins(3, "c")
	s.ended(3, none)
	s.wait(DeadAfter)
	for _, e := range s.got {
		if send, ok := e.(Send[string]); ok && send.To == "o" {
			t.Errorf("%T sent to a node that has left", send.Message)
		}
	}
}

// Who leaves says first what it has sent since its last Beat.
func TestCloseAccountsForAll(t *testing.T) {
	s := newScript(t)
	s.knows("o", 5)
	s.wait(time.Second)
	s.Emit(s.at, []string{"a"})
	s.did(s.Close(s.at))
	if len(s.got) != 2 || len(sent[*Beat](s, "")) != 1 || len(sent[*Bye](s, "")) != 1 {
		t.Fatalf("last words %v, want a Beat and Bye", s.got)
	}
	if b := sent[*Beat](s, "")[0]; b.A != 0 || b.B != 1 || len(b.Tails) != 1 {
		t.Errorf("the last Beat is %+v, want one from 0 to 1 with one tail", b)
	}
	if _, ok := s.got[1].(Send[string]).Message.(*Bye); !ok {
		t.Errorf("%v comes last, want Bye", s.got[1])
	}
}

// After an outage of the link every node that was known is asked for what was missed.
func TestLinkUpAgain(t *testing.T) {
	s := newScript(t)
	s.knows("o", 5)
	s.joins(1, "a")
	s.answers("o", 5)
	s.did(s.LinkDown(s.at, s.origin.g))
	s.wait(time.Second)
	if len(s.got) != 0 {
		t.Errorf("while the link is down: %v", s.got)
	}
	s.joins(2, "b")
	s.ended(2, none)
	s.did(s.LinkUp(s.at))
	if got := sent[*Fence](s, ""); len(got) != 1 || got[0].F != s.f || !got[0].Hello {
		t.Errorf("said %v, want a hello", got)
	}
	if got := sent[*Resync](s, "o"); len(got) != 1 || got[0].A != 5 {
		t.Errorf("asked %v, want a Resync from 5", got)
	}
	s.hears("o", beat(5, 9, Tail{hashOf("a"), 8}, Tail{hashOf("b"), 7}))
	s.counted(Counts{Holes: 2})
	s.joins(3, "c")
	s.ended()
	s.answers("o", 9)
	s.ended()
	s.answers("o", 9)
	s.ended(3, none)
}

// A node that hangs costs the Joins of others one FenceTimeout, once.
func TestHungNodeCostsOnce(t *testing.T) {
	w := newWorld(1, faults{any: true}, 2)
	for range 3 {
		w.open()
		w.run(w.now + 300*time.Millisecond)
	}
	a, hung := w.nodes[0], w.nodes[2]
	hung.hang(10 * time.Second)
	var waits []time.Duration
	for i := range 20 {
		start := w.now
		a.join(fmt.Sprint("room", i))
		for a.joins > 0 && w.failure == "" {
			w.run(w.now + ms)
		}
		waits = append(waits, w.now-start)
		w.run(w.now + 100*time.Millisecond)
	}
	if w.failure != "" {
		t.Fatal(w.failure)
	}
	slow := 0
	for _, d := range waits {
		if d > 60*time.Millisecond {
			slow++
		}
		if d > FenceTimeout+60*time.Millisecond {
			t.Errorf("a Join took %v", d)
		}
	}
	if slow != 1 {
		t.Errorf("%d of 20 Joins were slow, want 1: %v", slow, waits)
	}
}

package main

import "testing"

// A publish is complete when every member has it, not when as many deliveries have come.
func TestLoadCountsMembers(t *testing.T) {
	a, b := newChecker(1), newChecker(1)
	members := []*client{{received: &a}, {received: &b}}
	p := &publisher{next: 1, inFlight: []publish{{number: 0, left: len(members)}}}
	l := &load{parser: newMessageParser(minSize), publishers: []*publisher{p}, members: len(members), clients: members}
	packet := appendEvent(nil, messagePrefix, 0, 0, minSize)
	for i, step := range []struct {
		member   int
		inFlight int
	}{{0, 1}, {0, 1}, {1, 0}, {1, 0}} {
		if err := l.message(members[step.member], finText, packet); err != nil {
			t.Fatal(err)
		}
		if len(p.inFlight) != step.inFlight {
			t.Errorf("delivery %d, to member %d: got %d publishes in flight, want %d", i, step.member, len(p.inFlight), step.inFlight)
		}
	}
	if a.doubled != 1 || b.doubled != 1 || l.deliveries != 4 {
		t.Errorf("got %d and %d doubled of %d deliveries, want 1 and 1 of 4", a.doubled, b.doubled, l.deliveries)
	}
}

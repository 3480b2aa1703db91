package main

import (
	"fmt"
	"time"
)

// An edit is a change of a session's membership in a room, from the first time that it was asked for
// to the answer.
type edit struct {
	asked, answered time.Duration // answered is 0 until then
	joined          bool
	by              int // the node that was told to make it, by its number as an origin; -1 is the client
}

func (e edit) String() string {
	what, who := "left", "by itself"
	if e.joined {
		what = "joined"
	}
	if e.by >= 0 {
		who = fmt.Sprintf("by node %d", e.by)
	}
	return fmt.Sprintf("%s %s from %v to %v", what, who, e.asked, e.answered)
}

// A membership is the edits of one room, in their order. It begins with none.
type membership []edit

// A stand is what is known of a membership at a time.
type stand uint8

const (
	out stand = iota
	in
	unsure // it was about to change
)

// at is how the membership stood when a node made a delivery of something that was emitted between
// from and to, which took late at the most. spell tells one time in the room from another.
//
// A join that has been answered is live everywhere (Socket.Join), and a leave is done: both hold
// exactly. What was emitted before a change was asked for may be delivered after it.
func (m membership) at(from, to, late time.Duration) (s stand, spell int) {
	for i, e := range m {
		became := out
		if e.joined {
			became = in
		}
		switch {
		case to < e.asked-late:
			return s, spell
		case e.answered != 0 && from > e.answered:
			s, spell = became, i+1
		case s != became:
			s = unsure
		}
	}
	return s, spell
}

// last is how the membership stands after its last edit.
func (m membership) last() bool { return len(m) > 0 && m[len(m)-1].joined }

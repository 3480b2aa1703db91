package adapter

import (
	"context"
	"errors"
)

// A Selection is the members of any of Rooms, or all of the namespace if there are none, without the members of any of Except, on all
// nodes. A member's id is a room with the member in it.
type Selection struct {
	Rooms  []string
	Except []string
	Local  bool // on this node alone
}

// MemberInfo is what Fetch finds out about a member.
type MemberInfo struct {
	ID    string
	Node  string   // where it is
	Rooms []string // its own, then the others in the order of joining
	Data  []byte   // what its Describe returned; it is the caller's
}

// Fetch returns the members that are selected, those of this node first. See [PartialError].
func (r *Rooms) Fetch(ctx context.Context, s Selection) ([]MemberInfo, error) {
	return nil, errors.ErrUnsupported
}

// Count returns how many members are selected, without fetching them. See [PartialError].
func (r *Rooms) Count(ctx context.Context, s Selection) (int, error) { return 0, errors.ErrUnsupported }

// AllRooms returns the names of the rooms that have a member on any node, each once and in no order, without those of the members' own.
// See [PartialError].
func (r *Rooms) AllRooms(ctx context.Context) ([]string, error) { return nil, errors.ErrUnsupported }

// JoinMembers puts the members that are selected into rooms, each node's in one step, in its place among the broadcasts of this goroutine:
// what was emitted before is selected by the rooms of before, and what comes after by those of after. nil means that it is done, and live
// everywhere, as [Rooms.Join] means it. An error may be, or wrap, an [*UnfencedError]: joined, but not confirmed to be live; and see
// [PartialError]. [ErrRoomName] means that nothing was joined.
//
// On this node it is done before JoinMembers waits for others, and whatever the error.
func (r *Rooms) JoinMembers(ctx context.Context, s Selection, rooms ...string) error {
	return errors.ErrUnsupported
}

// LeaveMembers takes the members that are selected out of rooms, in its place as JoinMembers. nil means that it is done everywhere.
func (r *Rooms) LeaveMembers(ctx context.Context, s Selection, rooms ...string) error {
	return errors.ErrUnsupported
}

// DisconnectMembers calls Disconnect of the members that are selected, in its place among the broadcasts of this goroutine: what was
// emitted before reaches them first. nil means that each of them was told everywhere; what its disconnection has to run may go on.
func (r *Rooms) DisconnectMembers(ctx context.Context, s Selection, close bool) error {
	return errors.ErrUnsupported
}

package main

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

const (
	maxKept   = 2000           // notifications that a node remembers
	maxReads  = 100_000        // and who has read them
	keepFor   = 24 * time.Hour // both
	maxUnread = 100            // that a device gets when it connects
)

// A notification is what a device shows.
type notification struct {
	ID    string `json:"id"`   // unique: devices drop what they have
	Room  string `json:"room"` // whom it is for
	Title string `json:"title"`
	Text  string `json:"text,omitempty"`
	At    int64  `json:"at"` // Unix time in milliseconds
}

// A receipt says that a user has read a notification.
type receipt struct {
	User string `json:"user"`
	ID   string `json:"id"`
}

// An inbox remembers the latest notifications, and who has read them. Every node has all.
type inbox struct {
	mu    sync.Mutex // guards what follows
	kept  *recent[string, notification]
	reads *recent[receipt, struct{}]
}

// A memory is what one node tells another that starts.
type memory struct {
	Kept  []notification `json:"kept"`
	Reads []receipt      `json:"reads"`
}

func newInbox() *inbox {
	return &inbox{
		kept:  newRecent[string, notification](maxKept, keepFor),
		reads: newRecent[receipt, struct{}](maxReads, keepFor),
	}
}

// learn adds what was sent and read, as far as it is new.
func (b *inbox) learn(m memory) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range m.Kept {
		b.kept.put(n.ID, n)
	}
	for _, r := range m.Reads {
		b.reads.put(r, struct{}{})
	}
}

// read returns receipts for those of ids that are kept, and for the user.
func (b *inbox) read(u user, ids []string) (receipts []receipt) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range ids {
		if n, ok := b.kept.get(id); ok && slices.Contains(u.rooms(), n.Room) {
			receipts = append(receipts, receipt{u.ID, id})
		}
	}
	return receipts
}

// of returns the latest notifications that the user has not read, oldest first, and the ids of
// those that the user has read.
func (b *inbox) of(u user) (unread []notification, read []string) {
	b.mu.Lock()
	rooms := u.rooms()
	for id, n := range b.kept.all {
		if !slices.Contains(rooms, n.Room) {
			continue
		}
		if _, ok := b.reads.get(receipt{u.ID, id}); ok {
			read = append(read, id)
		} else {
			unread = append(unread, n)
		}
	}
	b.mu.Unlock()
	slices.SortStableFunc(unread, func(x, y notification) int { return cmp.Compare(x.At, y.At) })
	return unread[max(0, len(unread)-maxUnread):], read
}

// all returns everything that is remembered.
func (b *inbox) all() (m memory) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range b.kept.all {
		m.Kept = append(m.Kept, n)
	}
	for r := range b.reads.all {
		m.Reads = append(m.Reads, r)
	}
	return m
}

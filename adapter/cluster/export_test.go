package cluster

import "testing"

// SetMaxUnionTopics changes maxUnionTopics until the test ends.
func SetMaxUnionTopics(t testing.TB, n int) {
	t.Helper()
	before := maxUnionTopics
	maxUnionTopics = n
	t.Cleanup(func() { maxUnionTopics = before })
}

// all returns the names of all rooms with a member on this node, the members' own among them.
func (r *Rooms) all() []string {
	r = r.lock(false)
	defer r.mu.Unlock()
	return r.index.Rooms()
}

package cluster

import "testing"

// SetMaxUnionTopics changes maxUnionTopics until the test ends.
func SetMaxUnionTopics(t testing.TB, n int) {
	t.Helper()
	before := maxUnionTopics
	maxUnionTopics = n
	t.Cleanup(func() { maxUnionTopics = before })
}

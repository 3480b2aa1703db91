package test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/belfry-io/belfry/adapter/cluster"
)

// rejoin does what joins, and does it again as long as a node does not answer it in time: on a machine that stands still for 250 ms there
// is no promise; the next Join makes one.
func rejoin(do func() error) (err error) {
	const times = 20
	for range times {
		var late *cluster.UnfencedError
		if err = do(); !errors.As(err, &late) {
			return err
		}
	}
	return fmt.Errorf("%d times: %w", times, err)
}

// join is rejoin for a test.
func join(t *testing.T, do func() error) {
	t.Helper()
	if err := rejoin(do); err != nil {
		t.Fatal(err)
	}
}

// add adds a member under a new id, which is live everywhere.
func add(ctx context.Context, h *cluster.Hub, r *cluster.Rooms, m cluster.Member) (id string, err error) {
	err = rejoin(func() error {
		r.Remove(id) // of the attempt before
		id = h.NewID()
		return r.Add(ctx, id, m)
	})
	return id, err
}

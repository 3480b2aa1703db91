package wsserver

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver/internal/engine"
	"github.com/belfry-io/belfry/wsserver/internal/engineio"
)

// A request waits for a suspect server until it is back, gone, or was suspect for too long; for one that is
// alive, gone or unknown it does not wait.
func TestOwners(t *testing.T) {
	alive := []cluster.Node{{ID: thisNode}, {ID: thatNode}}
	suspect := []cluster.Node{{ID: thisNode}, {ID: thatNode, Suspect: true}}
	gone := alive[:1]
	for _, tt := range []struct {
		name  string
		steps [][]cluster.Node // one a second
		why   *engineio.Error
		takes time.Duration
	}{
		{"alive", [][]cluster.Node{alive}, nil, 0},
		{"unknown", [][]cluster.Node{gone}, errNoSession, 0},
		{"gone", [][]cluster.Node{alive, suspect, gone}, errNoSession, 0},
		{"back", [][]cluster.Node{alive, suspect, alive}, nil, 0},
		{"suspect", [][]cluster.Node{alive, suspect}, engine.ErrSilent, ownerPatience},
		{"suspect for a while", [][]cluster.Node{alive, suspect, suspect}, engine.ErrSilent, ownerPatience - time.Second},
		{"suspect for long", [][]cluster.Node{alive, suspect, suspect, suspect}, engine.ErrSilent, 0},
		{"suspect again", [][]cluster.Node{suspect, suspect, suspect, alive, suspect}, engine.ErrSilent, ownerPatience},
	} {
		kit.Bubble(t, tt.name, func(t *testing.T) {
			hub := cluster.NewHub(cluster.HubConfig{Logger: kit.Silent}) // that knows nobody
			defer kit.Close(t, hub)
			x := newOwners(notSilent)
			defer x.look(nil)
			for i, nodes := range tt.steps {
				if i > 0 {
					time.Sleep(time.Second)
				}
				x.look(nodes)
			}
			synctest.Wait()
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			o, why := x.find(ctx, hub, thatNode)
			kit.Equal(t, why, tt.why)
			kit.Took(t, began, tt.takes, tt.takes, "the wait")
			if why == nil {
				kit.OK(t, o.lost.Err())
				x.look(suspect)
				time.Sleep(ownerPatience - time.Millisecond)
				kit.OK(t, o.lost.Err())
				time.Sleep(time.Millisecond)
				synctest.Wait()
				kit.Check(t, errors.Is(context.Cause(o.lost), errOwnerSilent), "lost: %v", context.Cause(o.lost))
			}
		})
	}
}

// Those who wait for a suspect server hear that it is back, or has gone; and who has one, that it has gone.
func TestOwnersChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := cluster.NewHub(cluster.HubConfig{Logger: kit.Silent})
		defer kit.Close(t, hub)
		x := newOwners(notSilent)
		defer x.look(nil)
		suspect := []cluster.Node{{ID: thatNode, Suspect: true}}
		for _, next := range [][]cluster.Node{{{ID: thatNode}}, nil} {
			x.look(suspect)
			var o *owner
			var why *engineio.Error
			done := make(chan struct{})
			go func() {
				defer close(done)
				o, why = x.find(t.Context(), hub, thatNode)
			}()
			synctest.Wait()
			time.Sleep(ownerPatience / 2)
			began := time.Now()
			x.look(next)
			<-done
			kit.Took(t, began, 0, 0, "the wait after the change")
			if next == nil {
				kit.Equal(t, why, errNoSession)
				continue
			}
			kit.Check(t, why == nil, "refused: %v", why)
			x.look(nil)
			kit.Check(t, errors.Is(context.Cause(o.lost), errOwnerGone), "lost: %v", context.Cause(o.lost))
		}
	})
}

// A server that has not met its cluster yet does not say that a session is nobody's.
func TestOwnersNotMet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := cluster.NewHub(cluster.HubConfig{Adapter: neverOpen{}, Logger: kit.Silent})
		defer kit.Close(t, hub)
		x := newOwners(notSilent)
		defer x.look(nil)
		x.look([]cluster.Node{{ID: hub.Node()}})
		ctx, cancel := context.WithTimeout(t.Context(), ownerPatience)
		defer cancel()
		began := time.Now()
		_, why := x.find(ctx, hub, thatNode)
		kit.Equal(t, why, engine.ErrSilent)
		kit.Took(t, began, ownerPatience, ownerPatience, "the wait")
	})
}

// A server that has fallen silent, and is suspect for that, is waited for no more.
func TestOwnersSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := cluster.NewHub(cluster.HubConfig{Logger: kit.Silent})
		defer kit.Close(t, hub)
		silence := time.Duration(0)
		x := newOwners(func(string) time.Duration { return silence })
		defer x.look(nil)
		for _, silence = range []time.Duration{0, time.Second, ownerPatience, 2 * time.Second, time.Hour} {
			x.look([]cluster.Node{{ID: thatNode}})
			o, why := x.find(t.Context(), hub, thatNode)
			kit.Check(t, why == nil, "refused: %v", why)
			began := time.Now()
			x.look([]cluster.Node{{ID: thatNode, Suspect: true}})
			<-o.lost.Done()
			wait := max(0, ownerPatience-silence)
			kit.Took(t, began, wait, wait, "the wait for one that was silent for", silence)
		}
	})
}

func notSilent(string) time.Duration { return 0 }

// neverOpen is an adapter whose broker is out of reach.
type neverOpen struct{}

func (neverOpen) Open(ctx context.Context, _ func([]byte)) (adapter.Link, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

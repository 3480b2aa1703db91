package wsserver

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/test/kit"
)

// A keyNode is a node of a cluster with nothing but its keys.
type keyNode struct {
	*keyring
	hub  *cluster.Hub
	log  *kit.Log
	done sync.WaitGroup
}

// newKeyNode returns a node, in a bubble, that is told of the keys by serve, unless that is nil.
func newKeyNode(t *testing.T, memory *adapter.Memory, secret string, serve func(*keyNode)) *keyNode {
	t.Helper()
	hub := cluster.NewHub(cluster.HubConfig{Adapter: memory, Logger: kit.Silent})
	t.Cleanup(func() { kit.Close(t, hub) })
	n := &keyNode{hub: hub, log: new(kit.Log)}
	n.keyring = newKeyring(hub.Node(), &Recovery{Secret: []byte(secret)}, n.log.Logger())
	if serve != nil {
		serve(n)
	}
	ctx, end := context.WithCancel(t.Context())
	n.done.Go(func() { n.follow(ctx, hub) })
	t.Cleanup(func() { end(); n.done.Wait() })
	kit.OK(t, hub.Ready(t.Context()))
	return n
}

func serving(n *keyNode) { n.serve(n.hub) }

// pid is one of a session that began on the node.
func (n *keyNode) pid() string { return n.sign("/", n.hub.NewID(), 1) }

// knows reports whether pids of other nodes are good at the node.
func (n *keyNode) knows(t *testing.T, others ...*keyNode) {
	t.Helper()
	for _, o := range others {
		if _, _, err := n.check("/", o.pid()); err != nil {
			t.Errorf("a pid of %s at %s: %v", o.node, n.node, err)
		}
	}
}

// Nodes tell each other their keys, and those of nodes that have left to nodes that come.
func TestKeysGoAround(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		a, b, c := newKeyNode(t, memory, "", serving), newKeyNode(t, memory, "", serving), newKeyNode(t, memory, "", serving)
		time.Sleep(2 * keysAgain) // a node may have been asked before its serve
		for _, n := range []*keyNode{a, b, c} {
			for _, o := range []*keyNode{a, b, c} {
				kit.Check(t, n.awaitKey(t.Context(), o.node), "%s does not know %s", n.node, o.node)
			}
			n.knows(t, a, b, c)
		}
		kit.Close(t, a.hub)
		time.Sleep(time.Hour)
		kit.Close(t, c.hub)
		d := newKeyNode(t, memory, "", serving)
		kit.Check(t, d.awaitKey(t.Context(), b.node), "d does not know b")
		d.knows(t, a, b, c)
		time.Sleep(time.Hour)
		b.knows(t, a, c, d)
		kit.Close(t, b.hub)
		e := newKeyNode(t, memory, "", serving)
		kit.Check(t, e.awaitKey(t.Context(), d.node), "e does not know d")
		e.knows(t, a, b, c, d)
		for _, n := range []*keyNode{a, b, c, d, e} {
			kit.Equal(t, n.log.String(), "", "the log of", n.node)
		}
	})
}

// Forged pids cost no message, whatever node they name.
func TestForgedPIDsSendNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		a, b, dead := newKeyNode(t, memory, "", serving), newKeyNode(t, memory, "", serving), newKeyNode(t, memory, "", serving)
		mute := newKeyNode(t, memory, "", func(n *keyNode) {
			n.hub.Handle(callKeys, func(context.Context, string, []byte) ([]byte, error) { return nil, errors.New("mute") })
		})
		kit.Close(t, dead.hub)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		sent := func() uint64 { return a.hub.Stats().Sent + b.hub.Stats().Sent + mute.hub.Stats().Sent }
		before, began := sent(), time.Now()
		var forged int
		for range 1000 {
			for _, node := range []string{a.node, b.node, dead.node, mute.node, "0123456789"} {
				pid := node + b.pid()[nodeChars:]
				_, _, err := a.check("/", pid)
				if unknown := (errKeyUnknown{}); errors.As(err, &unknown) {
					kit.Check(t, !a.awaitKey(t.Context(), unknown.node), "%s is known", node)
				} else if errors.Is(err, errPIDForged) {
					forged++
				}
			}
		}
		synctest.Wait()
		kit.Equal(t, forged, 2000, "pids that are forged: those of a and of the dead; those of b are good")
		kit.Equal(t, sent(), before, "messages")
		kit.Took(t, began, 0, 0, "the flood")
		kit.Check(t, strings.Count(a.log.String(), "asked again") == 1, "the log: %s", a.log)
	})
}

// All who wait for the key of a node that is alive share the one call that is under way.
func TestAwaitKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		var calls atomic.Int64
		answer := make(chan struct{})
		slow := newKeyNode(t, memory, "", func(n *keyNode) {
			n.hub.Handle(callKeys, func(context.Context, string, []byte) ([]byte, error) {
				calls.Add(1)
				<-answer
				return n.told(), nil
			})
		})
		c := newKeyNode(t, memory, "", serving)
		var waiting sync.WaitGroup
		var known atomic.Int64
		const clients = 100
		for range clients {
			waiting.Go(func() {
				if c.awaitKey(t.Context(), slow.node) {
					known.Add(1)
				}
			})
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		kit.Check(t, !c.awaitKey(ctx, slow.node), "the key is known before the node has told it")
		kit.Took(t, began, time.Second, time.Second, "a wait for a second")
		close(answer)
		waiting.Wait()
		kit.Equal(t, known.Load(), clients, "clients that know the key")
		kit.Equal(t, calls.Load(), 1, "calls")
		kit.Took(t, began, time.Second, time.Second+10*time.Millisecond, "the wait for the answer")
		c.knows(t, slow)
	})
}

// A node that fails is asked again, less and less often; one that does not know the call twice.
func TestKeysAskedAgain(t *testing.T) {
	for _, tt := range []struct {
		name  string
		err   error
		calls int64 // in 16 s
		line  string
	}{
		{"failing", errors.New("failing"), 5, "asked again"}, // after 0, 1, 3, 7 and 15 s
		{"an older version", cluster.ErrUnknown, 2, "does not tell its keys"},
	} {
		kit.Bubble(t, tt.name, func(t *testing.T) {
			memory := new(adapter.Memory)
			var calls atomic.Int64
			var fine atomic.Bool
			other := newKeyNode(t, memory, "", func(n *keyNode) {
				n.hub.Handle(callKeys, func(context.Context, string, []byte) ([]byte, error) {
					calls.Add(1)
					if fine.Load() {
						return n.told(), nil
					}
					return nil, tt.err
				})
			})
			n := newKeyNode(t, memory, "", serving)
			time.Sleep(16 * time.Second)
			kit.Equal(t, calls.Load(), tt.calls, "calls")
			kit.Check(t, !n.awaitKey(t.Context(), other.node), "the key is known")
			fine.Store(true)
			time.Sleep(time.Hour)
			kit.Equal(t, n.awaitKey(t.Context(), other.node), tt.calls != 2, "the key is known")
			kit.Equal(t, strings.Count(n.log.String(), tt.line), 1, n.log.String())
		})
	}
}

// A node that was suspect is asked again, since it may have learned keys meanwhile; one that is
// suspect is not, nor one that has left, nor one without recovery.
func TestKeysOfWhoIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		var calls atomic.Int64
		answer := func() ([]byte, error) { return nil, errors.New("not yet") }
		other := newKeyNode(t, memory, "", func(n *keyNode) {
			n.hub.Handle(callKeys, func(context.Context, string, []byte) ([]byte, error) { calls.Add(1); return answer() })
		})
		hub := cluster.NewHub(cluster.HubConfig{Adapter: memory, Logger: kit.Silent})
		defer kit.Close(t, hub)
		kit.OK(t, hub.Ready(t.Context()))
		k := newKeyring(hub.Node(), nil, kit.Silent)
		var tasks sync.WaitGroup
		defer tasks.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		alive, suspect := []cluster.Node{{ID: k.node}, {ID: other.node}}, []cluster.Node{{ID: k.node}, {ID: other.node, Suspect: true}}
		for i, step := range []struct {
			nodes []cluster.Node
			calls int64
		}{{alive, 5}, {suspect, 5}, {alive, 10}, {nil, 10}, {alive, 15}, {suspect, 15}} {
			k.meet(ctx, hub, &tasks, step.nodes, nil)
			time.Sleep(16 * time.Second)
			kit.Equal(t, calls.Load(), step.calls, "calls after step", i)
		}
		answer = func() ([]byte, error) { return other.told(), nil }
		for range 3 {
			k.meet(ctx, hub, &tasks, alive, nil)
			time.Sleep(time.Minute)
			k.meet(ctx, hub, &tasks, suspect, nil)
		}
		kit.Equal(t, calls.Load(), 18, "calls of a node that has answered and was back twice")
		answer = func() ([]byte, error) { return nil, cluster.ErrUnknown }
		for range 3 {
			k.meet(ctx, hub, &tasks, alive, nil)
			time.Sleep(time.Minute)
			k.meet(ctx, hub, &tasks, suspect, nil)
		}
		kit.Equal(t, calls.Load(), 20, "calls of a node without recovery")
	})
}

// With a Secret nothing is asked, and a node that has none says so.
func TestSecretIsNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		a, b := newKeyNode(t, memory, "secret", serving), newKeyNode(t, memory, "secret", serving)
		a.knows(t, b)
		b.knows(t, a)
		kit.Check(t, a.awaitKey(t.Context(), b.node) && a.awaitKey(t.Context(), "0123456789"), "a key is not known")
		odd := newKeyNode(t, memory, "", serving)
		time.Sleep(time.Hour)
		kit.Equal(t, strings.Count(odd.log.String(), "Recovery.Secret"), 2, odd.log.String())
		kit.Equal(t, len(a.keys)+len(odd.keys), 0, "keys learned")
		kit.Equal(t, a.log.String(), "")
	})
}

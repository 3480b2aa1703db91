package cluster

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
	"github.com/belfry-io/belfry/adapter/internal/mesh"
	"github.com/belfry-io/belfry/test/kit"
)

// ids are the other servers that a Hub knows and does not suspect.
func ids(h *Hub) []string {
	all, _ := h.Nodes()
	var ids []string
	for _, n := range all {
		if n.ID != h.Node() && !n.Suspect {
			ids = append(ids, n.ID)
		}
	}
	return ids
}

// watch notes all lists of a Hub's nodes that differ from the ones before, without this node, until the test has ended.
func watch(t *testing.T, h *Hub) (lists func() [][]Node) {
	ask, ended, answer := make(chan struct{}), make(chan struct{}), make(chan [][]Node)
	go func() {
		defer close(ended)
		var seen [][]Node
		for {
			all, changed := h.Nodes()
			if all = all[1:]; len(seen) == 0 || !slices.Equal(all, seen[len(seen)-1]) {
				seen = append(seen, all)
			}
			select {
			case <-changed:
			case _, ok := <-ask:
				if !ok {
					return
				}
				answer <- seen
			}
		}
	}()
	t.Cleanup(func() { close(ask); <-ended })
	return func() [][]Node {
		synctest.Wait()
		ask <- struct{}{}
		return <-answer
	}
}

// TestNodesAreWatched has nodes come, be silent, return, die and leave: two watchers of one node see each change, once.
func TestNodesAreWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		h := openWith(t, HubConfig{Adapter: memory, Name: "home"})
		if all, _ := h.Nodes(); !slices.Equal(all, []Node{{ID: h.Node(), Name: "home"}}) || h.ServerCount() != 1 {
			t.Errorf("alone it knows %v, and counts %d", all, h.ServerCount())
		}
		watchers := []func() [][]Node{watch(t, h), watch(t, h)}

		wires := []*wire{{Memory: memory}, {Memory: memory}, {Memory: memory}}
		var others []Node
		var hubs []*Hub
		for i, name := range []string{"c", "b", "b"} {
			o := openWith(t, HubConfig{Adapter: wires[i], Name: name})
			hubs, others = append(hubs, o), append(others, Node{ID: o.Node(), Name: name})
		}
		x, y, z := others[0], others[1], others[2]
		two, three := []Node{y, x}, []Node{y, z, x}
		if z.ID < y.ID {
			three = []Node{z, y, x}
		}
		without := func(gone Node) []Node {
			return slices.DeleteFunc(slices.Clone(three), func(n Node) bool { return n.ID == gone.ID })
		}
		suspected := func(list []Node, silent Node) []Node {
			list = slices.Clone(list)
			list[slices.Index(list, silent)].Suspect = true
			return list
		}
		want := [][]Node{nil, {x}, two, three}

		wires[0].set(adapter.State{Status: adapter.Degraded, Reason: errBoom})
		time.Sleep(5 * time.Second)
		want = append(want, suspected(three, x))
		if all, _ := h.Nodes(); len(all) != 4 || h.ServerCount() != 3 {
			t.Errorf("with a suspect it knows %v, and counts %d", all, h.ServerCount())
		}
		wires[0].set(adapter.State{Status: adapter.Connected})
		time.Sleep(time.Second)
		want = append(want, three)

		wires[1].die()
		time.Sleep(mesh.DeadAfter + 5*time.Second)
		want = append(want, suspected(three, y), without(y))

		e := openWith(t, HubConfig{Adapter: memory, Client: true, Name: "emitter"}) // no server: nobody hears of it
		if all, _ := e.Nodes(); len(all) != 3 || slices.ContainsFunc(all, func(n Node) bool { return n.ID == e.Node() }) {
			t.Errorf("a client knows %v, want the servers alone", all)
		}
		e.Close(t.Context())
		hubs[2].Close(t.Context())
		time.Sleep(time.Second)
		want = append(want, []Node{x})

		for i, lists := range watchers {
			got := lists()
			if !slices.EqualFunc(got, want, slices.Equal[[]Node]) {
				t.Errorf("watcher %d has seen\n%v\nwant\n%v", i, got, want)
			}
		}
	})
}

// While this node has no link of its own all others are suspect. A Hub without an adapter knows itself, for ever.
func TestNodesWithoutALink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		h := openWith(t, HubConfig{Adapter: memory})
		openWith(t, HubConfig{Adapter: memory})
		lists := watch(t, h)
		before := lists()
		restore := memory.Interrupt()
		time.Sleep(time.Second)
		if all, _ := h.Nodes(); len(all) != 2 || all[0].Suspect || !all[1].Suspect || h.ServerCount() != 1 {
			t.Errorf("without a link it knows %v, and counts %d", all, h.ServerCount())
		}
		restore()
		time.Sleep(time.Second)
		if got := lists(); len(got) != len(before)+2 || !slices.Equal(got[len(got)-1], before[len(before)-1]) {
			t.Errorf("the watcher has seen %v, want the list, a suspect, and the list again", got)
		}

		alone := openWith(t, HubConfig{Name: "alone"})
		all, changed := alone.Nodes()
		if !slices.Equal(all, []Node{{ID: alone.Node(), Name: "alone"}}) || alone.ServerCount() != 1 {
			t.Errorf("without an adapter it knows %v", all)
		}
		alone.Close(t.Context())
		select {
		case <-changed:
			t.Error("without an adapter something has changed")
		default:
		}
	})
}

// A name that is none joins nobody, and Ready says why. One that a broken node says all the same does no harm to those who hear it.
func TestNamesThatAreNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		for _, name := range []string{strings.Repeat("n", MaxName+1), "two\nlines", "\x1b[2J", "\xff", "\u202ereversed"} {
			h := NewHub(HubConfig{Adapter: memory, Name: name, Logger: silent})
			if err := h.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "name") {
				t.Errorf("Ready with the name %q: %v, want an error", name, err)
			}
			if err := CheckName(name); err == nil {
				t.Errorf("CheckName takes %q", name)
			}
			h.Close(t.Context())
		}
		var log notebook
		h := openWith(t, HubConfig{Adapter: memory, Logger: slog.New(&log)})
		if h.Name() == "" || CheckName(h.Name()) != nil {
			t.Errorf("without a name it is called %q, want the host's name", h.Name())
		}
		log.want(t, "INFO belfry: adapter connected")
		stranger, err := memory.Open(t.Context(), func([]byte) {})
		kit.OK(t, err)
		defer stranger.Close()
		hello := &mesh.Fence{Number: 1, Hello: true, Name: "web\nERROR forged"}
		if err := stranger.Publish(t.Context(), adapter.Topic{Kind: adapter.Cluster}, envelope.AppendMessage(nil, "strangerid", "", hello)); err != nil {
			t.Fatal(err)
		}
		log.want(t, "INFO belfry: a node was met other=strangerid")
		if all, _ := h.Nodes(); len(all) != 2 || all[1] != (Node{ID: "strangerid"}) {
			t.Errorf("it knows %v, want one without a name besides itself", all)
		}
	})
}

// Errors and the log name nodes by both.
func TestErrorsNameNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(adapter.Memory)
		var log strings.Builder
		h := openWith(t, HubConfig{Adapter: memory, Name: "home", Logger: slog.New(slog.NewTextHandler(&log, nil))})
		w := &wire{Memory: memory}
		o := openWith(t, HubConfig{Adapter: w, Name: "web-1"})
		o.OnServerSide(func(ctx context.Context, e ServerEvent) ([]byte, error) { return nil, errBoom })
		synctest.Wait()
		for _, line := range strings.Split(strings.TrimSpace(log.String()), "\n") {
			if !strings.Contains(line, "node="+h.Node()+" name=home") {
				t.Errorf("a line does not say whose it is: %s", line)
			}
		}
		label := "web-1 (" + o.Node() + ")"
		_, err := h.Call(t.Context(), o.Node(), "nothing", nil)
		var node *NodeError
		if !errors.As(err, &node) || node.Node != o.Node() || node.Name != "web-1" || !strings.Contains(err.Error(), label) {
			t.Errorf("Call: %v, want %s", err, label)
		}
		id, _ := add(t, h)
		rooms := h.Rooms("/", frame)
		_, err = rooms.ServerSideEmitWithAck(t.Context(), nil, nil)
		var partial *PartialError
		if !errors.As(err, &partial) || !slices.Equal(partial.Nodes, []string{o.Node()}) || !slices.Equal(partial.Names, []string{"web-1"}) ||
			!errors.As(err, &node) || node.Name != "web-1" || strings.Count(err.Error(), label) != 2 {
			t.Errorf("ServerSideEmitWithAck: %v, want %s twice", err, label)
		}
		w.die()
		var unfenced *UnfencedError
		err = rooms.Join(t.Context(), id, "room")
		if !errors.As(err, &unfenced) || !slices.Equal(unfenced.Names, []string{"web-1"}) || !strings.Contains(err.Error(), label) {
			t.Errorf("Join: %v, want %s", err, label)
		}
		if _, err := h.Call(t.Context(), "unknown-id", "x", nil); !strings.Contains(err.Error(), "node unknown-id: ") {
			t.Errorf("a call of a node that nobody knows: %v", err)
		}
		if got := (&PartialError{Nodes: []string{"a", "b", "c"}, Names: []string{"x", ""}}).Error(); !strings.Contains(got, "x (a), b, c") {
			t.Errorf("names that are missing: %s", got)
		}
	})
}

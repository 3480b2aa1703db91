package cluster

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
	"github.com/belfry-io/belfry/adapter/internal/mesh"
)

// The shell of the machine: it has the link, the time and the goroutines that the machine does
// without.

// machine is the mesh of one node. Its own broadcasts are bodies, those of others are decoded; a
// join waits on a channel.
type machine = mesh.Machine[adapter.Topic, []byte, *envelope.Broadcast, chan []string]

// age is the time on the machine's clock.
func (h *Hub) age() time.Duration { return time.Since(h.opened) }

// run owns the link: it opens it, watches its state, and closes it in the end.
func (h *Hub) run() {
	link := h.open()
	if link == nil {
		return
	}
	_, probes := link.(adapter.Prober)
	h.ask.SetProbes(probes)
	h.writer.put(job{subscribe: []adapter.Topic{{Kind: adapter.Cluster}, {Kind: adapter.Node, Node: h.node}}}) // before the hello, which LinkUp asks for
	close(h.linked)
	var tasks sync.WaitGroup
	tasks.Go(func() { h.writer.run(h.ctx, link) })
	tasks.Go(func() { h.confirms.run(h.ctx, link) })
	var last adapter.State
	watch := linkWatch{log: h.log}
	for h.ctx.Err() == nil {
		state, changed := link.State()
		h.meshMu.Lock()
		h.state = state
		// A link that has become Connected once more was lost and came back before anybody looked.
		if last.Status == adapter.Connected && (state.Status != adapter.Connected || state.Connections != last.Connections) {
			h.met()
			h.apply(h.machine.LinkDown(h.age(), h.writer.hold()))
			last.Status = adapter.Degraded
		}
		if last.Status != adapter.Connected && state.Status == adapter.Connected {
			h.meeting = make(chan struct{})
			h.machine.Linked(mesh.Broker{RoundTrip: state.RoundTrip, Probes: probes})
			h.apply(h.machine.LinkUp(h.age()))
		}
		last = state
		if err := h.refusal(); err != nil {
			h.becomeReady(err)
		}
		h.meshMu.Unlock()
		watch.saw(state)
		select {
		case <-changed:
		case <-h.ctx.Done():
		}
	}
	if err := link.Close(); err != nil {
		h.log.Warn("belfry: close the adapter", "error", err)
	}
	tasks.Wait()
}

// probe has the broker say if nobody receives what is for a node.
func (h *Hub) probe(node string) {
	back := envelope.AppendMessage(nil, node, h.node, &mesh.Unreachable{})
	h.writer.put(job{publish: []adapter.Topic{{Kind: adapter.Node, Node: node}}, probe: true, body: back})
}

// met ends the opening of the link. h.meshMu must be held.
func (h *Hub) met() {
	if h.meeting != nil {
		close(h.meeting)
		h.meeting = nil
	}
}

// lockMet locks h.meshMu, where the link is new after the nodes have had time to answer: they are
// not known before. An error says that ctx or the Hub has ended first.
func (h *Hub) lockMet(ctx context.Context) error {
	for {
		h.meshMu.Lock()
		meeting := h.meeting
		if meeting == nil {
			return nil
		}
		h.meshMu.Unlock()
		select {
		case <-meeting:
			continue
		case <-ctx.Done():
		case <-h.ctx.Done():
		}
		h.meshMu.Lock()
		switch {
		case h.meeting == nil:
			return nil
		case h.ctx.Err() != nil:
			return adapter.ErrClosed
		}
		return fmt.Errorf("cluster: not all nodes of the cluster have answered yet: %w", context.Cause(ctx))
	}
}

// open opens the adapter, again and again if it must; nil if the Hub is closed first.
func (h *Hub) open() adapter.Link {
	pause := time.Second
	for {
		link, err := h.openLink()
		if err == nil {
			return link
		}
		if h.ctx.Err() != nil {
			return nil
		}
		err = fmt.Errorf("cluster: open: %w", err)
		h.log.Error("belfry: the node is alone", "error", err, "retry", pause)
		h.meshMu.Lock()
		h.state.Reason = err
		h.becomeReady(err)
		h.meshMu.Unlock()
		select {
		case <-time.After(pause):
		case <-h.ctx.Done():
			return nil
		}
		pause = min(2*pause, 30*time.Second)
	}
}

// tick gives the machine its time, and logs what it says of the other nodes.
func (h *Hub) tick() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var beat time.Duration // when TickHeld was called last
	for {
		select {
		case <-timer.C:
			h.step(func() []mesh.Effect { return h.machine.Tick(h.age()) })
			if now := h.age(); now-beat >= mesh.HeartbeatInterval {
				beat = now
				h.ask.TickHeld()
			}
		case <-h.wake:
		case <-h.ctx.Done():
			return
		}
		h.meshMu.Lock()
		h.next = h.machine.Next()
		timer.Reset(h.next - h.age())
		h.meshMu.Unlock()
		h.news.log(h.log)
	}
}

// apply carries out the effects of a step, or hands them to the writer. It returns those that are
// left to step: Deliver, Lost and Membership. h.meshMu must be held.
func (h *Hub) apply(effects []mesh.Effect) (results []mesh.Effect) {
	for _, effect := range effects {
		switch e := effect.(type) {
		case mesh.Subscribe[adapter.Topic]:
			h.confirms.expect(e.Topics)
			h.writer.put(job{subscribe: e.Topics})
		case mesh.Unsubscribe[adapter.Topic]:
			h.confirms.forget(e.Topics)
			h.writer.put(job{unsubscribe: e.Topics})
		case mesh.Send:
			to := adapter.Topic{Kind: adapter.Cluster}
			if e.To != "" {
				to = adapter.Topic{Kind: adapter.Node, Node: e.To}
			}
			h.writer.put(job{publish: []adapter.Topic{to}, body: envelope.AppendMessage(nil, h.node, e.To, e.Message)})
		case mesh.Probe:
			h.probe(e.Node)
		case mesh.Resend[[]byte]:
			body := envelope.AppendRepair(nil, h.node, e.To, e.Stamp, e.Broadcast)
			h.writer.put(job{publish: []adapter.Topic{{Kind: adapter.Node, Node: e.To}}, body: body})
		case mesh.Deliver[*envelope.Broadcast], mesh.Lost:
			results = append(results, effect)
		case mesh.Joined[chan []string]:
			e.Wait <- e.Missing // never blocks: it has room for one, and gets one
		case mesh.Settled[chan []string]:
			e.Wait <- e.Unsettled // nor does this
		case mesh.Transition:
			h.news.add(e)
			signal(h.wake)
		case mesh.Membership:
			h.refreshNodes()
			h.updateAlive()
			results = append(results, effect)
		case mesh.Release:
			h.writer.release()
		case mesh.Ready:
			h.met()
			h.becomeReady(nil)
		case mesh.Closed:
			close(h.left)
		}
	}
	if h.machine.Next() < h.next {
		signal(h.wake)
	}
	return results
}

package cluster

import (
	"context"
	"slices"

	"github.com/belfry-io/belfry/adapter/internal/ask"
	"github.com/belfry-io/belfry/adapter/internal/envelope"
)

// requests are what nodes ask of each other, and what does it here. The file of each has both
// sides: how it is sent and its answers are merged, and how it is carried out.
func (h *Hub) requests() map[envelope.Kind]func(*envelope.Broadcast) {
	return map[envelope.Kind]func(*envelope.Broadcast){
		envelope.KindFetchSockets:      h.serveFetchSockets,
		envelope.KindCount:             h.serveCount,
		envelope.KindAllRooms:          h.serveAllRooms,
		envelope.KindSocketsJoin:       h.serveSocketsMove,
		envelope.KindSocketsLeave:      h.serveSocketsMove,
		envelope.KindDisconnectSockets: h.serveDisconnectSockets,
		envelope.KindEmitWithAck:       h.serveEmitWithAck,
		envelope.KindEmitCounted:       h.serveEmitCounted,
		envelope.KindServerSideEmit:    h.serveServerSideEmit,
		envelope.KindCall:              h.serveCall,
	}
}

// newExchange returns what the Hub asks by, and is asked by.
func (h *Hub) newExchange() *ask.Exchange {
	return ask.New(h.ctx, ask.Config{
		Node: h.node, Client: h.cfg.Client, Alone: h.cfg.Adapter == nil, Cluster: (*peers)(h), Serve: h.requests(),
	})
}

// peers is a Hub as its Exchange knows it: the other nodes, and the way to them.
type peers Hub

func (p *peers) Meet(ctx context.Context, b *envelope.Body, choose func(servers, silent []string, cause error) bool) error {
	h := (*Hub)(p)
	body, to := envelope.AppendBody(nil, b), topics(b)
	cause := h.lockMet(ctx)
	defer h.meshMu.Unlock()
	if err := h.unavailable(); err != nil {
		cause = err
	}
	if !choose(h.machine.Servers(), h.machine.Named(h.age()), cause) {
		return nil
	}
	_, err := h.emit(b, to, body)
	return err
}

func (p *peers) Publish(b *envelope.Body) error {
	_, err := (*Hub)(p).publish(b)
	return err
}

func (p *peers) Post(b *envelope.Body) error {
	h := (*Hub)(p)
	body, to := envelope.AppendBody(nil, b), topics(b)
	h.meshMu.Lock()
	defer h.meshMu.Unlock()
	if !h.closing && !slices.ContainsFunc(h.nodes, func(n Node) bool { return n.ID == b.To }) {
		return ErrNode
	}
	_, err := h.emit(b, to, body)
	return err
}

func (p *peers) Room(ctx context.Context, size int) error { return p.writer.room(ctx, size) }

func (p *peers) Server(node string) bool {
	p.meshMu.Lock()
	defer p.meshMu.Unlock()
	return slices.Contains(p.machine.Servers(), node)
}

func (p *peers) Asker(node string) bool {
	p.meshMu.Lock()
	defer p.meshMu.Unlock()
	return slices.Contains((*Hub)(p).askers(), node)
}

func (p *peers) Probe(node string) { (*Hub)(p).probe(node) }

// askers are the nodes, clients among them, that have not left and are not given up. h.meshMu must
// be held.
func (h *Hub) askers() []string { return append(h.machine.Members(), h.machine.Suspects()...) }

// endHeld ends the held calls to and of nodes that have gone.
func (h *Hub) endHeld() {
	if h.ask.Idle() {
		return
	}
	h.meshMu.Lock()
	defer h.meshMu.Unlock()
	h.ask.SetPresent(h.machine.Remaining())
}

// updateAlive stops waiting for nodes that are silent or have gone. h.meshMu must be held.
func (h *Hub) updateAlive() {
	if !h.ask.Idle() {
		h.ask.SetAlive(h.machine.Servers(), h.askers())
	}
}

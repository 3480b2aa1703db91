package wsserver

import (
	"context"

	"github.com/belfry-io/belfry/adapter/packet"
)

// PendingAcks is the number of acknowledgements that s waits for.
func (s *Socket) PendingAcks() int {
	s.acks.mu.Lock()
	defer s.acks.mu.Unlock()
	return len(s.acks.waiting)
}

// Expect is what a broadcast does that asks s, and finds out meanwhile that it has ended.
func (s *Socket) Expect() error { return s.expect(0, func(packet.Args, bool) {}) }

// Listening reports whether the rooms tell the namespace of their events.
func (ns *Namespace) Listening() bool {
	ns.server.mu.Lock()
	defer ns.server.mu.Unlock()
	return ns.unlisten != nil
}

// SetHandOver has handOver called with the sockets of each batch of connections that a drain is to end. It returns how many sessions it has
// handed over.
func (srv *Server) SetHandOver(handOver func(ctx context.Context, batch []*Socket) uint64) {
	srv.handOver = func(ctx context.Context, conns []*conn) {
		var batch []*Socket
		for _, c := range conns {
			batch = append(batch, c.all()...)
		}
		srv.counts.handedOver.Add(handOver(ctx, batch))
	}
}

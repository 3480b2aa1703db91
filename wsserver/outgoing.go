package wsserver

import (
	"fmt"
	"sync"
	"time"

	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/adapter/sockets/payload"
	"github.com/belfry-io/belfry/wsserver/internal/engine"
)

// An OutgoingEvent is an event on its way to a client. All sockets that a broadcast goes to share
// it. It may be kept.
type OutgoingEvent struct {
	packet *packet.Packet
	name   string
}

// Name returns the event's name.
func (e *OutgoingEvent) Name() string { return e.name }

// Len returns the number of arguments.
func (e *OutgoingEvent) Len() int { return max(0, e.packet.Args.Len()-1) }

// Decode converts the arguments as [Event.Decode] does.
func (e *OutgoingEvent) Decode(dst ...any) error { return e.packet.Decode(dst...) }

// Args converts all arguments as [Event.Args] does.
func (e *OutgoingEvent) Args() ([]any, error) { return e.packet.Values() }

// WantsAck reports whether the emitter waits for an acknowledgement.
func (e *OutgoingEvent) WantsAck() bool { return e.packet.HasID }

// A delivery is what the sockets of a namespace take of a broadcast, shared by all of them.
type delivery struct {
	frame     *engine.Frame
	ns        *Namespace
	encoded   packet.Encoded
	wantsAck  bool                                // it is to be acknowledged
	id        uint64                              // if asks
	listeners list[func(*Socket, *OutgoingEvent)] // the namespace's, as they were when the broadcast came
	volatile  bool
	plain     bool      // it is not compressed
	alone     bool      // nothing is gained if it waits for others
	heard     []*Socket // those that have it and have listeners

	decode sync.Once
	event  *OutgoingEvent // set by decode; nil if that failed
}

// delivery makes a shared frame of a broadcast's payload, as Emit made it here or on another node.
// If it is to be acknowledged, it has an id of this server's: the same for all its sockets here,
// and another on each node.
func (ns *Namespace) delivery(b []byte, volatile bool) (any, error) {
	p, err := payload.Parse(b, &ns.server.limits)
	if err != nil {
		return nil, err
	}
	d := &delivery{ns: ns, wantsAck: p.Ack, listeners: ns.listeners(), volatile: volatile, plain: p.Plain}
	if d.wantsAck {
		d.id = ns.server.newAckID()
		if p.Encoded, err = ns.server.codec.WithID(p.Encoded, d.id); err != nil {
			return nil, err
		}
	}
	d.encoded = p.Encoded
	if d.wantsAck || ns.server.recovery == nil {
		d.frame = frameOf(d.encoded, d.volatile, d.plain)
	}
	return d, nil
}

// For says how many sockets are to have it, before the first does.
func (d *delivery) For(members int) {
	d.alone = d.ns.server.lull.alone(time.Since(epoch), members, d.frame.Len())
}

// Place implements [cluster.Recoverable].
func (d *delivery) Place(number uint64) (err error) {
	d.frame, err = d.ns.server.recovery.placed(d.encoded, number, d.volatile, d.plain)
	return err
}

// Delivered tells the listeners of those that have it. It is called once, when all that are to have
// it do.
func (d *delivery) Delivered() {
	if len(d.heard) == 0 {
		return
	}
	if e := d.outgoing(); e != nil {
		for _, s := range d.heard {
			s.tell(e, d.listeners)
		}
	}
	d.heard = nil
}

// outgoing is the event that is delivered, decoded when somebody asks for it the first time; nil if
// that cannot be done.
func (d *delivery) outgoing() *OutgoingEvent {
	d.decode.Do(func() {
		p, err := decode(d.ns.server.codec.NewDecoder(payload.Limits), d.encoded)
		if err != nil {
			if _, ok := d.ns.server.undecoded.allow(); ok {
				d.ns.server.cfg.Logger.Error("belfry: OnAnyOutgoing is not told of a broadcast that cannot be decoded; do all nodes use the same codec?",
					"namespace", d.ns.name, "error", err)
			}
			return
		}
		d.event = &OutgoingEvent{packet: p, name: p.Event()}
	})
	return d.event
}

// decode decodes one packet.
func decode(d packet.Decoder, e packet.Encoded) (p *packet.Packet, err error) {
	if len(e.Text) > 0 {
		p, err = d.Text(e.Text)
	}
	for _, a := range e.Attachments {
		if err != nil || p != nil {
			break
		}
		p, err = d.Binary(a)
	}
	if err == nil && p == nil {
		err = fmt.Errorf("wsserver: a packet of %d messages is incomplete", len(e.Attachments)+1)
	}
	return p, err
}

// deliver queues what is delivered. It reports false if the client will not get it: it is volatile, or
// the connection has ended.
func (s *Socket) deliver(d *delivery) bool {
	if len(d.listeners) > 0 || s.handlers.outgoing.Load() != nil {
		d.heard = append(d.heard, s)
	}
	if d.alone {
		return s.conn.session.AppendAlone(d.frame)
	}
	return s.conn.session.Append(d.frame)
}

// tell tells the listeners of OnAnyOutgoing: shared, those of the namespace, and then the socket's
// own.
func (s *Socket) tell(e *OutgoingEvent, shared list[func(*Socket, *OutgoingEvent)]) {
	for _, listen := range shared {
		s.conn.server.shield(s, e.name, func() { (*listen)(s, e) })
	}
	for _, listen := range readShared(&s.handlers.outgoing) {
		s.conn.server.shield(s, e.name, func() { (*listen)(e) })
	}
}

// shield reports a panic of f, which has no other consequence.
func (srv *Server) shield(s *Socket, event string, f func()) {
	defer onPanic(func(err error) { srv.report(s, event, err) })
	f()
}

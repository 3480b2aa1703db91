package wsserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/packet"
	"github.com/belfry-io/belfry/wsserver/internal/outbox"
)

// A Socket is a client in one namespace. Its methods may be called concurrently, and from its own handlers.
type Socket struct {
	ns    *Namespace
	conn  *conn
	id    string
	auth  json.RawMessage
	ctx   context.Context // ends when the socket disconnects, with the reason as its cause
	end   context.CancelCauseFunc
	state atomic.Uint32 // a socketState; changes under mu

	mu            sync.Mutex // guards what follows
	handlers      []namedHandler
	disconnecting []func(error)
	disconnect    []func(error)
	acks          map[uint64]chan Response // of EmitWithAck, by ack id
	lastAck       uint64
	events        []*packet.Packet // not handled yet
	waiting       int              // the size of all of them
	running       bool             // a goroutine handles events
	greeted       bool             // the client was told that it is connected
	pausing       bool             // events has reached its bound, and the connection is not read
}

// maxEventBytes bounds the events of a socket that wait for its handlers, besides Config.MaxEvents. One is always accepted.
const maxEventBytes = 1 << 20

type socketState uint32

const (
	connecting socketState = iota
	connected
	disconnected // what is left to do is to run the handlers
)

type namedHandler struct {
	event  string
	handle Handler
}

func newSocket(ns *Namespace, c *conn, auth json.RawMessage) *Socket {
	s := &Socket{ns: ns, conn: c, id: ns.server.hub.NewID(), auth: auth}
	s.ctx, s.end = context.WithCancelCause(context.Background())
	return s
}

// ID is the socket's id, and the name of the room of its own. It names the socket on every node of the cluster. It is not a secret.
func (s *Socket) ID() string { return s.id }

// Namespace is the namespace that the socket is in.
func (s *Socket) Namespace() *Namespace { return s.ns }

// Context ends when the socket disconnects. Its cause is then the reason, one of the Err values of this package.
func (s *Socket) Context() context.Context { return s.ctx }

// Connected reports whether the socket is connected.
func (s *Socket) Connected() bool { return socketState(s.state.Load()) == connected }

// A Handshake is what a client said when it connected.
type Handshake struct {
	Auth       json.RawMessage // the client's option "auth", an object; nil if it has none
	Query      url.Values      // of the connection's request, without what Engine.IO put there
	RemoteAddr string          // as in http.Request
}

// Handshake returns what the client said when it connected. It is made anew at each call.
func (s *Socket) Handshake() Handshake {
	query, _ := url.ParseQuery(s.conn.query) // it was parsed when the client connected
	for _, name := range [...]string{"EIO", "transport", "sid", "t", "b64", "j"} {
		query.Del(name)
	}
	return Handshake{Auth: s.auth, Query: query, RemoteAddr: s.conn.remote}
}

// Rooms returns the rooms that the socket is in: its own, then the others in the order of joining; none after it has left them all.
func (s *Socket) Rooms() []string { return s.ns.rooms.Of(s.id) }

// Join puts the socket into rooms. Its membership stands at once on this node. Join then waits until it is live in the whole cluster: nil
// means that every broadcast that any live node emits from now on reaches the socket. That takes a round trip when the room is new to
// this node, at most 250 ms: then the error is an [*adapter.UnfencedError] that names the nodes that did not answer, and the membership
// stands. It also stands if ctx ends first.
//
// [adapter.ErrRoomName] means that a name cannot be one, and that nothing was joined. So does [adapter.ErrMember]: the socket has
// disconnected.
func (s *Socket) Join(ctx context.Context, rooms ...string) error {
	return s.ns.rooms.Join(ctx, s.id, rooms...)
}

// Leave takes the socket out of rooms, at once. Rooms that it is not in are left alone.
func (s *Socket) Leave(rooms ...string) { s.ns.rooms.Leave(s.id, rooms...) }

// To is the broadcast to the sockets in any of rooms without this one: see [Broadcast.To].
func (s *Socket) To(rooms ...string) Broadcast { return s.Broadcast().To(rooms...) }

// In is To.
func (s *Socket) In(rooms ...string) Broadcast { return s.Broadcast().To(rooms...) }

// Except is the broadcast to all sockets of the namespace but this one and those in any of rooms.
func (s *Socket) Except(rooms ...string) Broadcast { return s.Broadcast().Except(rooms...) }

// Broadcast is the broadcast to all sockets of the namespace but this one.
func (s *Socket) Broadcast() Broadcast { return s.ns.Except(s.id) }

// Emit sends an event to the client. It does not wait for the network. args are anything that encoding/json takes, with []byte anywhere
// inside sent as binary. After the socket has disconnected, the error wraps the reason.
func (s *Socket) Emit(ctx context.Context, event string, args ...any) error {
	return s.emit(ctx, &packet.Packet{Type: packet.Event, Namespace: s.ns.name}, event, args)
}

// EmitWithAck sends an event to the client and waits for its acknowledgement. The deadline is ctx's; without one, it waits until the
// socket disconnects. An error wraps that of ctx, or the reason of the disconnection.
func (s *Socket) EmitWithAck(ctx context.Context, event string, args ...any) (Response, error) {
	answer := make(chan Response, 1)
	s.mu.Lock()
	s.lastAck++
	id := s.lastAck
	if s.acks == nil {
		s.acks = make(map[uint64]chan Response)
	}
	s.acks[id] = answer
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.acks, id)
		s.mu.Unlock()
	}()
	p := &packet.Packet{Type: packet.Event, Namespace: s.ns.name, ID: id, HasID: true}
	if err := s.emit(ctx, p, event, args); err != nil {
		return Response{}, err
	}
	var reason error
	select {
	case r := <-answer:
		return r, nil
	case <-ctx.Done():
		reason = context.Cause(ctx)
	case <-s.ctx.Done():
		reason = context.Cause(s.ctx)
	}
	select {
	case r := <-answer: // it has come as well
		return r, nil
	default:
		return Response{}, fmt.Errorf("wsserver: emit %q: no acknowledgement: %w", event, reason)
	}
}

func (s *Socket) emit(ctx context.Context, p *packet.Packet, event string, args []any) error {
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("wsserver: emit %q: %w", event, err)
	}
	encoded, err := s.ns.server.encode(p, event, args)
	if err != nil {
		return err
	}
	if err := s.send(encoded); err != nil {
		return fmt.Errorf("wsserver: emit %q: %w", event, err)
	}
	return nil
}

// send hands a packet to the connection.
func (s *Socket) send(encoded packet.Encoded) error {
	if err := context.Cause(s.ctx); err != nil {
		return err
	}
	return s.conn.ws.Send(newFrame(encoded))
}

// Deliver implements [adapter.Member]: it queues the frame of a broadcast. A socket whose client has not been told yet that it is
// connected gets none.
func (s *Socket) Deliver(frame any) {
	if s.now() == connected {
		s.conn.ws.Append(frame.(*outbox.Frame))
	}
}

// now is the socket's state. While its CONNECT packet is on its way into the queue, it counts as connected.
func (s *Socket) now() socketState {
	state := socketState(s.state.Load())
	if state == connecting {
		s.mu.Lock()
		defer s.mu.Unlock()
		state = socketState(s.state.Load())
	}
	return state
}

// Disconnect tells the client that the socket is disconnected and ends it, with ErrServerDisconnect. The client's connection stays for
// other namespaces. It returns at once: handlers of the disconnection run after those of earlier events.
func (s *Socket) Disconnect() {
	s.finish(ErrServerDisconnect, newFrame(s.conn.server.plain(&packet.Packet{Type: packet.Disconnect, Namespace: s.ns.name})))
}

// Close ends the client's connection, and with it its sockets in all namespaces, with ErrServerClose.
func (s *Socket) Close() { s.conn.close(ErrServerClose) }

// On sets a handler for an event. Several handlers of one event run in the order in which they were set.
func (s *Socket) On(event string, handle Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handlers = append(s.handlers, namedHandler{event, handle})
}

// OnDisconnecting sets a handler that runs when the socket has disconnected and still is in its rooms. reason is the cause of Context.
func (s *Socket) OnDisconnecting(handle func(reason error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disconnecting = append(s.disconnecting, handle)
}

// OnDisconnect sets a handler that runs when the socket has disconnected and left all its rooms. reason is the cause of Context.
func (s *Socket) OnDisconnect(handle func(reason error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disconnect = append(s.disconnect, handle)
}

// acknowledge gives the client's answer to the EmitWithAck that waits for it. One that nobody waits for, or a second one, is ignored, as
// Socket.IO does.
func (s *Socket) acknowledge(p *packet.Packet) {
	s.mu.Lock()
	answer := s.acks[p.ID]
	delete(s.acks, p.ID)
	s.mu.Unlock()
	if answer != nil {
		answer <- Response{p.Args}
	}
}

// push queues an event for the handlers.
func (s *Socket) push(p *packet.Packet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if socketState(s.state.Load()) == disconnected {
		return // nobody would handle it, nor undo a pause
	}
	s.events = append(s.events, p)
	s.waiting += size(p)
	if !s.pausing && (len(s.events) >= s.ns.server.cfg.MaxEvents || s.waiting >= maxEventBytes) {
		s.pausing = true
		s.conn.pause()
	}
	s.start()
}

// size is what an event takes while it waits, in bytes.
func size(p *packet.Packet) int {
	n := len(p.Args.JSON())
	for _, a := range p.Args.Attachments() {
		n += len(a)
	}
	return n
}

// start sees to it that a goroutine handles what there is. s.mu must be held.
func (s *Socket) start() {
	if !s.running {
		s.running = true
		s.ns.server.handlers.Go(s.run)
	}
}

// run handles what there is, in order, and ends.
func (s *Socket) run() {
	for {
		s.mu.Lock()
		var p *packet.Packet
		if len(s.events) > 0 {
			p = s.events[0]
			s.events[0] = nil
			s.events = s.events[1:]
			s.waiting -= size(p)
			if s.pausing && len(s.events) <= s.ns.server.cfg.MaxEvents/2 && s.waiting <= maxEventBytes/2 {
				s.pausing = false
				s.conn.resume()
			}
		} else {
			s.events = nil
			if socketState(s.state.Load()) != disconnected {
				s.running = false
				s.mu.Unlock()
				return
			}
		}
		s.mu.Unlock()
		if p == nil {
			s.leave()
			return
		}
		s.handle(p)
	}
}

// connect is the first thing that a socket's goroutine does.
func (s *Socket) connect() {
	err := s.ns.rooms.Add(s.ctx, s.id, s)
	var unfenced *adapter.UnfencedError
	if err != nil && !errors.As(err, &unfenced) && s.ctx.Err() == nil {
		// A hub that is closed, or a clash of ids: the client may try again.
		s.finish(ErrServerDisconnect, newFrame(s.conn.server.refusal(s.ns.name, "server unavailable")))
	}
	open := packet.Packet{Type: packet.Connect, Namespace: s.ns.name, Data: fmt.Appendf(nil, `{"sid":%q}`, s.id)}
	frame := newFrame(s.ns.server.plain(&open))
	s.mu.Lock()
	if socketState(s.state.Load()) == connecting {
		// In this order, and in one step, nothing is delivered before the client knows of its connection, and everything after.
		s.conn.ws.Append(frame)
		s.state.Store(uint32(connected))
		s.greeted = true
	}
	greeted := s.greeted
	s.mu.Unlock()
	if !greeted {
		s.run()
		return
	}
	s.ns.mu.RLock()
	handlers := s.ns.connect
	s.ns.mu.RUnlock()
	for _, handle := range handlers {
		if err := s.protect("connect", func() error { return handle(s.ctx, s) }); err != nil {
			s.Disconnect()
			break
		}
	}
	s.run()
}

// handle runs the handlers of an event.
func (s *Socket) handle(p *packet.Packet) {
	e := &Event{socket: s, packet: p, name: p.Event()}
	for _, handle := range s.ns.handlersOf(e.name) {
		s.protect(e.name, func() error { return handle(s.ctx, e) })
	}
	s.mu.Lock()
	var own []Handler
	for _, h := range s.handlers {
		if h.event == e.name {
			own = append(own, h.handle)
		}
	}
	s.mu.Unlock()
	for _, handle := range own {
		s.protect(e.name, func() error { return handle(s.ctx, e) })
	}
}

// protect runs a handler. What goes wrong is reported; after a panic the socket is disconnected.
func (s *Socket) protect(event string, handle func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = newPanicError(p)
			s.ns.server.report(s, event, err)
			s.Disconnect()
		}
	}()
	if err = handle(); err != nil && !s.ended(err) {
		s.ns.server.report(s, event, err)
	}
	return err
}

// ended reports whether err only says that the socket has disconnected meanwhile.
func (s *Socket) ended(err error) bool {
	reason := context.Cause(s.ctx)
	return reason != nil && (errors.Is(err, reason) || errors.Is(err, context.Canceled) || errors.Is(err, adapter.ErrMember))
}

// finish ends the socket: nothing more is received or delivered, and its goroutine runs what is left, in the end leave. last is what the
// client is told, nil if it knows. It is queued before the client can connect anew, so that it does not concern the next socket. Events that
// still wait are handled if it is the client that has gone, and dropped if it was sent away.
func (s *Socket) finish(reason error, last *outbox.Frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if socketState(s.state.Load()) == disconnected {
		return
	}
	s.state.Store(uint32(disconnected))
	s.end(reason)
	if last != nil || reason == ErrServerClose || reason == ErrShutdown {
		s.events, s.waiting = nil, 0
	}
	if last != nil {
		s.conn.ws.Append(last)
	}
	s.conn.forget(s, last != nil)
	s.start()
}

// leave is the last thing that a socket's goroutine does.
func (s *Socket) leave() {
	defer s.conn.forgotten()
	reason := context.Cause(s.ctx)
	s.mu.Lock()
	greeted := s.greeted
	s.mu.Unlock()
	if greeted {
		s.ns.mu.RLock()
		shared := s.ns.disconnecting
		s.ns.mu.RUnlock()
		s.mu.Lock()
		own := slices.Clip(s.disconnecting)
		s.mu.Unlock()
		s.farewell("disconnecting", shared, own, reason)
	}
	s.ns.rooms.Remove(s.id)
	s.mu.Lock()
	pausing := s.pausing
	s.pausing = false
	s.mu.Unlock()
	if pausing {
		s.conn.resume()
	}
	if greeted {
		s.ns.mu.RLock()
		shared := s.ns.disconnect
		s.ns.mu.RUnlock()
		s.mu.Lock()
		own := slices.Clip(s.disconnect)
		s.mu.Unlock()
		s.farewell("disconnect", shared, own, reason)
	}
}

// farewell runs the handlers of the end, those of the namespace first.
func (s *Socket) farewell(event string, shared []func(*Socket, error), own []func(error), reason error) {
	for _, handle := range shared {
		s.protect(event, func() error { handle(s, reason); return nil })
	}
	for _, handle := range own {
		s.protect(event, func() error { handle(reason); return nil })
	}
}

package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/belfry-io/belfry/adapter/emitter"
	"github.com/belfry-io/belfry/adapter/sockets"
)

// A request is what one asks for, in JSON. check says what is wrong with it.
type request interface {
	selected() *selection
	check() error
	do(ctx context.Context, s *Service) (answer, error)
}

// A selection is the part of a request that says which sockets it is about.
type selection struct {
	Namespace string   `json:"namespace,omitempty"`
	Rooms     rooms    `json:"rooms,omitempty"`
	Except    []string `json:"except,omitempty"`
	Timeout   int      `json:"timeout,omitempty"`
}

// rooms are what a request names under "rooms", if it does: without names, and also by null, which
// is what some languages make of an empty list, it selects nobody.
type rooms struct {
	given bool
	names []string
}

func (r *rooms) UnmarshalJSON(data []byte) error {
	r.given = true
	return json.Unmarshal(data, &r.names)
}

func (s *selection) selected() *selection { return s }

func (s *selection) check() error {
	if s.Timeout < 0 || s.Timeout > int(MaxTimeout.Milliseconds()) {
		return fmt.Errorf(`"timeout" is %d: want milliseconds, up to %d`, s.Timeout, MaxTimeout.Milliseconds())
	}
	return nil
}

// broadcast is the selection as an emitter has it.
func (s *selection) broadcast(e *emitter.Emitter) sockets.Broadcast {
	b := e.Of(s.Namespace).Except(s.Except...)
	if s.Rooms.given {
		b = b.To(s.Rooms.names...)
	}
	return b
}

type emitRequest struct {
	selection
	Event    string            `json:"event" schema:"required"`
	Args     []json.RawMessage `json:"args,omitempty"`
	Volatile bool              `json:"volatile,omitempty"`
	Compress *bool             `json:"compress,omitempty"`
}

func (r *emitRequest) check() error {
	if r.Event == "" {
		return errors.New(`"event", the name of the event, is missing`)
	}
	return nil
}

// broadcast is what the event is emitted to, with its arguments.
func (r *emitRequest) broadcast(e *emitter.Emitter) (b sockets.Broadcast, args []any) {
	b = r.selection.broadcast(e)
	if r.Volatile {
		b = b.Volatile()
	}
	if r.Compress != nil {
		b = b.Compress(*r.Compress)
	}
	for _, arg := range r.Args {
		args = append(args, arg)
	}
	return b, args
}

func (r *emitRequest) do(ctx context.Context, s *Service) (answer, error) {
	b, args := r.broadcast(s.emitter)
	n, err := b.EmitCounted(ctx, r.Event, args...)
	return &countAnswer{Count: n}, err
}

// emit emits the event and waits for nothing.
func (r *emitRequest) emit(ctx context.Context, e *emitter.Emitter) error {
	b, args := r.broadcast(e)
	return b.Emit(ctx, r.Event, args...)
}

type joinRequest struct {
	selection
	Join []string `json:"join" schema:"required"`
}

func (r *joinRequest) check() error {
	if len(r.Join) == 0 {
		return errors.New(`"join", the rooms to put the sockets into, is missing`)
	}
	return nil
}

func (r *joinRequest) do(ctx context.Context, s *Service) (answer, error) {
	return new(plainAnswer), r.broadcast(s.emitter).SocketsJoin(ctx, r.Join...)
}

type leaveRequest struct {
	selection
	Leave []string `json:"leave" schema:"required"`
}

func (r *leaveRequest) check() error {
	if len(r.Leave) == 0 {
		return errors.New(`"leave", the rooms to take the sockets out of, is missing`)
	}
	return nil
}

func (r *leaveRequest) do(ctx context.Context, s *Service) (answer, error) {
	return new(plainAnswer), r.broadcast(s.emitter).SocketsLeave(ctx, r.Leave...)
}

type disconnectRequest struct {
	selection
	Close bool `json:"close,omitempty"`
	All   bool `json:"all,omitempty"`
}

func (r *disconnectRequest) check() error {
	switch whole := !r.Rooms.given && len(r.Except) == 0; {
	case whole && !r.All:
		return errors.New(`neither "rooms" nor "except" selects sockets: say "all": true to disconnect all of the namespace`)
	case !whole && r.All:
		return errors.New(`"all" is for a request without "rooms" and "except"`)
	}
	return nil
}

func (r *disconnectRequest) do(ctx context.Context, s *Service) (answer, error) {
	return new(plainAnswer), r.broadcast(s.emitter).DisconnectSockets(ctx, r.Close)
}

type countRequest struct{ selection }

func (r *countRequest) do(ctx context.Context, s *Service) (answer, error) {
	n, err := r.broadcast(s.emitter).Count(ctx)
	return &countAnswer{Count: n}, err
}

type fetchRequest struct {
	selection
	Limit     int    `json:"limit,omitempty"`
	After     string `json:"after,omitempty"`
	Handshake bool   `json:"handshake,omitempty"`
}

func (r *fetchRequest) check() error {
	if r.Limit < 0 {
		return fmt.Errorf(`"limit" is %d: want the largest number of sockets to fetch, or leave it out`, r.Limit)
	}
	return nil
}

func (r *fetchRequest) do(ctx context.Context, s *Service) (answer, error) {
	sockets, err := r.broadcast(s.emitter).FetchSockets(ctx)
	limit := r.Limit
	if limit == 0 {
		limit = math.MaxInt
	}
	names := make(map[string]string)
	nodes, _ := s.emitter.Nodes()
	for _, n := range nodes {
		names[n.ID] = n.Name
	}
	return newFetchAnswer(sockets, names, r.After, limit, r.Handshake, int(s.nc.MaxPayload())), err
}

package main

import (
	"context"
	"errors"
	"time"
)

// An idle is what sockets cost that are connected, in no room but their own, and silent.
type idle struct {
	Run     int    `json:"run"` // from 1 on
	Sockets int    `json:"sockets"`
	Before  memory `json:"before"` // with idleBase sockets, so that what the first ones bring about is not counted
	After   memory `json:"after"`
}

const (
	idleBase   = 50
	idleSettle = 500 * time.Millisecond // for the goroutines that connect sockets to end
)

// perSocket is the growth of what bytes returns, for each socket.
func (i *idle) perSocket(bytes func(memory) int64) float64 {
	return float64(bytes(i.After)-bytes(i.Before)) / float64(i.Sockets)
}

// freed is the anonymous memory after what is free was returned, natural before.
func freed(m memory) int64   { return m.Freed.Anonymous }
func natural(m memory) int64 { return m.Natural.Anonymous }

// measureIdle does one run, with processes of its own.
func measureIdle(ctx context.Context, cfg config, number int) (result *idle, err error) {
	f := new(field)
	defer func() { err = errors.Join(err, f.stop()) }()
	addresses, err := f.open(ctx, setup{Nodes: 1, Recovery: cfg.Recovery}, idleBase+cfg.Idle)
	if err != nil {
		return nil, err
	}
	if f.load, err = f.add(ctx, "load"); err != nil {
		return nil, err
	}
	result = &idle{Run: number, Sockets: cfg.Idle}
	for _, step := range []struct {
		sockets int
		settle  time.Duration
		memory  *memory
	}{{idleBase, 0, &result.Before}, {cfg.Idle, cfg.Settle, &result.After}} {
		if err := f.load.call("dial", dialArgs{Addresses: addresses, Sockets: step.sockets}, nil, 5*time.Minute); err != nil {
			return nil, err
		}
		select {
		case <-time.After(idleSettle + step.settle):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if err := f.servers[0].call("memory", none{}, step.memory, 0); err != nil {
			return nil, err
		}
	}
	var wrong faults
	if err := f.load.call("check", none{}, &wrong, 0); err != nil { // all are connected still
		return nil, err
	}
	return result, nil
}

package main

import (
	"context"
	"errors"

	"github.com/belfry-io/belfry/bench/internal/crowd"
)

// newCrowdRole is the clients of a comparison, in a process of their own.
func newCrowdRole() map[string]handler {
	var c *crowd.Crowd
	opened := func(do func() error) error {
		if c == nil {
			return errors.New("nobody is there")
		}
		return do()
	}
	return map[string]handler{
		"start": handle(func(cfg crowd.Config) (none, error) {
			err := allowFiles(spareFiles)
			if err == nil {
				c, err = crowd.New(cfg)
			}
			return none{}, err
		}),
		"use": handle(func(urls []string) (none, error) {
			return none{}, opened(func() error { return c.Use(urls...) })
		}),
		"connect": handle(func(sockets int) (made crowd.Connects, err error) {
			err = opened(func() error { made, err = c.Connect(context.Background(), sockets); return err })
			return made, err
		}),
		"join": handle(func(j crowd.Join) (made crowd.Joins, err error) {
			err = opened(func() error { made, err = c.Join(context.Background(), j); return err })
			return made, err
		}),
		"run": handle(func(f crowd.Flow) (result crowd.Result, err error) {
			err = opened(func() error { result, err = c.Run(context.Background(), f); return err })
			return result, err
		}),
		"check": handle(func(none) (f crowd.Faults, err error) {
			err = opened(func() error { f = c.Check(); return nil })
			return f, err
		}),
		"alive": handle(func(none) (n int, err error) {
			err = opened(func() error { n = c.Alive(); return nil })
			return n, err
		}),
	}
}

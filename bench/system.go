package main

import (
	"errors"
	"time"
)

// cpu is time that a process has spent on processors.
type cpu struct {
	User   time.Duration `json:"user_ns"`
	System time.Duration `json:"system_ns"`
}

func (c cpu) total() time.Duration { return c.User + c.System }
func (c cpu) sub(b cpu) cpu        { return cpu{c.User - b.User, c.System - b.System} }
func (c cpu) add(b cpu) cpu        { return cpu{c.User + b.User, c.System + b.System} }

// errClosed is what read returns when the peer has closed.
var errClosed = errors.New("closed by the peer")

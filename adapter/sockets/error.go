package sockets

import "fmt"

// An Error says which operation of a [Broadcast], a [RemoteSocket] or a [Namespace] failed, and
// why.
type Error struct {
	Op    string // such as "emit" and "fetch sockets"
	Event string // the event's name, if Op is about one
	Err   error
}

func (e *Error) Error() string {
	if e.Event == "" {
		return fmt.Sprintf("belfry: %s: %v", e.Op, e.Err)
	}
	return fmt.Sprintf("belfry: %s %q: %v", e.Op, e.Event, e.Err)
}

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

// wrap says what has failed.
func wrap(op string, err error) error { return wrapEvent(op, "", err) }

// wrapEvent says what has failed of an event.
func wrapEvent(op, event string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Op: op, Event: event, Err: err}
}

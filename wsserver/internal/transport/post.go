package transport

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"time"

	"github.com/belfry-io/belfry/wsserver/internal/engineio"
)

// Post serves a POST request: it reads the packets and hands them to the receiver, once the session is not paused.
func (p *Polling) Post(w http.ResponseWriter, r *http.Request) {
	// It outlasts a refusal: net/http reads on, to the end of a small body, before it closes the connection. Without deadlines, as under a
	// recorder of tests, the request's own end is the only bound.
	http.NewResponseController(w).SetReadDeadline(time.Now().Add(p.transports.pace.Patience()))
	p.mu.Lock()
	overlap := p.posting
	gone := p.state >= pollingMoved
	if !overlap && !gone {
		p.posting = true
	}
	p.mu.Unlock()
	if gone || overlap {
		p.turnAway(w, overlap)
		return
	}
	err := p.take(w, r)
	p.mu.Lock()
	p.posting = false // before the answer: the client may have it, and send the next one, at once
	p.mu.Unlock()
	var own ownError
	switch {
	case errors.Is(err, errTooLarge):
		// The client learns it, and the session goes on.
		w.Header().Set("Connection", "close")
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	case err == nil, errors.As(err, &own):
		h := w.Header()
		h.Set("Content-Type", "text/html")
		h.Set("Cache-Control", "no-store")
		if err != nil {
			p.finish(own.error)
		}
		p.transports.writeAnswer(newAnswer(w), []byte("ok"), func(int) {})
	case errors.Is(err, errOver):
		refuseRequest(w)
	default:
		refuseRequest(w)
		p.fail(err)
	}
}

var (
	errTooLarge = errors.New("transport: payload too large")
	errOver     = errors.New("transport: session is over")
)

// An ownError is one of the receiver's own: for Engine.IO the request was in order.
type ownError struct{ error }

// take receives the only POST request at a time. It answers nothing.
func (p *Polling) take(w http.ResponseWriter, r *http.Request) error {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil && kind == "application/octet-stream" {
		return ErrContentType
	}
	body, err := p.readBody(w, r)
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.transports.budget.Give(p.held)
		p.held = 0
	}()
	if err != nil {
		return err
	}
	state, err := p.awaitTurn(w, r)
	switch {
	case err != nil:
		return err
	case state == pollingClosed:
		return errOver
	case state == pollingClosing: // nothing more is received, but a client that is told of an error may not fetch what is queued
		return nil
	}
	err = p.receiver.Payload(body)
	if err != nil && !errors.Is(err, engineio.ErrParse) && !errors.Is(err, engineio.ErrDirection) {
		return ownError{err}
	}
	return err
}

// readBody reads a body of at most as many bytes as a message may have, from a client that keeps the pace. What it holds grows with what
// has come, whatever was announced.
func (p *Polling) readBody(w http.ResponseWriter, r *http.Request) (body []byte, err error) {
	limit := int64(p.transports.reader.MaxMessage)
	if r.ContentLength > limit {
		return nil, errTooLarge
	}
	control := http.NewResponseController(w)
	p.mu.Lock()
	ended := p.state == pollingClosed
	p.body, p.began = control, time.Now()
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.body = nil
		p.mu.Unlock()
		if err == nil {
			control.SetReadDeadline(time.Time{})
		}
	}()
	if ended {
		return nil, errOver
	}
	for err == nil && int64(len(body)) <= limit {
		if err := p.awaitBudget(w, r); err != nil {
			return nil, err
		}
		body, err = p.readPart(control, r, body)
	}
	switch {
	case int64(len(body)) > limit:
		return nil, errTooLarge
	case err != io.EOF:
		return nil, fmt.Errorf("%w: %w", ErrAborted, err)
	}
	return body, nil
}

// readPart reads as much more of a body as a client has to send in the time that it is given for it.
func (p *Polling) readPart(control *http.ResponseController, r *http.Request, body []byte) ([]byte, error) {
	announced := int(r.ContentLength) + 1 // with a byte to see the end in
	if announced == 0 {
		announced = p.transports.reader.MaxMessage + 1
	}
	p.mu.Lock()
	if p.state != pollingClosed { // else abort has set one for good
		control.SetReadDeadline(time.Now().Add(p.transports.pace.Patience()))
	}
	p.mu.Unlock()
	for end := len(body) + p.transports.pace.Bytes(); len(body) < end; {
		if len(body) == cap(body) {
			if p.transports.budget.Full() {
				return body, nil
			}
			body = slices.Grow(body, max(minBuffer, min(len(body), announced-len(body)))) // twice as much leaves the least behind
			p.mu.Lock()
			p.transports.budget.Take(2*cap(body) - p.held)
			p.held = 2 * cap(body) // and what will be made of it
			p.mu.Unlock()
		}
		n, err := r.Body.Read(body[len(body):min(cap(body), end)])
		body = body[:len(body)+n]
		if err != nil {
			return body, err
		}
	}
	return body, nil
}

// awaitBudget waits while the budget is used up.
func (p *Polling) awaitBudget(w http.ResponseWriter, r *http.Request) error {
	for relief := p.transports.budget.Relief(); relief != nil; relief = p.transports.budget.Relief() {
		unhurried(w)
		select {
		case <-relief:
		case <-p.ending:
			return errOver
		case <-r.Context().Done():
			return ErrAborted
		}
	}
	return nil
}

// awaitTurn waits until the session is not paused, or over, and returns its state.
func (p *Polling) awaitTurn(w http.ResponseWriter, r *http.Request) (pollingState, error) {
	for {
		p.mu.Lock()
		paused, state := p.paused, p.state
		p.mu.Unlock()
		if paused == nil || state == pollingClosing || state == pollingClosed {
			return state, nil
		}
		unhurried(w)
		select {
		case <-paused:
		case <-p.ending:
		case <-r.Context().Done():
			return state, ErrAborted
		}
	}
}

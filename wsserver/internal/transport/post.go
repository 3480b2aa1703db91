package transport

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"time"
)

// Post serves a POST request: it reads the packets and hands them to the receiver, once the session is not paused.
func (p *Polling) Post(w http.ResponseWriter, r *http.Request) {
	// It outlasts a refusal: net/http reads on, to the end of a small body, before it closes the connection. Without deadlines, as under a
	// recorder of tests, the request's own end is the only bound.
	http.NewResponseController(w).SetReadDeadline(time.Now().Add(p.shared.pace.Patience()))
	put, err := p.Put()
	if err != nil {
		refuseRequest(w)
		return
	}
	err = p.receive(put, w, r)
	put.Done()
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
			p.closeFor(own.error)
		}
		p.shared.writeAnswer(w, newWriting(w), []byte("ok"), func(int) {})
	case errors.Is(err, errOver):
		refuseRequest(w)
	default:
		refuseRequest(w)
		p.fail(err)
	}
}

var errTooLarge = errors.New("transport: payload too large")

// receive receives what a POST request brings. It answers nothing.
func (p *Polling) receive(put *Put, w http.ResponseWriter, r *http.Request) error {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil && kind == "application/octet-stream" {
		return ErrContentType
	}
	body, err := p.readBody(put, w, r)
	if err != nil {
		return err
	}
	unhurried(w)
	return put.Deliver(body, r.Context().Done())
}

// readBody reads a body of at most as many bytes as a message may have, from a client that keeps the pace. What it holds grows with what
// has come, whatever was announced.
func (p *Polling) readBody(put *Put, w http.ResponseWriter, r *http.Request) (body []byte, err error) {
	limit := int64(p.shared.reader.MaxMessage)
	if r.ContentLength > limit {
		return nil, errTooLarge
	}
	reading := newReading(w)
	put.OnAbort(reading.abort)
	defer put.OnAbort(nil)
	for err == nil && int64(len(body)) <= limit {
		if p.shared.budget.Full() {
			unhurried(w)
			if err := put.AwaitBudget(r.Context().Done()); err != nil {
				return nil, err
			}
		}
		if !reading.wait(p.shared.pace.Patience()) {
			return nil, errOver
		}
		body, err = p.readPart(put, r, body)
	}
	switch {
	case int64(len(body)) > limit:
		return nil, errTooLarge
	case err != io.EOF:
		return nil, fmt.Errorf("%w: %w", ErrAborted, err)
	}
	reading.wait(0)
	return body, nil
}

// readPart reads as much more of a body as a client has to send in the time that it is given for it.
func (p *Polling) readPart(put *Put, r *http.Request, body []byte) ([]byte, error) {
	announced := int(r.ContentLength) + 1 // with a byte to see the end in
	if announced == 0 {
		announced = p.shared.reader.MaxMessage + 1
	}
	for end := len(body) + p.shared.pace.Bytes(); len(body) < end; {
		if len(body) == cap(body) {
			if p.shared.budget.Full() {
				return body, nil
			}
			body = slices.Grow(body, max(minBuffer, min(len(body), announced-len(body)))) // twice as much leaves the least behind
			put.Hold(2 * cap(body))                                                       // and what will be made of it
		}
		n, err := r.Body.Read(body[len(body):min(cap(body), end)])
		body = body[:len(body)+n]
		if err != nil {
			return body, err
		}
	}
	return body, nil
}

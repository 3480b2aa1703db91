package transport

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
)

// A BodyHolder counts what has come of a body. A [Put] is one.
type BodyHolder interface {
	// Hold counts n bytes, in all.
	Hold(n int)

	// AwaitBudget waits while the budget is used up. An error, as after the end of done, is that of ReadBody.
	AwaitBudget(done <-chan struct{}) error

	// OnAbort has f called when nobody waits any more for the body; nil ends that.
	OnAbort(f func())
}

// Post serves a POST request: it reads the packets and hands them to the receiver, once the session is not paused.
func (p *Polling) Post(w http.ResponseWriter, r *http.Request) {
	put, err := p.Put()
	if err == nil {
		var body []byte
		if body, err = p.shared.ReadBody(w, r, put); err == nil {
			err = put.Deliver(body, r.Context().Done())
		}
		err = put.Done(err)
	} else {
		p.shared.newReading(w)
	}
	p.shared.AnswerPost(w, err)
}

// AnswerPost answers a POST request: with "ok" if err is nil, or with what ErrTooLarge is in HTTP; for all other errors
// it refuses the request.
func (t *Shared) AnswerPost(w http.ResponseWriter, err error) {
	h := w.Header()
	switch {
	case err == nil:
		h.Set("Content-Type", "text/html")
		h.Set("Cache-Control", "no-store")
		t.WriteAnswer(w, []byte("ok"), nil)
	case errors.Is(err, ErrTooLarge):
		h.Set("Connection", "close")
		h.Set("Content-Length", "0")
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	default:
		RefuseRequest(w)
	}
}

// newReading returns the deadline of a body, which has begun. It outlasts a refusal: net/http reads on, to the end of a
// small body, before it closes the connection. Without deadlines, as under a recorder of tests, the request's own end is
// the only bound.
func (t *Shared) newReading(w http.ResponseWriter) *deadline {
	d := &deadline{set: http.NewResponseController(w).SetReadDeadline}
	d.wait(t.pace.Patience())
	return d
}

// ReadBody reads the body of a POST request, of at most as many bytes as a message may have, from a client that keeps
// the pace. What it holds, which into counts, grows with what has come, whatever was announced. The answer may then
// take its time. An error is for [Put.Done], and AnswerPost.
func (t *Shared) ReadBody(w http.ResponseWriter, r *http.Request, into BodyHolder) (body []byte, err error) {
	reading := t.newReading(w)
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil && kind == "application/octet-stream" {
		return nil, ErrContentType
	}
	limit := int64(t.reader.MaxMessage)
	if r.ContentLength > limit {
		return nil, ErrTooLarge
	}
	into.OnAbort(reading.abort)
	defer into.OnAbort(nil)
	for err == nil && int64(len(body)) <= limit {
		if t.budget.Full() {
			Unhurried(w)
			if err := into.AwaitBudget(r.Context().Done()); err != nil {
				return nil, err
			}
		}
		if !reading.wait(t.pace.Patience()) {
			return nil, ErrOver
		}
		body, err = t.readPart(into, r, body)
	}
	switch {
	case int64(len(body)) > limit:
		return nil, ErrTooLarge
	case err != io.EOF:
		return nil, fmt.Errorf("%w: %w", ErrAborted, err)
	}
	reading.wait(0)
	Unhurried(w)
	return body, nil
}

// readPart reads as much more of a body as a client has to send in the time that it is given for it.
func (t *Shared) readPart(into BodyHolder, r *http.Request, body []byte) ([]byte, error) {
	announced := int(r.ContentLength) + 1 // with a byte to see the end in
	if announced == 0 {
		announced = t.reader.MaxMessage + 1
	}
	for end := len(body) + t.pace.Bytes(); len(body) < end; {
		if len(body) == cap(body) {
			if t.budget.Full() {
				return body, nil
			}
			body = slices.Grow(body, max(minBuffer, min(len(body), announced-len(body)))) // twice as much leaves the least behind
			into.Hold(2 * cap(body))                                                      // and what will be made of it
		}
		n, err := r.Body.Read(body[len(body):min(cap(body), end)])
		body = body[:len(body)+n]
		if err != nil {
			return body, err
		}
	}
	return body, nil
}

package transport

import "net/http"

// A Polling is an [Exchange] over HTTP: a GET request is a [Take], a POST request a [Put].
type Polling struct{ Exchange }

// Get serves a GET request: it waits until there is something for the client.
func (p *Polling) Get(w http.ResponseWriter, r *http.Request) {
	t, err := p.Take()
	if err != nil {
		RefuseRequest(w)
		return
	}
	Unhurried(w)
	if err := t.Wait(r.Context().Done()); err != nil {
		if err == ErrOverlap {
			RefuseRequest(w)
		}
		return
	}
	defer func() { t.Done(err) }()
	writing := newWriting(w)
	t.OnAbort(writing.abort)
	err = p.shared.writePayload(w, r, writing, t.Payload, t.NoCompress, t.Wrote)
}

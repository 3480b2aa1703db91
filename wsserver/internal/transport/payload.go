package transport

import (
	"bytes"
	"compress/gzip"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/belfry-io/belfry/wsserver/internal/engineio"
)

// WritePayload answers a GET request, of a client that keeps the pace. noCompress says that the payload goes out as it is.
// wrote is called with the number of bytes each time that the client has taken some, unless it is nil.
func (t *Shared) WritePayload(
	w http.ResponseWriter, r *http.Request, payload []byte, noCompress bool, wrote func(n int),
) error {
	return t.writePayload(w, r, newWriting(w), payload, noCompress, wrote)
}

// writePayload is WritePayload that writing may abort.
func (t *Shared) writePayload(
	w http.ResponseWriter, r *http.Request, writing *deadline, payload []byte, noCompress bool, wrote func(n int),
) error {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=UTF-8")
	h.Set("Cache-Control", "no-store")
	if t.compressHTTP > 0 {
		h.Add("Vary", "Accept-Encoding")
		if !noCompress && len(payload) >= t.compressHTTP && acceptsGzip(r.Header) {
			h.Set("Content-Encoding", "gzip")
			payload = compress(payload)
		}
	}
	return t.writeAnswer(w, writing, payload, wrote)
}

// WriteAnswer writes the body of an answer, as WritePayload does.
func (t *Shared) WriteAnswer(w http.ResponseWriter, body []byte, wrote func(n int)) error {
	return t.writeAnswer(w, newWriting(w), body, wrote)
}

// writeAnswer is WriteAnswer that writing may abort.
func (t *Shared) writeAnswer(w http.ResponseWriter, writing *deadline, body []byte, wrote func(n int)) error {
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if t.Leaving() {
		w.Header().Set("Connection", "close")
	}
	for first := true; first || len(body) > 0; first = false {
		if !writing.wait(t.pace.Patience()) {
			return ErrAborted
		}
		n, err := w.Write(body[:min(len(body), t.pace.Bytes())])
		if err != nil {
			return err
		}
		if wrote != nil {
			wrote(n)
		}
		body = body[n:]
	}
	// The deadline may not outlast the answer: what else the connection serves knows nothing of it. So nothing is left to be flushed later.
	if err := http.NewResponseController(w).Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	writing.wait(0)
	return nil
}

// acceptsGzip reports whether a client takes gzip (RFC 9110 section 12.5.3), without weighing it against others: browsers and the official
// client prefer nothing else that is offered here.
func acceptsGzip(h http.Header) bool {
	for _, line := range h["Accept-Encoding"] {
		for element := range strings.SplitSeq(line, ",") {
			coding, weight, weighted := strings.Cut(element, ";")
			if !strings.EqualFold(strings.TrimSpace(coding), "gzip") {
				continue
			}
			name, value, _ := strings.Cut(weight, "=")
			q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return !weighted || strings.EqualFold(strings.TrimSpace(name), "q") && err == nil && q > 0
		}
	}
	return false
}

var gzipWriters = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

func compress(payload []byte) []byte {
	var b bytes.Buffer
	z := gzipWriters.Get().(*gzip.Writer)
	defer gzipWriters.Put(z)
	z.Reset(&b)
	z.Write(payload) // a buffer takes everything
	z.Close()
	return b.Bytes()
}

// Unhurried lets a request wait for longer than the WriteTimeout of its http.Server: that is for answers that are not taken.
func Unhurried(w http.ResponseWriter) { http.NewResponseController(w).SetWriteDeadline(time.Time{}) }

// Refuse answers a request that breaks a rule of Engine.IO.
func Refuse(w http.ResponseWriter, refusal *engineio.Error) {
	h, body := w.Header(), refusal.JSON()
	if refusal.Allow != nil {
		h.Set("Allow", strings.Join(refusal.Allow, ", "))
	}
	if refusal.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(refusal.RetryAfter))
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(refusal.Status())
	w.Write(body)
}

// RefuseRequest answers a request that has no place in its session, and closes its connection.
func RefuseRequest(w http.ResponseWriter) {
	w.Header().Set("Connection", "close")
	Refuse(w, engineio.ErrBadRequest)
}

package transport

import (
	"net/http"
	"time"
)

const (
	lingerTimeout = 5 * time.Second        // for a body that nobody wants
	lingerIdle    = 500 * time.Millisecond // for some of it to come
)

// Linger takes what still comes of a request's body, for a while, once an answer that closes the connection is written. A client that sends
// it first and reads afterwards would otherwise find the connection reset, and no answer (RFC 9112 section 9.6). It comes last in a handler.
//
// An answer that does not close the connection waits in net/http for the body's end, without a bound.
func Linger(w http.ResponseWriter, r *http.Request) {
	if w.Header().Get("Connection") != "close" || r.ProtoMajor != 1 {
		return
	}
	control := http.NewResponseController(w)
	if control.Flush() != nil {
		return
	}
	buf := make([]byte, 4<<10) // no more: thousands may linger
	for end := time.Now().Add(lingerTimeout); time.Now().Before(end); {
		if control.SetReadDeadline(time.Now().Add(lingerIdle)) != nil {
			return // as under a recorder of tests: nothing would bound it
		}
		if _, err := r.Body.Read(buf); err != nil {
			return
		}
	}
	control.SetReadDeadline(time.Now()) // net/http reads on, too
}

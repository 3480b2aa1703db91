package transport

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver/internal/engineio"
	"github.com/belfry-io/belfry/wsserver/internal/outbox"
)

// pollingOwner is an ExchangeReceiver that notes its calls.
type pollingOwner struct {
	fail  error  // what Payload returns
	large func() // if not nil, called by Large

	mu    sync.Mutex // guards what follows
	calls []string
}

func (o *pollingOwner) note(call string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls = append(o.calls, call)
}

func (o *pollingOwner) Payload(body []byte) error {
	o.note(fmt.Sprintf("payload %.20s", body))
	return o.fail
}

func (o *pollingOwner) Closing(err error) {
	for _, known := range []error{ErrOverlap, ErrContentType, ErrAborted, outbox.ErrTooSlow, engineio.ErrParse, errOwner} {
		if errors.Is(err, known) {
			o.note("closing " + known.Error())
			return
		}
	}
	o.note("closing ? " + err.Error())
}

func (o *pollingOwner) Closed() { o.note("closed") }
func (o *pollingOwner) Large() {
	if o.large != nil {
		o.large()
	}
}

var errOwner = errors.New("the owner's")

func (o *pollingOwner) want(t *testing.T, want ...string) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	kit.EqualSlices(t, o.calls, want, "calls")
}

// newPolling returns a Polling of shared with small limits.
func newPolling(t *testing.T) (*Polling, *pollingOwner) {
	shared := newShared(t, Config{MaxMessage: 100, QueueBytes: 1000})
	p, o := new(Polling), new(pollingOwner)
	p.Init(shared, o)
	return p, o
}

func textFrame(text string) *outbox.Frame {
	return &outbox.Frame{Bytes: AppendFrame(nil, OpText, []byte(text))}
}

// get serves a GET request without anything behind it, and returns the answer's status and body.
func get(p *Polling) (int, string) {
	w := httptest.NewRecorder()
	p.Get(w, httptest.NewRequest("GET", "/", nil))
	return w.Code, w.Body.String()
}

func post(p *Polling, body io.Reader) (int, string) {
	w := httptest.NewRecorder()
	p.Post(w, httptest.NewRequest("POST", "/", body))
	return w.Code, w.Body.String()
}

func wantAnswer(t *testing.T, status int, body string, wantStatus int, want string) {
	t.Helper()
	kit.Check(t, status == wantStatus && body == want,
		"the answer is %d, %.100q, want %d, %q", status, body, wantStatus, want)
}

const badRequestBody = `{"code":3,"message":"Bad request"}`

// TestPollingRecorder: everything but deadlines works where the ResponseWriter is a recorder of tests.
func TestPollingRecorder(t *testing.T) {
	p, o := newPolling(t)
	p.Append(textFrame("4one"))
	p.Append(&outbox.Frame{Bytes: AppendFrame(AppendFrame(nil, OpText, []byte("4two")), OpBinary, []byte{0, 255})})
	status, body := get(p)
	wantAnswer(t, status, body, 200, "4one\x1e4two\x1ebAP8=")
	status, body = post(p, strings.NewReader("4x"))
	wantAnswer(t, status, body, 200, "ok")
	p.Close()
	status, body = get(p)
	wantAnswer(t, status, body, 200, "1")
	o.want(t, "payload 4x", "closed")
	status, body = get(p)
	wantAnswer(t, status, body, 400, badRequestBody)
	status, body = post(p, strings.NewReader("4y"))
	wantAnswer(t, status, body, 400, badRequestBody)
	p.Abort()
	p.Dismiss()
	p.Close()
	o.want(t, "payload 4x", "closed")
}

// bareWriter is a ResponseWriter that can do nothing besides, as that of a middleware without Unwrap.
type bareWriter struct{ w http.ResponseWriter }

func (b bareWriter) Header() http.Header         { return b.w.Header() }
func (b bareWriter) Write(p []byte) (int, error) { return b.w.Write(p) }
func (b bareWriter) WriteHeader(status int)      { b.w.WriteHeader(status) }

// TestPollingMiddleware: over sockets, with HTTP/1.1 and HTTP/2, and behind middleware that wraps the ResponseWriter, with Unwrap and without.
func TestPollingMiddleware(t *testing.T) {
	wraps := map[string]func(http.ResponseWriter) http.ResponseWriter{
		"plain":    func(w http.ResponseWriter) http.ResponseWriter { return w },
		"unwrap":   func(w http.ResponseWriter) http.ResponseWriter { return wrapper{w} },
		"nounwrap": func(w http.ResponseWriter) http.ResponseWriter { return bareWriter{w} },
	}
	for name, wrap := range wraps {
		for _, http2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, HTTP/2 %v", name, http2), func(t *testing.T) {
				p, o := newPolling(t)
				web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					kit.Check(t, http2 == (r.ProtoMajor == 2), "the protocol is %s", r.Proto)
					if r.Method == "GET" {
						p.Get(wrap(w), r)
					} else {
						p.Post(wrap(w), r)
					}
				}))
				web.EnableHTTP2 = http2
				web.StartTLS()
				defer web.Close()
				exchange := func(method, body string, want int, wantBody string) {
					t.Helper()
					request, _ := http.NewRequest(method, web.URL, strings.NewReader(body))
					answer, err := web.Client().Do(request)
					kit.OK(t, err)
					defer answer.Body.Close()
					text, err := io.ReadAll(answer.Body)
					kit.OK(t, err)
					wantAnswer(t, answer.StatusCode, string(text), want, wantBody)
				}
				for i := range 5 {
					long := "4" + strings.Repeat("x", i*10_000) // more than net/http buffers
					p.Append(textFrame(long))
					exchange("GET", "", 200, long)
					exchange("POST", "4up", 200, "ok")
				}
				exchange("POST", strings.Repeat("x", 101), 413, "")
				exchange("POST", "4after", 200, "ok")
				p.Close()
				exchange("GET", "", 200, "1")
				up := slices.Repeat([]string{"payload 4up"}, 5)
				o.want(t, append(up, "payload 4after", "closed")...)
			})
		}
	}
}

// slowWriter is that of a client that takes nothing of its answer until told.
type slowWriter struct {
	*httptest.ResponseRecorder
	take chan struct{}
}

func (w slowWriter) Write(p []byte) (int, error) {
	<-w.take
	return w.ResponseRecorder.Write(p)
}

// TestPollingSlowReader: while an answer is not taken, the next GET carries nothing away: what waits stays in the queue, and within its bound.
func TestPollingSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, o := newPolling(t)
		p.Append(textFrame("4one"))
		slow := slowWriter{httptest.NewRecorder(), make(chan struct{})}
		go p.Get(slow, httptest.NewRequest("GET", "/", nil))
		synctest.Wait()
		p.Append(textFrame("4two"))
		second := make(chan string)
		go func() {
			_, body := get(p)
			second <- body
		}()
		synctest.Wait()
		select {
		case body := <-second:
			t.Errorf("the second GET got %q", body)
		default:
		}
		if waiting, _ := p.Waiting(); waiting.Bytes == 0 {
			t.Error("nothing is queued")
		}
		close(slow.take)
		kit.Equal(t, <-second, "4two", "the second GET")
		kit.Equal(t, slow.Body.String(), "4one", "the first GET")
		o.want(t)

		// In this time, the client is too slow as one without a GET is, and the GET that waits learns it.
		p.Append(textFrame("4three"))
		slow = slowWriter{httptest.NewRecorder(), make(chan struct{})}
		go p.Get(slow, httptest.NewRequest("GET", "/", nil))
		synctest.Wait()
		go func() {
			_, body := get(p)
			second <- body
		}()
		synctest.Wait()
		for range 10 {
			p.Append(textFrame("4" + strings.Repeat("x", 1000)))
		}
		kit.Equal(t, <-second, "1", "the GET of a client that is too slow")
		synctest.Wait()
		o.want(t, "closing "+outbox.ErrTooSlow.Error(), "closed")
		close(slow.take)
	})
}

// failingWriter fails to write the body.
type failingWriter struct{ *httptest.ResponseRecorder }

func (failingWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestPollingWriteFails(t *testing.T) {
	p, o := newPolling(t)
	p.Append(textFrame("4one"))
	p.Get(failingWriter{httptest.NewRecorder()}, httptest.NewRequest("GET", "/", nil))
	o.want(t, "closing "+ErrAborted.Error(), "closed")
}

// TestPollingBody: a body that fails or is too large, and what the owner says of one.
func TestPollingBody(t *testing.T) {
	p, o := newPolling(t)
	status, body := post(p, strings.NewReader(strings.Repeat("x", 100)))
	wantAnswer(t, status, body, 200, "ok")
	status, body = post(p, strings.NewReader(strings.Repeat("x", 101)))
	wantAnswer(t, status, body, 413, "")
	status, body = post(p, io.MultiReader(strings.NewReader(strings.Repeat("x", 99)), strings.NewReader("yz"))) // of unknown length
	wantAnswer(t, status, body, 413, "")
	o.want(t, "payload "+strings.Repeat("x", 20))
	status, body = post(p, io.MultiReader(strings.NewReader("4x"), iotest.ErrReader(io.ErrUnexpectedEOF)))
	wantAnswer(t, status, body, 400, badRequestBody)
	o.want(t, "payload "+strings.Repeat("x", 20), "closing "+ErrAborted.Error(), "closed")

	p, o = newPolling(t)
	o.fail = fmt.Errorf("wrapped: %w", engineio.ErrParse)
	p.Append(textFrame("4down"))
	status, body = post(p, strings.NewReader("x"))
	wantAnswer(t, status, body, 400, badRequestBody)
	o.want(t, "payload x", "closing "+engineio.ErrParse.Error(), "closed")

	p, o = newPolling(t)
	o.fail = errOwner
	p.Append(textFrame("4down"))
	status, body = post(p, strings.NewReader("x"))
	wantAnswer(t, status, body, 200, "ok") // it followed the rules of Engine.IO
	o.want(t, "payload x", "closing "+errOwner.Error())
	status, body = get(p)
	wantAnswer(t, status, body, 200, "4down")
	status, body = get(p)
	wantAnswer(t, status, body, 200, "1")
	o.want(t, "payload x", "closing "+errOwner.Error(), "closed")
}

func TestPollingContentType(t *testing.T) {
	for _, kind := range []string{"application/octet-stream", "Application/Octet-Stream; charset=x"} {
		p, o := newPolling(t)
		w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "/", strings.NewReader("4x"))
		r.Header.Set("Content-Type", kind)
		p.Post(w, r)
		wantAnswer(t, w.Code, w.Body.String(), 400, badRequestBody)
		kit.Equal(t, w.Header().Get("Connection"), "close", "Connection is")
		o.want(t, "closing "+ErrContentType.Error(), "closed")
	}
}

func TestPollingHeaders(t *testing.T) {
	p, _ := newPolling(t)
	p.Append(textFrame("4é"))
	w := httptest.NewRecorder()
	p.Get(w, httptest.NewRequest("GET", "/", nil))
	wantHeader(t, w, "Content-Type", "text/plain; charset=UTF-8", "Cache-Control", "no-store", "Content-Length", "3")
	w = httptest.NewRecorder()
	p.Post(w, httptest.NewRequest("POST", "/", strings.NewReader("4x")))
	wantHeader(t, w, "Content-Type", "text/html", "Cache-Control", "no-store", "Content-Length", "2")
	w = httptest.NewRecorder()
	p.Post(w, httptest.NewRequest("POST", "/", strings.NewReader(strings.Repeat("x", 101))))
	wantHeader(t, w, "Connection", "close", "Content-Length", "0")
	p.Abort()
	w = httptest.NewRecorder()
	p.Get(w, httptest.NewRequest("GET", "/", nil))
	wantHeader(t, w, "Connection", "close", "Content-Type", "application/json", "Cache-Control", "no-store")
}

func wantHeader(t *testing.T, w *httptest.ResponseRecorder, pairs ...string) {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		kit.Equal(t, w.Header().Get(pairs[i]), pairs[i+1], pairs[i], "is")
	}
}

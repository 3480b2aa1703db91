package engine

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
)

// A rig is a server with its clients, in one process and without a network, so that it may run in a bubble of testing/synctest.
type rig struct {
	t     testing.TB
	srv   *Server
	gate  *Server // has the requests that go through a gate; nil for none
	wire  *wire   // from it
	web   *http.Server
	conns chan net.Conn
	done  chan struct{} // closed when the listener is
	close func()
	http  *http.Client

	// What tests may set: another way to connect, and what is put around a client's connection.
	dialer func() (net.Conn, error)
	slow   func(net.Conn) net.Conn

	mu     sync.Mutex
	owners map[string]*owner // by session
}

// An owner is the receiver of a session: it notes what comes.
type owner struct {
	session *Session
	request *http.Request

	mu    sync.Mutex
	got   []string // text as it came, binary behind "b"
	react func(message string) (more bool, err error)

	waiting int // what Waiting says, since waits
	waits   time.Time

	ended  chan struct{}
	gone   chan struct{}
	why    Reason
	reason error
}

func (o *owner) Message(binary bool, payload []byte) (more bool, err error) {
	message := string(payload)
	if binary {
		message = "b" + message
	}
	o.mu.Lock()
	o.got = append(o.got, message)
	react := o.react
	o.mu.Unlock()
	if react != nil {
		return react(message)
	}
	return false, nil
}

func (o *owner) Waiting() (bytes int, oldest time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.waits.IsZero() {
		return 0, 0
	}
	return o.waiting, time.Since(o.waits)
}

func (o *owner) Moved() {}

func (o *owner) Ended(why Reason, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.why, o.reason = why, err
	close(o.ended) // a second call would panic
}

func (o *owner) Gone() {
	select {
	case <-o.ended:
	default:
		panic("Gone came before Ended")
	}
	close(o.gone) // a second call would panic
}

func (o *owner) messages() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.got
}

// send sends a message to the client: binary if it begins with "b".
func (o *owner) send(message string) { o.session.Send(newFrame(message, false)) }

func newFrame(message string, volatile bool) *Frame {
	if strings.HasPrefix(message, "b") {
		return NewFrame(Messages{Binary: [][]byte{[]byte(message[1:])}, Volatile: volatile})
	}
	return NewFrame(Messages{Text: []byte(message), Volatile: volatile})
}

// newRig returns a rig that ends with the test. change may change what its server is made of, and web the server of HTTP in front of it.
func newRig(t testing.TB, change func(*Config), web ...func(*http.Server)) *rig {
	r := &rig{t: t, conns: make(chan net.Conn), done: make(chan struct{}), owners: make(map[string]*owner)}
	r.close = sync.OnceFunc(func() { close(r.done) })
	cfg := Config{
		Path:         "/engine.io/",
		PingInterval: 25 * time.Second, PingTimeout: 20 * time.Second, UpgradeTimeout: 10 * time.Second,
		MaxPayload: 1_000_000, QueueBytes: 1 << 20,
		Open: func(request *http.Request, s *Session) (Owner, error) {
			o := &owner{session: s, request: request, ended: make(chan struct{}), gone: make(chan struct{})}
			r.mu.Lock()
			r.owners[s.sid] = o
			r.mu.Unlock()
			return o, nil
		},
		Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&cfg)
	}
	r.srv = New(cfg)
	if gated {
		r.gate, r.wire = r.newGate(cfg)
	}
	r.web = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if r.gate != nil && req.URL.Query().Get("sid") != "" && req.Header.Get("Upgrade") == "" {
			r.gate.ServeHTTP(w, req)
			return
		}
		r.srv.ServeHTTP(w, req)
	})}
	for _, f := range web {
		f(r.web)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		r.web.Serve(r)
	}()
	r.http = &http.Client{Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return r.dial() },
	}}
	t.Cleanup(func() {
		r.http.CloseIdleConnections()
		r.web.Close()
		<-served
		r.srv.CloseSessions(fmt.Errorf("the test ends"))
		if err := r.srv.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
		for sid, o := range r.owners {
			select {
			case <-o.gone:
			default:
				t.Errorf("the owner of %s does not know that its session is gone", sid)
			}
		}
		kit.Equal(t, r.srv.Len(), 0, "sessions are left")
	})
	return r
}

// A rig is the listener of its web server.
func (r *rig) Accept() (net.Conn, error) {
	select {
	case nc := <-r.conns:
		return nc, nil
	case <-r.done:
		return nil, net.ErrClosed
	}
}

func (r *rig) Close() error   { r.close(); return nil }
func (r *rig) Addr() net.Addr { return &net.UnixAddr{Name: "rig"} }

func (r *rig) dial() (net.Conn, error) {
	if r.dialer != nil {
		return r.dialer()
	}
	near, far := net.Pipe()
	select {
	case r.conns <- far:
		if r.slow != nil {
			return r.slow(near), nil
		}
		return near, nil
	case <-r.done:
		return nil, net.ErrClosed
	}
}

func (r *rig) owner(sid string) *owner {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.owners[sid]
}

// request sends a request and returns the answer, its body in one string.
func (r *rig) request(ctx context.Context, method, query, body string) (*http.Response, string, error) {
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://rig/engine.io/?"+query, reader)
	kit.OK(r.t, err)
	answer, err := r.http.Do(request)
	if err != nil {
		return nil, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer, string(text), err
}

// mustRequest is request for one that is to be answered with this status.
func (r *rig) mustRequest(method, query, body string, status int) string {
	r.t.Helper()
	answer, text, err := r.request(r.t.Context(), method, query, body)
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, query, err)
	}
	kit.Require(r.t, answer.StatusCode == status,
		"%s %s: got %d, %q, want %d", method, query, answer.StatusCode, text, status)
	return text
}

// openPolling begins a session and returns its id.
func (r *rig) openPolling() string {
	r.t.Helper()
	return kit.Must(wsrig.SID(r.mustRequest("GET", "EIO=4&transport=polling", "", 200)))(r.t)
}

// polled runs f in a bubble, with a session that polls.
func polled(t *testing.T, change func(*Config), f func(t *testing.T, r *rig, sid string, o *owner)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, change)
		sid := r.openPolling()
		f(t, r, sid, r.owner(sid))
	})
}

// A pending is a request under way.
type pending struct {
	r      *rig
	cancel context.CancelFunc
	done   chan struct{}

	// What came, once done is closed.
	answer *http.Response
	body   string
	err    error
}

// start sends a request that may wait for its answer.
func (r *rig) start(method, sid, body string) *pending {
	ctx, cancel := context.WithCancel(r.t.Context())
	p := &pending{r: r, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.answer, p.body, p.err = r.request(ctx, method, "EIO=4&transport=polling&sid="+sid, body)
	}()
	return p
}

// startAndWait is start that returns when the request has come, or has its answer.
func (r *rig) startAndWait(method, sid, body string) *pending {
	p := r.start(method, sid, body)
	synctest.Wait()
	return p
}

// stream posts a body of unknown length, and wants an answer.
func (r *rig) stream(sid string, body io.Reader) {
	request, err := http.NewRequestWithContext(r.t.Context(), "POST", "http://rig/engine.io/?EIO=4&transport=polling&sid="+sid, body)
	if err != nil {
		r.t.Error(err)
		return
	}
	answer, err := r.http.Do(request)
	if err != nil {
		r.t.Error(err)
		return
	}
	answer.Body.Close()
}

// want waits for the answer and compares it.
func (p *pending) want(status int, body string) {
	p.r.t.Helper()
	<-p.done
	switch {
	case p.err != nil:
		p.r.t.Errorf("the request failed: %v", p.err)
	case p.answer.StatusCode != status || p.body != body:
		p.r.t.Errorf("the answer is %d, %q, want %d, %q", p.answer.StatusCode, p.body, status, body)
	}
}

// waits reports an error if the answer has come.
func (p *pending) waits() {
	p.r.t.Helper()
	select {
	case <-p.done:
		p.r.t.Errorf("the request was answered: %+v, %q, %v", p.answer, p.body, p.err)
	default:
	}
}

// wantPoll polls and compares the payload.
func (r *rig) wantPoll(sid, want string) {
	r.t.Helper()
	kit.Equal(r.t, r.poll(sid), want, "the poll")
}

// wantEnded waits for the end of a session and compares the reason.
func (o *owner) wantEnded(t testing.TB, want error) {
	t.Helper()
	<-o.ended
	kit.ErrorIs(t, o.reason, want, "the session ended with")
}

// lives reports an error if the session has ended.
func (o *owner) lives(t testing.TB) {
	t.Helper()
	select {
	case <-o.ended:
		t.Errorf("the session has ended: %v", o.reason)
	default:
	}
}

// wantMessages checks what the session has got when nothing is under way any more.
func (o *owner) wantMessages(t testing.TB, want ...string) {
	t.Helper()
	synctest.Wait()
	kit.EqualSlices(t, o.messages(), want, "the session")
}

// wantOver waits for the end of the session, and checks that the server forgets it.
func (r *rig) wantOver(sid string, want error) {
	r.t.Helper()
	r.owner(sid).wantEnded(r.t, want)
	synctest.Wait()
	r.gone(sid)
}

// gone reports an error unless the server has forgotten the session.
func (r *rig) gone(sid string) {
	r.t.Helper()
	kit.Check(r.t, r.srv.session(sid) == nil, "the session is still there")
}

func (r *rig) poll(sid string) string {
	r.t.Helper()
	return r.mustRequest("GET", "EIO=4&transport=polling&sid="+sid, "", 200)
}

func (r *rig) post(sid, payload string) string {
	r.t.Helper()
	return r.mustRequest("POST", "EIO=4&transport=polling&sid="+sid, payload, 200)
}

// Package dealer gives tests a load balancer that knows no stickiness: an HTTP reverse proxy that
// picks one of the nodes at random for every request and every WebSocket.
package dealer

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"strings"
	"sync"
	"time"
)

// NodeHeader is the header of an answer that names the node which has given it.
const NodeHeader = "Dealer-Node"

// A Dealer is an http.Handler. Its methods may be called concurrently.
type Dealer struct {
	// Sticky has the requests of a session go to the node that its id names. For whoever sets it
	// before the first request.
	Sticky bool

	// Done, if not nil, is told of every request when it is over. The same goes for it.
	Done func(Request)

	proxy     httputil.ReverseProxy
	transport http.Transport

	mu    sync.Mutex // guards what follows
	rng   *rand.Rand
	nodes []node
}

type node struct{ name, host string }

// A Request is one that is over: a WebSocket is when both sides have ended.
type Request struct {
	Node    string // that has answered it; empty if none has
	SID     string // in its query
	Method  string
	Upgrade bool
	Began   time.Time
	Took    time.Duration
	Status  int    // 0 if the client has gone before there was an answer, 502 if the node has
	Refusal string // the body of an answer of 400 and above, or why there is no answer
}

// New returns a Dealer without nodes. Its choices are the seed's.
func New(seed uint64) *Dealer {
	d := &Dealer{rng: rand.New(rand.NewPCG(seed, 0))}
	d.transport.MaxIdleConnsPerHost = 1000
	d.transport.DisableCompression = true
	d.proxy = httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetXForwarded()
			r.Out.Host = r.In.Host
			r.Out.URL.Scheme = "http"
		},
		Transport:     tripper{d},
		FlushInterval: -1,
		ErrorHandler:  failed,
		ErrorLog:      log.New(io.Discard, "", 0),
	}
	return d
}

// Add adds a node, whose ids of sessions begin with its name, at "host:port".
func (d *Dealer) Add(name, host string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.nodes = append(d.nodes, node{name, host})
}

// Remove takes a node out. What it is about to answer goes on.
func (d *Dealer) Remove(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.nodes = slices.DeleteFunc(d.nodes, func(n node) bool { return n.name == name })
}

// Close closes connections to nodes that nobody uses.
func (d *Dealer) Close() { d.transport.CloseIdleConnections() }

// pick is a node, but none of those tried before; ok is false if there is none.
func (d *Dealer) pick(sid string, tried []node) (_ node, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var left []node
	for _, n := range d.nodes {
		if slices.Contains(tried, n) {
			continue
		}
		if d.Sticky && strings.HasPrefix(sid, n.name) {
			return n, true
		}
		left = append(left, n)
	}
	if len(left) == 0 {
		return node{}, false
	}
	return left[d.rng.IntN(len(left))], true
}

func (d *Dealer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if d.Done == nil {
		d.proxy.ServeHTTP(w, r)
		return
	}
	seen := &witness{ResponseWriter: w}
	request := Request{
		SID: r.URL.Query().Get("sid"), Method: r.Method, Upgrade: r.Header.Get("Upgrade") != "", Began: time.Now(),
	}
	d.proxy.ServeHTTP(seen, r)
	request.Took = time.Since(request.Began)
	request.Node, request.Status, request.Refusal = w.Header().Get(NodeHeader), seen.status, seen.refusal.String()
	d.Done(request)
}

// A tripper sends a request to a node, and to another if that takes no connection, but not what a node may have
// taken: as HAProxy does by default.
type tripper struct{ d *Dealer }

func (t tripper) RoundTrip(r *http.Request) (*http.Response, error) {
	body := r.Body
	if body == nil {
		body = io.NopCloser(strings.NewReader("")) // without a body, http.Transport sends a GET again
	}
	defer body.Close()
	r.Body = io.NopCloser(body) // for the next node
	for tried := []node(nil); ; {
		n, ok := t.d.pick(r.URL.Query().Get("sid"), tried)
		if !ok {
			return nil, errors.New("no node takes a connection")
		}
		r.URL.Host = n.host
		answer, err := t.d.transport.RoundTrip(r)
		if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" && r.Context().Err() == nil {
			tried = append(tried, n)
			continue
		}
		if err == nil {
			answer.Header.Set(NodeHeader, n.name)
		}
		return answer, err
	}
}

// failed answers a request that no node has answered.
func failed(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return // nobody waits for it
	}
	http.Error(w, err.Error(), http.StatusBadGateway)
}

// A witness sees what a request is answered.
type witness struct {
	http.ResponseWriter
	status  int
	refusal bytes.Buffer
}

func (w *witness) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *witness) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	if w.status >= http.StatusBadRequest && w.refusal.Len() < 1000 {
		w.refusal.Write(p)
	}
	return w.ResponseWriter.Write(p)
}

// Hijack is for an upgrade, whose answer is written to the connection.
func (w *witness) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.status = http.StatusSwitchingProtocols
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// Unwrap is for http.ResponseController, which flushes.
func (w *witness) Unwrap() http.ResponseWriter { return w.ResponseWriter }

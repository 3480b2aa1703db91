package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// wires is an HTTP server that makes wires to nodes, and breaks them, for checks that cannot do so themselves:
//
//	POST /wires?node=0             a wire to the node with this index: {"url", "control"}
//	POST /wires/ID/to?arg=1        new connections go to this node
//	POST /wires/ID/cut             its connections end, for both sides, and new ones do until "to"
//	POST /wires/ID/vanish          the same for the client alone: the servers notice nothing
//	POST /wires/ID/cutafter?arg=re the connection on which the server says this ends behind it, once
//	POST /wires/ID/close           it is not needed any more
//	POST /wires/ID/hold?arg=down   what of new WebSockets does not arrive: "down" what the server says behind the handshake, "up" what the
//	                               client says behind its first frame, "" nothing
//	POST /wires/ID/held            waits until a WebSocket is held
type wires struct {
	url   string
	nodes []string // host:port

	mu  sync.Mutex // guards all
	all []*wire
}

func startWires(t *testing.T, nodes []string) *wires {
	t.Helper()
	w := &wires{nodes: nodes}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /wires", w.make)
	mux.HandleFunc("POST /wires/{id}/{op}", w.command)
	mux.Handle("/", interopPage())
	h := httptest.NewUnstartedServer(mux)
	w.url = "http://" + h.Listener.Addr().String()
	h.Start()
	t.Cleanup(func() {
		h.Close()
		for _, one := range w.all {
			one.close()
		}
	})
	return w
}

func (w *wires) make(rw http.ResponseWriter, r *http.Request) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	one := &wire{ln: ln, passages: make(map[*passage]bool)}
	w.mu.Lock()
	id := len(w.all)
	w.all = append(w.all, one)
	w.mu.Unlock()
	if err := w.retarget(one, r.URL.Query().Get("node")); err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	one.running.Go(one.accept)
	json.NewEncoder(rw).Encode(map[string]string{
		"url": "http://" + ln.Addr().String(), "control": fmt.Sprintf("%s/wires/%d", w.url, id),
	})
}

func (w *wires) retarget(one *wire, node string) error {
	i, err := strconv.Atoi(node)
	if err == nil && (i < 0 || i >= len(w.nodes)) {
		err = fmt.Errorf("there is no node %d", i)
	}
	if err != nil {
		return err
	}
	one.mu.Lock()
	defer one.mu.Unlock()
	one.target, one.down = w.nodes[i], false
	return nil
}

func (w *wires) command(rw http.ResponseWriter, r *http.Request) {
	id, err := strconv.Atoi(r.PathValue("id"))
	w.mu.Lock()
	if err != nil || id < 0 || id >= len(w.all) {
		w.mu.Unlock()
		http.NotFound(rw, r)
		return
	}
	one := w.all[id]
	w.mu.Unlock()
	arg := r.URL.Query().Get("arg")
	switch op := r.PathValue("op"); op {
	case "to":
		err = w.retarget(one, arg)
	case "cut":
		one.end(true)
	case "vanish":
		one.end(false)
	case "held":
		for !one.held.Load() && r.Context().Err() == nil {
			time.Sleep(time.Millisecond)
		}
	case "close":
		one.close()
	case "cutafter":
		var re *regexp.Regexp
		if re, err = regexp.Compile(arg); err == nil {
			one.mu.Lock()
			one.cutAfter = re
			one.mu.Unlock()
		}
	case "hold":
		one.mu.Lock()
		one.hold = arg
		one.mu.Unlock()
	default:
		err = fmt.Errorf("unknown command %q", op)
	}
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
	}
}

// wire is a TCP proxy to one node at a time.
type wire struct {
	ln      net.Listener
	running sync.WaitGroup
	held    atomic.Bool // something of a WebSocket has not been carried

	mu       sync.Mutex // guards what follows
	target   string
	down     bool // new connections end at once
	hold     string
	cutAfter *regexp.Regexp
	passages map[*passage]bool
	closed   bool
}

// passage is a connection through a wire.
type passage struct {
	client, server *net.TCPConn
	hold           string
	webSocket      atomic.Bool
	vanished, cut  atomic.Bool
	said           []byte // by the server, while something is looked for in it
}

func (w *wire) accept() {
	for {
		client, err := w.ln.Accept()
		if err != nil {
			return
		}
		w.mu.Lock()
		target, hold, down := w.target, w.hold, w.down
		w.mu.Unlock()
		var server net.Conn
		if !down {
			server, err = net.Dial("tcp", target)
		}
		if down || err != nil {
			client.Close()
			continue
		}
		p := &passage{client: client.(*net.TCPConn), server: server.(*net.TCPConn), hold: hold}
		w.mu.Lock()
		if w.passages[p] = true; w.closed {
			p.close()
		} else if w.down {
			p.end(true)
		}
		w.mu.Unlock()
		var both sync.WaitGroup
		both.Go(func() { p.up() })
		both.Go(func() { p.down(w) })
		w.running.Go(func() {
			both.Wait()
			p.close()
			w.mu.Lock()
			delete(w.passages, p)
			w.mu.Unlock()
		})
	}
}

// probeFrame is the size of the client's first frame in a WebSocket that is an upgrade: "2probe", masked.
const probeFrame = 2 + 4 + 6

// up carries what the client says. The server does not hear the end of a client that has vanished.
func (p *passage) up() {
	buf := make([]byte, 64<<10)
	sent := 0 // since it is a WebSocket
	for {
		n, err := p.client.Read(buf)
		chunk := buf[:n]
		if p.webSocket.Load() && p.hold == "up" {
			chunk = chunk[:min(n, probeFrame-sent)]
			sent += len(chunk)
		}
		if !p.vanished.Load() && !p.cut.Load() {
			p.server.Write(chunk) // that it fails is found by reading
		}
		if err != nil {
			if !p.vanished.Load() {
				p.server.CloseWrite()
			}
			return
		}
	}
}

// down carries what the server says.
func (p *passage) down(w *wire) {
	buf := make([]byte, 64<<10)
	for {
		n, err := p.server.Read(buf)
		chunk := buf[:n]
		if bytes.HasPrefix(chunk, []byte("HTTP/1.1 101 ")) {
			p.webSocket.Store(true)
			if _, rest, _ := bytes.Cut(chunk, []byte("\r\n\r\n")); p.hold == "down" {
				chunk = chunk[:len(chunk)-len(rest)]
			}
		} else if p.webSocket.Load() && p.hold == "down" {
			chunk = nil
			w.held.Store(true)
		}
		chunk, ends := p.cutBehind(w, chunk)
		if !p.vanished.Load() && !p.cut.Load() {
			p.client.Write(chunk)
		}
		if ends {
			p.end(true)
		}
		if err != nil {
			p.client.CloseWrite()
			return
		}
	}
}

// cutBehind returns what is to be carried of a chunk, and whether the connection ends behind it.
func (p *passage) cutBehind(w *wire, chunk []byte) (carried []byte, ends bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cutAfter == nil {
		p.said = nil
		return chunk, false
	}
	p.said = append(p.said, chunk...)
	found := w.cutAfter.FindIndex(p.said)
	if found == nil {
		return chunk, false
	}
	w.cutAfter = nil
	return chunk[:len(chunk)-(len(p.said)-found[1])], true
}

// end ends the connection for the client, and with both for the server, too. What they say from then on is lost.
func (p *passage) end(both bool) {
	if both {
		p.cut.Store(true)
		p.server.CloseWrite()
	} else {
		p.vanished.Store(true)
	}
	p.client.CloseWrite()
}

func (p *passage) close() {
	p.client.Close()
	p.server.Close()
}

func (w *wire) end(both bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = true
	for p := range w.passages {
		p.end(both)
	}
}

func (w *wire) close() {
	w.ln.Close()
	w.mu.Lock()
	w.closed = true
	for p := range w.passages {
		p.close()
	}
	w.mu.Unlock()
	w.running.Wait()
}

package wsserver_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver/internal/engineio"
	"github.com/belfry-io/belfry/wsserver/internal/wsrig"
)

// A poller is a client that polls, written by hand: it sends what it likes, when it likes.
type poller struct {
	t      testing.TB
	http   *http.Client
	sid    string
	events chan string // what has come, packets of Socket.IO as text, binary ones behind "b"
	pings  atomic.Int32
	noPong bool
	why    atomic.Value // a string: why it has ended
	rate   int          // bytes a second that it reads of an answer; zero is no bound

	ctx  context.Context
	stop context.CancelFunc
	done sync.WaitGroup

	posting sync.Mutex // one POST at a time
}

// newPoller opens a session, over connections that dial makes, and connects it to "/": the answer is the first of its events. It polls on once poll
// was called, and ends with the test.
func newPoller(t testing.TB, dial func() net.Conn) *poller {
	t.Helper()
	return newPollerAs(t, dial, "40")
}

// newPollerAs is newPoller with another CONNECT packet.
func newPollerAs(t testing.TB, dial func() net.Conn, connect string) *poller {
	t.Helper()
	p := &poller{t: t, events: make(chan string, 100_000)}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.http = &http.Client{Transport: &http.Transport{
		DialContext:        func(context.Context, string, string) (net.Conn, error) { return dial(), nil },
		DisableCompression: true,
	}}
	t.Cleanup(p.close)
	body, err := p.do("GET", "")
	kit.OK(t, err)
	p.sid = kit.Must(wsrig.SID(body))(t)
	p.post(connect)
	for len(p.events) == 0 && p.fetch() { // no event may come before the answer to CONNECT
	}
	return p
}

// close ends the client's connections, and waits for what it does.
func (p *poller) close() {
	p.stop()
	p.done.Wait()
	p.http.CloseIdleConnections()
}

// do sends a request and returns the answer's body.
func (p *poller) do(method, body string) (string, error) {
	url := "http://example.com/socket.io/?EIO=4&transport=polling"
	if p.sid != "" {
		url += "&sid=" + p.sid
	}
	var send io.Reader
	if method == "POST" {
		send = strings.NewReader(body)
	}
	request, err := http.NewRequestWithContext(p.ctx, method, url, send)
	if err != nil {
		return "", err
	}
	answer, err := p.http.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := p.read(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, text)
	}
	return text, err
}

func (p *poller) read(body io.Reader) (string, error) {
	if p.rate == 0 {
		text, err := io.ReadAll(body)
		return string(text), err
	}
	var text bytes.Buffer
	for {
		n, err := io.CopyN(&text, body, int64(max(1, p.rate/10)))
		if err == io.EOF {
			return text.String(), nil
		} else if err != nil {
			return "", err
		}
		time.Sleep(time.Duration(n) * time.Second / time.Duration(p.rate))
	}
}

// post sends packets of Engine.IO.
func (p *poller) post(packets ...string) error {
	p.posting.Lock()
	defer p.posting.Unlock()
	_, err := p.do("POST", strings.Join(packets, "\x1e"))
	return err
}

// poll polls, and answers pings, until the session or the test ends.
func (p *poller) poll() {
	p.done.Go(func() {
		for p.fetch() {
		}
	})
}

// fetch polls once, and reports whether the session goes on.
func (p *poller) fetch() bool {
	body, err := p.do("GET", "")
	if err != nil {
		p.why.Store(err.Error())
		return false
	}
	err = engineio.DecodePayload([]byte(body), func(binary bool, packet []byte) error {
		switch {
		case binary:
			p.events <- "b" + string(packet)
		case string(packet) == "2":
			p.pings.Add(1)
			if !p.noPong {
				p.done.Go(func() { p.post("3") }) // a POST before it may wait for the handlers
			}
		case packet[0] == '4':
			p.events <- string(packet[1:])
		}
		return nil
	})
	if err != nil {
		p.t.Errorf("a payload of %d bytes: %v", len(body), err)
	}
	return err == nil
}

// next returns the next packet of Socket.IO.
func (p *poller) next() string {
	p.t.Helper()
	select {
	case e := <-p.events:
		return e
	case <-time.After(kit.Patience):
		p.t.Fatalf("the client that polls gets nothing; it has ended: %v", p.why.Load())
		return ""
	}
}

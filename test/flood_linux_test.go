package test

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/belfry-io/belfry/test/child"
	"github.com/belfry-io/belfry/test/kit"
)

// floodBudget is Limits.BudgetBytes of a flooded server, floodLimit its memory limit, and floodMost what its process may take at the most, in
// bytes.
const (
	floodBudget = 64 << 20
	floodLimit  = 96 << 20
	floodMost   = 110 << 20
)

// floodSeconds is how long a flood runs.
func floodSeconds() int {
	if *floods || *everyMode {
		return 6
	}
	return 3
}

// A flood is clients that send and read nothing.
type flood struct {
	t       *testing.T
	address string
	tls     bool

	conns sync.WaitGroup
	mu    sync.Mutex
	all   []net.Conn // to be closed
}

// dial connects, with a small buffer on this side: what a server does not read is to wait in this process.
func (f *flood) dial() (net.Conn, error) {
	nc, err := net.Dial("tcp", f.address)
	if err != nil {
		return nil, err
	}
	nc.(*net.TCPConn).SetWriteBuffer(64 << 10)
	nc.(*net.TCPConn).SetReadBuffer(64 << 10)
	f.mu.Lock()
	f.all = append(f.all, nc)
	f.mu.Unlock()
	if f.tls {
		return tls.Client(nc, &tls.Config{InsecureSkipVerify: true}), nil
	}
	return nc, nil
}

// end ends all clients.
func (f *flood) end() {
	f.mu.Lock()
	for _, nc := range f.all {
		nc.Close()
	}
	f.mu.Unlock()
	f.conns.Wait()
}

// socket opens a WebSocket that is connected to "/".
func (f *flood) socket(header string) (net.Conn, *bufio.Reader, error) {
	nc, err := f.dial()
	if err != nil {
		return nil, nil, err
	}
	r := bufio.NewReader(nc)
	fmt.Fprintf(nc, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n", header)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, nil, err
		}
		if line == "\r\n" {
			break
		}
	}
	if _, err = nc.Write(masked(ws.OpText, "40")); err != nil {
		return nil, nil, err
	}
	for {
		message, err := readMessage(nc, r)
		if err != nil {
			return nil, nil, err
		}
		if strings.HasPrefix(message, "40") {
			return nc, r, nil
		}
	}
}

// readMessage reads a message of a WebSocket, within a minute.
func readMessage(nc net.Conn, r *bufio.Reader) (string, error) {
	nc.SetReadDeadline(time.Now().Add(time.Minute))
	h, err := ws.ReadHeader(r)
	if err != nil {
		return "", err
	}
	message := make([]byte, h.Length)
	_, err = io.ReadFull(r, message)
	return string(message), err
}

func masked(op ws.OpCode, payload string) []byte {
	var b bytes.Buffer
	ws.WriteFrame(&b, ws.MaskFrame(ws.NewFrame(op, true, []byte(payload))))
	return b.Bytes()
}

// sockets floods with n WebSockets that each send this so many times. None reads, or answers a ping.
func (f *flood) sockets(n int, send []byte, times int) {
	for range n {
		f.conns.Go(func() {
			nc, _, err := f.socket("")
			if err != nil {
				return // the server has ended it, or the test
			}
			for range times {
				if _, err := nc.Write(send); err != nil {
					return // the server has closed it
				}
			}
		})
	}
}

// pollers floods with n clients that post this so many times. gets says that each also asks for what there is for it, and does not read the answer.
func (f *flood) pollers(n int, send string, times int, gets bool) {
	for range n {
		f.conns.Go(func() {
			nc, err := f.dial()
			if err != nil {
				f.t.Error(err)
				return
			}
			r := bufio.NewReader(nc)
			fmt.Fprint(nc, "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n")
			body, err := readBody(r)
			if err != nil {
				f.t.Error(err)
				return
			}
			var open struct{ SID string }
			if err := json.Unmarshal(body[1:], &open); err != nil {
				f.t.Error(err)
				return
			}
			target := "/socket.io/?EIO=4&transport=polling&sid=" + open.SID
			for i := range times + 1 {
				body := send
				if i == 0 {
					body = "40"
				}
				fmt.Fprintf(nc, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", target, len(body))
				io.WriteString(nc, body)
				if i == 1 && gets {
					if other, err := f.dial(); err == nil {
						fmt.Fprintf(other, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", target)
					}
				}
				if _, err := readBody(r); err != nil {
					return
				}
			}
		})
	}
}

// readBody reads an answer with a Content-Length.
func readBody(r *bufio.Reader) ([]byte, error) {
	length := 0
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		if line == "\r\n" {
			break
		}
		if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "Content-Length") {
			length, _ = strconv.Atoi(strings.TrimSpace(value))
		}
	}
	body := make([]byte, length)
	_, err := io.ReadFull(r, body)
	return body, err
}

// reader joins "readers" and reads until done is closed. It returns how much it has got, and why it could not go on.
func (f *flood) reader(ready, done chan struct{}) (bytes int, err error) {
	nc, r, err := f.socket("")
	if err != nil {
		return 0, err
	}
	nc.Write(masked(ws.OpText, `42["join","readers"]`))
	next := -1
	for {
		select {
		case <-done:
			return bytes, nil
		default:
		}
		message, err := readMessage(nc, r)
		if err != nil {
			select {
			case <-done: // the test has closed the connection
				err = nil
			default:
			}
			return bytes, err
		}
		if message == "2" {
			nc.Write(masked(ws.OpText, "3"))
			continue
		}
		event, ok := strings.CutPrefix(message, `42["n",`)
		if !ok {
			continue
		}
		bytes += len(message)
		number, _, _ := strings.Cut(event, ",")
		n, err := strconv.Atoi(number)
		switch {
		case err != nil:
			return bytes, err
		case next < 0:
			close(ready)
		case n != next:
			return bytes, fmt.Errorf("got event %d, want %d", n, next)
		}
		next = n + 1
	}
}

var floods = flag.Bool("floods", false, "run all floods, not the two that every run has")

// floodSlack is what the garbage collector of a busy machine may be behind by, in bytes.
const floodSlack = 12 << 20

// TestFlood: however many clients send and never read, and however many handlers wait, a server with a budget of 64 MiB and a memory limit of 96 MiB
// takes no more than 110 MiB, and a client that reads 1 MB/s meanwhile gets everything.
func TestFlood(t *testing.T) {
	if kit.Raced {
		t.Skip("the race detector takes memory of its own")
	}
	kB := func(n int) string { return strings.Repeat("x", n*1000) }
	binary := func(event string, n int) []byte {
		return append(masked(ws.OpText, `451-["`+event+`",{"_placeholder":true,"num":0}]`), masked(ws.OpBinary, kB(n))...)
	}
	for i, test := range []struct {
		name  string
		mode  string // of the server
		flood func(f *flood)
	}{
		{"200 send 8 times 900 kB to be echoed", "", func(f *flood) { f.sockets(200, masked(ws.OpText, `42["echo","`+kB(900)+`"]`), 8) }},
		{"the same as bytes", "", func(f *flood) { f.sockets(200, binary("echo", 900), 8) }},
		{"the same over TLS", "tls", func(f *flood) { f.sockets(200, masked(ws.OpText, `42["echo","`+kB(900)+`"]`), 8) }},
		{"the same by polling", "", func(f *flood) { f.pollers(200, `42["echo","`+kB(900)+`"]`, 8, false) }},
		{"the same by polling, and bytes", "", func(f *flood) {
			f.pollers(200, `451-["echo",{"_placeholder":true,"num":0}]`+"\x1eb"+base64.StdEncoding.EncodeToString([]byte(kB(700))), 8, false)
		}},
		{"the same by polling, with a GET each that is not read", "", func(f *flood) { f.pollers(200, `42["echo","`+kB(900)+`"]`, 8, true) }},
		{"1,000 handlers wait, with 5 events of 1 MB each", "", func(f *flood) { f.sockets(1000, masked(ws.OpText, `42["wait","`+kB(990)+`"]`), 5) }},
		{"with 50 of 100 kB", "", func(f *flood) { f.sockets(1000, masked(ws.OpText, `42["wait","`+kB(100)+`"]`), 50) }},
		{"with 5,000 of 1 kB", "", func(f *flood) {
			f.sockets(1000, bytes.Repeat(masked(ws.OpText, `42["wait","`+kB(1)+`"]`), 100), 50)
		}},
		{"with 200,000 of 20 bytes", "", func(f *flood) {
			f.sockets(1000, bytes.Repeat(masked(ws.OpText, `42["wait"]`), 2000), 100)
		}},
		{"with 5 of 1 MB as bytes", "", func(f *flood) { f.sockets(1000, binary("wait", 990), 5) }},
		{"with 50 of 100 kB by polling", "", func(f *flood) { f.pollers(1000, `42["wait","`+kB(100)+`"]`, 50, false) }},
		{"1,000 messages of 1 MB that never end", "", func(f *flood) {
			f.sockets(1000, masked(ws.OpText, `42["wait","`+kB(990)+`"]`)[:900_000], 1)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if i != 0 && i != 6 && !*floods {
				t.Skip("one of many: go test ./test -run TestFlood -floods")
			}
			server := child.Start(t, "flooded", cmp.Or(test.mode, "plain"), "1000000")
			address, err := server.Line()
			if err != nil {
				t.Fatal(err)
			}
			f := &flood{t: t, address: address, tls: test.mode == "tls"}
			defer f.end()
			ready, done := make(chan struct{}), make(chan struct{})
			var read int
			var readErr error
			stop := sync.OnceFunc(func() { close(done) })
			defer stop()
			f.conns.Go(func() { read, readErr = f.reader(ready, done) })
			select {
			case <-ready:
			case <-time.After(time.Minute):
				t.Fatal("the client that reads gets nothing")
			}
			test.flood(f)
			var is flooded
			for range floodSeconds() {
				time.Sleep(time.Second) // let the flood run
				line, err := server.Ask("?")
				if err != nil {
					t.Fatal(err)
				}
				if err := json.Unmarshal([]byte(line), &is); err != nil {
					t.Fatal(err)
				}
				t.Logf("%d MiB, %d at the most; %d MiB wait; %d connections; %+v", is.Now>>20, is.Most>>20, is.Stats.Waiting>>20, is.Stats.Connections, is.Stats.Ended)
			}
			stop()
			f.end()
			if readErr != nil || read < 100_000 { // on a busy machine fewer are sent
				t.Errorf("the client that reads got %d bytes, %v", read, readErr)
			}
			t.Logf("the server took %d MiB", is.Most>>20)
			most := floodMost
			if !*floods {
				most += floodSlack
			}
			if f.tls {
				most += 20 << 20 // its own buffers, of 32 KiB and more a connection
			}
			if is.Most > most {
				t.Errorf("the server took %d MiB, want %d at the most", is.Most>>20, most>>20)
			}
		})
	}
}

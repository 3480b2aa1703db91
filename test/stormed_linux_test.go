package test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gobwas/ws"

	"github.com/belfry-io/belfry/wsserver"
)

func init() {
	roles["stormed"], roles["observer"], roles["stormers"] = beStormed, beObserver, beStormers
}

// beStormed is a server that answers events and admits so many handshakes a second. It prints its address, and for each line its Stats.
func beStormed(args []string) error {
	handshakes, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	srv := wsserver.New(wsserver.Config{
		Limits: wsserver.Limits{Handshakes: handshakes, HandshakeWait: 2 * time.Second},
		Logger: slog.New(slog.DiscardHandler),
	})
	serveScenario(srv)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go (&http.Server{Handler: srv}).Serve(srv.Pace(listener))
	fmt.Println(listener.Addr())
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if err := json.NewEncoder(os.Stdout).Encode(srv.Stats()); err != nil {
			return err
		}
	}
	return nil
}

// A sight is what an observer has seen since it was asked before.
type sight struct {
	Answers  int
	P50, P99 time.Duration
	Max      time.Duration
	Failed   string // why a client of its own has ended; empty if none has
}

// beObserver is clients that are connected to the server at args[0], args[1] of them: each sends an event every 50 ms and waits for the
// answer. For each line it prints a sight.
func beObserver(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var times []time.Duration
	var failed string
	for i := range n {
		nc, r, _, err := stormSocket(args[0], "")
		if err != nil {
			return err
		}
		go func() {
			time.Sleep(time.Duration(i) * 50 * time.Millisecond / time.Duration(n))
			err := observe(nc, r, func(took time.Duration) {
				mu.Lock()
				defer mu.Unlock()
				times = append(times, took)
			})
			mu.Lock()
			defer mu.Unlock()
			failed = err.Error()
		}()
	}
	fmt.Println("ready")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		mu.Lock()
		seen := times
		times = nil
		s := sight{Answers: len(seen), Failed: failed}
		mu.Unlock()
		if len(seen) > 0 {
			slices.Sort(seen)
			s.P50, s.P99, s.Max = seen[len(seen)/2], seen[len(seen)*99/100], seen[len(seen)-1]
		}
		if err := json.NewEncoder(os.Stdout).Encode(s); err != nil {
			return err
		}
	}
	return nil
}

// observe sends events at fixed times, whatever the answers take, so that a server that stands still is seen by all that it keeps waiting.
func observe(nc net.Conn, r *bufio.Reader, took func(time.Duration)) error {
	var mu sync.Mutex
	sent := make(map[string]time.Time)
	go func() {
		next := time.Now()
		for id := 1; ; id++ {
			mu.Lock()
			sent[strconv.Itoa(id)] = next
			mu.Unlock()
			if _, err := nc.Write(masked(ws.OpText, fmt.Sprintf(`42%d["echo","x"]`, id))); err != nil {
				return
			}
			next = next.Add(50 * time.Millisecond)
			time.Sleep(time.Until(next))
		}
	}()
	for {
		message, err := readMessage(nc, r)
		if err != nil {
			return err
		}
		id, _, _ := strings.Cut(strings.TrimPrefix(message, "43"), "[")
		mu.Lock()
		at, ok := sent[id]
		delete(sent, id)
		mu.Unlock()
		switch {
		case ok:
			took(time.Since(at))
		case message == "2":
			if _, err := nc.Write(masked(ws.OpText, "3")); err != nil {
				return err
			}
		}
	}
}

// stormSocket opens a WebSocket and connects it to "/"; with an id, it takes that session over. refused says that the server has no time.
func stormSocket(address, sid string) (nc net.Conn, r *bufio.Reader, refused bool, err error) {
	dialed, err := net.Dial("tcp", address)
	if err != nil {
		return nil, nil, false, err
	}
	nc = dialed
	nc.SetDeadline(time.Now().Add(time.Minute))
	defer func() {
		if err != nil {
			dialed.Close()
		}
	}()
	query, hello, answer := "", []string{"40"}, "40"
	if sid != "" {
		query, hello, answer = "&sid="+sid, []string{"2probe", "5"}, "3probe"
	}
	fmt.Fprintf(nc, "GET /socket.io/?EIO=4&transport=websocket%s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", query)
	r = bufio.NewReaderSize(nc, 512)
	response, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, nil, false, err
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		return nil, nil, response.StatusCode == http.StatusServiceUnavailable, fmt.Errorf("the answer is %s", response.Status)
	}
	if _, err = nc.Write(masked(ws.OpText, hello[0])); err != nil {
		return nil, nil, false, err
	}
	for {
		message, err := readMessage(nc, r)
		if err != nil {
			return nil, nil, false, err
		}
		if strings.HasPrefix(message, answer) {
			break
		}
	}
	for _, last := range hello[1:] {
		if _, err = nc.Write(masked(ws.OpText, last)); err != nil {
			return nil, nil, false, err
		}
	}
	nc.SetDeadline(time.Time{})
	return nc, r, false, nil
}

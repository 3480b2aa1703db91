package test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
)

// beStormers is args[1] clients of the server at args[0]. The lines "connect" and "drop" tell them to; it prints how long it took.
func beStormers(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	s := &stormers{address: args[0], web: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 200}}}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var took time.Duration
		if lines.Text() == "drop" {
			s.drop()
		} else if took, err = s.connect(n); err != nil {
			return fmt.Errorf("a client did not come back: %w", err)
		}
		fmt.Println(took)
	}
	return nil
}

// stormers are clients that come and go together, half of them by polling and an upgrade, as the official client does by default.
type stormers struct {
	address string
	web     *http.Client

	all   []net.Conn
	reads sync.WaitGroup
}

// connect connects n clients at once, and waits until all are.
func (s *stormers) connect(n int) (took time.Duration, err error) {
	began := time.Now()
	conns := make(chan net.Conn, n)
	var wait sync.WaitGroup
	var failed atomic.Value
	for i := range n {
		wait.Go(func() {
			nc, err := s.client(i%2 == 0)
			if err != nil {
				failed.Store(err)
				return
			}
			conns <- nc
		})
	}
	wait.Wait()
	took = time.Since(began)
	close(conns)
	for nc := range conns {
		s.all = append(s.all, nc)
	}
	err, _ = failed.Load().(error)
	return took, err
}

// drop ends all clients.
func (s *stormers) drop() {
	for _, nc := range s.all {
		nc.Close()
	}
	s.all = nil
	s.reads.Wait()
	s.web.CloseIdleConnections()
}

// client connects a client. It tries again when the server has no time, as late as the official client (socket.io-client/lib/manager.ts:
// from 1 s to 5 s, more or less by a half).
func (s *stormers) client(polls bool) (net.Conn, error) {
	delay := time.Second
	for {
		nc, refused, err := s.attempt(polls)
		if err == nil {
			return nc, nil
		}
		if !refused {
			return nil, err
		}
		time.Sleep(time.Duration((0.5 + rand.Float64()) * float64(delay)))
		delay = min(2*delay, 5*time.Second)
	}
}

var errNoTime = errors.New("the server has no time")

func (s *stormers) attempt(polls bool) (nc net.Conn, refused bool, err error) {
	var sid string
	if polls {
		if sid, err = s.poll(); err != nil {
			return nil, err == errNoTime, err
		}
	}
	nc, r, refused, err := stormSocket(s.address, sid)
	if err != nil {
		return nil, refused, err
	}
	s.reads.Go(func() {
		for {
			message, err := readMessage(nc, r)
			if err != nil {
				return
			}
			if message == "2" {
				nc.Write(masked(ws.OpText, "3"))
			}
		}
	})
	return nc, false, nil
}

// poll opens a session that polls, and connects it to "/".
func (s *stormers) poll() (sid string, err error) {
	url := "http://" + s.address + "/socket.io/?EIO=4&transport=polling"
	open, err := s.do(http.MethodGet, url, "")
	if err != nil {
		return "", err
	}
	var packet struct{ SID string }
	if err := json.Unmarshal([]byte(strings.TrimPrefix(open, "0")), &packet); err != nil {
		return "", err
	}
	url += "&sid=" + packet.SID
	if _, err := s.do(http.MethodPost, url, "40"); err != nil {
		return "", err
	}
	_, err = s.do(http.MethodGet, url, "")
	return packet.SID, err
}

func (s *stormers) do(method, url, body string) (string, error) {
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	answer, err := s.web.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	switch {
	case answer.StatusCode == http.StatusServiceUnavailable:
		return "", errNoTime
	case err == nil && answer.StatusCode != http.StatusOK:
		err = fmt.Errorf("%s: %s", answer.Status, text)
	}
	return string(text), err
}

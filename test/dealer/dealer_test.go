package dealer

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/belfry-io/belfry/test/kit"
)

// start starts a balancer over nodes called node-0 and so on, which answer with their name and what they were
// sent, refuse the path /no, and echo the lines of an upgrade.
func start(t *testing.T, nodes int, adjust func(*Dealer)) (b *Dealer, url string, servers []*httptest.Server) {
	b = New(7)
	if adjust != nil {
		adjust(b)
	}
	for i := range nodes {
		name := fmt.Sprint("node-", i)
		h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/no" {
				http.Error(w, "no", http.StatusBadRequest)
				return
			}
			if r.Header.Get("Upgrade") == "" {
				body, _ := io.ReadAll(r.Body)
				fmt.Fprintf(w, "%s %s", name, body)
				return
			}
			nc, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer nc.Close()
			fmt.Fprint(nc, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: lines\r\n\r\n")
			for {
				line, err := rw.ReadString('\n')
				if err != nil {
					return
				}
				fmt.Fprint(nc, name, " ", line)
			}
		}))
		t.Cleanup(h.Close)
		servers = append(servers, h)
		b.Add(name, h.Listener.Addr().String())
	}
	front := httptest.NewServer(b)
	t.Cleanup(func() { front.Close(); b.Close() })
	return b, front.URL, servers
}

func post(t *testing.T, url, body string) (text string, answer *http.Response) {
	t.Helper()
	answer, err := http.Post(url, "text/plain", strings.NewReader(body))
	kit.OK(t, err)
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	kit.OK(t, err)
	return string(b), answer
}

// Every request of one connection goes to a node of its own, and Done is told which.
func TestRequests(t *testing.T) {
	var mu sync.Mutex
	var told []Request
	_, url, _ := start(t, 3, func(b *Dealer) {
		b.Done = func(r Request) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, r)
		}
	})
	count := make(map[string]int)
	for i := range 90 {
		text, answer := post(t, url+"?sid=node-1xyz", fmt.Sprint(i))
		name := answer.Header.Get(NodeHeader)
		count[name]++
		kit.Equal(t, text, fmt.Sprint(name, " ", i))
	}
	kit.Check(t, len(count) == 3 && min(count["node-0"], count["node-1"], count["node-2"]) > 15, "%v", count)
	text, _ := post(t, url+"/no", "")
	kit.Equal(t, text, "no\n")
	kit.Eventually(t, "the last request to be told of", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(told) == 91
	})
	for _, r := range told[:90] {
		if r.Status != 200 || r.SID != "node-1xyz" || r.Refusal != "" || r.Upgrade || r.Took <= 0 {
			t.Fatalf("told %+v", r)
		}
		count[r.Node]--
	}
	kit.Check(t, count["node-0"] == 0 && count["node-1"] == 0 && count["node-2"] == 0, "told of others: %v", count)
	if r := told[90]; r.Status != 400 || r.Refusal != "no\n" {
		t.Errorf("told %+v of a refusal", r)
	}
}

func TestSticky(t *testing.T) {
	_, url, _ := start(t, 3, func(b *Dealer) { b.Sticky = true })
	for range 20 {
		text, _ := post(t, url+"?sid=node-1xyz", "")
		kit.Equal(t, text, "node-1 ")
	}
}

// A node that takes no connection costs no request, nor one that was taken out.
func TestDown(t *testing.T) {
	b, url, servers := start(t, 3, nil)
	servers[0].Close()
	for i := range 30 {
		if i == 15 {
			b.Remove("node-1")
		}
		text, answer := post(t, url, "a body")
		name := answer.Header.Get(NodeHeader)
		if text != name+" a body" || name == "node-0" || name == "node-1" && i >= 15 {
			t.Fatalf("request %d: %q of %q", i, text, name)
		}
	}
	b.Remove("node-2")
	_, answer := post(t, url, "")
	kit.Equal(t, answer.StatusCode, http.StatusBadGateway)
}

// An upgrade is carried both ways, and its ends are.
func TestUpgrade(t *testing.T) {
	done := make(chan Request, 1)
	_, url, _ := start(t, 2, func(b *Dealer) { b.Done = func(r Request) { done <- r } })
	nc, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	kit.OK(t, err)
	defer nc.Close()
	r := bufio.NewReader(nc)
	fmt.Fprint(nc, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: lines\r\n\r\n")
	answer, err := http.ReadResponse(r, nil)
	kit.OK(t, err)
	kit.Equal(t, answer.StatusCode, http.StatusSwitchingProtocols)
	for i := range 10 {
		fmt.Fprintln(nc, "line", i)
		kit.Got(r.ReadString('\n')).Is(t, fmt.Sprintf("%s line %d\n", answer.Header.Get(NodeHeader), i))
	}
	nc.Close()
	told := kit.Receive(t, "the end of the upgrade", done)
	kit.Check(t, told.Upgrade && told.Status == 101 && told.Node == answer.Header.Get(NodeHeader), "told %+v", told)
}

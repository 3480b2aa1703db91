package test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/test/kit"
)

// TestStrayGETsWait: GETs that wait at another node than their session's cost that node no goroutine, and
// little memory; they cost the node where they are what its own do. All of them are answered.
func TestStrayGETsWait(t *testing.T) {
	if kit.Raced {
		t.Skip("the race detector takes memory of its own")
	}
	const many = 500
	broker := natstest.NewServer(t)
	owner, gate := startCounted(t, broker.URL()), startCounted(t, broker.URL())
	web := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 10}}
	sessions := func(n counted) (sids []string) {
		for range many {
			sids = append(sids, n.session(t, web))
		}
		return sids
	}
	strays, own := sessions(owner), sessions(gate)
	speaker := owner.session(t, web)
	web.CloseIdleConnections()
	owned, quiet := owner.settled(t), gate.settled(t)

	waiting := gate.wait(t, own)
	none := gate.settled(t)
	waiting = append(waiting, gate.wait(t, strays)...)
	kit.Eventually(t, "all requests to wait", func() bool { return owner.gauge(t).Stats.Strays.Held == many })
	at, through := owner.gauge(t), gate.gauge(t)
	kit.Equal(t, through.Stats.Strays.Waiting, many, "GETs that wait at the gate")
	each := func(now, then gauge) int { return (now.Bytes - then.Bytes) / many }
	t.Logf("%d GETs wait: at the owner %d goroutines more, and %d bytes each; at the gate %d, and %d each; own ones there %d, and %d each",
		many, at.Goroutines-owned.Goroutines, each(at, owned),
		through.Goroutines-none.Goroutines, each(through, none), none.Goroutines-quiet.Goroutines, each(none, quiet))
	kit.Check(t, at.Goroutines-owned.Goroutines < many/20, "the owner had %d goroutines, and has %d for %d GETs",
		owned.Goroutines, at.Goroutines, many)
	kit.Check(t, each(at, owned) < ownerBytes, "%d bytes each at the owner, want less than %d", each(at, owned), ownerBytes)
	kit.Check(t, through.Goroutines-none.Goroutines <= none.Goroutines-quiet.Goroutines+many/20,
		"%d goroutines at the gate, and %d for as many of its own", through.Goroutines-none.Goroutines, none.Goroutines-quiet.Goroutines)
	kit.Check(t, each(through, none) < each(none, quiet)+gateBytes,
		"%d bytes each at the gate, want less than %d more than the %d of its own", each(through, none), gateBytes, each(none, quiet))

	s := &stormers{web: web}
	url := fmt.Sprintf("http://%s/socket.io/?EIO=4&transport=polling&sid=%s", owner.host, speaker)
	kit.Must(s.do(http.MethodPost, url, `42["all","hello"]`))(t)
	for i, nc := range waiting {
		answer, err := http.ReadResponse(bufio.NewReader(nc), nil)
		kit.OK(t, err, "GET", i)
		body := kit.Must(io.ReadAll(answer.Body))(t)
		kit.Equal(t, string(body), `42["all","hello"]`, "the answer to GET", i)
	}
	kit.Eventually(t, "no request to wait", func() bool {
		return owner.gauge(t).Stats.Strays.Held == 0 && gate.gauge(t).Stats.Strays.Waiting == 0
	})
	web.CloseIdleConnections()
}

// wait asks the node what there is for sessions, each by a connection of its own.
func (n counted) wait(t *testing.T, sids []string) (waiting []net.Conn) {
	t.Helper()
	for _, sid := range sids {
		nc := kit.Must(net.Dial("tcp", n.host))(t)
		t.Cleanup(func() { nc.Close() })
		nc.SetDeadline(time.Now().Add(kit.Patience))
		fmt.Fprintf(nc, "GET /socket.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: x\r\n\r\n", sid)
		waiting = append(waiting, nc)
	}
	return waiting
}

// settled is a gauge of a node where no goroutine is about to begin or to end.
func (n counted) settled(t *testing.T) (g gauge) {
	t.Helper()
	kit.Eventually(t, "the node to be settled", func() bool {
		was := n.gauge(t)
		time.Sleep(100 * time.Millisecond)
		g = n.gauge(t)
		return g.Goroutines == was.Goroutines
	})
	return g
}

// TestOwnerStops: a stray POST waits for an owner that stands still, and is answered when that goes on, or after
// a while without it.
func TestOwnerStops(t *testing.T) {
	broker := natstest.NewServer(t)
	owner, gate := startCounted(t, broker.URL()), startCounted(t, broker.URL())
	web := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 10}}
	defer web.CloseIdleConnections()
	for _, still := range []time.Duration{time.Second, time.Hour} {
		sid := owner.session(t, web)
		url := fmt.Sprintf("http://%s/socket.io/?EIO=4&transport=polling&sid=%s", gate.host, sid)
		kit.Must((&stormers{web: web}).do(http.MethodPost, url, "3"))(t)
		kit.OK(t, owner.Signal(syscall.SIGSTOP))
		began := time.Now()
		going := time.AfterFunc(still, func() { owner.Signal(syscall.SIGCONT) })
		answer, err := web.Post(url, "text/plain", strings.NewReader("3"))
		going.Stop()
		kit.OK(t, err)
		answer.Body.Close()
		t.Logf("the owner stood still for %v: %s after %v", still, answer.Status, time.Since(began).Round(time.Millisecond))
		want := http.StatusOK
		if still > time.Minute {
			want = http.StatusServiceUnavailable
		}
		kit.Equal(t, answer.StatusCode, want)
		kit.Took(t, began, 0, 20*time.Second, "the answer")
	}
	owner.Signal(syscall.SIGCONT)
}

// TestGateIsKilled: a client whose poll waits at a node that is killed polls by another, as a balancer may do for
// it. What came in between is not lost in silence: the client has it, or its session ends.
func TestGateIsKilled(t *testing.T) {
	broker := natstest.NewServer(t)
	owner, gate := startCounted(t, broker.URL()), startCounted(t, broker.URL())
	other := startCounted(t, broker.URL())
	web := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 10}}
	defer web.CloseIdleConnections()
	sid, speaker := owner.session(t, web), owner.session(t, web)
	gate.wait(t, []string{sid})
	kit.Eventually(t, "the poll to wait", func() bool { return owner.gauge(t).Stats.Strays.Held == 1 })
	gate.Kill()
	s := &stormers{web: web}
	path := "/socket.io/?EIO=4&transport=polling&sid="
	kit.Must(s.do(http.MethodPost, "http://"+owner.host+path+speaker, `42["all","hello"]`))(t)
	began := time.Now()
	answer := kit.Must(web.Get("http://" + other.host + path + sid))(t)
	defer answer.Body.Close()
	body := string(kit.Must(io.ReadAll(answer.Body))(t))
	t.Logf("the next poll was answered after %v: %s %s", time.Since(began).Round(time.Millisecond), answer.Status, body)
	kit.Took(t, began, 0, 15*time.Second, "the answer to the next poll") // until the node is given up, 30 s
	kit.Check(t, body == `42["all","hello"]` || body == "1" || answer.StatusCode == http.StatusBadRequest,
		"the next poll was answered %s, %q", answer.Status, body)
}

// What a stray GET that waits may take, in bytes: at the owner, and at the gate beside what a direct one does.
const (
	ownerBytes = 2 << 10
	gateBytes  = 16 << 10
)

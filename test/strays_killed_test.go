package test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/test/child"
	"github.com/belfry-io/belfry/test/dealer"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver"
)

func init() { roles["killable"] = beKillable }

// beKillable is a node of the cluster at args[0], with the application of node/interop.mjs, or that of
// node/client.mjs, as args[1] says. It prints its name and its address.
func beKillable(args []string) error {
	quiet := slog.New(slog.DiscardHandler)
	cfg := interopConfig("json")
	cfg.Logger = quiet
	cfg.Adapter = natsadapter.New(natsadapter.Config{URL: args[0], Cluster: "killables", Logger: quiet})
	srv := wsserver.New(cfg)
	if args[1] == "interop" {
		newInteropApp().serve(srv)
	} else {
		serveScenario(srv)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := srv.Ready(ctx); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go (&http.Server{Handler: srv}).Serve(l) // until the process ends
	fmt.Println(srv.Node(), l.Addr())
	io.Copy(io.Discard, os.Stdin)
	return nil
}

// Killables are nodes behind a balancer, each a process, which are killed and replaced.
type killables struct {
	url    string // of the balancer; url + "/kills" says how often clients were disturbed
	broker string
	app    string
	behind *dealer.Dealer
	living []killable // the oldest first; of one goroutine at a time

	mu      sync.Mutex // guards what follows
	killed  map[string]time.Time
	over    int             // kills after which nobody reaches the node, and silences
	silent  int             // requests that were refused since a living owner was not heard: the machine did not run it
	failed  map[string]bool // ids of sessions of which a request was lost with its gate
	stray   int
	unknown []dealer.Request
	slow    []dealer.Request // that waited too long for an owner that was dead
	slowest time.Duration
	trouble []dealer.Request // requests within a session that were not answered with 200
}

type killable struct {
	name  string
	child *child.Child
}

// ownerless is how long a request may wait for an owner that is dead, from its kill on. The promise is 2 s; the
// rest is for a machine that is busy.
const ownerless = 5 * time.Second

func startKillables(t *testing.T, app string) *killables {
	t.Helper()
	m := &killables{
		app: app, broker: natstest.NewServer(t).URL(), killed: make(map[string]time.Time), failed: make(map[string]bool),
	}
	b, _ := serveBalanced(t, m.note)
	m.behind = b
	mux := http.NewServeMux()
	mux.Handle("/", b)
	mux.HandleFunc("/kills", func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		defer m.mu.Unlock()
		io.WriteString(w, strconv.Itoa(m.over))
	})
	h := httptest.NewServer(mux)
	m.url = h.URL
	t.Cleanup(func() {
		h.Close()
		for _, n := range m.living {
			n.child.Kill()
		}
	})
	for range 3 {
		kit.OK(t, m.start())
	}
	return m
}

// start adds a node.
func (m *killables) start() error {
	c, err := child.Run(nil, "killable", m.broker, m.app)
	if err != nil {
		return err
	}
	line, err := c.Line()
	if err != nil {
		c.Kill()
		return err
	}
	name, host, _ := strings.Cut(line, " ")
	m.living = append(m.living, killable{name, c})
	m.behind.Add(name, host)
	return nil
}

// kill kills the oldest node, when another has taken its place. It returns its name.
func (m *killables) kill() (name string, err error) {
	if err := m.start(); err != nil {
		return "", err
	}
	oldest := m.living[0]
	m.living = m.living[1:]
	m.mu.Lock()
	m.killed[oldest.name] = time.Now()
	m.mu.Unlock()
	oldest.child.Kill()
	m.behind.Remove(oldest.name)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.over++
	return oldest.name, nil
}

// note notes a request.
func (m *killables) note(r dealer.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	owner, _, _ := strings.Cut(r.SID, ".")
	killed, dead := m.killed[owner]
	if r.SID != "" && !r.Upgrade && r.Status != http.StatusOK {
		m.trouble = append(m.trouble, r)
	}
	switch {
	case r.SID == "" || r.Upgrade:
		return
	case r.Status == http.StatusBadGateway || r.Status == 0:
		m.failed[r.SID] = true
	case strings.Contains(r.Refusal, "Session ID unknown") && !dead:
		m.unknown = append(m.unknown, r)
	case r.Status == http.StatusServiceUnavailable && !dead:
		m.silent++
		m.over++
	}
	if owner == r.Node {
		return
	}
	m.stray++
	if waited := min(r.Took, r.Began.Add(r.Took).Sub(killed)); dead {
		m.slowest = max(m.slowest, waited)
		if waited > ownerless {
			m.slow = append(m.slow, r)
		}
	}
}

// check checks that no request has waited too long for a dead owner. Where clients never end a session, known says that none has heard that the session of a
// living one is unknown, but for those of which a request was lost with its gate.
func (m *killables) check(t *testing.T, known bool) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	t.Logf("%d nodes were killed; %d requests were stray; of those whose owner was dead, none waited longer than %v",
		len(m.killed), m.stray, m.slowest)
	if m.silent > 0 {
		t.Logf("%d requests were refused since an owner that lives was not heard", m.silent)
	}
	if m.stray == 0 || m.silent > m.stray/10 {
		t.Errorf("%d requests were stray, and %d refused since an owner that lives was not heard", m.stray, m.silent)
	}
	if t.Failed() {
		m.explain(t)
	}
	for _, r := range m.slow {
		t.Errorf("the owner is dead, for which this request waited: %+v", r)
	}
	for _, r := range m.unknown {
		if known && !m.failed[r.SID] {
			t.Errorf("the owner is alive, and its session is unknown: %+v", r)
		}
	}
}

// explain logs what a failure may come of: when which node was killed, and the requests within sessions that were
// not answered with 200, those of nodes that live marked. m.mu must be held.
func (m *killables) explain(t *testing.T) {
	t.Helper()
	for name, at := range m.killed {
		t.Logf("%s: %s was killed", at.Format(stamp), name)
	}
	for _, r := range m.trouble {
		owner, _, _ := strings.Cut(r.SID, ".")
		life := "living"
		if _, dead := m.killed[owner]; dead {
			life = "killed"
		}
		t.Logf("%s, for %v: %s at %s of %s, %s: %d %.100s", r.Began.Format(stamp), r.Took.Round(time.Millisecond), r.Method, r.Node, life,
			r.SID, r.Status, r.Refusal)
	}
}

const stamp = "15:04:05.000"

// TestInteropKilled has the official client make the checks of node/checks.mjs while nodes are killed. A check
// that fails while one is killed, or does not run for as long as if it were, is made again.
func TestInteropKilled(t *testing.T) {
	t.Parallel()
	if !*everyMode {
		t.Skip("without -modes")
	}
	node := needNode(t)
	m := startKillables(t, "interop")
	for _, mode := range []string{"polling-strays-killed", "default-strays-killed", "first-strays-killed"} {
		t.Run(mode, func(t *testing.T) {
			ctx, end := context.WithCancel(t.Context())
			killing := make(chan error, 1)
			go func() { killing <- m.kills(ctx, 4) }()
			runChecks(t, node, "interop.mjs", m.url, mode)
			end()
			kit.OK(t, <-killing)
		})
	}
	m.check(t, false)
}

// kills kills so many nodes, one after the other, until ctx ends.
func (m *killables) kills(ctx context.Context, many int) error {
	for range many {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(2 * time.Second):
		}
		if _, err := m.kill(); err != nil {
			return err
		}
	}
	return nil
}

// TestClientsOfKilled: official clients of nodes that are killed come back by themselves, and no others are
// disconnected, but for those of which a request was lost with its gate.
func TestClientsOfKilled(t *testing.T) {
	t.Parallel()
	const n = 30
	node := needNode(t)
	m := startKillables(t, "client")
	ctx, cancel := context.WithTimeout(t.Context(), scriptTime)
	defer cancel()
	cmd, err := script(ctx, node, "drain.mjs", strconv.Itoa(n), m.url)
	kit.OK(t, err)
	out, err := cmd.StdoutPipe()
	kit.OK(t, err)
	var complaints kit.Log
	cmd.Stderr = &complaints
	kit.OK(t, cmd.Start())
	s := &stayers{up: make(map[string]string)}
	reading := make(chan error, 1)
	go func() { reading <- s.read(out) }()
	defer func() {
		cancel()
		kit.Check(t, <-reading == nil, "node drain.mjs printed what is not known")
		cmd.Wait() // it was told to end
		kit.Equal(t, complaints.String(), "", "node drain.mjs")
	}()
	kit.Eventually(t, "all clients to be up", func() bool { return s.count("") == n })
	kills := 1
	if *everyMode {
		kills = 3
	}
	for range kills {
		killed, err := m.kill()
		kit.OK(t, err)
		began := time.Now()
		kit.Eventually(t, "all clients to be up elsewhere", func() bool { return s.count(killed) == n })
		t.Logf("all clients are up %v after a kill", time.Since(began).Round(time.Millisecond))
	}
	m.check(t, true)
	s.mu.Lock()
	defer s.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, down := range s.downs {
		owner, _, _ := strings.Cut(down.sid, ".")
		if _, dead := m.killed[owner]; !dead && !m.failed[down.sid] {
			t.Errorf("the client with the session %s of a node that lives was disconnected: %s", down.sid, down.reason)
		}
	}
}

// Stayers are the clients of node/drain.mjs, as it tells of them.
type stayers struct {
	mu    sync.Mutex        // guards what follows
	up    map[string]string // sessions of the clients that are up, by the number of the client
	downs []struct{ sid, reason string }
}

func (s *stayers) read(out io.Reader) error {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		words := strings.SplitN(lines.Text(), " ", 4)
		if len(words) < 4 {
			return errors.New(lines.Text())
		}
		s.mu.Lock()
		switch words[0] {
		case "up":
			s.up[words[1]] = words[2]
		case "down":
			delete(s.up, words[1])
			s.downs = append(s.downs, struct{ sid, reason string }{words[2], words[3]})
		}
		s.mu.Unlock()
	}
	return lines.Err()
}

// count is how many clients are up, with another node than not.
func (s *stayers) count(not string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sid := range s.up {
		if not == "" || !strings.HasPrefix(sid, not) {
			n++
		}
	}
	return n
}

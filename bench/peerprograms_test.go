package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/test/need"
)

// TestPeers holds every peer to the application that all sides have: two nodes of a cluster, or two that do
// not know of each other. It needs Node.js, redis-server, and the modules that peers/go is made of. A plain run
// has one peer, in Node.js; with -all, it has all.
func TestPeers(t *testing.T) {
	skipElsewhere(t)
	t.Parallel()
	shop := newPeerShop(t.Output())
	t.Cleanup(func() {
		if err := shop.close(); err != nil {
			t.Error(err)
		}
	})
	brokers := make(map[string]func(t *testing.T) string)
	brokers[""] = func(*testing.T) string { return "" }
	brokers[brokerNATS] = func(t *testing.T) string { return natstest.NewServer(t).URL() }
	brokers[brokerRedis] = func(t *testing.T) string { return redis(t).URL }
	for _, p := range peerPrograms {
		t.Run(p.Key, func(t *testing.T) {
			if p.Key != "socket.io-redis" && !kit.All() {
				t.Skip("without -all")
			}
			if p.adapter != "" {
				needPackages(t)
			}
			broker := brokers[p.Broker](t)
			nodes := []*peerNode{startPeer(t, shop, p, broker), startPeer(t, shop, p, broker)}
			check := checkSocketIO
			if p.Dialect == dialectCentrifuge {
				check = checkCentrifuge
			}
			if p.Broker == "" {
				check(t, p, nodes[0].address)
			} else {
				check(t, p, nodes[0].address, nodes[1].address)
			}
			nodes[0].in.Close()
			if err := nodes[1].cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
			for _, n := range nodes {
				if rest := n.wait(); rest != "" || !n.cmd.ProcessState.Success() {
					t.Errorf("a node that was told to end: got %v, and more output: %q", n.cmd.ProcessState, rest)
				}
			}
		})
	}
	t.Run("refusals", func(t *testing.T) { checkRefusals(t, shop) })
}

// checkRefusals: a peer that cannot begin says why, on its standard error, and fails.
func checkRefusals(t *testing.T, shop *peerShop) {
	needPackages(t)
	p := peerPrograms[slices.IndexFunc(peerPrograms, func(p peerProgram) bool { return p.adapter == "redis" })]
	if _, err := shop.command(t.Context(), p, ""); err == nil {
		t.Error("got a command without the broker that it needs, want an error")
	}
	for _, p := range []peerProgram{
		{Name: "without a broker", adapter: "redis"},
		{Name: "an adapter that is none", adapter: "paper"},
		{Name: "a side that is none", side: "paper"},
	} {
		if p.adapter == "" && !kit.All() {
			continue // the program in Go takes long to link
		}
		cmd, err := shop.command(t.Context(), p, "")
		if err != nil {
			t.Fatal(err)
		}
		var errs strings.Builder
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if _, failed := errors.AsType[*exec.ExitError](err); !failed || len(out) > 0 || strings.Count(errs.String(), "\n") != 1 {
			t.Errorf("%s: got %v, the output %q, and as errors %q, want one line of them", p.Name, err, out, errs.String())
		}
	}
}

// needPackages wants what npm has for the peers to be here: a test of a laptop does not fetch it.
func needPackages(t *testing.T) {
	t.Helper()
	need.Node(t, "socket.io-client")
	dir, _, err := nodePackages()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil && os.Getenv("CI") == "" {
		need.Missing(t, "npm's packages for the peers", "run this test once with CI=1, which fetches them into "+filepath.Dir(dir))
	}
}

// redis is a redis-server for a test.
func redis(t *testing.T) *redisServer {
	t.Helper()
	r, err := startRedis(t.Context())
	if missing, ok := errors.AsType[*missingPart](err); ok {
		need.Missing(t, missing.Part, missing.Mend)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// A peerNode is a process of a peer.
type peerNode struct {
	cmd     *exec.Cmd
	in      io.Closer
	out     *bufio.Reader
	address string
}

// startPeer starts a node, and waits until it serves. The end of the test ends it.
func startPeer(t *testing.T, shop *peerShop, p peerProgram, broker string) *peerNode {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd, err := shop.command(ctx, p, broker)
	if missing, ok := errors.AsType[*missingPart](err); ok {
		cancel()
		need.Missing(t, missing.Part, missing.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	n := &peerNode{cmd: cmd}
	cmd.Stderr = t.Output()
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		n.wait()
	})
	n.in, n.out = in, bufio.NewReader(out)
	late := time.AfterFunc(time.Minute, cancel)
	defer late.Stop()
	line, err := n.out.ReadBytes('\n')
	var serves struct{ Address string }
	if err == nil {
		err = json.Unmarshal(line, &serves)
	}
	if err != nil {
		t.Fatalf("%s said %q: %v", p.Name, line, err)
	}
	n.address = serves.Address
	return n
}

// wait waits for the end of the process. What it has printed since is the result, of the first call.
func (n *peerNode) wait() string {
	rest, _ := io.ReadAll(n.out) // that it is closed already is no fault
	n.cmd.Wait()                 // its status is in ProcessState
	return string(rest)
}

// checkSocketIO has official clients check the application on all nodes of a cluster.
func checkSocketIO(t *testing.T, p peerProgram, nodes ...string) {
	t.Helper()
	node, _ := need.Node(t, "socket.io-client")
	args := []string{filepath.Join("..", "test", "node", "peers.mjs")}
	if p.Broker == brokerNATS {
		args = append(args, "-text") // its adapter takes JSON between nodes
	}
	for _, address := range nodes {
		args = append(args, "http://"+address)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, node, args...).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// TestPeerVersions: what peers are made of has a version, and peers/README.md says which.
func TestPeerVersions(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("peers", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	keys := make(map[string]bool)
	for _, p := range peerPrograms {
		if keys[p.Key] {
			t.Errorf("two peers are %q", p.Key)
		}
		keys[p.Key] = true
		got, err := newPeerShop(io.Discard).versions(p)
		if err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
		row := "| `" + p.Key + "` | " + p.Name + " | " + got + " |"
		if !strings.Contains(string(page), row) {
			t.Errorf("peers/README.md lacks a row that begins with\n%s", row)
		}
	}
	if _, err := nodeVersion("express"); err == nil {
		t.Error("got a version of what no peer is made of")
	}
}

// TestRedis: a redis-server is ready when it is said to be, keeps nothing, and is gone after stop.
func TestRedis(t *testing.T) {
	t.Parallel()
	r := redis(t)
	if files, err := os.ReadDir(r.dir); err != nil || len(files) > 0 {
		t.Errorf("got the files %v and %v, want none", files, err)
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(r.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v for the folder of a server that has ended", err)
	}
	if runtime.GOOS == "linux" {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", r.PID)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v for a process that has ended", err)
		}
	}
}

// TestRedisFails: a redis-server that does not begin is told, with what it says.
func TestRedisFails(t *testing.T) {
	skipElsewhere(t)
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := startRedis(ctx); err == nil {
		r.stop()
		t.Error("got a server after the end of its context")
	}
	path := filepath.Join(t.TempDir(), "redis")
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho no room for $2\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := tryRedis(t.Context(), path, "127.0.0.1:0")
	if err == nil || !strings.Contains(err.Error(), "exit status 3: no room for 127.0.0.1") {
		t.Errorf("got %v, want the status and what it said", err)
	}
}

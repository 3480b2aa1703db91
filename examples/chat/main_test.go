package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/test/leak"
)

// itself is the environment variable that has a test's process be the program.
const itself = "TEST_BE_THE_PROGRAM"

// TestMain runs the tests, or is a process of a demo, or the program, as that itself would be.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == childFlag || os.Getenv(itself) != "" {
		main()
	}
	leak.Main(m, "belfry/", "nats-io/", "net/http.(*conn)")
}

// demoArgs make a cluster of three nodes on free ports.
var demoArgs = []string{"-nodes", "3", "-addr", "127.0.0.1:0", "-restart", "100ms"}

// A program is a run of the program.
type program struct {
	nats    string   // what it said on start: the address of the NATS server in it
	nodes   []string // and the addresses of its nodes
	moved   []string // and which ports are taken
	service []string // a NATS server, a subject, and a request to it
	noisy   bool     // its log may say that something was killed
	stop    context.CancelFunc
	done    chan struct{} // closed when it has ended
	err     error         // and with what
	logs    kit.Log
}

var (
	serviceLine = regexp.MustCompile(`^Service: nats -s nats://(\S+) req (\S+) '(.*)'$`)
	natsLine    = regexp.MustCompile(`^NATS on (\S+)$`)
	nodeLine    = regexp.MustCompile(`^node (http://127\.0\.0\.1:\d+)(?: \(port (\d+) is taken\))?$`)
)

// launch runs the program and returns when it has said that it is ready. At the end of the test it
// must end without an error.
func launch(t *testing.T, args ...string) *program {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	p := &program{stop: stop, done: make(chan struct{})}
	out, in := io.Pipe()
	go func() {
		defer close(p.done)
		p.err = run(ctx, args, in, &p.logs)
		in.Close()
	}()
	t.Cleanup(func() { p.end(t) })
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		line := lines.Text()
		if m := natsLine.FindStringSubmatch(line); m != nil {
			p.nats = m[1]
		} else if m := nodeLine.FindStringSubmatch(line); m != nil {
			p.nodes = append(p.nodes, m[1])
			if m[2] != "" {
				p.moved = append(p.moved, m[2])
			}
		} else if m := serviceLine.FindStringSubmatch(line); m != nil {
			p.service = m[1:]
		} else if strings.Contains(line, "Ctrl-C") {
			go io.Copy(io.Discard, out) // ends with run
			return p
		} else {
			t.Fatalf("line on start: got %q, want the address of NATS or of a node", line)
		}
	}
	<-p.done
	t.Fatalf("run %q ended before it was ready: %v", args, p.err)
	return nil
}

// unfenced is what the program logs when a node did not confirm a join in time, as on a machine that
// stands still for a moment.
var unfenced = regexp.MustCompile(`(?m)^\S+ level=WARN msg="chat: a node may miss who has just joined" .*\n`)

// end ends the program as Ctrl-C does.
func (p *program) end(t *testing.T) {
	t.Helper()
	p.stop()
	select {
	case <-p.done:
	case <-time.After(kit.Patience):
		t.Fatal("the program has not ended")
	}
	if p.err != nil {
		t.Errorf("run: got %v, want no error", p.err)
	}
	if logs := unfenced.ReplaceAllString(p.logs.String(), ""); logs != "" && !p.noisy {
		t.Errorf("log: got %s, want nothing to tell", logs)
	}
}

func TestCluster(t *testing.T) {
	p := launch(t, demoArgs...)
	if len(p.nodes) != 3 || p.nats == "" {
		t.Fatalf("got nodes %q and NATS %q, want three nodes and a NATS server", p.nodes, p.nats)
	}
	ada, bob := enter(t, p.nodes[0], "Ada"), enter(t, p.nodes[1], "Bob")
	if m := hear[message](ada, "joined"); m.From != "Bob" || m.Room != "lobby" || m.ID != bob.id {
		t.Errorf("joined: got %+v, want Bob in lobby", m)
	}
	ada.ask("say", say("lobby", "hello over there"))
	for _, c := range []*client{ada, bob} {
		m := hear[message](c, "said")
		if m.From != "Ada" || m.Text != "hello over there" || m.ID != ada.id || m.Node != host(p.nodes[0]) {
			t.Errorf("said: got %+v, want Ada's greeting", m)
		}
	}

	idle, err := net.Dial("tcp", host(p.nodes[0])) // as a browser keeps one that has brought the page
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	idle.SetDeadline(time.Now().Add(kit.Patience))
	fmt.Fprintf(idle, "GET /icon.svg HTTP/1.1\r\nHost: %s\r\n\r\n", host(p.nodes[0]))
	reader := bufio.NewReader(idle)
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Fatal(err)
	}

	start := time.Now()
	p.stop()
	for _, c := range []*client{ada, bob} {
		if err := c.ended(); err != nil {
			t.Errorf("connection at the end: got %v, want it closed by the server", err)
		}
	}
	p.end(t)
	if b, err := reader.ReadByte(); err != io.EOF {
		t.Errorf("idle connection after the end: got %q, %v; want it closed", b, err)
	}
	if took, limit := time.Since(start), 6*time.Second; took > limit {
		t.Errorf("the end took %s with clients that answer, want less than %s", took, limit)
	}
	for _, address := range append(p.nodes, "tcp://"+p.nats) {
		_, host, _ := strings.Cut(address, "//")
		if c, err := net.Dial("tcp", host); err == nil {
			c.Close()
			t.Errorf("%s still listens after the end", address)
		}
	}
}

func host(node string) string { return strings.TrimPrefix(node, "http://") }

// enter is dial, and then joins the lobby.
func enter(t *testing.T, node, name string) *client {
	t.Helper()
	c := dial(t, node)
	c.ask("hello", map[string]string{"name": name})
	c.ask("join", "lobby")
	return c
}

// Two programs make one cluster when their -adapter names the same NATS server.
func TestTwoProcesses(t *testing.T) {
	nats := natstest.NewServer(t).URL()
	flags := []string{"-addr", "127.0.0.1:0", "-adapter"}
	other := launch(t, append(flags, nats+"?cluster=other")...)
	a, b := launch(t, append(flags, nats+"?cluster=two")...), launch(t, append(flags, nats+"?cluster=two")...)
	if len(a.nodes) != 1 || a.nats != "" {
		t.Fatalf("started: got nodes %q and NATS %q, want one node", a.nodes, a.nats)
	}
	stranger := enter(t, other.nodes[0], "Stranger")
	ada, bob := enter(t, a.nodes[0], "Ada"), enter(t, b.nodes[0], "Bob")
	if m := hear[message](ada, "joined"); m.From != "Bob" {
		t.Errorf("joined: got %+v, want Bob", m)
	}
	hearUntil(bob, "people", func(list roomPeople) bool {
		return list.Total == 2 && list.People[0] == person{ada.id, "Ada", host(a.nodes[0])} &&
			list.People[1] == person{bob.id, "Bob", host(b.nodes[0])}
	})
	ada.ask("say", say("lobby", "hello"))
	if m := hear[message](bob, "said"); m.From != "Ada" || m.Text != "hello" {
		t.Errorf("said: got %+v, want Ada's greeting", m)
	}
	stranger.ask("say", say("lobby", "mine"))
	if m := hear[message](stranger, "said"); m.From != "Stranger" {
		t.Errorf("said in another cluster: got %+v, want the stranger's own words first", m)
	}
}

// What the program says of its service is what a program in another language does.
func TestService(t *testing.T) {
	p := launch(t, append(demoArgs, "-service")...)
	if len(p.service) != 3 || p.service[0] != p.nats || p.service[1] != "belfry.service.rchat.emit" {
		t.Fatalf("said of its service: %q", p.service)
	}
	ada, bob := enter(t, p.nodes[0], "Ada"), enter(t, p.nodes[1], "Bob")
	a := natsadapter.New(natsadapter.Config{URL: "nats://" + p.service[0]})
	nc, err := a.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	answer, err := nc.Request(p.service[1], []byte(p.service[2]), kit.Patience)
	if err != nil || string(answer.Data) != `{"ok":true,"count":2}` {
		t.Fatalf("the service answers %v, %v", answer, err)
	}
	for _, c := range []*client{ada, bob} {
		if m := hear[message](c, "said"); m.From != "NATS" || m.Text != "hi" || m.Room != "lobby" {
			t.Errorf("said: got %+v", m)
		}
	}
}

func TestSettings(t *testing.T) {
	cases := []struct{ args, want string }{
		{"extra", "flags only"},
		{"-colour red", "-colour"},
		{"-adapter redis://127.0.0.1", "adapter"},
		{"-nodes 3 -adapter memory:", "want nodes without adapter"},
		{"-nodes 17", "nodes"},
		{"-nodes 2 -addr 0.0.0.0:3000", "want 127.0.0.1:3000"},
		{"-nodes 2 -addr :3000", "want 127.0.0.1:3000"},
		{"-nodes 2 -addr 127.0.0.1:3000,127.0.0.1:3001", "want one address"},
		{"-addr 127.0.0.1:0 -service", "want adapter nats://host:4222"},
		{"-peers 127.0.0.1", "want host:port"},
		{"-peers 127.0.0.1:http", "want host:port"},
		{"-child king", "want -nodes"},
	}
	for _, c := range cases {
		t.Run(c.args, func(t *testing.T) {
			var out, logs bytes.Buffer
			ctx, cancel := context.WithTimeout(t.Context(), kit.Patience) // or it would run for good
			defer cancel()
			err := run(ctx, strings.Fields(c.args), &out, &logs)
			if err == nil || !strings.Contains(err.Error(), c.want) || exitCode(err) != 2 {
				t.Errorf("got %v (exit code %d), want %q and exit code 2", err, exitCode(err), c.want)
			}
			if out.Len()+logs.Len() > 0 {
				t.Errorf("output: got %q and %q, want nothing beside the error", out.String(), logs.String())
			}
		})
	}
}

func TestHelp(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-h"}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"-adapter", "-addr", "-nodes", "nats://", "one node alone", "Ctrl-C"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("help: got %q, want %q in it", out.String(), want)
		}
	}
}

func TestExitCode(t *testing.T) {
	if got := exitCode(nil); got != 0 {
		t.Errorf("exit code of nil: got %d, want 0", got)
	}
	if got := exitCode(errors.New("broken")); got != 1 {
		t.Errorf("exit code of an error: got %d, want 1", got)
	}
}

// A program that is told to end while it starts ends as cleanly as one that runs.
func TestEndWhileStarting(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := run(ctx, demoArgs, io.Discard, io.Discard); err != nil {
		t.Errorf("run: got %v, want no error", err)
	}
}

// A single node whose NATS server is not there does not pretend to be one of a cluster.
func TestNoBroker(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // an address that nothing answers at, once it is closed
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	var logs kit.Log
	args := []string{"-adapter", "nats://" + l.Addr().String(), "-addr", "127.0.0.1:0", "-start-time", "300ms"}
	err = run(t.Context(), args, io.Discard, &logs)
	if err == nil || !strings.Contains(err.Error(), "adapter") || exitCode(err) != 1 {
		t.Errorf("run: got %v, want a word on the NATS server, and exit code 1", err)
	}
}

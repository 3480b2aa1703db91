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
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/belfry-io/belfry/natsadapter"
	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/test/kit"
	"github.com/belfry-io/belfry/wsserver/wstest"
)

// A program is a run of the program.
type program struct {
	nodes []string   // what it said on start: the addresses of its nodes
	links [][]string // user, address, token
	curl  []string   // token, body, address
	nats  []string   // subject, request
	stop  context.CancelFunc
	done  chan struct{} // closed when it has ended
	err   error         // and with what
	logs  kit.Log
}

// launch runs the program and returns when it has said how it is used. At the end of the test it
// must end without an error.
func launch(t *testing.T, args ...string) *program {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	p := &program{stop: stop, done: make(chan struct{})}
	out, in := io.Pipe()
	go func() {
		defer close(p.done)
		p.err = run(ctx, append(args, "-log.level", "warn"), in, &p.logs)
		in.Close()
	}()
	t.Cleanup(func() { p.end(t) })
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := lines.Text()
		if strings.Contains(line, "Ctrl-C") {
			return p
		}
		find := func(pattern string) []string { return regexp.MustCompile("^" + pattern + "$").FindStringSubmatch(line) }
		if m := find(`node \d (http://\S+)`); m != nil {
			p.nodes = append(p.nodes, m[1])
		} else if m := find(`Open as (\w+): (\S+)/#token=(\S+)`); m != nil {
			p.links = append(p.links, m[1:])
		} else if m := find(`curl -H 'Authorization: Bearer (\S+)' -d '(.*)' (\S+)`); m != nil {
			p.curl = m[1:]
		} else if m := find(`nats req (\S+) '(.*)'`); m != nil {
			p.nats = m[1:]
		}
	}
	<-p.done
	t.Fatalf("run %q ended before it was ready: %v", args, p.err)
	return nil
}

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
}

// dial connects a device to a node, as a link says.
func dial(t *testing.T, url, token string) device {
	t.Helper()
	nc, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	return device{wstest.New(t, nc, wstest.Config{Auth: map[string]string{"token": token}}), t}
}

// Without settings there are three nodes, links for two users, and a command that reaches one of
// them.
func TestDemo(t *testing.T) {
	p := launch(t)
	if len(p.nodes) != 3 || len(p.links) != 3 || len(p.curl) != 3 || p.nats != nil {
		t.Fatalf("said on start: %+v", p)
	}
	var devices []device
	for _, link := range p.links {
		d := dial(t, link[1], link[2])
		if w := next[welcome](d, "welcome"); w.User != link[0] || w.Node != link[1] {
			t.Errorf("welcome of %s: got %+v", link[0], w)
		}
		devices = append(devices, d)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.curl[2], strings.NewReader(p.curl[1]))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+p.curl[0])
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK || !strings.Contains(string(answer), `"devices":2`) {
		t.Errorf("the command: got %s %s, %v; want 2 devices", response.Status, answer, err)
	}
	for _, d := range devices[:2] {
		if n := next[notification](d, "notification"); n.Title != "Hello" || n.Room != "user:ann" || n.ID == "" || n.At == 0 {
			t.Errorf("got %+v", n)
		}
	}
	if got := devices[2].titles(); got != "" {
		t.Errorf("bob got %s", got)
	}
	p.end(t)
	for _, url := range p.nodes {
		if c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://")); err == nil {
			c.Close()
			t.Errorf("%s still listens after the end", url)
		}
	}
	if logs := p.logs.String(); logs != "" {
		t.Errorf("log: got %s, want nothing to tell", logs)
	}
}

func secretFiles(t *testing.T) []string {
	t.Helper()
	var args []string
	for _, name := range []string{"secret", "api-token"} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(strings.Repeat(name, 8)), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-"+name+"-file", path)
	}
	return args
}

// Programs whose adapter names the same NATS server are one cluster, with a NATS client, too.
func TestNATS(t *testing.T) {
	server := natstest.NewServer(t)
	args := append(secretFiles(t), "-adapter", server.URL(), "-addr", "127.0.0.1:0", "-demo")
	one, two := launch(t, append(args, "-service")...), launch(t, args...)
	if len(one.nodes) != 1 || len(one.nats) != 2 || two.nats != nil {
		t.Fatalf("said on start: %+v and %+v", one, two)
	}
	ann, phone := dial(t, one.nodes[0], one.links[0][2]), dial(t, two.nodes[0], one.links[0][2])
	next[welcome](ann, "welcome")
	if w := next[welcome](phone, "welcome"); len(w.Nodes) != 2 || w.Nodes[0] != two.nodes[0] || w.Nodes[1] != one.nodes[0] {
		t.Errorf("the nodes that a device knows: got %q", w.Nodes)
	}
	nc, err := natsadapter.New(natsadapter.Config{URL: server.URL()}).Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	answer, err := nc.Request(one.nats[0], []byte(one.nats[1]), kit.Patience)
	if err != nil || string(answer.Data) != `{"ok":true,"count":2}` {
		t.Fatalf("the service answers %s, %v", answer.Data, err)
	}
	for _, d := range []device{ann, phone} {
		if n := next[notification](d, "notification"); n.Title != "Hello" || n.Text != "from NATS" {
			t.Errorf("got %+v", n)
		}
	}
	// The page of a node that ends goes to another.
	two.stop()
	kit.Eventually(t, "the other node's device hears of the end", func() bool {
		return len(next[[]string](ann, "nodes")) == 1
	})
}

func TestWrongSettings(t *testing.T) {
	short := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(short, []byte("hush"), 0o600); err != nil {
		t.Fatal(err)
	}
	files := secretFiles(t)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-secret-file", short}, "it has 4 bytes: want at least 32"},
		{[]string{"-api-token-file", short}, "it has 4 bytes: want at least 16"},
		{append(files, "-jwks", "https://example.com/keys"), "there is a secret, too: want one of them"},
		{[]string{"-jwks", short}, "no keys there"},
		{[]string{"-audience", ""}, "it is empty"},
		{[]string{"-demo", "-jwks", "x"}, "only who has the private keys"},
		{[]string{"-nodes", "17"}, "16"},
		{[]string{"-nodes", "2", "-url", "https://n.example"}, "want nodes 1"},
		{[]string{"-nodes", "2", "-addr", "127.0.0.1:0,127.0.0.1:0"}, "want one address"},
		{[]string{"-addr", "unix:" + short + ".sock"}, "url: not set"},
		{[]string{"-service"}, "it is for NATS"},
		{[]string{"-adapter", "nats://127.0.0.1:1"}, "secret: not set: want secret-file, the same on all nodes"},
		{append(files[:2:2], "-adapter", "nats://127.0.0.1:1"), "api-token: not set"},
		{[]string{"-adress", ":1"}, "there is no such setting"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), kit.Patience) // or it would run for good where it should refuse
		var out, logs bytes.Buffer
		err := run(ctx, c.args, &out, &logs)
		cancel()
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(fmt.Sprint(err, logs.String()), "hush") || exitCode(err) != 2 {
			t.Errorf("%q: got %v, want %q, and no secret", c.args, err, c.want)
		}
		if out.Len() > 0 {
			t.Errorf("%q: got output %q", c.args, out.String())
		}
	}
	if exitCode(nil) != 0 || exitCode(errors.New("broken")) != 1 {
		t.Error("exit codes of nil and of an error: want 0 and 1")
	}
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-h"}, &out, io.Discard); err != nil || !strings.Contains(out.String(), "api-token") {
		t.Errorf("-h: got %v, %s", err, out.String())
	}
}

// The default port gives way to another program's; a port that was asked for does not.
func TestPorts(t *testing.T) {
	taken, err := net.Listen("tcp", defaultAddr)
	if err == nil { // else somebody else has it
		defer taken.Close()
	}
	p := launch(t)
	if strings.HasSuffix(p.nodes[0], ":3010") {
		t.Errorf("got %s, which is taken", p.nodes[0])
	}
	busy := strings.TrimPrefix(p.nodes[0], "http://")
	err = run(t.Context(), []string{"-addr", busy}, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "another port") || exitCode(err) != 2 {
		t.Errorf("-addr %s: got %v, want a word on another port", busy, err)
	}
}

// A program that is told to end while it starts ends as cleanly as one that runs.
func TestEndWhileStarting(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := run(ctx, []string{"-addr", "127.0.0.1:0"}, io.Discard, io.Discard); err != nil {
		t.Errorf("run: got %v, want no error", err)
	}
}
